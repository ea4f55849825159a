"""A vision-language model as training needs it: the ids of its prompt and of its answers.

The prompt's ids are those the assistant's answerer makes, so that what is learned is what is
asked later. Knows nothing of losses, data sets or adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from finetune.settings.schema import Settings
from finetune.speed.nf4 import trainable
from tools.config import ModelChoice
from tools.errors import SettingsError
from tools.models.answerer import TransformersAnswerer, load_answerer
from tools.models.hardware import Hardware, choose_hardware
from tools.models.loading import load_image_processor
from tools.models.sources import Located, locate

__all__ = ["IGNORED", "Vlm", "open_vlm", "padded"]

IGNORED = -100
"""The label of a token that the loss leaves out."""
_MARK = "\u2042"
_NOT_TRAINED = ("blip",)


def open_vlm(settings: Settings) -> Vlm:
    """The model of ``settings``, in 4 bits for `qlora`. Raises what is wrong with it."""
    located = locate(ModelChoice(settings.model.answerer))
    if located.model_type in _NOT_TRAINED:
        raise SettingsError(
            f"model.answerer: {settings.model.answerer} is a {located.model_type} model, whose "
            "prompts are not trained here; choose a LLaVA, SmolVLM or other chat model."
        )
    quantize = settings.method == "qlora"
    hardware = choose_hardware()
    answerer = load_answerer(located, hardware, quantize=quantize)
    if not settings.speed.one_tile:
        _in_tiles(located, answerer.processor.image_processor)
    packed = None
    if quantize:
        packed = trainable(answerer.model, dequantise=settings.speed.dequantise)
    return Vlm(located, answerer, hardware, packed=packed)


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Rows of ids as one tensor (N, longest), with ``fill`` at the right of the shorter ones."""
    length = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (length - len(row))] for row in rows])


class Vlm:
    """The model with its processor, and how texts become ids."""

    def __init__(
        self,
        located: Located,
        answerer: TransformersAnswerer,
        hardware: Hardware,
        *,
        packed: str | None = None,
    ) -> None:
        """``packed``: why its 4-bit weights are unpacked at each step, if they are."""
        self.located = located
        self.answerer = answerer
        self.hardware = hardware
        self.packed = packed
        self.model = answerer.model
        self.tokenizer = answerer.processor.tokenizer
        self.prompt_end, self._lead, self._end = _turn(located, answerer.processor)
        self._ends = _end_ids(self.model, self.tokenizer)
        self.pad = int(self.tokenizer.pad_token_id or 0)
        self._sized = _sized(answerer.processor.image_processor)
        self._prompts: dict[tuple[str, tuple[int, int] | None], list[int]] = {}
        self._answers: dict[tuple[str, bool], list[int]] = {}

    @property
    def image_token(self) -> int:
        """The id that stands for a piece of the picture."""
        config = self.model.config
        found = getattr(config, "image_token_id", None)
        return int(config.image_token_index if found is None else found)

    @property
    def longest(self) -> int:
        """Tokens that fit into the model."""
        text = self.model.config.get_text_config()
        return int(text.max_position_embeddings)

    def prompt(self, image: Image.Image, question: str) -> dict[str, Tensor]:
        """What the answerer gives the model, a batch of one."""
        return dict(self.answerer.inputs(image, question))

    def pixels(self, image: Image.Image) -> dict[str, Tensor]:
        """What of :meth:`prompt` is the picture."""
        prompt = self.prompt(image, "?")
        return {k: v for k, v in prompt.items() if k not in ("input_ids", "attention_mask")}

    def prompt_ids(self, question: str, size: tuple[int, int] = (64, 64)) -> list[int]:
        """The ids of the prompt for a picture of ``size``: what it shows does not change them."""
        key = (question, size if self._sized else None)
        if key not in self._prompts:
            prompt = self.prompt(Image.new("RGB", size), question)
            self._prompts[key] = prompt["input_ids"][0].tolist()
        return self._prompts[key]

    def answer_ids(self, answer: str, *, ended: bool = True) -> list[int]:
        """The ids the model should go on with after a prompt; ``ended``: its end token last."""
        if (answer, ended) not in self._answers:
            self._answers[answer, ended] = self._answer_ids(answer, ended)
        return self._answers[answer, ended]

    def _answer_ids(self, answer: str, ended: bool) -> list[int]:
        text = self._lead + self.answerer.plain(answer) + (self._end if ended else "")
        before = self._ids(self.prompt_end)
        ids = self._ids(self.prompt_end + text)
        # A tokenizer may write an answer otherwise behind a prompt than alone.
        whole = ids[: len(before)] == before
        ids = ids[len(before) :] if whole else self._ids(text)
        return ids if not ended or set(ids) & self._ends else [*ids, min(self._ends)]

    def questions_fit(self, questions: Sequence[str], answers: Sequence[str]) -> int:
        """The most tokens that a question and an answer of these take, pictures included."""
        asked = max(len(self.prompt_ids(q)) for q in set(questions))
        return asked + max(len(self.answer_ids(a)) for a in set(answers))

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _sized(images: Any) -> bool:
    """Whether a picture's size decides how many tokens stand for it."""
    if hasattr(images, "do_image_splitting"):
        return bool(images.do_image_splitting)
    return not (getattr(images, "do_center_crop", False) or "height" in dict(images.size))


def _turn(located: Located, processor: Any) -> tuple[str, str, str]:
    """How a prompt ends, what stands before an answer, and what behind it, as far as is known."""
    if located.model_type == "paligemma":
        return "\n", "", ""
    if not processor.chat_template:
        return "ASSISTANT:", " ", ""
    user = {"role": "user", "content": [{"type": "text", "text": "?"}]}
    reply = {"role": "assistant", "content": [{"type": "text", "text": _MARK}]}
    prompt = processor.apply_chat_template([user], add_generation_prompt=True, tokenize=False)
    whole = processor.apply_chat_template([user, reply], tokenize=False)
    if whole.startswith(prompt) and _MARK in whole[len(prompt) :]:
        lead, _, end = whole[len(prompt) :].partition(_MARK)
        return prompt, lead, end
    return prompt, "" if prompt[-1:].isspace() else " ", ""


def _in_tiles(located: Located, images: Any) -> None:
    """Have pictures cut into tiles as the model's own files say."""
    own = load_image_processor(located)
    if hasattr(own, "do_image_splitting"):
        images.do_image_splitting, images.size = own.do_image_splitting, own.size


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    """The ids at which generation stops."""
    ends = model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    return {int(i) for i in (ends if isinstance(ends, list) else [ends])}
