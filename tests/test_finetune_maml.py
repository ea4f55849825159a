"""Learning to learn: episodes that keep apart what measures, and steps of first-order MAML."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.func import functional_call

from finetune.data import Report, Row, Table
from finetune.learners.episodes import Pool, episode_plan
from finetune.learners.maml import Initialisation
from finetune.settings.files import load_settings
from finetune.settings.schema import MamlSettings, Settings
from tests.finetune_data import class_folders, command, events, read, run_folder
from tests.tiny_models import built
from tools.errors import DataError, SettingsError


def table(**counts: int) -> Table:
    rows = [
        Row(Path(f"{name}-{i}.png"), name, photo_id=f"{name}-{i}")
        for name, count in counts.items()
        for i in range(count)
    ]
    return Table(tuple(rows), Report(source="here"))


def settings(ways: int = 2, shots: int = 1, **more: object) -> Settings:
    values = {"method": "maml", "maml": {"ways": ways, "shots": shots, "queries": 2}, **more}
    return load_settings(values)


def labels_of(rows: list[Row]) -> set[str]:
    return {str(row.label) for row in rows}


def test_labels_are_held_out_where_there_are_enough() -> None:
    rows = table(**{name: 4 for name in "abcdef"}, poor=1)
    plan = episode_plan(rows, settings())
    train, test = rows.take(plan.final.train), rows.take(plan.final.test)
    assert len(labels_of(test)) == 2 and not labels_of(train) & labels_of(test)
    assert "poor" in labels_of(train)
    assert plan.how == "held-out labels' 2-way 1-shot episodes, one a picture"
    assert episode_plan(rows, settings()) == plan != episode_plan(rows, settings(data={"seed": 1}))


def test_else_pictures_are() -> None:
    rows = table(a=8, b=8, c=3)
    plan = episode_plan(rows, settings())
    assert plan.how.startswith("held-out pictures'") and not set(plan.final.train) & set(
        plan.final.test
    )
    assert [r.label for r in rows.take(plan.final.test)] == ["a", "a", "b", "b"]
    assert len(plan.final.train) == 15


def test_too_little_for_an_episode_is_one_sentence() -> None:
    for rows in (table(a=3, b=3), table(a=9)):
        with pytest.raises(DataError, match=r"they take 2 labels\s+with 2 pictures each"):
            episode_plan(rows, settings())
    with pytest.raises(SettingsError, match=r"set maml\.shots in place"):
        episode_plan(table(a=9, b=9), settings(data={"shots": 2}))
    asked = Table((Row(Path("x.png"), None, "what?", "this", photo_id="x"),), Report())
    with pytest.raises(SettingsError, match="tells labels apart"):
        episode_plan(asked, settings())


def test_an_episode_never_asks_what_it_has_shown() -> None:
    rows = table(**{name: 5 for name in "abcd"})
    pool = Pool(rows.rows, MamlSettings(ways=3, shots=2, queries=2))
    seen = set()
    for number in range(20):
        episode = pool.draw(0, number)
        assert len(episode.labels) == 3 and len(episode.support) == 6
        assert len(episode.queries) == 6
        assert not {r.photo_id for r in episode.support} & {r.photo_id for r in episode.queries}
        assert labels_of([*episode.support]) == labels_of([*episode.queries]) == set(episode.labels)
        assert pool.draw(0, number) == episode
        seen.add(episode.labels)
    assert len(seen) > 5
    for row in rows.rows:
        around = pool.around(row, 0)
        assert around.queries == (row,) and row not in around.support
        assert row.label in around.labels and len(around.support) == 6
        assert around == Pool(rows.rows[::-1], MamlSettings(ways=3, shots=2)).around(row, 0)


def test_the_gradient_is_that_of_first_order_maml() -> None:
    """Against the steps written out: the query's gradient at the adapted weights, and through the
    classifier's beginning."""
    torch.manual_seed(0)
    model = Initialisation(MamlSettings(rank=3, inner_steps=2, inner_lr=0.1), 6).double()
    with torch.no_grad():
        model.up.normal_(0, 0.3)
    support, queries = (F.normalize(torch.randn(6, 6).double(), dim=-1) for _ in range(2))
    shown, asked = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([2, 1, 0, 0, 1, 2])
    episode = {"support": support, "shown": shown, "queries": queries}
    loss = model(asked[None], [episode])["loss"]
    loss.backward()

    down, up = (w.detach().clone().requires_grad_() for w in (model.down, model.up))

    def seen(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.normalize(x + x @ a.T @ b.T, dim=-1)

    def begun() -> torch.Tensor:
        return F.normalize(
            torch.stack([seen(support, down, up)[shown == k].sum(0) for k in range(3)]), dim=-1
        )

    scale = model.log_scale.detach().exp()
    weights = [down.detach(), up.detach(), begun().detach(), torch.zeros(3).double()]
    for _ in range(2):
        here = [w.clone().requires_grad_() for w in weights]
        inner = F.cross_entropy(scale * seen(support, *here[:2]) @ here[2].T + here[3], shown)
        steps = torch.autograd.grad(inner, here)
        weights = [w - 0.1 * g for w, g in zip(weights, steps, strict=True)]
    last = [w.clone().requires_grad_() for w in weights]
    outer = F.cross_entropy(scale * seen(queries, *last[:2]) @ last[2].T + last[3], asked)
    assert outer.item() == pytest.approx(loss.item(), rel=1e-9)
    gradients = torch.autograd.grad(outer, last)
    through = torch.autograd.grad((begun() * gradients[2]).sum(), [down, up])
    assert torch.allclose(model.down.grad, gradients[0] + through[0])
    assert torch.allclose(model.up.grad, gradients[1] + through[1])
    assert model.log_scale.grad is not None and model.log_scale.grad != 0


def test_it_learns_which_directions_matter() -> None:
    """Labels differ in four of forty dimensions, and a picture's noise is in the others."""
    rng = np.random.default_rng(0)
    maml = MamlSettings(ways=3, shots=1, queries=3, rank=16, inner_lr=0.05)

    def episode(count: int = 3) -> dict[str, torch.Tensor]:
        centres = np.concatenate([rng.normal(size=(count, 4)), np.zeros((count, 36))], axis=1)
        several = centres[:, None] + rng.normal(size=(count, 4, 40)) * np.r_[[0.1] * 4, [0.7] * 36]
        x = F.normalize(torch.tensor(several, dtype=torch.float32), dim=-1)
        return {
            "support": x[:, 0], "shown": torch.arange(count), "queries": x[:, 1:].flatten(0, 1)
        }  # fmt: skip

    asked = torch.arange(3).repeat_interleave(3)
    held = [episode() for _ in range(60)]

    def right(model: Initialisation) -> float:
        found = []
        for one in held:
            weights = model.adapted(one["support"], one["shown"], 3)
            found.append((model.logits(one["queries"], weights).argmax(-1) == asked).float().mean())
        return float(torch.stack(found).mean())

    model = Initialisation(maml, 40)
    before = right(model)
    optimizer = torch.optim.AdamW(model.parameters(), 0.02, weight_decay=0.0)
    for _ in range(60):
        batch = [episode() for _ in range(8)]
        loss = functional_call(model, {}, (asked.repeat(8, 1), batch))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert right(model) > before + 0.2


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven labels: discs and boxes of one colour each."""
    root = tmp_path_factory.mktemp("data")
    class_folders(root, each=5)
    for name, ink in (("red", (220, 30, 30)), ("blue", (30, 30, 220)), ("green", (30, 180, 30)),
                      ("grey", (128, 128, 128)), ("gold", (220, 180, 40))):  # fmt: skip
        (root / name).mkdir()
        for i in range(5):
            shade = tuple(max(0, min(255, x + 6 * i)) for x in ink)
            Image.new("RGB", (32, 32 + i), shade).save(root / name / f"{i}.png")
    return root


def test_a_run_is_measured_beside_the_recogniser_and_goes_on_as_if_not_stopped(
    source: Path, tmp_path: Path
) -> None:
    start = (
        "train", source, "--strategy", "pocket-maml", "--embedder", built("clip"), "--batch", 2,
        "--max-steps", 8, "--set", "training.save_steps=5", "--set", "maml.ways=3",
        "--set", "maml.episodes=6",
    )  # fmt: skip
    results = json.loads(command(*start, "--name", "m", "--json", home=tmp_path))
    assert results["measured_on"] == "held-out labels' 3-way 1-shot episodes, one a picture"
    assert results["pictures"] == {"train": 20, "validation": 0, "measured": 15}
    assert set(results["figures"]) == {"trained", "base", "exemplars"}
    assert all(results["figures"][x]["accuracy"]["n"] == 15 for x in results["figures"])
    assert "the recogniser with the same pictures as exemplars" in results["verdict"]
    table = read(run_folder(tmp_path, "m") / "data.json")
    held = {table["rows"][i]["label"] for i in table["plan"]["final"]["test"]}
    assert len(held) == 3
    measured = read(run_folder(tmp_path, "m") / "evaluation" / "test.json")
    for entry in measured:
        assert entry["truth"] in held and entry["answer"] in held
        assert sum(entry["probabilities"]) == pytest.approx(1, abs=1e-4)
    # Asked of pictures it names all labels: those it trained on, and one picture of each other.
    pictures = sorted(source.rglob("*.png"))
    told = json.loads(command("predict", "m", *pictures, home=tmp_path))
    assert sum(e["answer"] == Path(e["image"]).parent.name for e in told) > len(told) / 2
    assert {e["answer"] for e in told} & held

    folder = run_folder(tmp_path, "m")
    losses = [e["loss"] for e in events(tmp_path, "m")]
    assert len(losses) == 8
    for name in ("final_model", "best_model", "checkpoints/fold-0/checkpoint-8"):
        shutil.rmtree(folder / name)
    for name in ("results.json", "evaluation/test.json"):
        (folder / name).unlink()
    stopped = {**read(folder / "training_metadata.json"), "status": "stopped"}
    (folder / "training_metadata.json").write_text(json.dumps(stopped), encoding="utf-8")
    command("runs", "resume", "m", home=tmp_path)
    assert [e["loss"] for e in events(tmp_path, "m")] == pytest.approx(losses, rel=1e-5)
    again = read(folder / "results.json")
    assert again["figures"]["trained"]["accuracy"] == results["figures"]["trained"]["accuracy"]
