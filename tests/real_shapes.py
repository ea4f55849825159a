"""The shapes of the models that strategies name, as their repositories give them.

Built on the meta device they have every layer by its name and size, and take no memory.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    Blip2Config,
    BlipConfig,
    CLIPConfig,
    Idefics2Config,
    Idefics3Config,
    Lfm2VlConfig,
    LlavaConfig,
    PaliGemmaConfig,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
)

from finetune.data import Row
from finetune.data.table import DESCRIBE
from finetune.learners.speaking import Speaker
from finetune.methods import _part
from finetune.planning.answerer import forecast_of
from finetune.planning.pairs import of_speaker
from finetune.settings.schema import Settings
from tests.tiny_models import BUILDERS
from tools.models.captioner import TransformersCaptioner
from tools.models.hardware import Hardware
from tools.models.sources import Located

__all__ = [
    "CONFIGS",
    "SIGHT",
    "Takes",
    "new_skeleton",
    "parts_of",
    "save_blip_2",
    "save_blip_base",
    "save_clip_b32",
    "save_smolvlm_256m",
    "skeleton",
    "smolvlm_256m",
    "taken_by",
]

_WORDS, _ANSWER = 40, 8  # tokens of a question and its answer, and of the answer

_SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
_QWEN_EYES = {"depth": 32, "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2}


def _llama(vocab: int, hidden: int, inner: int, layers: int, heads: int, kv: int) -> dict[str, Any]:
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": hidden // heads,
        "max_position_embeddings": 8192,
    }


def smolvlm_256m() -> Idefics3Config:
    """SmolVLM-256M-Instruct, which is an Idefics3."""
    return _smolvlm(
        _llama(49280, 576, 1536, 30, 9, 3),
        {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "patch_size": 16},
        side=512,
        scale=4,
    )


def _smolvlm(
    text: dict[str, Any], vision: dict[str, Any], *, side: int, scale: int
) -> Idefics3Config:
    return Idefics3Config(
        text_config={"model_type": "llama", "pad_token_id": 2, **text},
        vision_config={"num_attention_heads": 12, **vision, "image_size": side},
        scale_factor=scale,
        image_token_id=49190,
        pad_token_id=2,
        tie_word_embeddings=False,
    )


CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "openai/clip-vit-base-patch32": CLIPConfig,
    "llava-hf/llava-1.5-7b-hf": lambda: LlavaConfig(
        text_config=_llama(32064, 4096, 11008, 32, 32, 32)
    ),
    "HuggingFaceTB/SmolVLM-256M-Instruct": smolvlm_256m,
    "HuggingFaceTB/SmolVLM-500M-Instruct": lambda: _smolvlm(
        _llama(49280, 960, 2560, 32, 15, 5),
        {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "patch_size": 16},
        side=512,
        scale=4,
    ),
    "HuggingFaceTB/SmolVLM-Instruct": lambda: _smolvlm(
        _llama(49155, 2048, 8192, 24, 32, 32), _SO400M, side=384, scale=3
    ),
    "Qwen/Qwen2-VL-2B-Instruct": lambda: Qwen2VLConfig(
        text_config={**_llama(151936, 1536, 8960, 28, 12, 2), "tie_word_embeddings": True},
        vision_config={**_QWEN_EYES, "embed_dim": 1280, "hidden_size": 1536, "mlp_ratio": 4},
        tie_word_embeddings=True,
    ),
    "Qwen/Qwen2.5-VL-3B-Instruct": lambda: Qwen2_5_VLConfig(
        text_config={**_llama(151936, 2048, 11008, 36, 16, 2), "tie_word_embeddings": True},
        vision_config={
            **_QWEN_EYES,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "out_hidden_size": 2048,
        },
        tie_word_embeddings=True,
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": lambda: Qwen2_5_VLConfig(
        text_config=_llama(152064, 3584, 18944, 28, 28, 4),
        vision_config={
            **_QWEN_EYES,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "out_hidden_size": 3584,
        },
        tie_word_embeddings=False,
    ),
    "google/paligemma-3b-mix-224": lambda: PaliGemmaConfig(
        text_config={
            **_llama(257216, 2048, 16384, 18, 8, 1),
            "model_type": "gemma",
            "head_dim": 256,
        },
        vision_config={**_SO400M, "image_size": 224, "vision_use_head": False},
        projection_dim=2048,
    ),
    "LiquidAI/LFM2-VL-450M": lambda: Lfm2VlConfig(
        text_config={
            "model_type": "lfm2",
            "hidden_size": 1024,
            "block_ff_dim": 6656,
            "intermediate_size": 6656,
            "num_hidden_layers": 16,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "full_attn_idxs": [2, 5, 8, 10, 12, 14],
            "vocab_size": 65536,
            "tie_word_embeddings": True,
        },
        vision_config={
            "model_type": "siglip2_vision_model",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "patch_size": 16,
            "vision_use_head": False,
        },
        tie_word_embeddings=True,
    ),
    "HuggingFaceM4/idefics2-8b": lambda: Idefics2Config(
        vision_config={**_SO400M, "model_type": "idefics2_vision", "image_size": 980},
        text_config={"model_type": "mistral", **_llama(32003, 4096, 14336, 32, 32, 8)},
        tie_word_embeddings=False,
    ),
    "Salesforce/blip2-opt-2.7b": lambda: Blip2Config(
        text_config={
            "model_type": "opt",
            "hidden_size": 2560,
            "word_embed_proj_dim": 2560,
            "ffn_dim": 10240,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "vocab_size": 50304,
        },
        image_token_index=50265,
    ),
    "Salesforce/blip-image-captioning-base": BlipConfig,
}
"""Hub id → its configuration."""

SIGHT = {
    "openai/clip-vit-base-patch32": (224, 0),
    "llava-hf/llava-1.5-7b-hf": (336, 576),
    "HuggingFaceTB/SmolVLM-256M-Instruct": (512, 64),
    "HuggingFaceTB/SmolVLM-500M-Instruct": (512, 64),
    "HuggingFaceTB/SmolVLM-Instruct": (384, 81),
    "Qwen/Qwen2-VL-2B-Instruct": (448, 256),
    "Qwen/Qwen2.5-VL-3B-Instruct": (448, 256),
    "Qwen/Qwen2.5-VL-7B-Instruct": (448, 256),
    "google/paligemma-3b-mix-224": (224, 256),
    "LiquidAI/LFM2-VL-450M": (512, 256),
    "HuggingFaceM4/idefics2-8b": (980, 64),
    "Salesforce/blip2-opt-2.7b": (224, 32),
    "Salesforce/blip-image-captioning-base": (384, 0),
}
"""Hub id → the side in pixels of a picture as we show it, and the tokens it takes.

