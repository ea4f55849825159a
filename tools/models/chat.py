"""The next message of a conversation: chat models whose template takes tools, with eyes or without.

Knows nothing of what the tools do, nor how a call is read from the text (:mod:`assistant.brains`).
What people and tools said stays text: control tokens in it are encoded as plain characters.
"""

from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Any

from tools.errors import ModelFailed
from tools.models.generation import generate_text, greedy
from tools.models.hardware import Hardware, choose_hardware, choose_threads, inference
from tools.models.loading import (
    load_model,
    load_processor,
    load_tokenizer,
    on_device,
    wrong_role,
)
from tools.models.sources import Located

__all__ = ["TransformersChat", "load_chat"]

_MAX_NEW_TOKENS = 512


def load_chat(located: Located, hardware: Hardware | None = None) -> "TransformersChat":
    """The chat model in ``located``. Raises :class:`ModelFailed`."""
    import transformers
    from transformers.models.auto import modeling_auto as auto

    hardware = hardware or choose_hardware()
    sees = "vision_config" in located.config
    known = (
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        if sees
        else auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    if located.model_type not in known:
        raise wrong_role(located, "brain", "a chat model whose template takes tools")
    processor = load_processor(located) if sees else load_tokenizer(located)
    # Some have a template for tools beside the usual one.
    template = processor.chat_template
    template = template.get("tool_use", "") if isinstance(template, dict) else template
    if "tools" not in (template or ""):
        raise ModelFailed(
            f"The chat template of {located.source} takes no tools, so it can't be the brain: "
            "choose a model that can call tools, as Qwen2.5-Instruct."
        )
    model_class: Any = (
        transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
    )
    model = load_model(located, model_class, hardware)
    return TransformersChat(located, model, processor, template)


class TransformersChat:
    """A chat model; one message at a time."""

    def __init__(self, located: Located, model: Any, processor: Any, template: str) -> None:
        self._source = located.source
        self._model = model
        self._processor = processor
        self._template = template
        self._lock = Lock()
        self._threads = choose_threads(model)
        self.id = located.id()
        greedy(model)

    def reply(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
    ) -> str:
        """The text the model goes on with, its calls of tools in the form of its template.

        ``messages`` are as transformers takes them (role, content, tool_calls), pictures as PIL
        images; ``tools`` are JSON schemas. Raises :class:`ModelFailed` when it is all too long.
        """
        # Qwen3 and SmolLM3 may think for minutes first; other templates do not know the word.
        thinks = "enable_thinking" in self._template
        inputs = self._processor.apply_chat_template(
            list(messages),
            tools=list(tools),
            chat_template=self._template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            sanitize_control_tokens=True,
            **({"enable_thinking": False} if thinks else {}),
        )
        read, most = inputs["input_ids"].shape[-1], self._longest
        if read + _MAX_NEW_TOKENS > most:
            raise ModelFailed(
                f"The conversation is too long for {self._source}: {read:,} tokens of at most "
                f"{most:,}; start a new one, or choose a brain that reads more"
            )
        with self._lock, inference(self._threads):
            return generate_text(
                self._model,
                getattr(self._processor, "tokenizer", self._processor),
                on_device(inputs, self._model),
                max_new_tokens=_MAX_NEW_TOKENS,
                on_token=on_token,
                stop=stop,
            )

    @property
    def _longest(self) -> int:
        text = self._model.config.get_text_config()
        return int(getattr(text, "max_position_embeddings", None) or 1 << 20)
