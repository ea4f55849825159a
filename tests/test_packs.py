"""A pack: what is taught goes out and in again whole, and a bad one changes nothing."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from assistant.cli import app
from tests.desk import Workbench
from tests.fakes import drawing
from tests.finetune_data import command
from tools.config import load_config
from tools.errors import BadPack
from tools.images import Photo, open_photo
from tools.memory import Memory, MemoryHome, State
from tools.models import Models
from tools.packs import import_pack, open_pack, write_pack
from tools.undo import phrase

PHOTOS = [open_photo(drawing(c, s)) for c in ("red", "blue") for s in ("disc", "box", "cross")]
RED, BLUE = PHOTOS[:3], PHOTOS[3:]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[MemoryHome]:
    opened = MemoryHome(load_config(home=tmp_path / "home"))
    yield opened
    opened.close()


def taught(home: MemoryHome, name: str = "ann") -> Memory:
    """Two labels, one with another name and a description, negatives, an answer; one forgotten."""
    memory = home.workspace(name)
    memory.teach("zorb", RED[:2], "a red thing")
    memory.alias("zorb", "zorblet")
    memory.teach("blick", BLUE[:2])
    memory.reject("zorb", [BLUE[0]])
    memory.remember("how many?", "one", [RED[0]])
    memory.teach("secret", [BLUE[2]])
    memory.forget("secret")
    return memory


def facts(state: State) -> Any:
    """What is taught, by name."""
    return {
        x.name: (
            x.description,
            set(x.aliases),
            {e.photo_id for e in state.of(i)},
            {e.photo_id for e in state.of(i, positive=False)},
        )
        for i, x in state.labels.items()
    }, {(k, a.answer) for k, a in state.answers.items()}


def stored(home: MemoryHome, name: str) -> set[str]:
    folder = home.workspace(name).photos.path("0" * 64).parents[1]
    return {p.name for p in folder.rglob("*") if p.is_file()}


def test_it_comes_out_as_it_went_in_and_undo_takes_it_back(
    home: MemoryHome, tmp_path: Path
) -> None:
    ann = taught(home)
    write_pack(ann, tmp_path / "ann.zip")
    names = zipfile.ZipFile(tmp_path / "ann.zip").namelist()
    assert len(names) == 2 + 4 and f"photos/{BLUE[2].id}.png" not in names
    assert b"secret" not in zipfile.ZipFile(tmp_path / "ann.zip").read("journal.jsonl")
    bob = home.workspace("bob")
    done = import_pack(bob, tmp_path / "ann.zip")
    assert (done.new, done.joined) == (("zorb", "blick"), ())
    assert (done.pictures, done.known) == (4, 0)
    assert facts(bob.state) == facts(ann.state) and len(bob.events) == 1
    assert bob.photos.get(RED[0].id) == RED[0]
    assert import_pack(bob, tmp_path / "ann.zip").known == 4 and len(bob.events) == 1
    write_pack(bob, tmp_path / "bob.zip")
    journals = [
        zipfile.ZipFile(tmp_path / f"{n}.zip").read("journal.jsonl") for n in ("ann", "bob")
    ]
    assert journals[0] == journals[1]
    again = MemoryHome(load_config(home=tmp_path / "home"))  # from the journal on disk
    assert facts(again.workspace("bob").state) == facts(ann.state)
    again.close()
    assert phrase(bob.events[0], bob.events) == "the import of a pack (4 pictures)"
    bob.undo()
    assert bob.state == State()


def test_what_is_here_stays_as_it_is(home: MemoryHome, tmp_path: Path) -> None:
    write_pack(taught(home), tmp_path / "a.zip")
    bob = home.workspace("bob")
    bob.teach("Zorblet", [RED[0], RED[2]], "mine")  # by its other name
    bob.teach("fep", [BLUE[1]])  # blick there
    bob.remember("how many?", "two", [RED[0]])
    before = bob.state
    done = import_pack(bob, tmp_path / "a.zip")
    assert done.joined == ("zorb",) and done.new == ("blick",)
    labels, answers = facts(bob.state)
    assert labels["Zorblet"] == (
        "mine", {"zorb"}, {p.id for p in RED}, {BLUE[0].id},
    )  # fmt: skip
    assert labels["fep"][2] == {BLUE[1].id} and labels["blick"][2] == {BLUE[0].id}
    assert {said for _, said in answers} == {"two"}
    bob.undo()
    assert bob.state == before


def test_what_rests_on_an_import_keeps_it(home: MemoryHome, tmp_path: Path) -> None:
    write_pack(taught(home), tmp_path / "a.zip")
    bob = home.workspace("bob")
    import_pack(bob, tmp_path / "a.zip")
    bob.rename("zorb", "mip")
    found = bob.retract([bob.events[0].seq])
    assert not found and [e.kind for e in found.kept] == ["imported"]
    found = bob.retract([e.seq for e in bob.events])
    assert found and bob.state == State()


def test_undo_says_what_was_taken_in_and_an_open_memory_sees_it(
    home: MemoryHome, fakes: Models, tmp_path: Path
) -> None:
    write_pack(taught(home), tmp_path / "a.zip")
    bench = Workbench(tmp_path / "other", fakes)
    beside = MemoryHome(load_config(home=tmp_path / "other"))  # the terminal, while a chat runs
    import_pack(beside.workspace("default"), tmp_path / "a.zip")
    beside.close()
    bench.memory.refresh()
    assert bench.counts == {"zorb": 2, "blick": 2}
    said = bench.call("undo")
    assert said.startswith("Undone: the import of a pack (4 pictures) is taken back.")
    assert bench.counts == {}
    bench.close()


def rewritten(path: Path, change: Callable[[dict[str, bytes]], Any], *, seal: bool = False) -> Path:
    """The pack with its files changed; ``seal``: with a digest that fits again."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if seal:
        manifest = json.loads(files["manifest.json"])
        manifest["journal"] = hashlib.sha256(files["journal.jsonl"]).hexdigest()
        files["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def said(kind: str, **data: Any) -> Callable[[dict[str, bytes]], None]:
    """One more event in the journal."""
    line = json.dumps({"kind": kind, "data": data}).encode() + b"\n"

    def change(files: dict[str, bytes]) -> None:
        files["journal.jsonl"] += line

    return change


def manifest(**fields: Any) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | fields).encode()

    return change


