"""Sales, what they hold for a customer, refunds, and the uses of rewards that keep their points."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from sqlalchemy import bindparam, func, literal_column, select, update

from tilltap.ledger import tables as t
from tilltap.ledger.book.customers import lock
from tilltap.ledger.engine import Sql, Tx

_p = bindparam


# Contract section 3: reservations last 10 min after the last call about the sale.
RESERVATION_S = 600


@dataclass(slots=True)
class Sale:
    """A row of `sale` (tables.py says what the columns mean)."""

    till: str
    sale_id: str
    state: str
    total: int
    program: int
    turn: int
    touched: float
    eligible: int | None = None
    paid: int | None = None
    refunded: int = 0
    customer_id: int | None = None
    reward: str | None = None
    taken: int = 0
    lapsed: int = 0
    declined: str = "[]"
    closed: float | None = None
    closed_at: str | None = None
    discount: int = 0
    earned: int = 0
    carried: int = 0
    returned: int = 0
    offline: int = 0
    balance_after: int | None = None
    offers: str | None = None
    message: str | None = None
    receipt: str | None = None
    why: str = ""
    uid: int | None = None

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    @property
    def counted(self) -> int:
        """The part of `total` that earns."""
        return self.total if self.eligible is None else min(self.eligible, self.total)

    def refusals(self) -> list[str]:
        names: list[str] = json.loads(self.declined)
        return names

    def let_go(self) -> None:
        """Of the accepted reward."""
        self.reward, self.taken, self.lapsed = None, 0, 0


_SALE_COLUMNS = [f.name for f in fields(Sale)]


_s = t.sale.c
_COLUMNS = [_s[name] for name in _SALE_COLUMNS]
_SALE = Sql(select(*_COLUMNS).where(_s.till == _p("till"), _s.sale_id == _p("sale_id")))
_SALE_TO_CHANGE = Sql(
    select(*_COLUMNS).where(_s.till == _p("till"), _s.sale_id == _p("sale_id")).with_for_update()
)
_ADD_SALE = Sql(t.sale.insert().values({name: _p(name) for name in _SALE_COLUMNS}))
_SAVE_SALE = Sql(
    update(t.sale)
    .where(_s.till == _p("till"), _s.sale_id == _p("sale_id"))
    .values({name: _p(name) for name in _SALE_COLUMNS if name not in ("till", "sale_id")})
)
_CURRENT = Sql(
    select(*_COLUMNS)
    .where(_s.till == _p("till"), _s.state == literal_column("'open'"))
    .order_by(_s.turn.desc())
    .limit(1)
)
_OPEN = Sql(
    select(*_COLUMNS).where(_s.till == _p("till"), _s.state == literal_column("'open'")).order_by(_s.turn)
)
_OPEN_OF = Sql(
    select(*_COLUMNS).where(_s.customer_id == _p("customer_id"), _s.state == literal_column("'open'"))
)
_UNANSWERED = Sql(
    select(*_COLUMNS)
    .where(
        _s.customer_id == _p("customer_id"),
        _s.state != literal_column("'open'"),
        _s.offline == literal_column("1"),
    )
    .order_by(_s.closed)
)
_LAST_TURN = Sql(select(func.max(_s.turn)).where(_s.till == _p("till"), _s.state == literal_column("'open'")))
_in_columns = attrgetter(*_SALE_COLUMNS)


def _values(item: Sale) -> dict[str, Any]:
    return dict(zip(_SALE_COLUMNS, _in_columns(item), strict=True))


def _forget(tx: Tx, item: Sale) -> None:
    """What was read of a sale that is written now."""
    if item.is_open:
        tx.open_of.clear()
    else:
        name = item.till, item.sale_id
        for customer_id, rows in list(tx.open_of.items()):
            if any((row.till, row.sale_id) == name for row in rows):
                del tx.open_of[customer_id]


def sale(tx: Tx, till: str, sale_id: str) -> Sale | None:
    row = tx.one(_SALE, till=till, sale_id=sale_id)
    return Sale(*row) if row is not None else None


def sale_to_change(tx: Tx, till: str, sale_id: str) -> Sale | None:
    """The sale with its customer locked before it: everybody locks in this order."""
    found = sale(tx, till, sale_id)
    while tx.shared and found is not None:
        lock(tx, found.customer_id)
        now = Sale(*tx.one(_SALE_TO_CHANGE, till=till, sale_id=sale_id))
        if now.customer_id == found.customer_id:
            return now
        found = now
    return found


def add_sale(tx: Tx, item: Sale) -> None:
    _forget(tx, item)
    tx.run(_ADD_SALE, **_values(item))


def save_sale(tx: Tx, item: Sale) -> None:
    _forget(tx, item)
    tx.run(_SAVE_SALE, **_values(item))


def current_sale(tx: Tx, till: str) -> Sale | None:
    row = tx.one(_CURRENT, till=till)
    return Sale(*row) if row is not None else None


def open_sales(tx: Tx, till: str) -> list[Sale]:
    return [Sale(*row) for row in tx.all(_OPEN, till=till)]


def open_sales_of(tx: Tx, customer_id: int) -> list[Sale]:
    return [Sale(*row) for row in _open_of(tx, customer_id)]


def _open_of(tx: Tx, customer_id: int) -> list[Any]:
    rows = tx.open_of.get(customer_id)
    if rows is None:
        rows = tx.open_of[customer_id] = tx.all(_OPEN_OF, customer_id=customer_id)
    return rows


def unanswered_sales(tx: Tx, customer_id: int) -> list[Sale]:
    """Closed sales whose customer's balance was not known then, in order of closing."""
    return [Sale(*row) for row in tx.all(_UNANSWERED, customer_id=customer_id)]


