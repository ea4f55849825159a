"""The pocket CLIP's last stage: both towers learn on, at a low rate, and patches learn to name.

The losses that taught the vision tower stay (`clip.vision_loss`), so nothing is forgotten; its
names are now those that the text tower writes. Scenes of one to four things teach every patch what
it belongs to and in which colour, which is what a captioner and an answerer read: they start from
the unlocked tower. The embedder becomes the mean of its weights before and after, which keeps the
names of the one and the likeness of the other (Wortsman et al., CVPR 2022, WiSE-FT). Knows nothing
about sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CLIPModel, CLIPVisionModelWithProjection, PreTrainedTokenizerFast

from finetune.pocket.clip import Batches, VisionSettings, measure, vision_loss
from finetune.pocket.clip_text import LENGTH, name_shares, text_embeddings
from finetune.pocket.drawings import Gallery
from finetune.pocket.evaluate import HeldOut
from finetune.pocket.teacher import Targets
from finetune.pocket.text import dressed, meanings, nameable, names_of, prompts
from finetune.pocket.tower import ALL_PATCHES, normalise, tokens_kept
from finetune.pocket.training import Clock, Learnt, MasterAdamW, Stage
from finetune.pocket.world import Scene, chance_for, draw_scenes, sample_scenes
from tools.colours import COLOURS

__all__ = ["PatchLabels", "UnlockSettings", "patch_labels", "train_unlocked"]

_PATCH = 8
_COLOURS = list(COLOURS)


@dataclass(frozen=True)
class UnlockSettings:
    """Settings of stage `unlock` (settings.yaml, `clip.unlock`)."""

    steps: int = 640
    """0 leaves the towers as the earlier stages made them."""
    lr: float = 3e-4
    """The vision tower's learning rate."""
    text_rate: float = 0.7
    """The text tower's, as a factor on it."""
    drawings: int = 128
    photos: int = 96
    characters: int = 64
    others: int = 16
    scenes: int = 128
    """Scenes a step, beside the single pictures above."""
    single: float = 0.25
    """Share of scenes with one thing."""
    kept: int = 36
    """Patches seen of a picture, until `whole` of the steps are done."""
    whole: float = 0.8
    names: int = 128
    """Names a step that the text tower writes anew; the others are at most `refresh` steps old."""
    tags: int = 64
    """Names and tags a step pulled towards the mean of what they name."""
    refresh: int = 40
    after: float = 0.5
    """Weight of the unlocked weights in the embedder; the rest is what they were before."""
    scale: float = 20.0
    patches_weight: float = 0.4
    """Weight of naming by patches, and by the class token of a scene."""
    colours_weight: float = 0.2
    evaluate_every: int = 160
    seed: int = 0


@dataclass(frozen=True)
class PatchLabels:
    """What each patch (N, 64) shows: `concept`, the number of concepts for nothing, -1 unclear.

    `colour`: index into COLOURS, -1 where none can be named. `present` (N, concepts): shares of
    the scene's concepts that sum to one.
    """

    concept: Tensor
    colour: Tensor
    present: Tensor


def patch_labels(scenes: Sequence[Scene], owners: Tensor, concepts: int) -> PatchLabels:
    """Labels from whose each pixel is (`world.draw_scenes`, (N, 64, 64))."""
    most = max(len(s.things) for s in scenes)
    shares = torch.stack([(owners == slot).float() for slot in range(-1, most)], 1)
    shares = F.avg_pool2d(shares, _PATCH).flatten(2)
    number = torch.full((len(scenes), most + 1), -1)
    colour = torch.full((len(scenes), most + 1), -1)
    present = torch.zeros(len(scenes), concepts)
    for i, scene in enumerate(scenes):
        number[i, 0] = concepts
        colour[i, 0] = _COLOURS.index(scene.background) if scene.background else -1
        for slot, thing in enumerate(scene.things, 1):
            number[i, slot] = thing.concept
            colour[i, slot] = _COLOURS.index(thing.colour) if thing.colour else -1
            present[i, thing.concept] = 1
    share, best = shares[:, 1:].max(1)
    best = torch.where(share > 0.3, best + 1, 0)
    unclear = (share > 0.05) & (share <= 0.3)
    return PatchLabels(
        number.gather(1, best).masked_fill(unclear, -1),
        colour.gather(1, best).masked_fill(unclear, -1),
        present / present.sum(1, keepdim=True),
    )