def photo_file(photo: Photo) -> str:
    return f"photos/{photo.id}.png"


FILES: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "outside": (lambda f: f.update({"../evil": b"x"}), "holds a file '../evil'"),
    "absolute": (lambda f: f.update({"/etc/passwd": b"x"}), "holds a file '/etc/passwd'"),
    "other name": (lambda f: f.update({"photos/x.png": b"x"}), "holds a file 'photos/x.png'"),
    "program": (lambda f: f.update({"memory.pkl": b"x"}), "holds a file 'memory.pkl'"),
    "no manifest": (lambda f: f.pop("manifest.json"), "no manifest and journal"),
    "not json": (lambda f: f.update({"manifest.json": b"{"}), "manifest can't be read"),
    "other format": (manifest(format="zoo"), "of something else"),
    "newer": (manifest(version=2), "newer Imprint (pack version 2,"),
    "journal": (said("taught"), "journal was altered"),
    "bomb": (lambda f: f.update({photo_file(RED[2]): bytes(16_000_000)}), "would be 16 MB"),
    "journal bomb": (lambda f: f.update({"journal.jsonl": bytes(65_000_000)}), "would be 65 MB"),
    "missing": (lambda f: f.pop(photo_file(RED[0])), "1 of its pictures are missing"),
    "swapped": (lambda f: f.update({photo_file(RED[0]): BLUE[0].png()}), "was altered"),
    "torn": (lambda f: f.update({photo_file(RED[0]): b"no picture"}), "is damaged"),
}
JOURNALS: dict[str, Callable[[dict[str, bytes]], Any]] = {
    "not json": lambda f: f.update({"journal.jsonl": b"{"}),
    "unknown": said("melted", label_id="ab"),
    "clearing": said("cleared"),
    "path": said("taught", label_id="ab", name="x", photo_ids=["../../x"], description=""),
    "no name": said("taught", label_id="ab", name="\u202e", photo_ids=[], description=""),
    "extra": said("taught", label_id="ab", name="x", photo_ids=[], run="x"),
}


