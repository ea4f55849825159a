"""What training leaves out changes neither loss nor gradients."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from finetune.data import Row
from finetune.methods import Adapted, adapt
from finetune.prompts import Prompts
from finetune.settings.files import load_settings, with_assignments
from finetune.settings.schema import AugmentationSettings, Settings, SpeedSettings
from finetune.speed.batches import LengthSampler
from finetune.speed.features import FeatureStore
from finetune.speed.quick import quick, where_not
from finetune.speed.tower import FrozenTower, why_not
from finetune.training.augment import augmentation
from finetune.training.collate import Collator, RowDataset, Shown
from finetune.vlm import Vlm, open_vlm
from tests.finetune_data import TINY, command, events, picture, read, run_folder, split_folders
from tests.tiny_models import built
from tools.images import open_photo

PLAIN = SpeedSettings(cache=False, supervised_only=False, fused_lora=False)
CHANGED = AugmentationSettings(crop=0.2, noise=0.05)


def settings_of(kind: str, **keys: object) -> Settings:
    dotted = {name.replace("__", "."): value for name, value in keys.items()}
    return load_settings(with_assignments({"model": {"answerer": str(built(kind))}}, dotted))


def rows_in(folder: Path) -> list[Row]:
    """Three pictures of different sizes, with answers of different lengths."""
    rows = []
    for seed, (kind, answer) in enumerate([("disc", "a disc"), ("box", "box"), ("disc", "round")]):
        path = folder / f"{seed}.png"
        picture(kind, seed, 32 + 16 * seed).save(path)
        asked = {"question": "what is " + "very " * seed + "here?", "answer": answer}
        rows.append(Row(path, photo_id=open_photo(path).id, **asked))
    return rows


def opened(settings: Settings) -> tuple[Vlm, Adapted]:
    """A model in which every weight that trains already does something."""
    vlm = open_vlm(settings)
    adapted = adapt(vlm, settings)
    generator = torch.Generator().manual_seed(0)
    for name, weight in adapted.trained():
        if ".lora_B." in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    return vlm, adapted


def learned(
    vlm: Vlm, adapted: Adapted, speed: SpeedSettings, rows: list[Row], features: Path
) -> tuple[float, dict[str, Tensor]]:
    """The loss of one batch, and what every weight that trains learns from it."""
    adapted.model.train()
    adapted.model.zero_grad()
    items = [RowDataset(rows)[number] for number in range(len(rows))]
    with quick(vlm, adapted.model, speed, features) as fast:
        collate = Collator(
            vlm, Prompts(Settings().prompt, []), tower=fast.tower,
            supervised_only=fast.supervised_only,
        )  # fmt: skip
        loss = adapted.model(**collate(items)).loss
        loss.backward()
    gradients = {n: p.grad for n, p in adapted.trained() if p.grad is not None}
    return float(loss.detach()), {name: g.clone() for name, g in gradients.items()}


def assert_same(
    found: tuple[float, dict[str, Tensor]], plain: tuple[float, dict[str, Tensor]], rel: float
) -> None:
    assert found[0] == pytest.approx(plain[0], rel=rel)
    assert found[1].keys() == plain[1].keys() and len(plain[1])
    for name, gradient in plain[1].items():
        scale = float(gradient.abs().max())
        assert scale > 0
        assert torch.allclose(found[1][name], gradient, rtol=rel, atol=rel * scale), name


@pytest.mark.parametrize("kind", ["llava", "idefics3"])
@pytest.mark.parametrize(
    "what",
    [
        {"method": "lora"},
        {"method": "lora", "lora__projector_lr": 0.001},
        {"method": "projector"},
        {"method": "full"},
    ],
    ids=["lora", "lora and projector", "projector", "full"],
)
def test_loss_and_gradients_are_those_of_the_plain_path(
    kind: str, what: dict[str, object], tmp_path: Path
) -> None:
    """Each part alone and all together, the cache empty and full: to 1e-4 of the largest."""
    settings = settings_of(kind, **what)
    vlm, adapted = opened(settings)
    rows = rows_in(tmp_path)
    plain = learned(vlm, adapted, PLAIN, rows, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    for speed in (
        PLAIN.model_copy(update={"cache": True}),
        PLAIN.model_copy(update={"supervised_only": True}),
        PLAIN.model_copy(update={"fused_lora": True}),
        SpeedSettings(),
        SpeedSettings(),
    ):
        assert_same(learned(vlm, adapted, speed, rows, tmp_path / "features"), plain, 1e-4)
    assert_same(learned(vlm, adapted, PLAIN, rows, tmp_path / "none"), plain, 1e-6)


def test_pictures_in_tiles_are_seen_as_the_plain_path_sees_them(tmp_path: Path) -> None:
    settings = settings_of("idefics3", speed__one_tile=False)
    vlm, adapted = opened(settings)
    rows = rows_in(tmp_path)
    tall = tmp_path / "tall.png"
    picture("box", 5, 64).crop((0, 0, 30, 64)).save(tall)
    rows = [Row(tall, photo_id=open_photo(tall).id, question="what?", answer="it")]
    assert len(vlm.prompt_ids("what?", (30, 64))) > 40
    plain = learned(vlm, adapted, PLAIN, rows, tmp_path)
    assert_same(learned(vlm, adapted, SpeedSettings(), rows, tmp_path / "f"), plain, 1e-4)


def test_one_tile_a_picture_unless_asked(tmp_path: Path) -> None:
    image = picture("disc", 0, 64)
    tiles = {
        one: open_vlm(settings_of("idefics3", speed__one_tile=one)).prompt(image, "what?")
        for one in (True, False)
    }
    assert tiles[True]["pixel_values"].shape[1] == 1
    assert tiles[False]["pixel_values"].shape[1] > 4


class Looking:
    """Counts the pictures that a model's tower is given."""

    def __init__(self, vlm: Vlm) -> None:
        self.pictures = 0
        vlm.model.model.vision_tower.register_forward_pre_hook(self._count)

    def _count(self, module: Any, taken: Any) -> None:
        self.pictures += len(taken[0])


