"""Any sequence of changes: the state is that of the journal, the index follows, undo empties it."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.fakes import FakeEmbedder, drawing
from tools.config import load_config
from tools.errors import ToolError
from tools.images import open_photo
from tools.memory import Event, MemoryHome, State, fold, name_key
from tools.memory.events import CHANGES
from tools.memory.state import StateBuilder

_PHOTOS = [open_photo(drawing(c, s)) for c in ("red", "blue") for s in ("disc", "box", "cross")]
_EMBEDDER = FakeEmbedder()
_NAMES = st.sampled_from(["zorb", "blick", "gromp", "Zorb", "mip", "zorb 2"])
_SOME = st.lists(st.sampled_from(_PHOTOS), min_size=1, max_size=3, unique=True)


class UndoMachine(RuleBasedStateMachine):
    """One memory on disk, with real SQLite and a real Chroma; every state it had is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="undo-machine-"))
        self.states: list[State] = []
        self.changes: list[Event] = []  # one fewer than states: what led from each to the next
        self._open()
        self.states.append(self.memory.state)

    def _open(self) -> None:
        self.house = MemoryHome(load_config(home=self.folder))
        self.memory = self.house.workspace("default")

    def teardown(self) -> None:
        self.undo_all()
        self.house.close()
        shutil.rmtree(self.folder)

    def _changed(self, before: int) -> None:
        """Every change is one event; what changes nothing writes nothing."""
        assert len(self.memory.events) - before in (0, 1)
        if len(self.memory.events) > before:
            assert self.memory.events[-1].kind in CHANGES
            self.states.append(self.memory.state)
            self.changes.append(self.memory.events[-1])
        else:
            assert self.memory.state == self.states[-1]

    @rule(name=_NAMES, photos=_SOME, said=st.sampled_from(["", "round"]))
    def teach(self, name, photos, said):  # type: ignore[no-untyped-def]
        before = len(self.memory.events)
        self.memory.teach(name, photos, said)
        self._changed(before)

    @rule(name=_NAMES, photos=_SOME, wrong=st.none() | _NAMES)
    def correct(self, name, photos, wrong):  # type: ignore[no-untyped-def]
        before = len(self.memory.events)
        self.memory.correct(name, photos, {photos[0].id: wrong} if wrong else None)
        self._changed(before)

    @rule(order=st.sampled_from(["rename", "alias", "merge", "forget"]), name=_NAMES, other=_NAMES)
    def order(self, order, name, other):  # type: ignore[no-untyped-def]
        before = len(self.memory.events)
        try:
            if order == "forget":
                self.memory.forget(name)
            else:
                getattr(self.memory, order)(name, other)
        except ToolError:
            assert len(self.memory.events) == before
        self._changed(before)

    @rule(name=_NAMES, photos=_SOME)
    def reject(self, name, photos):  # type: ignore[no-untyped-def]
        before = len(self.memory.events)
        try:
            self.memory.reject(name, photos)
        except ToolError:
            assert len(self.memory.events) == before
        self._changed(before)

    @rule(name=_NAMES, new=_NAMES, photos=_SOME)
    def split(self, name, new, photos):  # type: ignore[no-untyped-def]
        before = len(self.memory.events)
        owned = self.memory.state.owners
        try:
            label = self.memory.label(name)
            mine = [p.id for p in photos if owned.get(p.id) == label.id]
            self.memory.split(name, new, mine)
        except ToolError:
            assert len(self.memory.events) == before
        self._changed(before)

    @rule(
        photos=_SOME, question=st.sampled_from(["which size?", "Which size"]), n=st.integers(1, 2)
    )
    def answer(self, photos, question, n):  # type: ignore[no-untyped-def]
        before = len(self.memory.events)
        self.memory.remember(question, f"M{n}", photos)
        self._changed(before)

    @rule(photos=_SOME)
    def drop(self, photos):  # type: ignore[no-untyped-def]
        before = len(self.memory.events)
        self.memory.drop([p.id for p in photos])
        self._changed(before)

    @rule(back=st.integers(1, 6))
    def revert(self, back):  # type: ignore[no-untyped-def]
        from datetime import datetime

        before = len(self.memory.events)
        if before:
            since = self.memory.events[max(0, before - back)].at
            self.memory.revert(datetime.fromisoformat(since), "today")
        self._changed(before)

    @rule()
    def clear(self) -> None:
        before = len(self.memory.events)
        self.memory.clear()
        self._changed(before)

    @precondition(lambda self: len(self.states) > 1)
    @rule()
    def undo(self) -> None:
        self.memory.undo()
        self.states.pop()
        self.changes.pop()
        assert self.memory.state == self.states[-1]

    @rule(chosen=st.sets(st.integers(1, 40), min_size=1, max_size=4))
    def take_some_back_and_put_them_back(self, chosen):  # type: ignore[no-untyped-def]
        """Out of the middle: what is left makes sense, and the way back is exact."""
        if self.memory.retract(chosen & {e.seq for e in self.memory.events}):
            assert self.memory.state == fold(self.memory.events)
            self.it_makes_sense()
            assert self.memory.retract([self.memory.events[-1].seq])
        assert self.memory.state == self.states[-1]

    @rule()
    def restart(self) -> None:
        self.house.close()
        self._open()

    @rule()
    def recognise(self) -> None:
        """The index follows whatever has happened since it was last looked at."""
        state = self.memory.state
        known = {e.photo_id for e in state.exemplars.values()}
        known |= {a.photo_id for a in state.answers.values()}
        assert set(self.memory.vectors(_EMBEDDER)) == known
        for photo_id, owner in state.owners.items():
            vector = self.memory.vectors(_EMBEDDER)[photo_id]
            best = self.memory.search(_EMBEDDER, vector, 1, owner)[0]
            assert best.exemplar.photo_id == photo_id and best.similarity > 0.999

    @invariant()
    def the_state_is_that_of_the_journal(self) -> None:
        assert self.memory.state == self.states[-1] == fold(self.memory.events)

    @invariant()
    def it_is_that_of_the_changes_left(self) -> None:
        """Nothing is left of what was undone, nor of what was taken back at once."""
        back = {s for e in self.changes if e.kind == "reverted" for s in e.data["seqs"]}
        builder = StateBuilder()
        for event in self.changes:
            if event.seq not in back and event.kind != "reverted":
                builder.apply(event)
        assert self.memory.state == builder.state()

    @invariant()
    def it_makes_sense(self) -> None:
        state = self.memory.state
        keys = [name_key(n) for n in state.names]
        assert len(keys) == len(set(keys)), "a name means one label"
        assert all(e.label_id in state.labels for e in state.exemplars.values())
        owners = {e.photo_id: e.label_id for e in state.exemplars.values() if e.positive}
        assert owners == dict(state.owners)

    def undo_all(self) -> None:
        while len(self.states) > 1:
            self.undo()
        assert not (self.memory.state.labels or self.memory.state.answers)
        assert self.memory.last_change is None
        self.recognise()


TestUndo = UndoMachine.TestCase
TestUndo.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
