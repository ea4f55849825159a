"""What the tiny models have in common: sizes, processors, vocabularies that can spell anything.

Knows nothing of weights.
"""

from typing import Any

from tokenizers import pre_tokenizers
from transformers import CLIPImageProcessorPil, LlavaProcessor

__all__ = [
    "HEADS",
    "TEXT",
    "VISION",
    "bytes_vocabulary",
    "clip_images",
    "llava_processor",
    "sentencepiece_vocabulary",
]

TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "initializer_range": 0.2,
}
HEADS: dict[str, Any] = {"num_attention_heads": 4}
VISION: dict[str, Any] = {**TEXT, **HEADS, "image_size": 32, "patch_size": 8}


def bytes_vocabulary(specials: list[str], *, end_of_word: str = "") -> dict[str, int]:
    """The 256 bytes as byte-level BPE writes them, after ``specials``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = specials + alphabet + [c + end_of_word for c in alphabet if end_of_word]
    return {token: index for index, token in enumerate(tokens)}


def sentencepiece_vocabulary(specials: list[str]) -> dict[str, int]:
    """Letters and byte fallbacks as in Llama's and Gemma's tokenizers, after ``specials``."""
    tokens = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    tokens += [chr(code) for code in range(33, 127)]
    return {token: index for index, token in enumerate(tokens)}


def clip_images() -> CLIPImageProcessorPil:
    """CLIP's image processor for pictures of 32 pixels."""
    return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def llava_processor(tokenizer: Any, template: str | None = None) -> LlavaProcessor:
    """LLaVA's processor for a vision tower of the sizes above."""
    return LlavaProcessor(
        clip_images(),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