def test_each_view_of_a_picture_is_looked_at_once(tmp_path: Path) -> None:
    vlm, _ = opened(settings_of("llava"))
    looking, rows = Looking(vlm), rows_in(tmp_path)
    data = RowDataset(rows, augmentation(CHANGED, 0), views=2)
    tower = FrozenTower(vlm, tmp_path / "features", limit=10**9)
    seen: dict[int, list[Tensor]] = {}
    for epoch in range(5):
        data.epoch = epoch
        seen[epoch] = [s.features for s in tower.look([data[n] for n in range(3)])]
        assert looking.pictures == 3 * min(epoch + 1, 2)
    assert not torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][0], seen[2][0]) and torch.equal(seen[1][0], seen[3][0])
    # Another process, and a run with the rows in another order, see the same.
    data = RowDataset(rows[::-1], augmentation(CHANGED, 0), views=2)
    again = FrozenTower(vlm, tmp_path / "features", limit=10**9).look([data[2]])
    assert looking.pictures == 6 and torch.equal(again[0].features, seen[0][0])
    # Other changes are other views.
    for change in (augmentation(CHANGED, 1), augmentation(AugmentationSettings(crop=0.1), 0), None):
        looking.pictures = 0
        tower.look([Shown(rows[0], 0, change)])
        assert looking.pictures == 1


def test_nothing_is_read_that_another_model_has_seen(tmp_path: Path) -> None:
    settings = settings_of("llava")
    rows = rows_in(tmp_path)

    def looked(change: Callable[[Vlm], None]) -> int:
        vlm, _ = opened(settings)
        change(vlm)
        looking = Looking(vlm)
        FrozenTower(vlm, tmp_path / "features", limit=10**9).look([Shown(rows[0])])
        return looking.pictures

    def size(vlm: Vlm) -> None:
        vlm.answerer.processor.image_processor.image_mean = [0.5, 0.5, 0.5]

    assert looked(lambda vlm: None) == 1
    assert looked(lambda vlm: None) == 0
    assert looked(lambda vlm: vlm.model.model.vision_tower.post_layernorm.weight.data.mul_(2)) == 1
    assert looked(lambda vlm: vlm.model.model.multi_modal_projector.linear_2.bias.data.add_(1)) == 1
    assert looked(lambda vlm: vlm.model.to(torch.bfloat16)) == 1
    assert looked(size) == 1
    assert looked(lambda vlm: vlm.model.model.multi_modal_projector.requires_grad_(True)) == 1
    assert looked(lambda vlm: None) == 0


