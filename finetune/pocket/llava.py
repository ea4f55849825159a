"""The pocket LLaVA: short answers, by the CLIP tower, a projector and a small Llama.

The tower stays as it is here (`llava_unlock` comes after), so tokens of scenes are computed once
and asked about many times (`pool`). Several questions of one picture share its prefix in training:
each sees the picture and itself only (a block mask with repeated positions), which is what it meets
when asked alone. Only answer tokens are supervised. Knows nothing about how questions are made
(`talk`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from finetune.pocket.drawings import Gallery
from finetune.pocket.easy_vqa import EasyVqa
from finetune.pocket.pool import Pool, contrast, draw_pool
from finetune.pocket.prompt import PATCHES, Packed, pack
from finetune.pocket.talk import Asked, questions
from finetune.pocket.text import CHAT_TEMPLATE, dressed
from finetune.pocket.tower import MEAN, STD
from finetune.pocket.training import MasterAdamW, Progress, load_state, rate, save_state

__all__ = [
    "LlavaSettings",
    "answer_logits",
    "answer_loss",
    "by_kind",
    "exact",
    "make_llava",
    "picture_tokens",
    "save_llava",
    "train_llava",
]

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
    """A LLaVA on the CLIP tower, with a fresh projector and Llama, bfloat16."""
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
    model = LlavaForConditionalGeneration(config).bfloat16()
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


def picture_tokens(
    model: LlavaForConditionalGeneration, pictures: Tensor, *, learn: bool = False
) -> Tensor:
    """What the projector takes, (N, PATCHES, 2 x width), of pictures (N, 3, 64, 64) in 0..1.

    `learn`: whether gradients reach the vision tower.
    """
    with torch.set_grad_enabled(learn and torch.is_grad_enabled()):
        pixels = ((pictures - MEAN) / STD).to(model.dtype)
        out = model.model.vision_tower(pixel_values=pixels, output_hidden_states=True)
        layers = list(model.config.vision_feature_layer)  # type: ignore[arg-type]
        return torch.cat([out.hidden_states[layer] for layer in layers], dim=-1)


def _states(model: LlavaForConditionalGeneration, packed: Packed, tokens: Tensor) -> Tensor:
    """Last states (N, rest of L, width): each says what follows, from the first word on."""
    start, end = _picture_at(model, packed)
    image = model.model.multi_modal_projector(tokens)
    embedded = model.get_input_embeddings()(packed.ids)
    embedded = torch.cat([embedded[:, :start], image, embedded[:, end:]], 1)
    lowest = torch.finfo(embedded.dtype).min
    mask = torch.zeros(packed.mask.shape, dtype=embedded.dtype).masked_fill(~packed.mask, lowest)
    out = model.model.language_model(
        inputs_embeds=embedded, attention_mask=mask, position_ids=packed.positions, use_cache=False
    )
    states: Tensor = out.last_hidden_state[:, end - 1 : -1]
    return states


def answer_logits(model: LlavaForConditionalGeneration, packed: Packed, tokens: Tensor) -> Tensor:
    """Logits float32 (N, rest of L, V) for every token after the picture's `tokens`."""
    logits: Tensor = model.lm_head(_states(model, packed, tokens))
    return logits.float()


def _picture_at(model: LlavaForConditionalGeneration, packed: Packed) -> tuple[int, int]:
    places = (packed.ids[0] == model.config.image_token_id).nonzero()[:, 0]
    return int(places[0]), int(places[-1]) + 1


