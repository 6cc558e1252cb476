"""Taps, for as long as their ids are good."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import Text, bindparam, func, literal_column, select, update

from tilltap.ledger import tables as t
from tilltap.ledger.engine import Sql, Tx

_p = bindparam


@dataclass(frozen=True, slots=True)
class Tap:
    tap_id: str
    reader: str
    source: str
    status: str
    customer_id: int | None
    sale_id: str | None
    reason: str | None
    used: int
    steady: float


_TAP_COLUMNS = [f.name for f in fields(Tap)]


_t = t.tap.c
_ADD_TAP = Sql(t.tap.insert().values({k: _p(k) for k in ("till", *_TAP_COLUMNS)}))
_TAP = Sql(select(*[_t[k] for k in _TAP_COLUMNS]).where(_t.till == _p("till"), _t.tap_id == _p("tap_id")))
_WAITING = Sql(
    select(*[_t[k] for k in _TAP_COLUMNS])
    .where(
        _t.till == _p("till"),
        _t.used == literal_column("0"),
        _t.steady > _p("since"),
        _t.status.in_([literal_column("'identified'"), literal_column("'offline'")]),
    )
    .order_by(_t.steady.desc())
    .limit(1)
)
_USE_WAITING = Sql(
    update(t.tap)
    .where(_t.till == _p("till"), _t.used == literal_column("0"), _t.steady > _p("since"))
    .values(used=1)
)
_USE_TAPS_OF = Sql(
    update(t.tap)
    .where(_t.till == _p("till"), _t.used == literal_column("0"), _t.customer_id == _p("customer_id"))
    .values(used=1)
)
_SET_TAP = Sql(
    update(t.tap)
    .where(_t.till == _p("till"), _t.tap_id == _p("tap_id"))
    .values(
        status=_p("status"),
        sale_id=func.coalesce(_p("sale", type_=Text), _t.sale_id),
        used=_p("used"),
    )
)
_TAP_TILL = Sql(select(_t.till).where(_t.tap_id == _p("tap_id")))
_OFFLINE_ELSEWHERE = Sql(
    select(_t.till, _t.tap_id)
    .where(
        _t.customer_id == _p("customer_id"),
        _t.till != _p("till"),
        _t.status == literal_column("'offline'"),
    )
    .order_by(_t.steady.desc())
    .limit(_p("n"))
)
_OFFLINE_TAPS = Sql(
    select(*[_t[k] for k in _TAP_COLUMNS])
    .where(
        _t.till == _p("till"),
        _t.customer_id == _p("customer_id"),
        _t.status == literal_column("'offline'"),
    )
    .order_by(_t.steady.desc())
    .limit(_p("n"))
)


def tap_till(tx: Tx, tap_id: str) -> str | None:
    found: str | None = tx.scalar(_TAP_TILL, tap_id=tap_id)
    return found


def offline_taps_elsewhere(tx: Tx, customer_id: int, limit: int) -> list[tuple[str, str]]:
    """`(till, tap id)` of other tills' taps whose customer was not known then."""
    rows = tx.all(_OFFLINE_ELSEWHERE, till=tx.till, customer_id=customer_id, n=limit) if tx.shared else []
    return [(r.till, r.tap_id) for r in rows]


def add_tap(tx: Tx, till: str, item: Tap) -> None:
    tx.run(_ADD_TAP, till=till, **{name: getattr(item, name) for name in _TAP_COLUMNS})


def tap(tx: Tx, till: str, tap_id: str) -> Tap | None:
    row = tx.one(_TAP, till=till, tap_id=tap_id)
    return Tap(*row) if row is not None else None


def take_waiting_tap(tx: Tx, till: str, since: float) -> Tap | None:
    """The newest tap after `since` that may still attach to the next sale; from now on none may."""
    row = tx.one(_WAITING, till=till, since=since)
    tx.run(_USE_WAITING, till=till, since=since)
    return Tap(*row) if row is not None else None


def use_taps_of(tx: Tx, till: str, customer_id: int) -> None:
    tx.run(_USE_TAPS_OF, till=till, customer_id=customer_id)


def set_tap(tx: Tx, till: str, tap_id: str, *, status: str, sale: str | None = None, used: int = 1) -> None:
    tx.run(_SET_TAP, till=till, tap_id=tap_id, status=status, sale=sale, used=used)


def offline_taps(tx: Tx, till: str, customer_id: int, limit: int) -> list[Tap]:
    return [Tap(*row) for row in tx.all(_OFFLINE_TAPS, till=till, customer_id=customer_id, n=limit)]
