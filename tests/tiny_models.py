"""Real architectures with random weights, a few hundred kilobytes each, saved as on the Hub.

Everything is built here, offline: the tokenizers from word lists with the tokenizers library,
the processors from their classes, the weights from a fixed seed. Their answers mean nothing;
what is real is every file and every code path that loads and runs them.
"""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    GemmaConfig,
    GemmaTokenizer,
    GPT2Tokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
    SiglipVisionConfig,
)

from tests.tiny_captioners import blip, blip2, blip_vqa, git
from tests.tiny_parts import (
    HEADS,
    TEXT,
    VISION,
    bytes_vocabulary,
    clip_images,
    llava_processor,
    sentencepiece_vocabulary,
)
from tools.images import Photo

__all__ = ["BUILDERS", "build", "built", "photo"]

LLAVA_TEMPLATE = (
    "{% for m in messages %}USER: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for m in messages %}User:{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def photo(seed: int = 0, size: tuple[int, int] = (90, 70)) -> Photo:
    """A drawing of a disc and a box; another ``seed`` gives another drawing."""
    image = Image.new("RGB", size, (250 - seed * 37 % 200, 240, 230))
    draw = ImageDraw.Draw(image)
    w, h = size
    left = w * (seed % 5) // 10
    draw.ellipse((left, h // 8, left + w // 2, h * 3 // 4), fill=(200, seed * 53 % 256, 40))
    draw.rectangle((w // 2, h // 2, w - 4, h - 4), fill=(30, 60, seed * 91 % 256))
    return Photo(image)


def build(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """Save the tiny model ``kind`` (a key of BUILDERS) and its processor in ``folder``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, processor = BUILDERS[kind]()
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@cache
def built(kind: str) -> Path:
    """The folder of the tiny model ``kind``, made once a test run; copy it to change it."""
    return build(kind, _home() / kind)


@cache
def _home() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tiny-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _clip() -> tuple[Any, Any]:
    specials = ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab=bytes_vocabulary(specials, end_of_word="</w>"), merges=[], model_max_length=16
    )
    config = CLIPConfig(
        text_config={
            **TEXT,
            **HEADS,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 16,
            "bos_token_id": 0,
            "eos_token_id": 1,
        },
        vision_config=VISION,
        projection_dim=24,
    )
    return CLIPModel(config), CLIPProcessor(clip_images(), tokenizer)


def _dinov2() -> tuple[Any, Any]:
    config = Dinov2Config(**VISION)
    images = BitImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return Dinov2Model(config), images


def _gemma_tokenizer(**keywords: Any) -> GemmaTokenizer:
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    return GemmaTokenizer(vocab=sentencepiece_vocabulary(specials), merges=[], **keywords)


def _siglip_text(tokenizer: Any) -> dict[str, Any]:
    return {
        **TEXT,
        **HEADS,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "projection_size": 64,
    }


def _siglip() -> tuple[Any, Any]:
    tokenizer = _gemma_tokenizer(model_max_length=16)
    config = SiglipConfig(text_config=_siglip_text(tokenizer), vision_config=VISION)
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return SiglipModel(config), SiglipProcessor(images, tokenizer)


def _siglip2() -> tuple[Any, Any]:
    tokenizer = _gemma_tokenizer(model_max_length=16)
    vision = {**TEXT, **HEADS, "num_patches": 16, "patch_size": 8}
    config = Siglip2Config(text_config=_siglip_text(tokenizer), vision_config=vision)
    images = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    return Siglip2Model(config), Siglip2Processor(images, tokenizer)


def _llava() -> tuple[Any, Any]:
    specials = ["<unk>", "<s>", "</s>", "<image>", "<pad>"]
    vocab = sentencepiece_vocabulary(specials)
    tokenizer = LlamaTokenizer(
        vocab=vocab,
        merges=[],
        pad_token="<pad>",
        model_max_length=256,
        additional_special_tokens=["<image>"],
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=LlamaConfig(
            **TEXT, **HEADS, vocab_size=len(tokenizer), max_position_embeddings=256
        ),
        image_token_index=vocab["<image>"],
        vision_feature_layer=-2,
    )
    return LlavaForConditionalGeneration(config), llava_processor(tokenizer, LLAVA_TEMPLATE)


def _idefics3() -> tuple[Any, Any]:
    specials = ["<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<image>"]
    specials += ["<fake_token_around_image>", "<global-img>"]
    specials += [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    tokenizer = GPT2Tokenizer(
        vocab=bytes_vocabulary(specials),
        merges=[],
        pad_token="<|endoftext|>",
        model_max_length=512,
        additional_special_tokens=specials[1:],
    )
    config = Idefics3Config(
        vision_config=VISION,
        text_config=LlamaConfig(
            **TEXT,
            **HEADS,
            vocab_size=len(tokenizer),
            max_position_embeddings=512,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        ),
        image_token_id=specials.index("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 128}, max_image_size={"longest_edge": 32}
    )
    processor = Idefics3Processor(
        images, tokenizer, image_seq_len=4, chat_template=SMOLVLM_TEMPLATE
    )
    return Idefics3ForConditionalGeneration(config), processor


def _paligemma() -> tuple[Any, Any]:
    tokenizer = _gemma_tokenizer(model_max_length=256)
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    processor = PaliGemmaProcessor(images, tokenizer)
    config = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**VISION),
        text_config=GemmaConfig(
            **TEXT,
            **HEADS,
            head_dim=16,
            num_key_value_heads=1,
            vocab_size=len(tokenizer),
            max_position_embeddings=256,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vocab_size=len(tokenizer),
        projection_dim=64,
        hidden_size=64,
    )
    return PaliGemmaForConditionalGeneration(config), processor


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "clip": _clip,
    "dinov2": _dinov2,
    "siglip": _siglip,
    "siglip2": _siglip2,
    "blip": blip,
    "blip-2": blip2,
    "blip-vqa": blip_vqa,
    "git": git,
    "llava": _llava,
    "idefics3": _idefics3,
    "paligemma": _paligemma,
}