def stale_sales(tx: Tx, till: str, before: float) -> list[Sale]:
    """Open ones, last touched before then."""
    return [sale for sale in open_sales(tx, till) if sale.touched < before]


def last_turn(tx: Tx, till: str) -> int:
    """The highest turn of an open sale."""
    return tx.scalar(_LAST_TURN, till=till) or 0


def held(tx: Tx, customer_id: int) -> list[tuple[str, str, str, int]]:
    """Live reservations: `(till, sale_id, reward, points)`."""
    return [(s.till, s.sale_id, s.reward, s.taken) for s in _open_of(tx, customer_id) if holds(tx, s)]


def holds(tx: Tx, item: Any) -> bool:
    """Whether the open sale's accepted reward is still reserved for it."""
    return bool(item.reward and not item.lapsed and item.touched > tx.now - RESERVATION_S)


_REFUND = Sql(select(t.refund).where(t.refund.c.till == _p("till"), t.refund.c.refund_id == _p("refund_id")))
_ADD_REFUND = Sql(
    t.refund.insert().values(
        {k: _p(k) for k in ("till", "refund_id", "sale_till", "sale_id", "amount", "asked", "at", "uid")}
    )
)
_USES = Sql(
    select(t.reward_use.c.reward, t.reward_use.c.uses).where(t.reward_use.c.customer_id == _p("customer_id"))
)
_ADD_USE = Sql(
    lambda insert: (
        insert(t.reward_use)
        .values(customer_id=_p("customer_id"), reward=_p("reward"), uses=_p("n"))
        .on_conflict_do_update(
            index_elements=["customer_id", "reward"], set_={"uses": t.reward_use.c.uses + _p("n")}
        )
    )
)


def refund(tx: Tx, till: str, refund_id: str) -> Any:
    return tx.one(_REFUND, till=till, refund_id=refund_id)


def add_refund(tx: Tx, **values: Any) -> None:
    tx.run(_ADD_REFUND, at=tx.at, uid=tx.uid, **values)


def uses(tx: Tx, customer_id: int) -> dict[str, int]:
    return {r.reward: r.uses for r in tx.all(_USES, customer_id=customer_id)}


def add_use(tx: Tx, customer_id: int, reward: str, n: int) -> None:
    tx.run(_ADD_USE, customer_id=customer_id, reward=reward, n=n)
