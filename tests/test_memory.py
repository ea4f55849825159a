"""Memory: the journal is the truth, undo restores exactly, the index follows and heals itself."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes import FakeEmbedder, drawing
from tools.config import load_config
from tools.errors import (
    BadLabel,
    MemoryDamaged,
    MemoryInUse,
    SettingsError,
    ToolError,
    UnknownLabel,
)
from tools.images import Photo, open_photo
from tools.memory import Memory, MemoryHome, clean_name, fold

RED, GREEN, BLUE, GREY = (open_photo(drawing(c)) for c in ("red", "green", "blue", "grey"))


def opened(home: Path) -> MemoryHome:
    return MemoryHome(load_config(home=home))


@pytest.fixture
def memory(home: Path):  # type: ignore[no-untyped-def]
    house = opened(home)
    yield house.workspace("default")
    house.close()


def names(memory: Memory) -> dict[str, int]:
    return {x.name: len(memory.state.of(x.id)) for x in memory.state.labels.values()}


def test_teaching_says_what_it_did_and_is_idempotent(memory: Memory) -> None:
    first = memory.teach("Zorb", [RED])
    assert (first.added, first.known) == ((RED.id,), ())
    again = memory.teach("zorb", [RED, GREEN])
    assert (again.added, again.known) == ((GREEN.id,), (RED.id,))
    assert names(memory) == {"Zorb": 2}
    events = len(memory.events)
    memory.teach("ZORB", [RED])
    assert len(memory.events) == events, "a change that changes nothing is not written"


def test_one_photo_has_one_label_and_the_latest_statement_wins(memory: Memory) -> None:
    memory.teach("zorb", [RED])
    moved = memory.teach("blick", [RED])
    assert [x.name for x in moved.moved_from] == ["zorb"]
    assert names(memory) == {"zorb": 0, "blick": 1}


def test_correcting_moves_the_photo_and_makes_it_a_negative_of_the_wrong_label(
    memory: Memory,
) -> None:
    memory.teach("zorb", [RED, GREEN])
    memory.correct("blick", [GREEN], wrong="zorb")
    zorb = memory.label("zorb")
    assert [e.photo_id for e in memory.state.of(zorb.id)] == [RED.id]
    assert [e.photo_id for e in memory.state.of(zorb.id, positive=False)] == [GREEN.id]
    assert memory.state.label_of(GREEN.id) == memory.label("blick")


def test_rejecting_renaming_merging_forgetting(memory: Memory) -> None:
    memory.teach("zorb", [RED])
    memory.teach("blick", [BLUE])
    memory.reject("zorb", [GREY])
    memory.rename("zorb", "gromp")
    with pytest.raises(ToolError, match="already a label called blick"):
        memory.rename("gromp", "Blick")
    memory.merge("gromp", "blick")
    blick = memory.label("blick")
    assert names(memory) == {"blick": 2}
    assert [e.photo_id for e in memory.state.of(blick.id, positive=False)] == [GREY.id]
    assert memory.forget("blick")[1] == 2
    assert not memory.state.exemplars
    with pytest.raises(UnknownLabel, match="nothing has been taught"):
        memory.forget("blick")


def test_unknown_labels_get_a_hint(memory: Memory) -> None:
    memory.teach("zorb", [RED])
    with pytest.raises(UnknownLabel, match="Did you mean zorb"):
        memory.label("zorp")


def random_change(memory: Memory, rng: random.Random, photos: list[Photo]) -> None:
    labels = [x.name for x in memory.state.labels.values()]
    some = rng.sample(photos, rng.randint(1, 2))
    choice = rng.randrange(6)
    if choice <= 1 or len(labels) < 2:
        memory.teach(rng.choice(["zorb", "blick", "gromp", "fleep"]), some)
    elif choice == 2:
        memory.correct(rng.choice(labels), some, rng.choice([None, *labels]))
    elif choice == 3:
        memory.reject(rng.choice(labels), some)
    elif choice == 4:
        a, b = rng.sample(labels, 2)
        memory.merge(a, b)
    elif rng.random() < 0.5:
        memory.forget(rng.choice(labels))
    else:
        memory.rename(rng.choice(labels), f"name{rng.randrange(10**6)}")


@pytest.mark.parametrize("seed", range(4))
def test_undo_restores_every_state_exactly_across_a_restart(home: Path, seed: int) -> None:
    rng = random.Random(seed)
    photos = [open_photo(drawing(c, s)) for c in ("red", "blue") for s in ("disc", "box", "cross")]
    house = opened(home)
    memory = house.workspace("default")
    states = [memory.state]
    while len(states) < 15:
        before = len(memory.events)
        random_change(memory, rng, photos)
        if len(memory.events) > before:
            states.append(memory.state)
    for i, state in enumerate(reversed(states[:-1])):
        if i == 7:
            house.close()
            house = opened(home)
            memory = house.workspace("default")
        memory.undo()
        assert memory.state == state
        assert fold(memory.events) == state
    with pytest.raises(ToolError, match="nothing to undo"):
        memory.undo()
    house.close()


def test_the_index_mirrors_the_state_and_can_be_rebuilt(memory: Memory) -> None:
    embedder = FakeEmbedder()
    memory.teach("zorb", [RED])
    memory.teach("blick", [BLUE])
    memory.reject("blick", [GREY])
    assert set(memory.vectors(embedder)) == {RED.id, BLUE.id, GREY.id}
    vector = embedder.embed_photos([open_photo(drawing("red", jitter=2))])[0]
    best = memory.search(embedder, vector, 5)
    assert next(m.exemplar.photo_id for m in best) == RED.id
    assert GREY.id not in [m.exemplar.photo_id for m in best], "negatives are no finds"
    stored = memory.vectors(embedder)[RED.id]
    # The oracle is exact search.
    assert best[0].similarity == pytest.approx(float(stored @ vector), abs=1e-5)
    memory.forget("zorb")
    assert set(memory.vectors(embedder)) == {BLUE.id, GREY.id}
    memory.undo()
    assert memory.rebuild(embedder) == 3
    np.testing.assert_allclose(memory.vectors(embedder)[RED.id], stored, atol=1e-6)


def test_what_another_process_taught_is_seen_after_a_refresh(home: Path) -> None:
    one, other = opened(home), opened(home)
    a, b = one.workspace("default"), other.workspace("default")
    a.teach("zorb", [RED])
    assert not b.state.labels
    b.refresh()
    assert names(b) == {"zorb": 1}
    one.close()
    other.close()


def test_workspaces_share_nothing(home: Path) -> None:
    house = opened(home)
    embedder = FakeEmbedder()
    house.workspace("anna").teach("zorb", [RED])
    house.workspace("anna").vectors(embedder)
    assert not house.workspace("ben").state.labels
    assert house.workspace("ben").search(embedder, embedder.embed_photos([RED])[0], 3) == []
    house.close()


def test_a_second_process_may_not_open_the_index(home: Path) -> None:
    house, other = opened(home), opened(home)
    embedder = FakeEmbedder()
    house.workspace("default").vectors(embedder)
    with pytest.raises(MemoryInUse, match=str(os.getpid())):
        other.workspace("default").vectors(embedder)
    house.close()
    assert other.workspace("default").vectors(embedder) == {}
    other.close()


@pytest.mark.parametrize("damage", ["delete", "truncate", "garbage"])
def test_a_damaged_index_is_rebuilt_from_the_photos(home: Path, damage: str) -> None:
    house = opened(home)
    embedder = FakeEmbedder()
    house.workspace("default").teach("zorb", [RED, GREEN])
    house.workspace("default").vectors(embedder)
    house.close()
    chroma = home / "memory" / "chroma"
    if damage == "delete":
        shutil.rmtree(chroma)
    else:
        database = chroma / "chroma.sqlite3"
        data = database.read_bytes()
        database.write_bytes(data[:3000] if damage == "truncate" else b"\xff" * len(data))
        (chroma.parent / ".chroma-open").touch()  # as a kill would have left it
    house = opened(home)
    assert set(house.workspace("default").vectors(embedder)) == {RED.id, GREEN.id}
    house.close()


def test_an_unreadable_journal_is_said_plainly(home: Path) -> None:
    house = opened(home)
    house.workspace("default").teach("zorb", [RED])
    house.close()
    journal = home / "memory" / "default" / "journal"
    for extra in journal.parent.glob("journal-*"):
        extra.unlink()
    journal.write_bytes(b"\xff" * 4096)
    with pytest.raises(MemoryDamaged, match="move it aside"):
        opened(home).workspace("default")


def test_a_lost_or_altered_photo_is_said_plainly(home: Path) -> None:
    house = opened(home)
    memory = house.workspace("default")
    memory.teach("zorb", [RED])
    path = memory.photos.path(RED.id)
    path.write_bytes(GREEN.png())
    with pytest.raises(MemoryDamaged, match="altered"):
        memory.vectors(FakeEmbedder())
    path.unlink()
    with pytest.raises(MemoryDamaged, match="missing"):
        memory.vectors(FakeEmbedder())
    house.close()


def test_a_database_url_that_is_wrong_is_said_plainly(home: Path) -> None:
    config = load_config(home=home, database_url="nosuch://secret@host/db")
    with pytest.raises(SettingsError, match="IMPRINT_DATABASE_URL") as caught:
        MemoryHome(config).workspace("default")
    assert "secret" not in str(caught.value)


def test_names(memory: Memory) -> None:
    assert clean_name("  a\n\tred   zorb ") == "a red zorb"
    assert clean_name("Zo\u200brb\u202e") == "Zorb"
    assert clean_name("<b>zorb</b>") == "<b>zorb</b>", "shown as text, not refused"
    assert clean_name("ぞるぶ") == "ぞるぶ"
    for bad in ("", "   ", "!!!", "\u200b", "—", "x" * 10_000):
        with pytest.raises(BadLabel) as caught:
            memory.teach(bad, [RED])
        assert len(str(caught.value)) < 200
    assert not memory.state.labels


_WRITER = """
import sys, random
from pathlib import Path
from tests.fakes import FakeEmbedder, drawing
from tools.config import load_config
from tools.images import open_photo
from tools.memory import MemoryHome
home, start = Path(sys.argv[1]), int(sys.argv[2])
memory = MemoryHome(load_config(home=home)).workspace("default")
embedder = FakeEmbedder()
print("HAVE", len(memory.vectors(embedder)), flush=True)
i = start
while True:
    image = drawing(side=64)
    image.putpixel((0, 0), (i % 256, i // 256, 7))
    memory.teach(f"label{i % 5}", [open_photo(image)])
    print("ACK", i, flush=True)
    memory.vectors(embedder)
    i += 1
"""


def test_twenty_kills_while_teaching_lose_nothing_that_was_acknowledged(home: Path) -> None:
    rng = random.Random(7)
    acknowledged = 0
    root = Path(__file__).parents[1]
    for _ in range(20):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(home), str(acknowledged)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        assert writer.stdout is not None and writer.stderr is not None
        first = writer.stdout.readline().split()
        assert first[:1] == ["HAVE"], writer.stderr.read()
        assert int(first[1]) >= acknowledged, "an acknowledged picture is gone"
        for _ in range(rng.randint(1, 4)):
            acknowledged = int(writer.stdout.readline().split()[1]) + 1
        writer.kill()
        for line in writer.stdout.read().splitlines():
            if line.startswith("ACK"):
                acknowledged = int(line.split()[1]) + 1
        writer.wait()
        writer.stdout.close()
        writer.stderr.close()
    house = opened(home)
    memory = house.workspace("default")
    embedder = FakeEmbedder()
    vectors = memory.vectors(embedder)
    assert len(vectors) >= acknowledged >= 20
    for i in range(acknowledged):
        image = drawing(side=64)
        image.putpixel((0, 0), (i % 256, i // 256, 7))
        photo = open_photo(image)
        label = memory.state.label_of(photo.id)
        assert label is not None and label.name == f"label{i % 5}"
        assert memory.photos.get(photo.id) == photo
        assert memory.search(embedder, vectors[photo.id], 1)[0].similarity > 0.999
    house.close()


def test_leftovers_of_a_kill_are_swept(home: Path) -> None:
    house = opened(home)
    house.workspace("default").teach("zorb", [RED])
    house.close()
    folder = home / "memory" / "default" / "photos" / RED.id[:2]
    (folder / f".{RED.id[:16]}-dead.tmp").write_bytes(b"half")
    opened(home).workspace("default")
    assert [p.name for p in folder.iterdir()] == [f"{RED.id}.png"]


def test_a_picture_is_stored_without_what_was_hidden_in_it(memory: Memory) -> None:
    memory.teach("zorb", [RED])
    with Image.open(memory.photos.path(RED.id)) as stored:
        assert stored.info == {}
