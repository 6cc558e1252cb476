"""The local file that keeps what a till does while the shared ledger is out of reach, until it is entered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    func,
    select,
    update,
)

from tilltap.errors import StartError
from tilltap.ledger import tables as t
from tilltap.ledger.engine import LedgerLock, Sql, Tx, sqlite_engine

Json = dict[str, Any]

_metadata = MetaData()

# Nothing upgrades a spool, since it is empty most of the time but must never be lost: these tables and the
# two of the ledger's stay as they are (a test compares them). Another layout would be another table.

# In the order of `id`. `kind` close: `key` is the sale's id, `body` the call, `shape` what was answered; tap:
# `key` is the tap's id, `shape` its event. `parked`: why the ledger refused it; a person must look.
_spooled = Table(
    "spooled",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("shape", Text, nullable=False),
    Column("parked", Text),
    UniqueConstraint("kind", "key"),
)


@dataclass(frozen=True, slots=True)
class Spooled:
    id: int
    kind: str
    key: str
    at: str
    body: Json
    shape: Json
    parked: str | None


def open_spool(path: Path) -> tuple[Engine, LedgerLock]:
    """The file, made if new: same durability and same lock as a ledger of its own."""
    engine, lock = sqlite_engine(path, "spool")
    with engine.begin() as connection:
        _metadata.create_all(connection)
        t.metadata.create_all(connection, tables=[t.meta, t.event])
    return engine, lock


def own_spool(engine: Engine, path: Path, till: str) -> None:
    """StartError for a spool of another till: its closes would be entered a second time, under this name."""
    with engine.begin() as connection:
        was = connection.execute(select(t.meta.c.value).where(t.meta.c.key == "till")).scalar()
        if was is None:
            connection.execute(t.meta.insert().values(key="till", value=till))
    if was not in (None, till):
        raise StartError(
            f"spool {path}: it belongs to till {was}, the configuration says {till}"
            " (correct [till] name, or tilltap ledger rename-till; another till needs its own [ledger] spool)"
        )


def move_spool(source: Path, target: Path, till: str) -> Callable[[], None]:
    """Takes the spool; what is returned makes it `till`'s, at `target`. StartError if it is in use, or one is
    there.
    """
    if source != target and target.exists():
        raise StartError(f"spool {target}: there is one already (two tills cannot have one spool)")
    engine, lock = open_spool(source)
    with engine.connect() as connection:
        # All that is in it, in the one file that is moved.
        mode = connection.connection.cursor().execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    if mode != "delete":
        engine.dispose()
        lock.release()
        raise StartError(f"spool {source}: somebody reads it (try again in a moment)")

    def move() -> None:
        with engine.begin() as connection:
            connection.execute(t.meta.delete().where(t.meta.c.key == "till"))
            connection.execute(t.meta.insert().values(key="till", value=till))
        engine.dispose()
        source.rename(target)
        lock.release()

    return move


_p = bindparam
_c = _spooled.c
_ADD = Sql(
    _spooled.insert().values({k: _p(k) for k in ("kind", "key", "at", "body", "shape")}).returning(_c.id)
)
_ALL = Sql(select(_spooled).order_by(_c.id))
_PARK = Sql(update(_spooled).where(_c.id == _p("id")).values(parked=_p("parked")))
_DROP = Sql(_spooled.delete().where(_c.id == _p("id")))
_EVENTS = Sql(select(t.event.c.seq, t.event.c.method, t.event.c.params).order_by(t.event.c.seq))
_DROP_EVENTS = Sql(t.event.delete().where(t.event.c.seq <= _p("upto")))
_LAST_SEQ = Sql(select(func.max(t.event.c.seq)))


def add(tx: Tx, kind: str, key: str, body: Json, shape: Json) -> Spooled:
    new_id = tx.scalar(_ADD, kind=kind, key=key, at=tx.at, body=json.dumps(body), shape=json.dumps(shape))
    return Spooled(new_id, kind, key, tx.at, body, shape, None)


def everything(tx: Tx) -> list[Spooled]:
    """In the order in which it happened."""
    return [
        Spooled(r.id, r.kind, r.key, r.at, json.loads(r.body), json.loads(r.shape), r.parked)
        for r in tx.all(_ALL)
    ]


def park(tx: Tx, spooled_id: int, reason: str | None) -> None:
    tx.run(_PARK, id=spooled_id, parked=reason)


def drop(tx: Tx, spooled_id: int) -> None:
    tx.run(_DROP, id=spooled_id)


def events(tx: Tx) -> list[tuple[int, str, str]]:
    """What was published meanwhile: `(seq, method, params as JSON)`."""
    return [(r.seq, r.method, r.params) for r in tx.all(_EVENTS)]


def drop_events(tx: Tx, upto: int) -> None:
    tx.run(_DROP_EVENTS, upto=upto)


def last_seq(tx: Tx) -> int:
    return tx.scalar(_LAST_SEQ) or 0
