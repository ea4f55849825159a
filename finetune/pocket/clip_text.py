"""The pocket CLIP's text tower: every name, alias and tag against what the vision tower sees.

The vision tower is locked: its embeddings of some tens of thousands of views are computed once,
then a step costs only text. Also assembles and saves the whole `CLIPModel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPVisionModelWithProjection,
    PreTrainedTokenizerFast,
)

from finetune.pocket.drawings import MAIN_GROUPS, Gallery
from finetune.pocket.evaluate import HeldOut, rank_names
from finetune.pocket.pool import views_of
from finetune.pocket.text import (
    dressed,
    meanings,
    nameable,
    named_concepts,
    names_of,
    prompts,
    write_vocabulary,
)
from finetune.pocket.tower import (
    computing,
    embed_pictures,
    image_processor,
    normalise,
    save_weights,
)
from finetune.pocket.training import Clock, Learnt, MasterAdamW, Stage

__all__ = [
    "TextSettings",
    "assemble",
    "name_ranks",
    "name_shares",
    "save_clip",
    "text_embeddings",
    "train_text",
]

LENGTH = 32
"""Longest text in tokens."""


@dataclass(frozen=True)
class TextSettings:
    """Settings of stage `text` (settings.yaml, `clip.text`)."""

    steps: int = 800
    lr: float = 1e-3
    views: int = 8
    """Varied views per drawing whose embeddings are cached."""
    names: int = 360
    """Concepts a step: a name and a cached picture of each, told apart from all the others."""
    texts: int = 320
    """Names and tags a step pulled towards the mean of what they name."""
    evaluate_every: int = 300
    scale: float = 20.0
    """The model's logit scale (exponentiated)."""
    layers: int = 3
    width: int = 192
    heads: int = 3
    seed: int = 0


def assemble(tower: CLIPVisionModelWithProjection, vocab: int, settings: TextSettings) -> CLIPModel:
    """A `CLIPModel` with the trained vision tower and a fresh text tower."""
    torch.manual_seed(settings.seed)
    text = CLIPTextConfig(
        vocab_size=vocab,
        hidden_size=settings.width,
        intermediate_size=settings.width * 4,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=LENGTH,
        hidden_act="gelu",
        projection_dim=tower.config.projection_dim,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=3,
    )
    config = CLIPConfig(
        text_config=text.to_dict(),
        vision_config=tower.config.to_dict(),
        projection_dim=tower.config.projection_dim,
    )
    model = computing(CLIPModel(config))
    model.set_attn_implementation("eager")
    model.vision_model.load_state_dict(tower.vision_model.state_dict())
    model.visual_projection.load_state_dict(tower.visual_projection.state_dict())
    with torch.no_grad():
        model.logit_scale.fill_(float(np.log(settings.scale)))
        nn.init.normal_(model.text_projection.weight, std=settings.width**-0.5)
    return model