def refused(home: MemoryHome, path: Path) -> str:
    """Why a pack is not taken in, in one line; nothing has changed."""
    bob = home.workspace("bob")
    with pytest.raises(BadPack) as raised:
        import_pack(bob, path)
    assert bob.events == () and not stored(home, "bob")
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", FILES)
def test_a_pack_with_anything_wrong_changes_nothing(
    name: str, home: MemoryHome, tmp_path: Path
) -> None:
    write_pack(taught(home), tmp_path / "a.zip")
    change, words = FILES[name]
    assert words in refused(home, rewritten(tmp_path / "a.zip", change))


@pytest.mark.parametrize("name", JOURNALS)
def test_a_journal_that_says_anything_else_changes_nothing(
    name: str, home: MemoryHome, tmp_path: Path
) -> None:
    write_pack(taught(home), tmp_path / "a.zip")
    why = refused(home, rewritten(tmp_path / "a.zip", JOURNALS[name], seal=True))
    assert "what I can't read" in why


def test_two_labels_of_one_name_and_files_that_are_no_zip(home: MemoryHome, tmp_path: Path) -> None:
    write_pack(taught(home), tmp_path / "a.zip")
    twice = said("taught", label_id="ab", name="ZORB", photo_ids=[], description="")
    assert "two of its labels" in refused(home, rewritten(tmp_path / "a.zip", twice, seal=True))
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[: len(whole) // 2])
    assert "not a zip file" in refused(home, tmp_path / "a.zip")
    assert "can't be read" in refused(home, tmp_path / "none.zip")
    with open_pack(write_pack_to(home, tmp_path / "b.zip")) as pack:
        assert pack.state.find("zorblet")


def write_pack_to(home: MemoryHome, path: Path) -> Path:
    write_pack(home.workspace("ann"), path)
    return path


def test_one_byte_of_damage_is_seen(home: MemoryHome, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_pack(taught(home), path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(photo_file(RED[0])).header_offset
    content[start + 30 + len(photo_file(RED[0])) + 60] ^= 1
    path.write_bytes(content)
    assert "is damaged" in refused(home, path)


def test_in_the_terminal_and_as_a_source_to_train_on(home: MemoryHome, tmp_path: Path) -> None:
    taught(home, "default")
    home.close()

    def imprint(*arguments: str, at: str, fails: int = 0) -> str:
        done = CliRunner().invoke(
            app, ["--home", str(tmp_path / at), "--profile", "pocket", "memory", *arguments]
        )
        assert done.exit_code == fails, done.output
        return done.output

    pack = str(tmp_path / "out.zip")
    assert "2 labels and 4 pictures" in imprint("export", pack, at="home")
    assert "is there already" in imprint("export", pack, at="home", fails=1)
    assert "4 new pictures, 0 known already; new: zorb and blick" in imprint(
        "import", pack, at="other"
    )
    told = json.loads(imprint("import", pack, "--json", at="other"))
    assert told == {"new": [], "joined": ["zorb", "blick"], "pictures": 0, "known": 4}
    for source in (pack, f"pack:{pack}"):
        found = json.loads(command("prepare", source, "--json", home=tmp_path / "third"))
        assert found["classes"] == {"blick": 2, "zorb": 2}
        assert found["descriptions"] == {"zorb": "a red thing"}
    Path(pack).write_bytes(b"PK")
    assert "not a zip file" in command("prepare", pack, home=tmp_path / "third", fails=1)
