"""What was sold, handed back and entered between two instants, as rows by till. Reads only.

`begin` and `end` (not included) are texts as the ledger keeps them, RFC 3339 in UTC with milliseconds: so
written, instants sort as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, case, func, literal_column, or_, select

from tilltap.ledger import tables as t
from tilltap.ledger.engine import Sql, Tx

_p = bindparam
_s, _e, _r, _c, _m, _w = t.sale.c, t.entry.c, t.refund.c, t.customer.c, t.mirror.c, t.wish.c
_ZERO: ColumnElement[int] = literal_column("0")


@dataclass(frozen=True, slots=True)
class Sold:
    """Sales of one till that used `reward` (None: that used none); amounts in minor units.

    `program`: the newest version that one of them was opened under. `differing`: sales that were not paid as
    they were due, `over` by so much and `under` by so much. `below_zero`: sales that spent points and left a
    balance below zero.
    """

    till: str
    reward: str | None
    program: int
    sales: int
    customers: int
    total: int
    discount: int
    paid: int
    differing: int
    over: int
    under: int
    earned: int
    spent: int
    below_zero: int


class Handed(NamedTuple):
    """Money handed back at `till` for a sale of `sale_till`; 0 for one that was paid by its reward alone."""

    till: str
    sale_till: str
    sale_id: str
    at: str
    amount: int


@dataclass(frozen=True, slots=True)
class Changed:
    """Entries of one kind, but for those that a close makes. `till` "": no till's doing. `below_zero`: those
    that took points and left a balance below zero. Of refunds (`refund`, `return`) also which sale and when.
    """

    till: str
    kind: str
    sale_id: str | None
    at: str | None
    points: int
    below_zero: int


class Owing(NamedTuple):
    """A pass whose balance is below zero."""

    pass_id: str | None
    ext_id: str | None
    points: int


def _is(kind: str) -> ColumnElement[bool]:
    return _e.kind == literal_column(f"'{kind}'")


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, literal_column("1"))))


_in_span = and_(_s.closed_at >= _p("begin"), _s.closed_at < _p("end"))
_due = _s.total - _s.discount
# A refund changes what the sale has earned since; what it earned at its close stands in its entry.
_earned_at_close = case(
    (_s.refunded == _ZERO, _s.earned),
    else_=select(_e.points)
    .where(_e.till == _s.till, _e.ref == _s.sale_id, _is("earn"), _e.seq == _ZERO)
    .correlate(t.sale)
    .scalar_subquery(),
)
_SOLD = Sql(
    select(
        _s.till,
        _s.reward,
        func.max(_s.program).label("program"),
        func.count().label("sales"),
        func.count(_s.customer_id).label("customers"),
        func.sum(_s.total).label("total"),
        func.sum(_s.discount).label("discount"),
        func.sum(_s.paid).label("paid"),
        _count(_s.paid != _due).label("differing"),
        func.sum(case((_s.paid > _due, _s.paid - _due))).label("over"),
        func.sum(case((_s.paid < _due, _due - _s.paid))).label("under"),
        func.sum(_earned_at_close).label("earned"),
        func.sum(_s.taken).label("spent"),
        _count(and_(_s.taken > _ZERO, _s.balance_after < _ZERO)).label("below_zero"),
    )
    .where(_in_span)
    .group_by(_s.till, _s.reward)
)
_HANDED = Sql(
    select(_r.till, _r.sale_till, _r.sale_id, _r.at, _r.amount).where(_r.at >= _p("begin"), _r.at < _p("end"))
)
_before = t.entry.alias().c
_left = (
    select(func.sum(_before.points))
    .where(
        or_(
            _before.customer_id == _e.customer_id,
            _before.customer_id.in_(select(_c.id).where(_c.same_as == _e.customer_id).correlate(t.entry)),
        ),
        # A refund takes and gives back in one moment: what counts is what it left.
        or_(
            _before.id <= _e.id,
            and_(_before.till == _e.till, _before.ref == _e.ref, _before.at == _e.at),
        ),
    )
    .correlate(t.entry)
    .scalar_subquery()
)
_of_a_refund = or_(_is("refund"), _is("return"))
_sale_id, _at = case((_of_a_refund, _e.ref)), case((_of_a_refund, _e.at))
_CHANGED = Sql(
    select(
        _e.till,
        _e.kind,
        _sale_id.label("sale_id"),
        _at.label("at"),
        func.sum(_e.points).label("points"),
        _count(and_(_e.points < _ZERO, _left < _ZERO)).label("below_zero"),
    )
    .where(
        _e.kind.not_in([literal_column("'earn'"), literal_column("'redeem'")]),
        _e.at >= _p("begin"),
        _e.at < _p("end"),
    )
    .group_by(_e.till, _e.kind, _sale_id, _at)
)
_PARKED = Sql(
    select(_w.till, func.count().label("passes"))
    .join_from(t.mirror, t.wish, _w.customer_id == _m.customer_id, isouter=True)
    .where(_m.parked.is_not(None))
    .group_by(_w.till)
)
_OWING = Sql(
    select(_c.pass_id, _c.ext_id, _c.points)
    .where(_c.points < _ZERO)
    .order_by(_c.points, _c.id)
    .limit(_p("n"))
)
_TILLS = Sql(select(t.till.c.name))
_TRACES = [
    Sql(select(column).where(column == _p("till")).limit(literal_column("1")))
    for column in (t.till.c.name, _s.till, _r.till, _e.till, t.event.c.till)
]


def _whole(value: Any) -> int:
    """A server's sum is a decimal, and of nothing it is none."""
    return int(value or 0)


def sold(tx: Tx, begin: str, end: str) -> list[Sold]:
    """Sales closed in this time, whatever became of them later."""
    rows = tx.all(_SOLD, begin=begin, end=end)
    return [Sold(r.till, r.reward, *map(_whole, r[2:])) for r in rows]


def handed(tx: Tx, begin: str, end: str) -> list[Handed]:
    return [Handed(*row) for row in tx.all(_HANDED, begin=begin, end=end)]


def changed(tx: Tx, begin: str, end: str) -> list[Changed]:
    rows = tx.all(_CHANGED, begin=begin, end=end)
    return [Changed(r.till, r.kind, r.sale_id, r.at, _whole(r.points), r.below_zero) for r in rows]


def parked(tx: Tx) -> dict[str | None, int]:
    """Passes that cannot be brought up to date, now, by the till that last gave them something to show; None:
    not said, since the ledger is one till's own.
    """
    return {r.till: r.passes for r in tx.all(_PARKED)}


def owing(tx: Tx, limit: int) -> list[Owing]:
    """Balances below zero, now, the lowest first."""
    return [Owing(*row) for row in tx.all(_OWING, n=limit)]


def tills(tx: Tx) -> list[str]:
    """Those that run on a shared ledger, or did lately."""
    return [r.name for r in tx.all(_TILLS)]


def is_till(tx: Tx, name: str) -> bool:
    """Whether a till of this name was ever here."""
    return any(tx.one(sql, till=name) is not None for sql in _TRACES)
