"""What people say about training, in five languages, and how it is answered in them."""

import pytest

from assistant.router.actions import Context
from assistant.router.deciding import decide
from assistant.router.language import language
from assistant.router.telling import told
from tools.training import AdapterUse, Figure, Training

OFFERED = Training(
    "default.1", "finished", ("zorb", "blick"), 24, offered=True, verdict="Worth using.",
    figures=(Figure("trained", 0.96, 0.8, 0.99, 24), Figure("base", 0.5, 0.3, 0.7, 24),
             Figure("exemplars", 0.7, 0.5, 0.85, 24)),
)  # fmt: skip
TRAIN, STATUS, CANCEL, USE = "train_adapter", "training_status", "cancel_training", "use_adapter"


@pytest.mark.parametrize(
    ("code", "text", "tool", "args"),
    [
        ("en", "train on what I taught you", TRAIN, {}),
        ("en", "train on zorbs and blicks", TRAIN, {"labels": ["zorb", "blick"]}),
        ("en", "fine-tune on zorbs and blicks with qlora", TRAIN,
         {"labels": ["zorb", "blick"], "method": "qlora"}),
        ("en", "how is the training going?", STATUS, {}),
        ("en", "did the training work?", STATUS, {}),
        ("en", "stop the training", CANCEL, {}),
        ("en", "use it", USE, {}),
        ("en", "activate the adapter", USE, {}),
        ("en", "yes", USE, {}),
        ("en", "stop using it", USE, {"on": False}),
        ("de", "trainiere mit dem, was ich dir beigebracht habe", TRAIN, {}),
        ("de", "trainiere dich auf zorb und blick", TRAIN, {"labels": ["zorb", "blick"]}),
        ("de", "wie läuft das Training?", STATUS, {}),
        ("de", "brich das Training ab", CANCEL, {}),
        ("de", "verwende es", USE, {}),
        ("de", "verwende es nicht mehr", USE, {"on": False}),
        ("fr", "entraîne-toi sur ce que je t'ai appris", TRAIN, {}),
        ("fr", "où en est l'entraînement ?", STATUS, {}),
        ("fr", "arrête l'entraînement", CANCEL, {}),
        ("fr", "utilise-le", USE, {}),
        ("fr", "ne l'utilise plus", USE, {"on": False}),
        ("es", "entrena con lo que te enseñé", TRAIN, {}),
        ("es", "¿cómo va el entrenamiento?", STATUS, {}),
        ("es", "para el entrenamiento", CANCEL, {}),
        ("es", "úsalo", USE, {}),
        ("es", "no lo uses más", USE, {"on": False}),
        ("zh", "用我教你的训练", TRAIN, {}),
        ("zh", "训练得怎么样了？", STATUS, {}),
        ("zh", "停止训练", CANCEL, {}),
        ("zh", "使用它", USE, {}),
        ("zh", "不要再用它了", USE, {"on": False}),
    ],
)  # fmt: skip
def test_orders_about_training(code: str, text: str, tool: str, args: dict[str, object]) -> None:
    context = Context(("zorb", "blick"), photo_count=1, training=OFFERED, language=code)
    assert [(a.tool, a.args) for a in decide(text, context)] == [(tool, args)]


@pytest.mark.parametrize("text", ["use it", "yes", "no", "activate it"])
def test_only_what_was_offered_is_used(text: str) -> None:
    done = decide(text, Context(("zorb",), photo_count=1))
    assert not [a for a in done if a.tool]


@pytest.mark.parametrize("code", ["de", "fr", "es", "zh"])
def test_a_training_is_told_in_the_language_of_the_user(code: str) -> None:
    tongue = language(code)
    offered = told(tongue, [OFFERED], {})
    wanted = ("blick", "96 %", "50 %", "70 %", "24")
    assert offered is not None and all(x in offered for x in wanted)
    running = Training("default.1", "running", ("zorb",), 4, progress=0.5, losses=(2.0, 1.0))
    said = told(tongue, [running], {})
    assert said is not None and "50 %" in said and "1.000" in said
    for state in ("queued", "stopping", "cancelled"):
        assert told(tongue, [Training("default.1", state, ("zorb",), 4)], {})  # type: ignore[arg-type]
    assert told(tongue, [Training("default.1", "failed", ("zorb",), 4, problem="x")], {}) is None
    for on in (True, False):
        said = told(tongue, [AdapterUse("default.1", on)], {})
        assert said is not None and "default.1" in said.casefold()
