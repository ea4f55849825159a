"""Names, splitting, forgetting and undo as tools: what they say, and what is then known."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PICTURES
from tests.desk import Workbench
from tests.fakes import drawing
from tools.artifacts import Change, LabelList, Recognition, from_json, to_json
from tools.config import load_config
from tools.errors import BadCall, MemoryFailed, ToolError, UnknownLabel
from tools.forget import session_start
from tools.images import open_photo
from tools.memory import Event, MemoryHome, fold
from tools.models import Models

RED, NEAR, BLUE, GREEN = (
    drawing("red"),
    drawing("red", jitter=2),
    drawing("blue", "cross"),
    drawing("green", "box"),
)


@pytest.fixture
def bench(home: Path, fakes: Models) -> Iterator[Workbench]:
    made = Workbench(home, fakes)
    yield made
    made.close()


def change(bench: Workbench) -> Change:
    found = bench.artifacts[0]
    assert isinstance(found, Change) and from_json(to_json(found)) == found
    return found


def name_of(bench: Workbench, picture: Any) -> str | None:
    bench.call("classify_image", picture)
    found = bench.artifacts[0]
    assert isinstance(found, Recognition)
    return found.label


# --- aliases ------------------------------------------------------------------------------------


def test_both_names_answer_and_may_be_taught_under(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    said = bench.call("alias_label", label="zorb", alias="florp")
    assert said == "All right: a zorb is also called florp. You can use either name."
    assert (change(bench).label, change(bench).other) == ("zorb", "florp")
    told = bench.call("teach_label", NEAR, label="Florp")
    assert told.startswith("Learned zorb, also called Florp (2 pictures).")
    assert bench.counts == {"zorb": 2}
    assert bench.call("find_similar", query="florps") == "Zorb: 2 pictures you showed me."
    assert bench.call("classify_image", RED, labels=["florp"]).startswith("Yes: zorb, ")
    assert bench.call("reject_label", GREEN, label="florp").startswith("All right, this is not a z")
    assert bench.call("report_knowledge", label="florp").startswith("Zorb, also called florp, 2 ")
    assert bench.call("list_labels") == "I know 1 thing: zorb (also called florp, 2 pictures)."
    listed = bench.artifacts[0]
    assert isinstance(listed, LabelList) and listed.labels[0].aliases == ("florp",)


def test_a_label_that_lost_its_only_picture_is_no_thing_that_is_known(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="glimp")
    bench.call("correct_label", RED, label="blick", wrong="glimp")
    assert bench.call("list_labels") == "I know 1 thing: blick (1 picture)."
    bench.call("forget_label", label="blick")
    assert bench.call("list_labels").startswith("Nothing yet.")
    bench.call("alias_label", label="glimp", alias="glump")
    assert bench.call("list_labels") == "Of glimp I have no picture."
    bench.call("undo")
    assert bench.call("undo").startswith("Undone: blick is back, with 1 picture.")
    assert bench.call("undo").startswith(
        "Undone: 1 picture of blick taken back. I don't know blick now. It is a glimp again."
    )
    assert bench.counts == {"glimp": 1}


def test_it_is_no_matter_which_of_the_two_was_taught(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("alias_label", label="florp", alias="zorb")
    assert bench.memory.label("florp").names == ("zorb", "florp")
    assert "already" in bench.call("alias_label", label="zorb", alias="FLORP")
    assert "already" in bench.call("alias_label", label="florp", alias="zorb")
    assert bench.memory.label("zorb").names == ("zorb", "florp")
    with pytest.raises(UnknownLabel, match="I know: zorb, florp"):
        bench.call("alias_label", label="mip", alias="nop")
    bench.call("correct_label", RED, label="gromp", wrong="zorb")  # zorb has no picture any more
    with pytest.raises(UnknownLabel, match=r"I know: gromp\.$"):
        bench.call("alias_label", label="mip", alias="nop")


def test_a_name_belongs_to_one_label(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_label", BLUE, label="blick")
    bench.call("alias_label", label="zorb", alias="florp")
    with pytest.raises(ToolError, match="merge blick into zorb if they are the same"):
        bench.call("alias_label", label="zorb", alias="Blick")
    with pytest.raises(ToolError, match=r"called florp \(another name of zorb\)"):
        bench.call("alias_label", label="blick", alias="florp")
    with pytest.raises(ToolError, match=r"called florp \(another name of zorb\)"):
        bench.call("rename_label", label="blick", new="florp")
    with pytest.raises(ToolError, match="same label already"):
        bench.call("merge_labels", label="florp", into="zorb")


def test_forgetting_an_alias_only_removes_it(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("alias_label", label="zorb", alias="florp")
    before = bench.memory.state
    said = bench.call("forget_label", label="florp")
    assert said.startswith("Zorb is no longer also called florp; its 1 picture stays.")
    assert bench.memory.state.find("florp") is None and bench.counts == {"zorb": 1}
    assert "zorb is also called florp again" in bench.call("undo")
    assert bench.memory.state == before
    assert bench.call("forget_label", label="zorb").startswith("Forgot zorb and its 1 picture.")


def test_renaming_keeps_aliases_and_merging_joins_them(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_label", BLUE, label="blick")
    bench.call("alias_label", label="zorb", alias="florp")
    bench.call("alias_label", label="blick", alias="blip")
    bench.call("rename_label", label="zorb", new="gromp")
    assert bench.memory.label("florp").names == ("gromp", "florp")
    before = bench.memory.state
    bench.call("merge_labels", label="blip", into="florp")
    assert bench.memory.label("blick").names == ("gromp", "florp", "blick", "blip")
    bench.call("undo")
    assert bench.memory.state == before
    bench.call("rename_label", label="gromp", new="florp")
    assert bench.memory.label("florp").names == ("florp",), "an alias that became the name is one"


# --- splitting ----------------------------------------------------------------------------------


def test_a_label_falls_into_the_two_groups_that_it_looks_like(bench: Workbench) -> None:
    for picture in (RED, BLUE, NEAR, drawing("red", jitter=4), drawing("blue", "cross", jitter=2)):
        bench.call("teach_label", picture, label="zorb")
    bench.call("reject_label", GREEN, label="zorb")
    before = bench.memory.state
    said = bench.call("split_label", label="zorb")
    assert said.startswith(
        "Split zorb: by their looks, 3 pictures stay zorb and 2 pictures (the second and the "
        "fifth you showed me) are zorb 2 now."
    )
    assert change(bench).photo_ids == tuple(
        open_photo(p).id for p in (BLUE, drawing("blue", "cross", jitter=2))
    )
    assert name_of(bench, drawing("red", jitter=1)) == "zorb"
    assert name_of(bench, drawing("blue", "cross", jitter=1)) == "zorb 2"
    # What is none of the whole is none of its parts.
    for name in ("zorb", "zorb 2"):
        label = bench.memory.label(name)
        assert len(bench.memory.state.of(label.id, positive=False)) == 1
    assert "zorb 2 is part of zorb again" in bench.call("undo")
    assert bench.memory.state == before


def test_named_pictures_go_to_the_new_label(bench: Workbench) -> None:
    for picture in (RED, NEAR, BLUE):
        bench.call("teach_label", picture, label="zorb")
    bench.call("split_label", RED, BLUE, label="zorb", new="gromp")
    assert bench.counts == {"zorb": 1, "gromp": 2}
    moved = {e.photo_id for e in bench.memory.state.of(bench.memory.label("gromp").id)}
    assert moved == {open_photo(RED).id, open_photo(BLUE).id}
    with pytest.raises(ToolError, match="no picture that I have as gromp"):
        bench.call("split_label", GREEN, label="gromp", new="mip")
    with pytest.raises(ToolError, match="already a label called zorb"):
        bench.call("split_label", RED, label="gromp", new="zorb")
    with pytest.raises(ToolError, match="only 1 picture of zorb"):
        bench.call("split_label", label="zorb")


def test_these_two_are_different_when_they_are_all_there_is(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_label", BLUE, label="zorb")
    bench.call("alias_label", label="zorb", alias="florp")
    bench.call("split_label", RED, BLUE, label="zorb", new="florp")
    assert bench.counts == {"zorb": 1, "florp": 1}
    assert bench.memory.label("florp").name == "florp", "the alias names the new label now"
    assert bench.memory.state.label_of(open_photo(BLUE).id) == bench.memory.label("florp")


# --- forgetting ---------------------------------------------------------------------------------


def test_a_picture_is_forgotten_with_all_that_was_said_of_it(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_label", NEAR, label="zorb")
    bench.call("correct_label", NEAR, label="blick", wrong="zorb")
    bench.call("teach_answer", NEAR, question="which size", answer="M8")
    before = bench.memory.state
    said = bench.call("forget_pictures", NEAR)
    assert said.startswith("Forgot this picture. I have 0 pictures of blick left.")
    assert bench.counts == {"zorb": 1, "blick": 0}
    assert len(bench.memory.state.exemplars) == 1 and not bench.memory.state.answers
    with pytest.raises(ToolError, match="nobody has taught me anything of this picture"):
        bench.call("forget_pictures", NEAR)
    assert bench.call("undo").startswith("Undone: 1 picture is back.")
    assert bench.memory.state == before


def test_an_answer_goes_with_the_label_of_its_picture(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_answer", RED, question="which size", answer="M8")
    bench.call("teach_answer", BLUE, question="which size", answer="M6")
    bench.call("reject_label", BLUE, label="zorb")
    bench.call("forget_label", label="zorb")
    assert [a.answer for a in bench.memory.state.answers.values()] == ["M6"]


def yesterday(home: Path, hours: float = 24.0) -> None:
    """Make everything that is in the journal that much older."""
    path = home / "memory" / "default" / "journal"
    with sqlite3.connect(path) as connection:
        for seq, at in connection.execute("select seq, at from imprint_events").fetchall():
            older = (datetime.fromisoformat(at) - timedelta(hours=hours)).isoformat()
            connection.execute("update imprint_events set at = ? where seq = ?", (older, seq))
    connection.close()


def test_what_was_taught_today_is_one_change(home: Path, fakes: Models) -> None:
    bench = Workbench(home, fakes)
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_label", BLUE, label="blick")
    bench.call("teach_label", drawing("blue", "disc"), label="mip")
    bench.close()
    yesterday(home, 48)
    bench = Workbench(home, fakes)
    old = bench.memory.state
    bench.call("rename_label", label="zorb", new="gromp")
    bench.call("correct_label", BLUE, label="gromp", wrong="blick")
    bench.call("merge_labels", label="blick", into="gromp")
    bench.call("teach_label", GREEN, label="blop")
    bench.call("forget_label", label="mip")
    before = bench.memory.state
    events = len(bench.memory.events)
    said = bench.call("forget_since", when="today")
    assert said == (
        "Forgot what you taught me today: 1 picture of blop, the renaming of zorb to gromp, "
        "the correction of 1 picture to gromp and the merging of blick into gromp. "
        "Say “undo” to bring it back."
    )
    assert len(bench.memory.events) == events + 1
    assert bench.counts == {"zorb": 1, "blick": 1}, "as it was, but what was forgotten stays so"
    assert bench.memory.state.label_of(open_photo(BLUE).id) == old.find("blick")
    with pytest.raises(ToolError, match="you have taught me nothing today"):
        bench.call("forget_since", when="today")
    bench.close()
    bench = Workbench(home, fakes)
    assert name_of(bench, BLUE) == "blick"
    assert bench.call("undo").startswith("Undone: what you taught me today is back.")
    assert bench.memory.state == before
    for _ in range(5):
        bench.call("undo")
    assert bench.memory.state == old
    bench.close()


def test_a_session_ends_with_a_long_pause(home: Path, fakes: Models) -> None:
    bench = Workbench(home, fakes)
    bench.call("teach_label", RED, label="zorb")
    bench.close()
    yesterday(home, 3)
    bench = Workbench(home, fakes)
    with pytest.raises(ToolError, match="taught me nothing in this session"):
        bench.call("forget_since", when="session")
    bench.call("teach_label", BLUE, label="blick")
    bench.call("forget_since", when="session")
    assert bench.counts == {"zorb": 1}
    with pytest.raises(BadCall, match="when"):
        bench.call("forget_since", when="ever")
    bench.close()


def test_pauses() -> None:
    now = datetime(2026, 5, 4, 12, tzinfo=UTC)

    def at(*hours: float) -> tuple[Event, ...]:
        moments = [(now - timedelta(hours=h)).isoformat() for h in hours]
        return tuple(Event(i, "taught", {}, m) for i, m in enumerate(moments))

    assert session_start((), now) == now
    assert session_start(at(9, 3), now) == now
    assert session_start(at(9, 5.5, 3.6, 1.7), now) == now - timedelta(hours=5.5)


def test_forgetting_everything_is_one_change(bench: Workbench) -> None:
    with pytest.raises(ToolError, match="nothing has been taught"):
        bench.call("forget_everything")
    bench.call("teach_label", RED, label="zorb")
    bench.call("reject_label", GREEN, label="zorb")
    bench.call("teach_answer", BLUE, question="which size", answer="M8")
    before = bench.memory.state
    said = bench.call("forget_everything")
    assert said.startswith("Forgot everything: 1 label, 1 picture and 1 answer.")
    assert change(bench).label == "everything"
    assert not (bench.memory.state.labels or bench.memory.state.answers or bench.counts)
    assert bench.memory.vectors(bench.recall.sight.embedder) == {}
    assert bench.call("undo").startswith("Undone: everything is back. I know 1 label and 1 picture")
    assert bench.memory.state == before and name_of(bench, RED) == "zorb"


# --- undo ---------------------------------------------------------------------------------------


def test_undo_names_what_it_took_back_and_what_is_next(bench: Workbench) -> None:
    steps: list[tuple[str, tuple[Any, ...], dict[str, str], str]] = [
        ("teach_label", (RED, BLUE), {"label": "zorb"}, "2 pictures of zorb"),
        ("teach_label", (GREEN,), {"label": "blick"}, "1 picture of blick"),
        ("teach_label", (RED,), {"label": "zorb", "description": "x"}, "what you said of zorb"),
        ("alias_label", (), {"label": "zorb", "alias": "florp"}, "the name florp for zorb"),
        ("rename_label", (), {"label": "florp", "new": "mip"}, "the renaming of zorb to mip"),
        ("correct_label", (BLUE,), {"label": "blick", "wrong": "mip"}, "the correction of 1 pic"),
        ("reject_label", (NEAR,), {"label": "blick"}, "that 1 picture is not a blick"),
        ("split_label", (), {"label": "blick"}, "the splitting of blick 2 from blick"),
        ("merge_labels", (), {"label": "mip", "into": "blick"}, "the merging of mip into blick"),
        ("teach_answer", (RED,), {"question": "size?", "answer": "M8"}, "the answer “M8” to “si"),
        ("forget_label", (), {"label": "mip"}, "the forgetting of the name mip for blick"),
        ("forget_pictures", (RED,), {}, "the forgetting of 1 picture"),
        ("forget_label", (), {"label": "blick"}, "the forgetting of blick"),
        ("forget_since", (), {"when": "today"}, "the forgetting of what you taught me today"),
    ]
    states = [bench.memory.state]
    for tool, pictures, args, _ in steps:
        bench.call(tool, *pictures, **args)
        states.append(bench.memory.state)
    for i in range(len(steps) - 1, -1, -1):
        said = bench.call("undo")
        assert said.startswith("Undone: ") and change(bench).action == "undone"
        assert bench.memory.state == states[i]
        if i:
            assert f" “Undo” once more takes back {steps[i - 1][3]}" in said
    assert said.endswith("I don't know zorb now. Nothing else is left to undo.")


def test_recognition_is_to_the_last_digit_what_it_was(bench: Workbench) -> None:
    for picture in (RED, NEAR, drawing("red", "box")):
        bench.call("teach_label", picture, label="zorb")
    bench.call("teach_label", BLUE, label="blick")
    bench.call("reject_label", GREEN, label="zorb")
    asked = bench.desk([drawing("red", jitter=1)]).look()[0]
    before = bench.recall.recognise(asked)
    changes: list[tuple[str, tuple[Any, ...], dict[str, str]]] = [
        ("split_label", (), {"label": "zorb"}),
        ("merge_labels", (), {"label": "blick", "into": "zorb"}),
        ("forget_pictures", (NEAR,), {}),
        ("correct_label", (RED,), {"label": "blick", "wrong": "zorb"}),
        ("forget_label", (), {"label": "zorb"}),
        ("forget_since", (), {"when": "session"}),
        ("forget_everything", (), {}),
    ]
    for tool, pictures, args in changes:
        bench.call(tool, *pictures, **args)
        assert bench.recall.recognise(asked) != before
        bench.call("undo")
        assert bench.recall.recognise(asked) == before, tool


def test_undo_calls_a_label_what_it_was_called_then(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("rename_label", label="zorb", new="mip")
    bench.call("undo")
    bench.call("forget_label", label="zorb")
    bench.call("teach_label", BLUE, label="blick")
    assert "takes back the forgetting of zorb." in bench.call("undo")


# --- one wrong name -----------------------------------------------------------------------------


def test_one_wrong_name_never_renames_other_pictures(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_label", BLUE, label="mip")
    asked = [drawing("blue", "cross", jitter=1), drawing("green", "box"), drawing("red", jitter=1)]
    bench.call("classify_image", *asked)
    last = bench.artifacts[-1]
    assert isinstance(last, Recognition) and last.label == "zorb"
    said = bench.on(bench.desk((), asked, last), "correct_label", label="blick", wrong="zorb")
    assert said.startswith("Fixed: this is a blick, not a zorb. I now have 1 picture of blick. ")
    assert "The other pictures keep their names." in said
    assert bench.counts == {"zorb": 1, "mip": 1, "blick": 1}
    assert change(bench).photo_ids == (open_photo(asked[2]).id,)
    bench.call("undo")
    bench.on(bench.desk((), asked, last), "reject_label")
    assert [e.photo_id for e in bench.memory.state.exemplars.values() if not e.positive] == [
        open_photo(asked[2]).id
    ]


def test_all_that_were_called_so_are_corrected(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_label", GREEN, label="mip")
    asked = [drawing("red", jitter=1), drawing("green", "box", jitter=1), drawing("red", jitter=2)]
    bench.call("classify_image", *asked)
    last = bench.artifacts[-1]
    assert isinstance(last, Recognition)
    said = bench.on(bench.desk((), asked, last), "correct_label", label="blick")
    assert said.startswith("Fixed: these are a blick, not a zorb.")
    assert bench.counts == {"zorb": 1, "mip": 1, "blick": 2}
    negatives = bench.memory.state.of(bench.memory.label("zorb").id, positive=False)
    assert len(negatives) == 2


def test_of_pictures_that_have_no_name_the_last_one_has_the_wrong_one(bench: Workbench) -> None:
    """A word that nobody taught may have been said of any of them."""
    said = bench.on(bench.desk((), (RED, BLUE)), "correct_label", label="blick", wrong="cat")
    assert said.startswith("Fixed: this is a blick. I now have 1 picture of blick.")
    assert change(bench).photo_ids == (open_photo(BLUE).id,)
    bench.call("undo")
    said = bench.on(bench.desk((), (RED, BLUE)), "correct_label", label="blick")
    assert said.startswith("Fixed: these are a blick. I now have 2 pictures of blick.")


def test_of_named_photos_each_loses_its_own_wrong_name(bench: Workbench) -> None:
    bench.call("teach_label", RED, label="zorb")
    bench.call("teach_label", BLUE, label="mip")
    before = bench.memory.state
    said = bench.on(bench.desk((), (RED, BLUE)), "correct_label", label="blick", photos=[1, 2])
    assert said.startswith("Fixed: these are a blick, not a zorb or a mip.")
    state = bench.memory.state
    for name, picture in (("zorb", RED), ("mip", BLUE)):
        negatives = state.of(bench.memory.label(name).id, positive=False)
        assert [e.photo_id for e in negatives] == [open_photo(picture).id]
    bench.call("undo")
    assert bench.memory.state == before


_ASKING = """
import sys
from pathlib import Path
from tests.desk import Workbench
from tests.conftest import PICTURES
from tools.config import load_config
from tools.models import open_models
bench = Workbench(Path(sys.argv[1]), open_models(load_config(profile="pocket")))
embedder = bench.recall.sight.embedder
for rebuild in (False, True):
    if rebuild:
        bench.memory.rebuild(embedder)
    found = bench.recall.recognise(bench.desk([PICTURES / sys.argv[2]]).look()[0])
    print(found.decision, found.label, len(bench.memory.vectors(embedder)))
