"""Handlers of what people say about training: start it, how is it going, stop it, use the result.

Knows nothing of how a message is taken apart, nor of how training is done.
"""

import re

from assistant.router.actions import Action, Context
from assistant.router.language import Reading
from assistant.router.names import mentioned, names_in
from assistant.router.pointing import Handler
from assistant.router.reading import Clause

__all__ = ["TRAINING"]

# "train on gromps", and not "train on what I taught you", "train on my pictures"
_TRAIN_ON = re.compile(
    r"\bon (?!(?:what|all|every|everything|any|my|your|the|these|those|this|that|it|them|us|me)\b)"
    r"([^,.;]+)",
    re.I,
)
_METHOD = re.compile(
    r"\b(?:with|using|by|mit|avec|con|por)\s+(?:a |an |the )?"
    r"(lora|qlora|projector|full|linear|prototypes)\b",
    re.I,
)


def _on_train(reading: Reading, clause: Clause, context: Context) -> Action:
    """On the labels that are named, by the method that is named; else on all, as it suits."""
    method = _METHOD.search(clause.text)
    labels = mentioned(clause.text, context.labels)
    on = _TRAIN_ON.search(clause.text)
    if on and not labels:
        labels = names_in(on[1], context.labels, clause.tongue)  # of one not taught it is told so
    named = {"labels": labels} if labels else {}
    return Action("train_adapter", {**named, **({"method": method[1].lower()} if method else {})})


def _on_use(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "Use it" is about the result of a training only where one was talked about."""
    named = re.search(r"\b(?:adapter|adaptateur|adaptador|lora)\b|适配器", clause.text, re.I)
    return Action("use_adapter", {}) if named or context.training is not None else None


def _on_agree(reading: Reading, clause: Clause, context: Context) -> Action:
    if context.training is not None and context.training.offered and not context.turn_photos:
        return Action("use_adapter", {})
    return Action(text=clause.tongue.said("agree"))


TRAINING: dict[str, Handler] = {
    "train": _on_train,
    "training_status": lambda reading, clause, context: Action("training_status", {}),
    "cancel_training": lambda reading, clause, context: Action("cancel_training", {}),
    "use_adapter": _on_use,
    "stop_adapter": lambda reading, clause, context: Action("use_adapter", {"on": False}),
    "agree": _on_agree,
}
