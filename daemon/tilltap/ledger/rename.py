"""Gives a till another name, under which everything it ever did is found again.

A till's name is part of every fact's key (tables.py), so it is changed in all of them, the entries included:
the one change that is ever made to an entry. If the old name stayed there, a till that is given it later
could not enter a sale under a number that was used before, and a repeated call would not find its entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, func, select, text, update
from sqlalchemy.exc import DBAPIError

from tilltap.errors import StartError
from tilltap.ledger import tables as t
from tilltap.ledger.backup import refuse_mixed
from tilltap.ledger.engine import GUARDS, InUseError, sqlite_engine
from tilltap.ledger.postgres import Server
from tilltap.ledger.upgrade import recorded, refuse_newer

# Every column that holds the name of a till.
_NAMES: tuple[Column[str], ...] = (
    t.sale.c.till,
    t.refund.c.till,
    t.refund.c.sale_till,
    t.tap.c.till,
    t.event.c.till,
    t.push.c.till,
    t.till.c.name,
    t.news.c.till,
    t.wish.c.till,
    t.mirror.c.lease_owner,
)
# A till that has any of these has been here.
_KNOWN_BY = (t.entry.c.till, t.sale.c.till, t.refund.c.till, t.event.c.till, t.till.c.name)
_LIFT = {
    "sqlite": ("DROP TRIGGER IF EXISTS entry_no_UPDATE",),
    "postgresql": ("SET LOCAL lock_timeout = '2s'", "ALTER TABLE entry DISABLE TRIGGER entry_is_final"),
}
_LOWER = {"sqlite": tuple(GUARDS), "postgresql": ("ALTER TABLE entry ENABLE TRIGGER entry_is_final",)}


class RefusedError(StartError):
    """It cannot be done as it was asked for: exit 1."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Renamed:
    """`sales`: how many were found under the old name; None: it had been done before."""

    old: str
    new: str
    sales: int | None


def rename_in_file(path: Path, old: str | None, new: str) -> Renamed:
    """`old` None: whoever it belongs to. StartError; RefusedError also if a daemon runs on it."""
    refuse_mixed(path)
    if not path.stat().st_size:  # to open it for writing would make a database of it
        raise _none_yet(f"ledger {path}")
    try:
        engine, lock = sqlite_engine(path)
    except InUseError:
        raise RefusedError(f"ledger {path}: its till is running on it (stop its daemon first)") from None
    try:
        return _rename(engine, f"ledger {path}", old, new)
    finally:
        engine.dispose()
        lock.release()


def rename_on_server(server: Server, old: str, new: str) -> Renamed:
    """Unreachable, StartError; RefusedError also if the till is running."""
    engine = server.engine()
    try:
        return _rename(engine, "ledger", old, new)
    finally:
        engine.dispose()


def _none_yet(where: str) -> StartError:
    return StartError(f"{where}: there is no ledger in it yet (tilltap run makes it)")


def _rename(engine: Engine, where: str, old: str | None, new: str) -> Renamed:
    try:
        with engine.begin() as connection:
            schema = recorded(connection)
            if not schema:
                raise _none_yet(where)
            refuse_newer(schema, where)
            if connection.dialect.name == "sqlite":
                owner = _meta(connection, "till") or ""
                if old is not None and owner not in (old, new):
                    raise RefusedError(f"{where}: it belongs to till {owner}, not {old} (name that one)")
                old = owner if old is None else old
            assert old is not None
            return _rename_from(connection, where, old, new)
    except DBAPIError as error:
        reason = str(error.orig).splitlines()[0]
        damaged = "malformed" in reason or "not a database" in reason
        remedy = "restore it from a backup" if damaged else "nothing was changed; try again in a moment"
        raise StartError(f"{where}: {reason} ({remedy})") from None


def _rename_from(connection: Connection, where: str, old: str, new: str) -> Renamed:
    if old == new or (not _known(connection, old) and _meta(connection, f"renamed/{old}") == new):
        return Renamed(old, new, None)
    if not _known(connection, old):
        raise RefusedError(f'{where}: it knows no till "{old}" (see [till] name in its configuration)')
    if _known(connection, new):
        raise RefusedError(f'{where}: "{new}" is or was another till (a name can have one history only)')
    if connection.dialect.name == "postgresql":
        _must_not_run(connection, where, old)
    sales = connection.execute(select(func.count()).where(t.sale.c.till == old)).scalar()
    for statement in _LIFT[connection.dialect.name]:
        connection.execute(text(statement))
    for column in (t.entry.c.till, *_NAMES):
        connection.execute(update(column.table).where(column == old).values({column.name: new}))
    for statement in _LOWER[connection.dialect.name]:
        connection.execute(text(statement))
    connection.execute(update(t.meta).where(t.meta.c.key == "till", t.meta.c.value == old).values(value=new))
    connection.execute(t.meta.delete().where(t.meta.c.key == f"renamed/{old}"))
    connection.execute(t.meta.insert().values(key=f"renamed/{old}", value=new))
    return Renamed(old, new, int(sales or 0))


def _known(connection: Connection, till: str) -> bool:
    return any(
        connection.execute(select(column).where(column == till).limit(1)).first() for column in _KNOWN_BY
    )


def _meta(connection: Connection, key: str) -> str | None:
    found: str | None = connection.execute(select(t.meta.c.value).where(t.meta.c.key == key)).scalar()
    return found


def _must_not_run(connection: Connection, where: str, till: str) -> None:
    """Held until the end: a daemon that starts meanwhile finds the name gone, and ends."""
    row = connection.execute(
        select(t.till.c.host, t.till.c.until, func.extract("epoch", func.clock_timestamp()))
        .where(t.till.c.name == till)
        .with_for_update(of=t.till)
    ).first()
    if row is not None and row[1] > float(row[2]):
        raise RefusedError(f'{where}: "{till}" is running on {row[0]} (stop its daemon first)')
