"""The unlocked stage: patches are told what they show, both towers move, stopping costs nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from finetune.pocket.clip import make_tower
from finetune.pocket.clip_text import TextSettings, assemble
from finetune.pocket.clip_unlock import UnlockSettings, patch_labels, train_unlocked
from finetune.pocket.drawings import Gallery
from finetune.pocket.teacher import Targets
from finetune.pocket.text import dressed, train_tokenizer
from finetune.pocket.world import Scene, Thing, chance_for, draw_scenes
from tests.pocket_parts import TINY, gallery, one_thread, targets
from tools.colours import COLOURS

__all__ = ["gallery", "one_thread", "targets"]

SMALL = UnlockSettings(
    steps=6, drawings=6, photos=4, characters=4, others=0, scenes=8, names=8, tags=4, refresh=2,
    evaluate_every=3, lr=2e-3,
)  # fmt: skip


def test_patches_are_told_what_they_show(gallery: Gallery) -> None:
    apple, box, _ = gallery.of_kind("drawing")
    sprites = [gallery.concepts[c].sprites[0] for c in (apple, box)]
    scene = Scene(
        (
            Thing(apple, sprites[0], 0.25, 0.25, 0.4, "red"),
            Thing(box, sprites[1], 0.75, 0.75, 0.4, "blue"),
        ),
        "yellow",
        0,
    )
    _, owners = draw_scenes(gallery, [scene], chance=chance_for(1), strength=0.0)
    nothing = len(gallery.concepts)
    labels = patch_labels([scene], owners, nothing)
    concept, colour = (x[0].reshape(8, 8) for x in (labels.concept, labels.colour))
    names = list(COLOURS)
    for row, column, wanted, painted in (
        (1, 2, apple, "red"), (6, 6, box, "blue"), (0, 7, nothing, "yellow"),
    ):  # fmt: skip
        assert int(concept[row, column]) == wanted
        assert names[int(colour[row, column])] == painted
    assert (concept == -1).any(), "an edge that is hardly a thing's is not asked about"
    assert labels.present[0].nonzero()[:, 0].tolist() == [apple, box]
    assert float(labels.present.sum()) == 1


def _train(gallery: Gallery, targets: Targets, folder: Path, **more: object) -> dict[str, object]:
    tokenizer = train_tokenizer(gallery, size=700)
    tower = make_tower(TINY)
    model = assemble(
        tower, len(dressed(tokenizer, "clip", 32)), TextSettings(layers=1, width=64, heads=1)
    )
    before = copy.deepcopy(model.state_dict())
    concepts = gallery.of_kind("drawing")
    settings = replace(SMALL, **more.pop("settings", {}))  # type: ignore[arg-type]
    done = train_unlocked(
        tower, model, gallery, targets, tokenizer, concepts, folder, TINY, settings,
        **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return {"before": before, "after": model.state_dict(), "done": done}


def test_both_towers_move_and_patches_learn_to_name(
    gallery: Gallery, targets: Targets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = _train(gallery, targets, tmp_path, settings={"steps": 60, "evaluate_every": 60})
    assert ran["done"]
    before, after = ran["before"], ran["after"]
    assert isinstance(before, dict) and isinstance(after, dict)
    for part in ("vision_model.", "visual_projection", "text_model.", "text_projection"):
        assert any(not torch.equal(after[n], before[n]) for n in after if n.startswith(part)), part
    lines = [line for line in capsys.readouterr().out.splitlines() if " patches " in line]
    for loss, share in (("patches", 0.75), ("colour", 0.8)):
        first, last = (float(x.split(f" {loss} ")[1].split()[0]) for x in (lines[0], lines[-1]))
        assert last < share * first, (loss, first, last)


def test_the_embedder_is_between_what_it_was_and_what_it_became(
    gallery: Gallery, targets: Targets, tmp_path: Path
) -> None:
    whole = _train(gallery, targets, tmp_path / "whole", settings={"after": 1.0})
    mixed = _train(gallery, targets, tmp_path / "mixed", settings={"after": 0.25})
    one, two = whole["after"], mixed["after"]
    before = whole["before"]
    assert isinstance(before, dict) and isinstance(one, dict) and isinstance(two, dict)
    for name, was in before.items():
        wanted = (0.75 * was.double() + 0.25 * one[name].double()).to(two[name].dtype)
        torch.testing.assert_close(two[name], wanted, msg=name)
    name = "visual_projection.weight"
    assert not torch.equal(two[name], one[name]) and not torch.equal(two[name], before[name])


def test_unlocking_resumed_is_unlocking_uninterrupted(
    gallery: Gallery, targets: Targets, tmp_path: Path
) -> None:
    whole = _train(gallery, targets, tmp_path / "whole")

    class Stops:
        """Stands where the held-out set stands and stops the training, as Ctrl-C would."""

        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(gallery, targets, tmp_path / "parts", held_out=Stops())
    assert torch.load(tmp_path / "parts" / "unlock.pt", weights_only=True)["step"] == 3
    resumed = _train(gallery, targets, tmp_path / "parts")
    one, two = whole["after"], resumed["after"]
    assert isinstance(one, dict) and isinstance(two, dict)
    for name in one:
        assert torch.equal(one[name], two[name]), name


def test_no_steps_leave_the_towers_alone(
    gallery: Gallery, targets: Targets, tmp_path: Path
) -> None:
    ran = _train(gallery, targets, tmp_path, settings={"steps": 0})
    before, after = ran["before"], ran["after"]
    assert ran["done"] and isinstance(before, dict) and isinstance(after, dict)
    assert all(torch.equal(after[n], before[n]) for n in after)
