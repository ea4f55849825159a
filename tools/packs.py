"""A pack: one memory in one file, a zip of its journal, its pictures and a manifest.

The journal says what is taught now and nothing of what was forgotten. Everything that is read is
checked before anything is changed: the digest of the journal, the shape of its events, the content
of each picture, and that there is nothing else. Knows nothing of conversations.

    manifest.json      {"format": "imprint-pack", "version": 1, "journal": sha256 of journal.jsonl}
    journal.jsonl      one event a line: {"kind": …, "data": …}
    photos/<id>.png    the pictures, named by their content
"""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tools.errors import BadLabel, BadPack, PhotoError
from tools.images import MAX_BYTES, Photo, open_photo
from tools.memory import Memory, State, clean_name, joined, name_key
from tools.memory.events import Event
from tools.memory.state import StateBuilder
from tools.whole import whole_file

__all__ = ["Imported", "Pack", "import_pack", "open_pack", "write_pack"]

_FORMAT, _VERSION = "imprint-pack", 1
_MANIFEST, _JOURNAL = "manifest.json", "journal.jsonl"
_PHOTO = re.compile(r"photos/([0-9a-f]{64})\.png")
_MOST_FILES = 200_000
_MOST_TEXT = 64_000_000  # bytes of the journal
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def _name(text: str) -> str:
    try:
        return clean_name(text)
    except BadLabel as exc:
        raise ValueError(str(exc)) from exc


_PhotoId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_LabelId = Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}$")]
_Name = Annotated[str, AfterValidator(_name)]
_Text = Annotated[str, Field(max_length=10_000)]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Taught(_Data):
    label_id: _LabelId
    name: _Name
    photo_ids: list[_PhotoId]
    description: _Text = ""


class _Aliased(_Data):
    label_id: _LabelId
    alias: _Name


class _Rejected(_Data):
    label_id: _LabelId
    photo_ids: list[_PhotoId]


class _Answered(_Data):
    photo_ids: list[_PhotoId]
    question: _Text
    answer: _Text


_EVENTS: dict[str, TypeAdapter[Any]] = {
    kind: TypeAdapter(data)
    for kind, data in (
        ("taught", _Taught),
        ("aliased", _Aliased),
        ("rejected", _Rejected),
        ("answered", _Answered),
    )
}


@dataclass(frozen=True)
class Imported:
    """What taking a pack in did: names of labels, and how many pictures."""

    new: tuple[str, ...]
    joined: tuple[str, ...]
    pictures: int
    """New ones, taught or rejected."""
    known: int
    """Those that were here already."""


