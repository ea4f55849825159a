"""The pocket LLaVA: short answers, by the CLIP tower, a projector and a small Llama.

The tower stays as it is here (`llava_unlock` comes after), so tokens of scenes are computed once
and asked about many times (`pool`). Knows nothing about how questions are made (`talk`) or how they
are answered (`answering`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from finetune.pocket.answering import (
    answer_loss,
    by_kind,
    exact,
    picture_tokens,
    split_tower,
)
from finetune.pocket.drawings import Gallery
from finetune.pocket.easy_vqa import EasyVqa
from finetune.pocket.pool import Pool, Pools, contrast
from finetune.pocket.prompt import PATCHES, pack
from finetune.pocket.talk import Asked, questions
from finetune.pocket.text import CHAT_TEMPLATE, dressed
from finetune.pocket.tower import ALL_PATCHES, computing, image_processor, save_weights
from finetune.pocket.training import Clock, Learnt, MasterAdamW, Stage

__all__ = ["LlavaSettings", "answered", "make_llava", "save_llava", "train_llava"]

LENGTH = 512


@dataclass(frozen=True)
class LlavaSettings:
    """Settings of the answerer (settings.yaml, `llava`)."""

    steps: int = 1800
    batch: int = 96
    """Pictures a step, those of easy_vqa included."""
    easy_vqa: int = 16
    """Pictures of easy_vqa among them."""
    asked: int = 5
    """Questions per picture."""
    lr: float = 1.2e-3
    pools: int = 4
    """Pools of scenes, drawn one after the other."""
    views: int = 8192
    """Scenes in each."""
    single: float = 0.4
    """Share of scenes with one thing."""
    kept: int = 32
    """Patches that a step sees of each picture."""
    whole: float = 0.85
    """From this share of the steps on it sees all, as in use."""
    layers: int = 4
    width: int = 192
    heads: int = 3
    evaluate_every: int = 300
    seed: int = 0


def make_llava(
    tower: CLIPVisionModelWithProjection,
    tokenizer: PreTrainedTokenizerFast,
    settings: LlavaSettings,
) -> LlavaForConditionalGeneration:
    """A LLaVA on the CLIP tower, with a fresh projector and Llama."""
    torch.manual_seed(settings.seed)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=int(settings.width * 8 / 3) // 64 * 64,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=LENGTH,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=3,
        tie_word_embeddings=True,
    )
    vision = {k: v for k, v in tower.config.to_dict().items() if k != "architectures"}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision),
        text_config=text,
        image_token_index=int(tokenizer.vocab["<image>"]),
        projector_hidden_act="gelu",
        # The class token says what, the patches of the layer it looked at say where: both are kept.
        vision_feature_select_strategy="full",
        vision_feature_layer=[-2, -1],
        image_seq_length=PATCHES,
        tie_word_embeddings=True,
    )
    model = computing(LlavaForConditionalGeneration(config))
    model.set_attn_implementation("eager")
    _tower_of(model).load_state_dict(tower.vision_model.state_dict(), strict=False)
    model.generation_config.update(
        bos_token_id=2, eos_token_id=3, pad_token_id=1, max_new_tokens=24, do_sample=False
    )
    return model


def _tower_of(model: LlavaForConditionalGeneration) -> torch.nn.Module:
    tower = model.model.vision_tower
    inner: torch.nn.Module = getattr(tower, "vision_model", tower)
    return inner


def train_llava(
    model: LlavaForConditionalGeneration,
    own: PreTrainedTokenizerFast,
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    folder: Path,
    settings: LlavaSettings,
    *,
    easy: EasyVqa | None = None,
    held_out: tuple[Tensor, list[list[Asked]]] | None = None,
    clock: Clock | None = None,
    resume: bool = True,
) -> bool:
    """Train (or go on training) projector and language model; whether the last step was taken."""
    model.eval()
    s = settings
    _, learnt = split_tower(model)
    stage = Stage(
        folder / "llava.pt", "llava", MasterAdamW([(learnt, 1.0)], lr=s.lr), s.steps, warmup=100,
        clock=clock, resume=resume,
    )  # fmt: skip
    if stage.done:
        return True
    shapes = None if easy is None else _easy_pool(model, easy)
    easy_rows = 0 if easy is None else s.easy_vqa
    pools = Pools(
        lambda pictures: picture_tokens(model, pictures), gallery, photos, concepts,
        pools=s.pools, steps=s.steps, count=s.views, single=s.single, seed=s.seed + 100,
    )  # fmt: skip

    def learn(step: int) -> Learnt:
        pool, rng = pools.at(step), np.random.default_rng([s.seed, step, 21])
        kept = s.kept if step < s.whole * s.steps else ALL_PATCHES
        rows = rng.integers(0, len(pool.scenes), s.batch - easy_rows)
        tokens, places = pool.read(rows, kept, rng)
        asked = [questions(gallery, pool.scenes[i], rng, concepts)[: s.asked] for i in rows]
        if easy is not None and shapes is not None:
            rows = rng.integers(0, len(shapes.tokens), easy_rows)
            more_tokens, more_places = shapes.read(rows, kept, rng)
            tokens, places = torch.cat([tokens, more_tokens]), torch.cat([places, more_places])
            asked += [easy.ask(i, rng, s.asked) for i in rows]
        return answer_loss(model, pack(own, asked, places=places), tokens), s.batch, {}

    return stage.train(
        learn, every=s.evaluate_every, evaluate=lambda: answered(model, own, easy, held_out)
    )


def answered(
    model: LlavaForConditionalGeneration,
    own: PreTrainedTokenizerFast,
    easy: EasyVqa | None,
    held_out: tuple[Tensor, list[list[Asked]]] | None,
) -> dict[str, float]:
    """Held-out share right per kind of question; those of easy_vqa where it is there."""
    results = by_kind(exact(model, own, *held_out)) if held_out else {}
    return results | (by_kind(exact(model, own, *easy.held_out(200))) if easy else {})


def _easy_pool(model: LlavaForConditionalGeneration, easy: EasyVqa) -> Pool:
    """The training pictures of easy_vqa as a pool; their scenes are not recorded."""
    pictures = easy.training_pictures()
    tokens = [picture_tokens(model, part) for part in pictures.split(256)]
    return Pool(torch.cat(tokens), contrast(pictures), [])


def save_llava(
    model: LlavaForConditionalGeneration,
    tokenizer: Tokenizer,
    words: Sequence[str],
    folder: Path,
) -> None:
    """Weights, configs, tokenizer, chat template and processor, as on the Hub; and ``words.txt``:
    those it was asked in."""
    folder.mkdir(parents=True, exist_ok=True)
    tower: Any = model.config.vision_config
    tower.name_or_path = ""  # a path of the machine that trains
    save_weights(model, folder)
    processor = LlavaProcessor(
        image_processor(),
        dressed(tokenizer, "llava", LENGTH),
        patch_size=8,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    processor.save_pretrained(folder)
    (folder / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
