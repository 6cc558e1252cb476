"""What a ledger knows beside customers and sales: its own marks, the programmes, the events told."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import bindparam, func, select

from tilltap.ledger import tables as t
from tilltap.ledger.engine import Sql, Tx
from tilltap.model import Program

_p = bindparam


_META = Sql(select(t.meta.c.value).where(t.meta.c.key == _p("key")))
_PUT_META = Sql(
    lambda insert: (
        insert(t.meta)
        .values(key=_p("key"), value=_p("value"))
        .on_conflict_do_update(index_elements=["key"], set_={"value": _p("value")})
    )
)
_LAST_PROGRAM = Sql(
    select(t.program.c.version, t.program.c.body).order_by(t.program.c.version.desc()).limit(1)
)
_PROGRAM = Sql(select(t.program.c.body).where(t.program.c.version == _p("version")))
_ADD_PROGRAM = Sql(t.program.insert().values(version=_p("version"), body=_p("body"), at=_p("at")))


def meta(tx: Tx, key: str) -> str | None:
    value: str | None = tx.scalar(_META, key=key)
    return value


def put_meta(tx: Tx, key: str, value: str) -> None:
    tx.run(_PUT_META, key=key, value=value)


def enter_program(tx: Tx, program: Program) -> int:
    """The version of `program`: the newest if it is the same to the letter, else a new one."""
    body = json.dumps(program.to_dict(), ensure_ascii=False, sort_keys=True)
    last = tx.one(_LAST_PROGRAM)
    if last and last.body == body:
        return int(last.version)
    version = last.version + 1 if last else 1
    tx.run(_ADD_PROGRAM, version=version, body=body, at=tx.at)
    return int(version)


def program(tx: Tx, version: int) -> Program:
    found: Program | None = tx.programs.get(version)
    if found is None:
        found = tx.programs[version] = Program.from_dict(json.loads(tx.scalar(_PROGRAM, version=version)))
    return found


_LAST_SEQ = Sql(select(func.max(t.event.c.seq)).where(t.event.c.till == _p("till")))
_FIRST_SEQ = Sql(select(func.min(t.event.c.seq)).where(t.event.c.till == _p("till")))
_EVENTS = Sql(
    select(t.event.c.seq, t.event.c.method, t.event.c.params)
    .where(t.event.c.till == _p("till"), t.event.c.seq > _p("after"))
    .order_by(t.event.c.seq)
    .limit(_p("n"))
)
_PRUNE_EVENTS = Sql(t.event.delete().where(t.event.c.till == _p("till"), t.event.c.seq <= _p("upto")))
_PRUNE_TAPS = Sql(t.tap.delete().where(t.tap.c.till == _p("till"), t.tap.c.steady < _p("before")))


def last_seq(tx: Tx, till: str) -> int:
    return tx.scalar(_LAST_SEQ, till=till) or 0


def first_seq(tx: Tx, till: str) -> int:
    return tx.scalar(_FIRST_SEQ, till=till) or 0


def events(tx: Tx, till: str, after: int, limit: int) -> list[tuple[int, str, dict[str, Any]]]:
    rows = tx.all(_EVENTS, till=till, after=after, n=limit)
    return [(r.seq, r.method, json.loads(r.params)) for r in rows]


def prune(tx: Tx, till: str, *, keep_events: int, taps_before: float) -> None:
    tx.run(_PRUNE_EVENTS, till=till, upto=last_seq(tx, till) - keep_events)
    tx.run(_PRUNE_TAPS, till=till, before=taps_before)
