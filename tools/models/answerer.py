"""The answer to a question about a picture: LLaVA, SmolVLM and the other chat models, BLIP VQA.

Knows nothing of conversations: one picture, one question. The question is a user's text and
stays text: what would be a special token of the model is taken out of it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Event, Lock
from typing import Any

from PIL import Image

from tools.images import Photo
from tools.models.generation import generate_text, greedy
from tools.models.hardware import Hardware, choose_hardware, choose_threads, inference
from tools.models.loading import (
    input_side,
    load_model,
    load_processor,
    on_device,
    shrink,
    wrong_role,
)
from tools.models.sources import Located
from tools.vocabulary import read_words

__all__ = ["TransformersAnswerer", "load_answerer"]

_MAX_NEW_TOKENS = {"cpu": 64, "cuda": 256}
_CAPTIONERS = ("blip", "blip-2", "git", "pix2struct", "vision-encoder-decoder")
_LEAST_CONTEXT = 2048  # tokens; of what was tuned to follow instructions, SmolVLM has 8,192
_DEFAULT_QUESTION = "What is in this picture?"


def load_answerer(
    located: Located, hardware: Hardware | None = None, *, quantize: bool = False
) -> "TransformersAnswerer":
    """The answerer in ``located``; ``quantize`` for 4-bit NF4. Raises :class:`ModelFailed`."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    vqa = located.architecture == "BlipForQuestionAnswering"
    chat = (
        located.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        and located.model_type not in _CAPTIONERS
    )
    if not (vqa or chat):
        raise wrong_role(located, "answerer", "a LLaVA, SmolVLM or other image-text-to-text model")
    # Not in the Auto mapping, which knows one class per model type.
    model_class = (
        transformers.BlipForQuestionAnswering if vqa else transformers.AutoModelForImageTextToText
    )
    model = load_model(located, model_class, hardware or choose_hardware(), quantize=quantize)
    return TransformersAnswerer(located, model, load_processor(located), quantized=quantize)


class TransformersAnswerer:
    """Implements :class:`tools.models.roles.Answerer`; one answer at a time."""

    def __init__(
        self, located: Located, model: Any, processor: Any, *, quantized: bool = False
    ) -> None:
        self._model = model
        self._processor = processor
        self._type = located.model_type
        self._special = _special_tokens(processor)
        self._lock = Lock()
        self._threads = choose_threads(model)
        self.id = located.id()
        dtype = str(model.dtype).removeprefix("torch.")
        self.precision = f"nf4, computing in {dtype}" if quantized else dtype
        """What its weights are stored in."""
        self.takes_examples = _takes_examples(model, processor)
        self.words = read_words(located.folder / "words.txt")
        _one_tile(processor.image_processor)
        _complete_llava(processor, model.config)
        self._side = input_side(processor.image_processor)
        greedy(model)

    def answer(
        self,
        photo: Photo,
        question: str,
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
        changed: AbstractContextManager[None] | None = None,
    ) -> str:
        """The answer's text; ``on_token`` gets it piece by piece; ``stop`` ends it early.

        ``changed``: inside it the model is another one; entered while nobody else uses it.
        """
        inputs = self.inputs(photo.image, question)
        with self._lock, changed or nullcontext(), inference(self._threads):
            return generate_text(
                self._model,
                self._processor.tokenizer,
                on_device(inputs, self._model),
                max_new_tokens=_MAX_NEW_TOKENS.get(self._model.device.type, 64),
                on_token=on_token,
                stop=stop,
            )

    @contextmanager
    def alone(self) -> Iterator[Any]:
        """The model, while nobody else uses it."""
        with self._lock:
            yield self._model

    @property
    def model(self) -> Any:
        """The transformers model: what training adapts."""
        return self._model

    @property
    def processor(self) -> Any:
        """Its image processor and tokenizer."""
        return self._processor

    def inputs(self, image: Image.Image, question: str) -> Any:
        """The tensors, a batch of one, that :meth:`answer` gives the model; still on the CPU."""
        return self._inputs(shrink(image, self._side), self.plain(question) or _DEFAULT_QUESTION)

    def plain(self, text: str) -> str:
        """``text`` without special tokens, also those that appear once another is gone."""
        while (plain := self._special.sub("", text)) != text:
            text = plain
        return text.strip()

    def _inputs(self, image: Image.Image, question: str) -> Any:
        if self._processor.chat_template:
            content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
            return self._processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        prompt = self._bare_prompt(question)
        return self._processor(images=[image], text=[prompt], return_tensors="pt")

    def _bare_prompt(self, question: str) -> str:
        """What models without a chat template were trained on."""
        if self._type == "blip":
            return question
        token = getattr(self._processor, "image_token", "<image>")
        if self._type == "paligemma":
            return f"{token}answer en {question}"  # its processor ends the line
        return f"USER: {token}\n{question} ASSISTANT:"  # LLaVA 1.5


def _takes_examples(model: Any, processor: Any) -> bool:
    """Whether it was tuned to follow what a prompt says: it has a chat template and room for it.

    The pocket LLaVA, trained on bare questions and with room for 512 tokens, answers 99 % of
    easy-VQA's, 49 % after an example, and never what one says (``python -m tests.bench.memory``).
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", 0)
    return bool(processor.chat_template) and int(context) >= _LEAST_CONTEXT


def _special_tokens(processor: Any) -> re.Pattern[str]:
    tokenizer = processor.tokenizer
    tokens = {str(token) for token in tokenizer.all_special_tokens}
    tokens |= {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
    tokens.add(str(getattr(processor, "image_token", "<image>")))
    longest_first = sorted(filter(str.strip, tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)))


def _one_tile(image_processor: Any) -> None:
    """Idefics3 and SmolVLM: one tile of 64 tokens instead of 13 tiles and 1,140 tokens.

    They also enlarge each picture fourfold for the tiles to be cut from: not needed then.
    """
    if getattr(image_processor, "do_image_splitting", False):
        image_processor.do_image_splitting = False
        image_processor.size = dict(image_processor.max_image_size)


def _complete_llava(processor: Any, config: Any) -> None:
    """Early LLaVA repositories do not say how many image tokens a picture takes."""
    if getattr(processor, "patch_size", 0) is None:
        processor.patch_size = config.vision_config.patch_size
        processor.vision_feature_select_strategy = config.vision_feature_select_strategy
        processor.num_additional_image_tokens = 1  # the class token of CLIP's tower