class Pack:
    """An open pack whose journal has been checked; pictures are checked as they are read."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._files = self._listed()
        self.state = self._read_state()
        missing = _photo_ids(self.state) - {m[1] for n in self._files if (m := _PHOTO.match(n))}
        if missing:
            raise self.bad(f"{len(missing)} of its pictures are missing")

    def photo(self, photo_id: str) -> Photo:
        """The picture of that id. Raises :class:`BadPack` if it is not what its name says."""
        try:
            photo = open_photo(self._bytes(f"photos/{photo_id}.png", MAX_BYTES))
        except PhotoError as exc:
            raise self.bad(f"picture {photo_id[:8]} is damaged") from exc
        if photo.id != photo_id:
            raise self.bad(f"picture {photo_id[:8]} was altered")
        return photo

    def bad(self, why: str) -> BadPack:
        """That this pack can't be used, for a reason."""
        return BadPack(
            f"{self._path.name} can't be used as a pack ({why}), so nothing was changed: export it "
            "again with `imprint memory export`."
        )

    def _listed(self) -> dict[str, zipfile.ZipInfo]:
        found = {}
        entries = self._archive.infolist()
        if len(entries) > _MOST_FILES:
            raise self.bad(f"it holds {len(entries):,} files")
        for info in entries:
            photo = bool(_PHOTO.fullmatch(info.filename))
            if not photo and info.filename not in (_MANIFEST, _JOURNAL):
                raise self.bad(f"it holds a file {info.filename!r:.60}, which packs do not")
            if info.filename in found:
                raise self.bad(f"it holds {info.filename} twice")
            if info.flag_bits & 1:
                raise self.bad("it is encrypted")
            if info.file_size > (MAX_BYTES if photo else _MOST_TEXT):
                raise self.bad(f"{info.filename} would be {info.file_size / 1e6:,.0f} MB")
            found[info.filename] = info
        if not {_MANIFEST, _JOURNAL} <= set(found):
            raise self.bad("it has no manifest and journal")
        return found

    def _bytes(self, name: str, limit: int) -> bytes:
        try:
            with self._archive.open(self._files[name]) as file:
                content = file.read(limit + 1)
        except _BROKEN as exc:
            raise self.bad(f"{name} is damaged") from exc
        if len(content) > limit:
            raise self.bad(f"{name} is larger than it says")
        return content

    def _read_state(self) -> State:
        try:
            manifest = json.loads(self._bytes(_MANIFEST, _MOST_TEXT))
            kind, version = manifest["format"], int(manifest["version"])
            digest = manifest["journal"]
        except (ValueError, TypeError, LookupError) as exc:
            raise self.bad("its manifest can't be read") from exc
        if kind != _FORMAT:
            raise self.bad("its manifest is of something else")
        if version > _VERSION:
            raise BadPack(
                f"{self._path.name} was written by a newer Imprint (pack version {version}, and "
                f"this one reads {_VERSION}): update Imprint; nothing was changed."
            )
        content = self._bytes(_JOURNAL, _MOST_TEXT)
        if hashlib.sha256(content).hexdigest() != digest:
            raise self.bad("its journal was altered")
        builder = StateBuilder()
        try:
            for line in content.decode().splitlines():
                entry = json.loads(line)
                data = _EVENTS[entry["kind"]].validate_python(entry["data"])
                builder.apply(Event(0, entry["kind"], data.model_dump(), ""))
        except (ValidationError, ValueError, TypeError, LookupError) as exc:
            raise self.bad("its journal says what I can't read") from exc
        state = builder.state()
        if len({name_key(n) for n in state.names}) != len(state.names):
            raise self.bad("two of its labels have one name")
        return state


def write_pack(memory: Memory, path: Path) -> State:
    """All that is taught in ``memory`` as the file ``path``, which appears whole; returns it.

    Raises :class:`tools.errors.MemoryDamaged` when a picture is missing.
    """
    state = memory.state
    events = [{"kind": e.kind, "data": dict(e.data)} for e in joined(State(), state)]
    journal = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in events).encode()
    manifest = {
        "format": _FORMAT,
        "version": _VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": {x.name: len(state.of(x.id)) for x in state.labels.values()},
        "journal": hashlib.sha256(journal).hexdigest(),
    }
    with (
        whole_file(path, durable=True) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        archive.writestr(_JOURNAL, journal)
        for photo_id in sorted(_photo_ids(state)):  # stored: PNG is compressed already
            content = memory.photos.get(photo_id).png()
            archive.writestr(f"photos/{photo_id}.png", content, zipfile.ZIP_STORED)
    return state


@contextmanager
def open_pack(path: Path) -> Iterator[Pack]:
    """The pack in ``path``. Raises :class:`BadPack` for anything else, and for damage."""
    try:
        archive = zipfile.ZipFile(path)
    except OSError as exc:
        reason = exc.strerror or exc
        raise BadPack(f"{path} can't be read ({reason}): give a pack.") from exc
    except _BROKEN as exc:
        raise BadPack(f"{path.name} is not a zip file: give a pack that was exported.") from exc
    with archive:
        yield Pack(path, archive)


def import_pack(memory: Memory, path: Path) -> Imported:
    """Take a pack in as one change that can be undone; what was taught here stays as it is.

    Every picture is checked first. Raises :class:`BadPack`, and changes nothing then.
    """
    with open_pack(path) as pack:
        before, theirs = memory.state, pack.state
        for photo_id in _photo_ids(theirs):
            pack.photo(photo_id)
        memory.take_in(theirs, pack.photo)
    here = [any(before.find(n) for n in x.names) for x in theirs.labels.values()]
    names = [x.name for x in theirs.labels.values()]
    added = _photo_ids(memory.state) - _photo_ids(before)
    return Imported(
        new=tuple(n for n, known in zip(names, here, strict=True) if not known),
        joined=tuple(n for n, known in zip(names, here, strict=True) if known),
        pictures=len(added),
        known=len(_photo_ids(theirs)) - len(added),
    )


def _photo_ids(state: State) -> set[str]:
    """Every picture that something is known of."""
    return {e.photo_id for e in state.exemplars.values()} | {i for i, _ in state.answers}