def test_a_tower_that_trains_is_not_kept(tmp_path: Path) -> None:
    vlm, _ = opened(settings_of("llava"))
    assert why_not(vlm) is None and where_not(vlm, SpeedSettings()) == {}
    vlm.model.model.vision_tower.requires_grad_(True)
    assert where_not(vlm, SpeedSettings()) == {"cache": "the vision tower trains"}
    with quick(vlm, vlm.model, SpeedSettings(), tmp_path / "features") as fast:
        assert fast.tower is None and fast.views == 0
    assert not (tmp_path / "features").exists()


def test_features_take_no_more_than_they_may(tmp_path: Path) -> None:
    tensor = {"x": torch.ones(1000)}
    old = FeatureStore(tmp_path, "old", limit=100_000)
    for number in range(10):
        old.write(str(number), tensor)
    new = FeatureStore(tmp_path, "new", limit=50_000)
    for number in range(20):
        new.write(str(number), tensor)
    kept = [number for number in range(20) if new.read(str(number)) is not None]
    assert kept == list(range(len(kept))) and 8 <= len(kept) <= 12  # the first stay
    assert old.read("0") is None  # what another model has seen went first
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.safetensors")) <= 52_000


def test_damaged_features_are_computed_again(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "way", limit=10**6)
    store.write("a", {"x": torch.ones(3)})
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:20])
    assert store.read("a") is None
    store.write("a", {"x": torch.ones(3)})
    found = store.read("a")
    assert found is not None and torch.equal(found["x"], torch.ones(3))


def test_several_may_write_the_same_features(tmp_path: Path) -> None:
    wrong: list[object] = []

    def work() -> None:
        store = FeatureStore(tmp_path, "way", limit=10**8)
        for number in range(40):
            store.write(str(number), {"x": torch.full((500,), float(number))})
            found = store.read(str(number))
            if found is None or not bool((found["x"] == number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not list(tmp_path.rglob("*.tmp"))


def test_rows_of_like_length_come_together() -> None:
    lengths = [10 + number * 7 % 50 for number in range(203)]
    sampler = LengthSampler(lengths, 4, seed=0)

    def padding(order: list[int]) -> int:
        parts = [order[i : i + 4] for i in range(0, len(order), 4)]
        return sum(max(lengths[n] for n in p) - lengths[m] for p in parts for m in p)

    first = list(sampler)
    assert sorted(first) == list(range(203)) and len(sampler) == 203
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert padding(first) < padding(list(range(203))) / 10
    assert [lengths[n] for n in first[:200:4]] != sorted(lengths[n] for n in first[:200:4])


def test_four_bits_unpacked_once_compute_the_same(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not made for this platform")
    rows = rows_in(tmp_path)
    found = {}
    for unpacked in (True, False):
        vlm, adapted = opened(settings_of("llava", method="qlora", speed__dequantise=unpacked))
        layers = [type(m).__name__ for m in vlm.model.modules()]
        assert ("Linear4bit" in " ".join(layers)) is not unpacked
        assert vlm.answerer.precision.startswith("nf4")
        found[unpacked] = learned(vlm, adapted, PLAIN, rows, tmp_path)
        assert ("dequantise" in where_not(vlm, SpeedSettings())) is not unpacked
    assert_same(found[True], found[False], 1e-5)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return split_folders(tmp_path_factory.mktemp("data"), measured=3)


def test_a_run_is_the_same_with_everything_switched_off(source: Path, tmp_path: Path) -> None:
    """Through the command line, with answers of two lengths and a resumed cache."""
    off = [f"speed.{name}=false" for name in ("cache", "supervised_only", "fused_lora")]
    switches = {"fast": [], "again": [], "plain": off}
    for name, assigned in switches.items():
        command(
            "few-shot", source, "--model", built("llava"), "--name", name, "--max-steps", 8, *TINY,
            *(x for a in assigned for x in ("--set", a)), home=tmp_path,
        )  # fmt: skip
    curves = {name: [e["loss"] for e in events(tmp_path, name)] for name in switches}
    assert len(curves["plain"]) == 8
    assert curves["fast"] == pytest.approx(curves["plain"], rel=2e-3)
    assert curves["again"] == pytest.approx(curves["fast"], rel=1e-5)
    said = read(run_folder(tmp_path, "plain") / "training_metadata.json")["model"]["slow"]
    assert said == {"cache": "switched off", "supervised_only": "switched off"}
    assert (tmp_path / "features").is_dir()