Models that see any size are counted at 448 or 512 pixels.
"""


@cache
def skeleton(source: str) -> Any:
    """The model of that Hub id on the meta device; not to be changed."""
    return new_skeleton(source)


def new_skeleton(source: str) -> Any:
    """The same, made anew."""
    config = CONFIGS[source]()
    auto = AutoModel if config.model_type == "clip" else AutoModelForImageTextToText
    with torch.device("meta"):
        return auto.from_config(config)


def save_smolvlm_256m(folder: Path) -> Path:
    """A model of SmolVLM-256M's shape with random weights in ``folder``, and its processor.

    The words of its tokenizer are single bytes; a picture is one tile of 64 tokens, as in the real
    one.
    """
    config = smolvlm_256m()
    _, processor = BUILDERS["idefics3"]()
    side = config.vision_config.image_size
    processor.image_processor.size = {"longest_edge": 4 * side}
    processor.image_processor.max_image_size = {"longest_edge": side}
    processor.image_seq_len = (side // config.vision_config.patch_size // config.scale_factor) ** 2
    config.image_token_id = processor.tokenizer.convert_tokens_to_ids("<image>")
    return _saved(AutoModelForImageTextToText, config, processor, folder, torch.bfloat16)


def save_clip_b32(folder: Path, config: CLIPConfig | None = None) -> Path:
    """The same of CLIP ViT-B/32, or of a CLIP with another ``config``."""
    config, (tiny, processor) = config or CLIPConfig(), BUILDERS["clip"]()
    side, text = config.vision_config.image_size, config.text_config
    processor.image_processor.size = {"shortest_edge": side}
    processor.image_processor.crop_size = {"height": side, "width": side}
    processor.tokenizer.model_max_length = text.max_position_embeddings
    text.bos_token_id = tiny.config.text_config.bos_token_id
    text.eos_token_id = tiny.config.text_config.eos_token_id
    return _saved(AutoModel, config, processor, folder, torch.float32)


def save_blip_base(folder: Path, config: BlipConfig | None = None) -> Path:
    """The same of BLIP's captioner base, which sees 384 pixels, or of another ``config``."""
    config, (tiny, processor) = config or BlipConfig(), BUILDERS["blip"]()
    side = config.vision_config.image_size
    processor.image_processor.size = {"height": side, "width": side}
    for name in ("bos_token_id", "sep_token_id", "eos_token_id", "pad_token_id"):
        setattr(config.text_config, name, getattr(tiny.config.text_config, name))
    return _saved(AutoModelForImageTextToText, config, processor, folder, torch.float32)


