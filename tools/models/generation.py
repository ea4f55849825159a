"""Text from a model, piece by piece: greedy decoding that streams and can be stopped.

Knows nothing of pictures or prompts. The streamer is the only source of the text, so that what
was streamed and what is returned are the same.
"""

import re
from collections.abc import Callable
from threading import Event
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

__all__ = ["generate_several", "generate_text", "greedy"]

_LAST_WORD = re.compile(r"\s*\S*\Z")
# U+FFFD stands for the first bytes of a character whose last ones have not been generated.
_EDGES = re.compile(r"\A\s+|[\s\uFFFD]+\Z")


def greedy(model: Any) -> None:
    """Make ``model`` decode greedily whatever sampling its files ask for.

    Set once at loading, on every part that generates (BLIP's text decoder has its own):
    per-call settings that contradict the files make transformers complain on each call.
    """
    for part in model.modules():
        config = getattr(part, "generation_config", None)
        if config is None:
            continue
        config.do_sample = False
        config.num_beams = 1
        config.temperature = config.top_p = config.top_k = None
        config.max_length = config.min_length = None


def generate_text(
    model: Any,
    tokenizer: Any,
    inputs: dict[str, Any],
    *,
    max_new_tokens: int,
    on_token: Callable[[str], None] | None = None,
    stop: Event | None = None,
) -> str:
    """The text ``model`` continues ``inputs`` with, stripped, without special tokens.

    ``on_token`` gets it in pieces as it forms, in this thread; joined they are what is
    returned. ``stop`` ends it at the next token.
    """
    if stop is not None and stop.is_set():
        return ""
    pieces = _Pieces(tokenizer, on_token)
    criteria = StoppingCriteriaList([] if stop is None else [_Stopped(stop)])
    model.generate(
        **inputs, max_new_tokens=max_new_tokens, streamer=pieces, stopping_criteria=criteria
    )
    return pieces.text


def generate_several(
    model: Any,
    tokenizer: Any,
    inputs: dict[str, Any],
    *,
    count: int,
    max_new_tokens: int,
    stop: Event | None = None,
) -> list[str]:
    """Up to ``count`` different texts by beam search, likeliest first; [] when stopped."""
    if stop is not None and stop.is_set():
        return []
    criteria = StoppingCriteriaList([] if stop is None else [_Stopped(stop)])
    ids = model.generate(
        **inputs,
        num_beams=count,
        num_return_sequences=count,
        max_new_tokens=max_new_tokens,
        stopping_criteria=criteria,
    )
    texts = [_EDGES.sub("", t) for t in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    return [t for t in dict.fromkeys(texts) if t]


class _Pieces(BaseStreamer):
    """Collects token ids and hands out text, whole words only, as soon as it is settled."""

    def __init__(self, tokenizer: Any, on_token: Callable[[str], None] | None) -> None:
        self._tokenizer = tokenizer
        self._on_token = on_token
        self._ids: list[int] = []
        self._prompt = True
        self.text = ""

    def put(self, value: Any) -> None:
        """Token ids from ``generate``: first the prompt, then one at a time."""
        if self._prompt:
            self._prompt = False
            return
        self._ids.extend(value.flatten().tolist())
        if self._on_token is not None:
            text = self._decode()
            # The last word may still grow, or lose the space before it ("do" + "n't").
            self._emit(_LAST_WORD.sub("", text))

    def end(self) -> None:
        """The rest, when ``generate`` is done."""
        text = self._decode()
        self._emit(text)
        self.text = text

    def _decode(self) -> str:
        text = str(self._tokenizer.decode(self._ids, skip_special_tokens=True))
        return _EDGES.sub("", text)

    def _emit(self, text: str) -> None:
        piece = text[len(self.text) :]
        if piece and text.startswith(self.text):
            self.text = text
            if self._on_token is not None:
                self._on_token(piece)


class _Stopped(StoppingCriteria):
    """Ends generation once an event is set."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        done = self._stop.is_set()
        return torch.full((input_ids.shape[0],), done, dtype=torch.bool, device=input_ids.device)
