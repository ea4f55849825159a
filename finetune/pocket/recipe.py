"""The whole recipe: settings, the world loaded once, and one method per model.

`python -m finetune pocket …` and the tests both come in here. Knows the order (CLIP, then BLIP
and LLaVA on its tower) and the folders; the models' own files know the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import yaml
from tokenizers import Tokenizer
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from finetune.pocket import blip as blip_recipe
from finetune.pocket import clip, clip_text, clip_unlock, llava_names, llava_unlock
from finetune.pocket import llava as llava_recipe
from finetune.pocket.drawings import MAIN_GROUPS, Gallery, load_gallery
from finetune.pocket.easy_vqa import EasyVqa
from finetune.pocket.evaluate import HeldOut, load_held_out
from finetune.pocket.talk import Asked, questions
from finetune.pocket.teacher import Targets, ask_teacher, read_targets
from finetune.pocket.text import dressed, question_words, train_tokenizer
from finetune.pocket.tower import computing, save_weights
from finetune.pocket.training import Clock
from finetune.pocket.world import Scene, chance_for, render_scenes, sample_scenes

__all__ = [
    "Recipe",
    "SettingsError",
    "TeacherSettings",
    "WorldSettings",
    "held_out_questions",
    "held_out_scenes",
]


_T = TypeVar("_T")


class SettingsError(ValueError):
    """Settings that nobody reads, or a stage without the one before it; the message says which."""


@dataclass(frozen=True)
class WorldSettings:
    """What the world is made of (settings.yaml, `world`)."""

    styles: tuple[str, ...] = ("noto", "twemoji")
    held_out_style: str = "fluent_3d"
    """Never trained on; every held-out result is measured on it."""
    groups: tuple[str, ...] = (*MAIN_GROUPS, "smileys & emotion")
    tokens: int = 3072
    invented: int = 900
    """Characters of no alphabet, for learning what makes two drawings one character."""
    seed: int = 0


@dataclass(frozen=True)
class TeacherSettings:
    """How the teacher is asked (settings.yaml, `teacher`)."""

    views: int = 8
    """Views of each drawing, the first one untouched."""
    photo_step: int = 1
    """It is shown every such photo: 2 is every other one."""
    processes: int = 2


def _build(kind: type[_T], values: Mapping[str, Any] | None, where: str, bad: list[str]) -> _T:
    values = dict(values or {})
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    bad += [f"{where}.{k}" for k in values if k not in known]
    clean = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
    return kind(**clean)


def held_out_scenes(
    data: Path, world: WorldSettings, count: int, *, single: float = 0.5
) -> tuple[Gallery, list[Scene]]:
    """Scenes of drawings in the held-out style only, always the same ones."""
    gallery = load_gallery(
        data, styles=(world.held_out_style,), groups=world.groups, garments_per_class=3
    )
    concepts = [i for i in gallery.of_kind("drawing") if gallery.concepts[i].group in MAIN_GROUPS]
    return gallery, sample_scenes(gallery, count, concepts=concepts, seed=990, single=single)


def held_out_questions(
    data: Path, world: WorldSettings, count: int
) -> tuple[Tensor, list[list[Asked]]]:
    """Pictures of held-out scenes with every question that can be asked about them."""
    gallery, scenes = held_out_scenes(data, world, count, single=0.4)
    concepts = [i for i in gallery.of_kind("drawing") if gallery.concepts[i].group in MAIN_GROUPS]
    rng = np.random.default_rng(991)
    asked = [questions(gallery, s, rng, concepts) for s in scenes]
    return render_scenes(gallery, scenes, chance=chance_for(992), strength=0.0), asked


@dataclass
class Recipe:
    """Folders and settings of one training; `train` runs or continues one model."""

    data: Path
    run: Path
    out: Path
    teacher_folder: Path
    world: WorldSettings
    teacher: TeacherSettings
    vision: clip.VisionSettings
    text: clip_text.TextSettings
    unlock: clip_unlock.UnlockSettings
    blip: blip_recipe.BlipSettings
    llava_names: llava_names.NamesSettings
    llava: llava_recipe.LlavaSettings
    llava_unlock: llava_unlock.LlavaUnlockSettings

    @classmethod
    def open(
        cls, *, data: Path, run: Path, out: Path, teacher: Path, settings: Path | None = None
    ) -> Recipe:
        """Read settings (the shipped ones if None); raises `SettingsError` on unknown keys."""
        path = settings or Path(__file__).with_name("settings.yaml")
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        sections = ("world", "teacher", "clip", "blip", "llava_names", "llava", "llava_unlock")
        bad = [k for k in raw if k not in sections]
        both = raw.get("clip") or {}
        bad += [f"clip.{k}" for k in both if k not in ("vision", "text", "unlock")]
        recipe = cls(
            data, run, out, teacher,
            _build(WorldSettings, raw.get("world"), "world", bad),
            _build(TeacherSettings, raw.get("teacher"), "teacher", bad),
            _build(clip.VisionSettings, both.get("vision"), "clip.vision", bad),
            _build(clip_text.TextSettings, both.get("text"), "clip.text", bad),
            _build(clip_unlock.UnlockSettings, both.get("unlock"), "clip.unlock", bad),
            _build(blip_recipe.BlipSettings, raw.get("blip"), "blip", bad),
            _build(llava_names.NamesSettings, raw.get("llava_names"), "llava_names", bad),
            _build(llava_recipe.LlavaSettings, raw.get("llava"), "llava", bad),
            _build(
                llava_unlock.LlavaUnlockSettings, raw.get("llava_unlock"), "llava_unlock", bad
            ),
        )  # fmt: skip
        if bad:
            raise SettingsError(f"{path}: nobody reads these keys: {', '.join(bad)}")
        return recipe

    @cached_property
    def gallery(self) -> Gallery:
        """Every sprite of the styles of training."""
        return load_gallery(
            self.data, styles=self.world.styles, groups=self.world.groups,
            invented=self.world.invented,
        )  # fmt: skip

    @cached_property
    def targets(self) -> Targets:
        """What the teacher said, which the first stage keeps in the run folder."""
        return read_targets(self.gallery, self.run / "teacher", width=self.vision.projection)

    @cached_property
    def photos(self) -> Tensor:
        """Photos for backgrounds, uint8 (N, 3, 64, 64)."""
        return torch.from_numpy(self.targets.photos)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Trained once from the world's text, then read back."""
        path = self.run / "tokenizer.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = train_tokenizer(self.gallery, size=self.world.tokens, seed=self.world.seed)
            made.save(str(path))
        return Tokenizer.from_file(str(path))

    @cached_property
    def concepts(self) -> list[int]:
        """Drawings that scenes are made of."""
        gallery = self.gallery
        return [i for i in gallery.of_kind("drawing") if gallery.concepts[i].group in MAIN_GROUPS]

    @cached_property
    def held_out(self) -> HeldOut:
        """Single drawings of the held-out style."""
        return load_held_out(
            self.data, style=self.world.held_out_style, groups=self.world.groups,
            taught=self.world.styles,
        )  # fmt: skip

    def tower(self) -> CLIPVisionModelWithProjection:
        """The unlocked vision tower, which the captioner and the answerer start from."""
        folder = self.run / "clip" / "tower"
        if not folder.exists():
            raise SettingsError(f"{folder} is missing: train clip first, with the same --run.")
        tower = CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True)
        tower.set_attn_implementation("eager")
        return computing(tower)

    def train(self, name: str, *, clock: Clock | None = None, resume: bool = True) -> bool:
        """Train one model as far as the clock allows; True once it is finished and saved."""
        steps = {
            "clip": self._clip,
            "background": self._background,
            "blip": self._blip,
            "llava": self._llava,
        }
        return steps[name](clock or Clock(), resume)

    def _clip(self, clock: Clock, resume: bool) -> bool:
        folder = self.run / "clip"
        if not ask_teacher(
            self.gallery, self.data, self.teacher_folder, self.run / "teacher",
            views=self.teacher.views, photo_step=self.teacher.photo_step,
            processes=self.teacher.processes, seed=self.world.seed, clock=clock,
        ):  # fmt: skip
            return False
        tower, directions, done = clip.train_vision(
            self.gallery, self.targets, folder, self.vision, held_out=self.held_out,
            data=self.data, clock=clock, resume=resume,
        )  # fmt: skip
        if not done:
            return False
        model, done = clip_text.train_text(
            tower, directions, self.gallery, self.photos, self.tokenizer, folder, self.text,
            held_out=self.held_out, clock=clock, resume=resume,
        )  # fmt: skip
        if not done:
            return False
        done = clip_unlock.train_unlocked(
            tower, model, self.gallery, self.targets, self.tokenizer, self.concepts, folder,
            self.vision, self.unlock, held_out=self.held_out,
            held_out_scenes=held_out_scenes(self.data, self.world, 200, single=0.0),
            data=self.data, clock=clock, resume=resume,
        )  # fmt: skip
        save_weights(tower, folder / "tower")
        clip_text.save_clip(model, self.tokenizer, self.gallery, self.out / "clip")
        return done

    def _background(self, clock: Clock, resume: bool) -> bool:
        """Minutes, in one go on the finished CLIP, and not again for the same one."""
        from finetune.pocket.background import write_background

        made = self.out / "clip" / "background.npz"
        trained = [p.stat().st_mtime for p in (self.run / "clip").glob("*.pt")]
        if resume and trained and made.exists() and made.stat().st_mtime > max(trained):
            return True
        styles = (*self.world.styles, self.world.held_out_style)
        write_background(str(self.out / "clip"), self.data, styles=styles)
        return True

    def _blip(self, clock: Clock, resume: bool) -> bool:
        model, done = blip_recipe.train_blip(
            self.tower(), self.gallery, self.photos, self.tokenizer, self.concepts,
            self.run / "blip", self.blip,
            held_out=held_out_scenes(self.data, self.world, 300), clock=clock, resume=resume,
        )  # fmt: skip
        blip_recipe.save_blip(model, self.tokenizer, self.out / "blip")
        return done

    def _llava(self, clock: Clock, resume: bool) -> bool:
        easy = self.data / "easy_vqa"
        shapes = EasyVqa(easy) if easy.exists() else None
        own = dressed(self.tokenizer, "llava", llava_recipe.LENGTH)
        model = llava_recipe.make_llava(self.tower(), own, self.llava)
        learnt = (model, own, self.gallery, self.photos, self.concepts, self.run / "llava")
        held_out = held_out_questions(self.data, self.world, 300)
        done = (
            llava_names.teach_names(*learnt, self.llava_names, clock=clock, resume=resume)
            and llava_recipe.train_llava(
                *learnt, self.llava, easy=shapes, held_out=held_out, clock=clock, resume=resume
            )
            and llava_unlock.train_llava_unlocked(
                *learnt, self.llava_unlock, easy=shapes, held_out=held_out, clock=clock,
                resume=resume,
            )
        )  # fmt: skip
        words = question_words(self.gallery, self.concepts, shapes.questions() if shapes else ())
        llava_recipe.save_llava(model, self.tokenizer, words, self.out / "llava")
        return done