def save_blip_2(folder: Path, config: Blip2Config) -> Path:
    """The same of a BLIP-2 with an OPT, of ``config``."""
    tiny, processor = BUILDERS["blip-2"]()
    side = config.vision_config.image_size
    processor.image_processor.size = {"height": side, "width": side}
    processor.num_query_tokens = config.num_query_tokens
    config.image_token_index = tiny.config.image_token_index
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config.text_config, name, getattr(tiny.config.text_config, name))
    return _saved(AutoModelForImageTextToText, config, processor, folder, torch.float32)


def _saved(auto: Any, config: Any, processor: Any, folder: Path, dtype: torch.dtype) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        auto.from_config(config, dtype=dtype).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


class Takes(NamedTuple):
    """What a strategy takes: GB of memory and of downloads, 10¹² operations a picture and pass."""

    memory_gb: float
    download_gb: float
    teraflops: float


def taken_by(settings: Settings, folder: Path) -> Takes:
    """What ``settings`` of a model of the Hub take, from its shape; ``folder``: an empty one.

    Activations are recomputed where it does not fit into the GPU that they say they need.
    """
    plain = _taken(settings, folder, recomputed=False)
    fits = not settings.needs_gpu_gb or plain.memory_gb <= settings.needs_gpu_gb
    return plain if fits else _taken(settings, folder, recomputed=True)


def _taken(settings: Settings, folder: Path, *, recomputed: bool) -> Takes:
    """In bfloat16 on a GPU where they need one, else in float32 on a CPU. A pass is forward and
    back through the language model (twice the forward's work, or a half of that where most of it
    is frozen), and forward through the vision tower.
    """
    source = settings.base_model
    side, picture = SIGHT[source]
    model = new_skeleton(source)
    everything = sum(p.numel() for p in model.parameters())
    tokens = picture + _WORDS
    patches = (side // _patch(model)) ** 2
    on_gpu = bool(settings.needs_gpu_gb)
    hardware = Hardware(*(("cuda", "bfloat16") if on_gpu else ("cpu", "float32")), "")
    embedded = sum(p.numel() for n, p in model.named_parameters() if "embed_tokens" in n)
    sight = parts_of(model)["vision tower"]
    words = everything - sight - embedded
    passes = 2 + recomputed
    work = 2 * sight * patches + passes * 2 * words * tokens
    if settings.role != "answerer" or settings.uses_embedder:
        learns = settings.role != "answerer"
        work = 2 * sight * patches * (3 if settings.role == "embedder" else 1)
        work += passes * 2 * words * _WORDS * learns
        # Not rehearsed: the weights, the file they are read from, 50 MB a picture of a batch.
        memory = 0.65 + 2 * 4 * everything / 1e9 + 0.05 * settings.training.batch * learns
        if model.config.model_type == "blip-2":
            work = 2 * sight * patches + passes * 2 * words * tokens
            memory = _of_blip_2(model, settings, hardware, folder, recomputed=recomputed)
    else:
        model.config.save_pretrained(folder)
        vlm: Any = SimpleNamespace(
            model=model, hardware=hardware, located=Located(source, source, folder, ()), packed=None
        )
        packed = settings.speed.model_copy(update={"dequantise": False})
        training = settings.training.model_copy(update={"checkpointing": recomputed})
        settings = settings.model_copy(update={"speed": packed, "training": training})
        found = forecast_of(vlm, settings, tokens=tokens, answer=_ANSWER, pixels=3 * side**2)
        memory = found.peak / 1e9
    return Takes(memory, 2 * everything / 1e9, work / 1e12)


def _of_blip_2(
    model: Any, settings: Settings, hardware: Hardware, folder: Path, *, recomputed: bool
) -> float:
    """GB, with captions of half as many tokens as questions and answers have."""
    model.config.save_pretrained(folder)
    source = settings.base_model
    located = Located(source, source, folder, ())
    processor = BUILDERS["blip-2"]()[1]
    side = SIGHT[source][0]
    processor.image_processor.size = {"height": side, "width": side}
    captioner = TransformersCaptioner(located, model.to(hardware.torch_dtype), processor)
    text = model.config.text_config
    places = (model.config.image_token_id,) * model.config.num_query_tokens
    before, longest = (*places, text.bos_token_id), text.max_position_embeddings
    speaker = Speaker(located, hardware, captioner, before, text.eos_token_id, 1, longest, "nf4")
    packed = settings.speed.model_copy(update={"dequantise": False})
    training = settings.training.model_copy(update={"checkpointing": recomputed})
    settings = settings.model_copy(update={"speed": packed, "training": training})
    row = Row(folder / "a.png", None, DESCRIBE, "w" * (_WORDS // 2), photo_id="a")
    return of_speaker(speaker, settings, [row]).peak / 1e9


def parts_of(model: Any) -> dict[str, int]:
    """How many weights each part of a model has."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        counts[_part(name)] = counts.get(_part(name), 0) + parameter.numel()
    return counts


def _patch(model: Any) -> int:
    return int(model.config.vision_config.patch_size)