class _Words:
    """The text tower's embeddings of all names, some of them written anew at each step."""

    def __init__(
        self,
        model: CLIPModel,
        own: PreTrainedTokenizerFast,
        gallery: Gallery,
        settings: UnlockSettings,
    ) -> None:
        self._model, self._own, self._gallery, self._settings = model, own, gallery, settings
        self._named = torch.tensor(nameable(gallery))
        self.all = torch.zeros(len(gallery.concepts), model.text_projection.out_features)
        self._meant = meanings(gallery)
        self._texts = list(self._meant)

    @torch.no_grad()
    def refresh(self) -> None:
        """Write every name."""
        names = [names_of(self._gallery, int(i))[0] for i in self._named]
        rows = [text_embeddings(self._model, self._own, names[i : i + 256])
                for i in range(0, len(names), 256)]  # fmt: skip
        self.all[self._named] = torch.cat(rows)

    def now(self, shown: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Directions (concepts, E), those of `shown` with gradient; and the loss of the tags."""
        s = self._settings
        few = shown[torch.from_numpy(rng.permutation(len(shown))[: s.names])]
        names = [str(rng.choice(names_of(self._gallery, int(i))[:4])) for i in few]
        tags = [self._texts[i] for i in rng.integers(0, len(self._texts), s.tags)]
        written = [prompts(t, rng)[0] if rng.random() < 0.6 else t for t in (*names, *tags)]
        made = text_embeddings(self._model, self._own, written)
        goals = torch.stack([self.all[self._meant[t]].mean(0) for t in tags])
        pull = (1 - (made[len(few) :] * F.normalize(goals, dim=-1)).sum(-1)).mean()
        return self.all.index_put((few,), made[: len(few)]), pull


def train_unlocked(
    tower: CLIPVisionModelWithProjection,
    model: CLIPModel,
    gallery: Gallery,
    targets: Targets,
    tokenizer: Tokenizer,
    concepts: Sequence[int],
    folder: Path,
    vision: VisionSettings,
    settings: UnlockSettings,
    *,
    held_out: HeldOut | None = None,
    held_out_scenes: tuple[Gallery, list[Scene]] | None = None,
    data: Path | None = None,
    clock: Clock | None = None,
    resume: bool = True,
) -> bool:
    """Train (or go on training) `tower` and the text tower of `model`, in place.

    Scenes are made of `concepts`. The model becomes the mean of what it was and what the towers
    are at the end. Returns whether the last step was taken.
    """
    own = dressed(tokenizer, "clip", LENGTH)
    s = settings
    before = {k: v.clone() for k, v in model.state_dict().items()}
    singles = replace(
        vision, drawings=s.drawings, photos=s.photos, characters=s.characters, others=s.others,
        phase_in=0.0, steps=max(1, s.steps), seed=s.seed + 1,
    )  # fmt: skip
    batches = Batches(gallery, targets, singles)
    words = _Words(model, own, gallery, s)
    nothing = nn.Parameter(
        torch.randn(1, words.all.shape[1], generator=chance_for(s.seed, 41)) * 0.05
    )
    colours = nn.Parameter(torch.zeros(len(COLOURS), tower.config.hidden_size))
    texts = [*model.text_model.parameters(), *model.text_projection.parameters()]
    optimiser = MasterAdamW(
        [(tower.parameters(), 1.0), (texts, s.text_rate), ([nothing, colours], 3.0)], lr=s.lr
    )
    scale = torch.tensor(float(np.log(s.scale)))

    def learn(step: int) -> Learnt:
        if step % s.refresh == 0:
            words.refresh()
        kept = s.kept if step < s.whole * s.steps else ALL_PATCHES
        rng = np.random.default_rng([s.seed, step, 42])
        batch = batches.draw(step)
        scenes = sample_scenes(
            gallery, s.scenes, concepts=concepts, seed=step + 2_000_000, single=s.single
        )
        drawn, owners = draw_scenes(
            gallery, scenes, chance=chance_for(s.seed, step, 43), strength=0.7,
            photos=batches.photos,
        )  # fmt: skip
        labels = patch_labels(scenes, owners, len(gallery.concepts))
        torch.manual_seed(step)  # which patches are kept
        tokens, seen = tokens_kept(tower, normalise(torch.cat([batch.pictures, drawn])), kept)
        count = len(batch.pictures)
        embedded = F.normalize(tower.visual_projection(tokens[:, 0]).float(), dim=-1)
        shown = torch.cat([batch.labels[batch.labels >= 0], labels.present.nonzero()[:, 1]])
        directions, pull = words.now(shown.unique(), rng)
        loss, parts = vision_loss(embedded[:count], batch, directions, scale, vision)
        inside = tokens[count:, 1:]
        naming = _scene_loss(tower, inside, seen[count:], labels, directions, nothing, s.scale)
        whole = F.cross_entropy(s.scale * embedded[count:] @ directions.T, labels.present)
        coloured = F.cross_entropy(
            (inside.float() @ colours.T).flatten(0, 1),
            labels.colour.gather(1, seen[count:]).flatten(),
            ignore_index=-1,
        )
        loss = loss + s.patches_weight * (naming + 0.5 * whole) + s.colours_weight * coloured
        parts |= {"patches": naming, "scene": whole, "colour": coloured, "pull": pull}
        return loss + 0.5 * pull, count + len(scenes), parts

    def evaluate() -> dict[str, float]:
        results: dict[str, float] = {}
        if held_out is not None:
            _give(tower, model)
            results |= measure(tower, words.all, held_out, data)
            results |= name_shares(model, own, gallery, held_out)
        if held_out_scenes is not None:
            results["found"] = _found(tower, words.all, *held_out_scenes)
        return results

    stage = Stage(
        folder / "unlock.pt", "clip unlock", optimiser, s.steps, warmup=40, clock=clock,
        resume=resume, kept={"names": words.all},
    )  # fmt: skip
    done = stage.train(learn, every=s.evaluate_every, evaluate=evaluate)
    _give(tower, model)
    model.load_state_dict(
        {k: v.lerp(before[k], 1 - s.after) if v.is_floating_point() else v
         for k, v in model.state_dict().items()}
    )  # fmt: skip
    return done


def _give(tower: CLIPVisionModelWithProjection, model: CLIPModel) -> None:
    model.vision_model.load_state_dict(tower.vision_model.state_dict())
    model.visual_projection.load_state_dict(tower.visual_projection.state_dict())


def _scene_loss(
    tower: CLIPVisionModelWithProjection,
    inside: Tensor,
    seen: Tensor,
    labels: PatchLabels,
    directions: Tensor,
    nothing: Tensor,
    scale: float,
) -> Tensor:
    """Cross-entropy of each patch's thing (or nothing) by its token (N, K, width)."""
    embedded = F.normalize(tower.visual_projection(inside).float(), dim=-1)
    answers = torch.cat([directions, F.normalize(nothing, dim=-1)])
    wanted = labels.concept.gather(1, seen)
    rows = wanted >= 0
    return F.cross_entropy(scale * embedded[rows] @ answers.T, wanted[rows], label_smoothing=0.05)


@torch.no_grad()
def _found(
    tower: CLIPVisionModelWithProjection, names: Tensor, gallery: Gallery, scenes: list[Scene]
) -> float:
    """Share of the things in scenes whose patches together are nearest to their name."""
    pictures, owners = draw_scenes(gallery, scenes, chance=chance_for(5), strength=0.0)
    hits = things = 0
    for start in range(0, len(scenes), 64):
        part = scenes[start : start + 64]
        tokens, _ = tokens_kept(tower, normalise(pictures[start : start + 64]), ALL_PATCHES)
        embedded = F.normalize(tower.visual_projection(tokens[:, 1:]).float(), dim=-1)
        for row, scene in enumerate(part):
            for slot, thing in enumerate(scene.things):
                mine = (owners[start + row] == slot).float()[None, None]
                weight = F.avg_pool2d(mine, _PATCH).flatten()
                if weight.sum() > 0.5:
                    scores = names @ (weight @ embedded[row])
                    hits += int(scores.argmax()) == thing.concept
                    things += 1
    return hits / max(1, things)