def text_embeddings(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> Tensor:
    """Unit embeddings float32 (N, E) of texts, with gradient if enabled."""
    batch = tokenizer(texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
    out = model.get_text_features(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    )
    return F.normalize(out.pooler_output.float(), dim=-1)


def train_text(
    tower: CLIPVisionModelWithProjection,
    directions: Tensor,
    gallery: Gallery,
    photos: Tensor,
    tokenizer: Tokenizer,
    folder: Path,
    settings: TextSettings,
    *,
    held_out: HeldOut | None = None,
    clock: Clock | None = None,
    resume: bool = True,
) -> tuple[CLIPModel, bool]:
    """Train the text tower against cached views and the learnt `directions` (concepts, E).

    Returns the model and whether its last step was taken.
    """
    own = dressed(tokenizer, "clip", LENGTH)
    model = assemble(tower, len(own), settings)
    trained = [*model.text_model.parameters(), *model.text_projection.parameters()]
    stage = Stage(
        folder / "text.pt", "clip text", MasterAdamW([(trained, 1.0)], lr=settings.lr),
        settings.steps, warmup=50, clock=clock, resume=resume,
    )  # fmt: skip
    if stage.done:
        return model, True
    things = nameable(gallery)
    pictures, owners = views_of(
        lambda shown: embed_pictures(tower, shown), gallery, photos, things,
        views=settings.views, seed=settings.seed + 50,
    )  # fmt: skip
    means = torch.zeros_like(directions).index_add_(0, owners, pictures)
    goals = F.normalize(F.normalize(means, dim=-1) + F.normalize(directions, dim=-1), dim=-1)
    shown = {i: (owners == i).nonzero()[:, 0].tolist() for i in things}
    meant = meanings(gallery)
    texts = list(meant)
    text_goals = F.normalize(torch.stack([goals[meant[t]].mean(0) for t in texts]), dim=-1)

    def learn(step: int) -> Learnt:
        rng = np.random.default_rng([settings.seed, step, 5])
        chosen = rng.integers(0, len(texts), settings.texts)
        few = rng.choice(things, min(settings.names, len(things)), replace=False)
        own_names = [str(rng.choice(names_of(gallery, int(i))[:4])) for i in few]
        asked = own_names + [texts[i] for i in chosen]
        written = [prompts(t, rng)[0] if rng.random() < 0.6 else t for t in asked]
        embedded = text_embeddings(model, own, written)
        names, others = embedded[: len(few)], embedded[len(few) :]
        batch = torch.tensor([int(rng.choice(shown[int(i)])) for i in few])
        logits = settings.scale * pictures[batch] @ names.T
        naming = F.cross_entropy(logits, torch.arange(len(few)))
        pull = (1 - (others * text_goals[chosen]).sum(-1)).mean()
        pull = pull + (1 - (names * goals[few]).sum(-1)).mean()
        return naming * 0.5 + 2 * pull, len(few), {"naming": naming, "pull": pull}

    def evaluate() -> dict[str, float]:
        return {} if held_out is None else name_shares(model, own, gallery, held_out)

    return model, stage.train(learn, every=settings.evaluate_every, evaluate=evaluate)


def name_shares(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, gallery: Gallery, held_out: HeldOut
) -> dict[str, float]:
    """Share of held-out drawings whose name is the first, or among the first five."""
    ranks = name_ranks(model, tokenizer, gallery, held_out)
    return {"name1": float((ranks < 1).mean()), "name5": float((ranks < 5).mean())}


@torch.no_grad()
def name_ranks(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, gallery: Gallery, held_out: HeldOut
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rank of the right name among the named concepts for each held-out drawing that has one."""
    offered = [i for i in named_concepts(gallery) if gallery.concepts[i].group in MAIN_GROUPS]
    names = [names_of(gallery, i)[0] for i in offered]
    embedded = sum(
        text_embeddings(model, tokenizer, [t.format(n) for n in names])
        for t in ("{}", "a picture of a {}", "a drawing of a {}")
    )
    assert isinstance(embedded, Tensor)
    ids = [gallery.concepts[i].id for i in offered]
    rows = [r for r, c in enumerate(held_out.concepts) if c.id in ids]
    spoken: dict[str, set[int]] = {}
    for position, name in enumerate(names):
        spoken.setdefault(name, set()).add(position)
    correct = [spoken[held_out.concepts[r].name] for r in rows]

    def features(pictures: Tensor) -> Tensor:
        out = model.get_image_features(pixel_values=normalise(pictures))
        return F.normalize(out.pooler_output.float(), dim=-1)

    pictures = torch.cat([features(p) for p in held_out.asked[rows].split(128)])
    return rank_names(pictures, F.normalize(embedded, dim=-1), correct)


def save_clip(model: CLIPModel, tokenizer: Tokenizer, gallery: Gallery, folder: Path) -> None:
    """Weights, configs, tokenizer, processor and vocabulary.json, as on the Hub."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(model, folder)
    CLIPProcessor(image_processor(), dressed(tokenizer, "clip", LENGTH)).save_pretrained(folder)
    write_vocabulary(gallery, folder / "vocabulary.json")
