"""The append-only journal in SQL: SQLite by default, any database SQLAlchemy reaches by setting.

Knows nothing of what its events mean (:mod:`tools.memory.state`). An event is acknowledged when
its transaction is committed and, on SQLite, on disk (WAL, ``synchronous=FULL``).
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import (
    JSON,
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from tools.errors import MemoryDamaged, MemoryFailed, SettingsError
from tools.memory.events import Event, Kind

__all__ = ["Journal", "connect"]

_META = MetaData()
_EVENTS = Table(
    "imprint_events",
    _META,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("workspace", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    Column("at", String(40), nullable=False),
    sqlite_autoincrement=True,  # a sequence number is never used twice
)


def connect(folder: Path, database_url: str | None) -> Engine:
    """The engine of ``database_url``, or of the SQLite file ``folder/journal``."""
    if database_url is None:
        folder.mkdir(parents=True, exist_ok=True)
        database_url = f"sqlite:///{folder / 'journal'}"
    try:
        # No pool for SQLite: a connection costs 0.2 ms, and none stays open across a fork.
        sqlite = database_url.startswith("sqlite")
        engine = (
            create_engine(database_url, poolclass=NullPool, connect_args={"timeout": 30})
            if sqlite
            else create_engine(database_url, pool_pre_ping=True)
        )
    except (ArgumentError, NoSuchModuleError, ImportError) as exc:
        raise SettingsError(
            f"IMPRINT_DATABASE_URL is not usable ({type(exc).__name__}): "
            "give a SQLAlchemy URL, and install its driver."
        ) from exc
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
    return engine


class Journal:
    """The events of one workspace."""

    def __init__(self, engine: Engine, workspace: str) -> None:
        self._engine = engine
        self._workspace = workspace
        try:
            _META.create_all(engine)
        except DBAPIError as exc:
            raise self._damaged(exc) from exc

    def read(self, after: int = 0) -> list[Event]:
        """The events with a ``seq`` above ``after``, oldest first."""
        query = (
            select(_EVENTS)
            .where(_EVENTS.c.workspace == self._workspace, _EVENTS.c.seq > after)
            .order_by(_EVENTS.c.seq)
        )
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(query).all()
        except (DBAPIError, json.JSONDecodeError) as exc:
            raise self._damaged(exc) from exc
        return [Event(r.seq, cast(Kind, r.kind), r.data, r.at) for r in rows]

    def append(self, kind: Kind, data: dict[str, Any]) -> Event:
        """Commit one event; when this returns it survives a power cut."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        values = {"workspace": self._workspace, "kind": kind, "data": data, "at": at}
        try:
            with self._engine.begin() as connection:
                result = connection.execute(insert(_EVENTS).values(values))
        except DBAPIError as exc:
            raise MemoryFailed(
                f"What you taught could not be written ({exc.orig}): "
                "check that the disk has room and may be written to, then say it again."
            ) from exc
        key = result.inserted_primary_key
        assert key is not None
        return Event(int(key[0]), kind, data, at)

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    def _damaged(self, exc: Exception) -> MemoryDamaged:
        where = self._engine.url.render_as_string(hide_password=True)
        return MemoryDamaged(
            f"The journal {where} cannot be read ({getattr(exc, 'orig', exc)}): restore it from "
            "a backup, or move it aside to start with an empty memory."
        )


def _durable(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