def answer_loss(model: LlavaForConditionalGeneration, packed: Packed, tokens: Tensor) -> Tensor:
    """Mean cross-entropy of the answers' tokens."""
    states = _states(model, packed, tokens)
    wanted = packed.labels[:, -states.shape[1] :]
    # Few tokens are supervised, and the vocabulary is the widest layer: score only those.
    rows = wanted != -100
    return F.cross_entropy(model.lm_head(states[rows]).float(), wanted[rows])


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
    minutes: float | None = None,
    resume: bool = True,
) -> bool:
    """Train (or go on training) the answerer; deterministic from the seed.

    The projector and the language model learn, the tower stays. Returns whether the last step was
    taken.
    """
    model.eval()
    towers = {id(p) for p in model.model.vision_tower.parameters()}
    learnt = [p for p in model.parameters() if id(p) not in towers]
    optimiser = MasterAdamW([(learnt, 1.0)], lr=settings.lr)
    state = load_state(folder / "llava.pt") if resume else None
    step = 0
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    progress = Progress(folder, "llava", settings.steps, minutes)
    shapes = None if easy is None else _easy_pool(model, easy)
    easy_rows = 0 if easy is None else settings.easy_vqa

    def save() -> None:
        save_state(folder / "llava.pt", {"step": step, "optimiser": optimiser.state_dict()})

    pool, number = None, -1
    while step < settings.steps and not progress.over:
        wanted = step * settings.pools // settings.steps
        if pool is None or wanted != number:
            pool, number = None, wanted  # the old one goes before the new one comes
            pool = draw_pool(
                lambda pictures: picture_tokens(model, pictures), gallery, photos, concepts,
                count=settings.views, single=settings.single, seed=settings.seed + 100 + number,
            )  # fmt: skip
        rng = np.random.default_rng([settings.seed, step, 21])
        kept = settings.kept if step < settings.whole * settings.steps else PATCHES - 1
        rows = rng.integers(0, len(pool.scenes), settings.batch - easy_rows)
        tokens, places = pool.read(rows, kept, rng)
        asked = [questions(gallery, pool.scenes[i], rng, concepts)[: settings.asked] for i in rows]
        if shapes is not None:
            rows = rng.integers(0, len(shapes.tokens), easy_rows)
            more_tokens, more_places = shapes.read(rows, kept, rng)
            tokens, places = torch.cat([tokens, more_tokens]), torch.cat([places, more_places])
            asked += [easy.ask(i, rng, settings.asked) for i in rows] if easy else []
        loss = answer_loss(model, pack(own, asked, places=places), tokens)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(rate(step, settings.steps, warmup=100))
        step += 1
        progress.add(settings.batch, loss=float(loss.detach()))
        if step % 50 == 0 or step == settings.steps:
            more: dict[str, float] = {}
            if step % settings.evaluate_every == 0 or step == settings.steps:
                save()
                if held_out is not None:
                    more |= by_kind(exact(model, own, *held_out))
                if easy is not None:
                    more |= by_kind(exact(model, own, *easy.held_out(200)))
            progress.report(step, **more)
    save()
    return step >= settings.steps


def _easy_pool(model: LlavaForConditionalGeneration, easy: EasyVqa) -> Pool:
    """The training pictures of easy_vqa as a pool; their scenes are not recorded."""
    pictures = easy.training_pictures()
    tokens = [picture_tokens(model, part).bfloat16() for part in pictures.split(256)]
    return Pool(torch.cat(tokens), contrast(pictures), [])


@torch.no_grad()
def exact(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pictures: Tensor,
    asked: list[list[Asked]],
) -> list[tuple[Asked, bool]]:
    """Whether each question's greedy answer is exactly right.

    A greedy answer equals the true one if and only if every true token, given those before it, is
    the likeliest: one forward pass answers all questions.
    """
    rows: list[tuple[Asked, bool]] = []
    for i in range(0, len(pictures), 64):
        part = asked[i : i + 64]
        packed = pack(tokenizer, part)
        logits = answer_logits(model, packed, picture_tokens(model, pictures[i : i + 64]))
        targets = packed.labels[:, -logits.shape[1] :]
        wrong = (logits.argmax(-1) != targets) & (targets != -100)
        block = (packed.labels == tokenizer.eos_token_id)[:, -targets.shape[1] :].cumsum(1)
        ended = block - (targets == tokenizer.eos_token_id).long()
        for r, questions_of_one in enumerate(part):
            for number, row in enumerate(questions_of_one):
                rows.append((row, not bool((wrong[r] & (ended[r] == number)).any())))
    return rows


def by_kind(results: list[tuple[Asked, bool]]) -> dict[str, float]:
    """Share right per kind of question."""
    kinds: dict[str, list[bool]] = {}
    for row, right in results:
        kinds.setdefault(row.kind, []).append(right)
    return {k: sum(v) / len(v) for k, v in sorted(kinds.items())}


def save_llava(model: LlavaForConditionalGeneration, tokenizer: Tokenizer, folder: Path) -> None:
    """Weights, configs, tokenizer, chat template and processor, as on the Hub."""
    folder.mkdir(parents=True, exist_ok=True)
    tower: Any = model.config.vision_config
    tower.name_or_path = ""  # a path of the machine that trains
    model.save_pretrained(folder)
    images = CLIPImageProcessorPil(
        size={"height": 64, "width": 64},
        do_center_crop=False,
        crop_size={"height": 64, "width": 64},
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
    processor = LlavaProcessor(
        images,
        dressed(tokenizer, "llava", LENGTH),
        patch_size=8,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    processor.save_pretrained(folder)
