"""The captioner's last stage: its decoder alone, on picture tokens computed once.

Drawing a scene and running the tower cost far more than a step of the small decoder, so the
tokens of some ten thousand varied views are kept in memory and the decoder sees each of them many
times, every time with other words and other tokens hidden. Knows nothing of the earlier stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BlipForConditionalGeneration, PreTrainedTokenizerFast

from finetune.pocket.blip import caption_batch
from finetune.pocket.drawings import Gallery
from finetune.pocket.talk import caption
from finetune.pocket.tower import normalise
from finetune.pocket.training import MasterAdamW, Progress, rate
from finetune.pocket.world import Scene, chance_for, render_scenes, sample_scenes

__all__ = ["refine_decoder", "scene_tokens"]

_BATCH = 256
_SEEN = 20  # tokens of a picture that a step sees: attention to all 65 takes three times as long
_WHOLE = 0.8  # share of the steps after which all are seen, as when captions are made
_RATE = 6e-4


@torch.no_grad()
def scene_tokens(
    model: BlipForConditionalGeneration,
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    *,
    count: int,
    single: float,
    seed: int,
) -> tuple[Tensor, list[Scene]]:
    """bfloat16 tokens (count, 65, width) of varied pictures of scenes, and the scenes."""
    tokens, scenes = [], []
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        part = sample_scenes(
            gallery, size, concepts=concepts, seed=10_000_000 + seed + start, single=single
        )
        chance = chance_for(seed, start, 21)
        strength = 0.2 + 0.6 * (start % (4 * _BATCH)) / (4 * _BATCH)
        pictures = render_scenes(gallery, part, chance=chance, strength=strength, photos=photos)
        hidden = model.vision_model(pixel_values=normalise(pictures)).last_hidden_state
        tokens.append(hidden.bfloat16())
        scenes += part
    return torch.cat(tokens), scenes


def refine_decoder(
    model: BlipForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    folder: Path,
    *,
    views: int,
    steps: int,
    single: float,
    seed: int = 0,
) -> None:
    """Train the decoder of ``model`` in place, for ``steps`` steps on ``views`` kept pictures.

    A quarter of an hour on two cores, and not resumable: stopped, it begins again.
    """
    model.eval()
    tokens, scenes = scene_tokens(
        model, gallery, photos, concepts, count=views, single=single, seed=seed
    )
    optimiser = MasterAdamW([(model.text_decoder.parameters(), 1.0)], lr=_RATE)
    progress = Progress(folder, "blip refine", steps, None)
    for step in range(steps):
        rng = np.random.default_rng([seed, step, 22])
        rows = rng.integers(0, len(scenes), _BATCH)
        ids, mask, labels = caption_batch(
            tokenizer, [caption(gallery, scenes[i], rng) for i in rows]
        )
        shown = tokens[torch.from_numpy(rows)]
        if step < _WHOLE * steps:
            # The class token, and a random choice of the patches of each picture.
            order = rng.random((_BATCH, tokens.shape[1]))
            order[:, 0] = -1.0
            chosen = torch.from_numpy(np.argpartition(order, _SEEN, axis=1)[:, :_SEEN])
            shown = shown.gather(1, chosen[:, :, None].expand(-1, -1, shown.shape[2]))
        out = model.text_decoder(input_ids=ids, attention_mask=mask, encoder_hidden_states=shown)
        loss = F.cross_entropy(
            out.logits[:, :-1].float().transpose(1, 2), labels[:, 1:], ignore_index=-100
        )
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(rate(step, steps, warmup=100))
        progress.add(_BATCH, loss=float(loss.detach()))
        if (step + 1) % 100 == 0:
            progress.report(step + 1)