bench.close()
"""


def test_a_negative_is_one_after_a_restart_and_a_rebuild(home: Path, pocket: Models) -> None:
    bench = Workbench(home, pocket)
    first, second = PICTURES / "dragon_noto.png", PICTURES / "dragon_fluent.png"
    bench.call("teach_label", first, label="zorb")
    assert bench.call("classify_image", second).startswith("Zorb, "), "or there is no need for it"
    # A rejection speaks for the picture and its copies, so it is asked about itself.
    bench.call("reject_label", second, label="zorb")
    bench.close()
    root = Path(__file__).parents[1]
    for picture, label in ((second, None), (first, "zorb")):
        command = [sys.executable, "-c", _ASKING, str(home), picture.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
        lines = [line.split() for line in done.stdout.splitlines()]
        assert [x[1] for x in lines] == [str(label)] * 2, done.stderr
        assert [x[2] for x in lines] == ["2", "2"]


# --- journals of other versions -----------------------------------------------------------------

_OLD = [
    ("taught", {"label_id": "a", "name": "zorb", "photo_ids": ["1", "2"], "description": ""}),
    ("taught", {"label_id": "b", "name": "blick", "photo_ids": ["3"], "description": "blue"}),
    ("corrected", {"label_id": "b", "name": "blick", "photo_ids": ["2"], "wrong_id": "a"}),
    ("corrected", {"label_id": "c", "name": "mip", "photo_ids": ["4"], "wrong_id": None}),
    ("rejected", {"label_id": "c", "photo_ids": ["5"]}),
    ("renamed", {"label_id": "b", "old": "blick", "new": "gromp"}),
    ("merged", {"label_id": "c", "into_id": "b"}),
    ("taught", {"label_id": "d", "name": "mip", "photo_ids": ["6"], "description": ""}),
    ("forgotten", {"label_id": "a"}),
    ("undone", {"seq": 9}),
]


def old_journal(home: Path, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """A journal as the first version made it."""
    folder = home / "memory" / "default"
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / "journal")
    connection.execute(
        "CREATE TABLE imprint_events (seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "
        "workspace VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL, data JSON NOT NULL, "
        "at VARCHAR(40) NOT NULL)"
    )
    for kind, data in rows:
        connection.execute(
            "INSERT INTO imprint_events (workspace, kind, data, at) VALUES ('default', ?, ?, ?)",
            (kind, json.dumps(data), "2026-01-02T03:04:05.678+00:00"),
        )
    connection.commit()
    connection.close()


def test_a_journal_of_the_first_version_is_read(home: Path) -> None:
    old_journal(home, _OLD)
    house = MemoryHome(load_config(home=home))
    memory = house.workspace("default")
    found = {x.name: (x.aliases, x.description) for x in memory.state.labels.values()}
    # A label that was merged then left no alias: its name went on to another.
    assert found == {"zorb": ((), ""), "gromp": ((), "blue"), "mip": ((), "")}
    taught = sorted((e.label_id, e.photo_id, e.positive) for e in memory.state.exemplars.values())
    assert taught == [
        ("a", "1", True), ("a", "2", False), ("b", "2", True), ("b", "3", True), ("b", "4", True),
        ("b", "5", False), ("d", "6", True),
    ]  # fmt: skip
    for _ in range(8):
        memory.undo()
    assert not memory.state.labels and fold(memory.events) == memory.state
    house.close()


def test_a_journal_of_a_newer_version_is_refused_not_read_in_part(home: Path) -> None:
    old_journal(home, [_OLD[0], ("praised", {"label_id": "a"})])
    with pytest.raises(MemoryFailed, match=r"'praised' is no kind of change.*update Imprint"):
        MemoryHome(load_config(home=home)).workspace("default")


def test_what_a_newer_version_writes_meanwhile_stops_this_one(home: Path, fakes: Models) -> None:
    bench = Workbench(home, fakes)
    bench.call("teach_label", RED, label="zorb")
    with sqlite3.connect(home / "memory" / "default" / "journal") as connection:
        connection.execute(
            "INSERT INTO imprint_events (workspace, kind, data, at) "
            "VALUES ('default', 'praised', '{}', '2026-01-02T03:04:05+00:00')"
        )
    connection.close()
    for _ in range(2):
        with pytest.raises(MemoryFailed, match="update Imprint"):
            bench.memory.refresh()
    assert bench.counts == {"zorb": 1}
    bench.close()
