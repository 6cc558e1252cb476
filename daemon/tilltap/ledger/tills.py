"""What several tills on one ledger owe each other: names, news, and one rate budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Float, bindparam, cast, extract, func, literal_column, select, update

from tilltap.ledger import tables as t
from tilltap.ledger.engine import Sql, Tx

T = TypeVar("T")

# A daemon that stopped renewing its name for this long has lost it: long enough for a short break of the
# network, short enough to wait for when a till's machine is replaced.
NAME_S = 20.0
RENEW_EVERY_S = 5.0
# News handled in one transaction; more wait for the next.
NEWS_AT_ONCE = 50

_p = bindparam
_n = t.news.c

_HOLDER = Sql(
    select(t.till.c.holder, t.till.c.host, t.till.c.until)
    .where(t.till.c.name == _p("till"))
    .with_for_update()
)
_TAKE = Sql(
    lambda insert: (
        insert(t.till)
        .values(name=_p("till"), holder=_p("holder"), host=_p("host"), until=_p("until"))
        .on_conflict_do_update(
            index_elements=["name"], set_={"holder": _p("holder"), "host": _p("host"), "until": _p("until")}
        )
    )
)
_RENEW = Sql(
    update(t.till)
    .where(t.till.c.name == _p("till"), t.till.c.holder == _p("holder"))
    .values(until=_p("until"))
)


@dataclass(frozen=True, slots=True)
class Taken:
    """Another daemon has the name, for `seconds` more unless it renews it."""

    host: str
    seconds: float


def take_name(tx: Tx, till: str, holder: str, host: str) -> Taken | None:
    """Makes `holder` the only daemon of this name; None: done."""
    row = tx.one(_HOLDER, till=till)
    if row is not None and row.holder != holder and row.until > tx.now:
        return Taken(row.host, row.until - tx.now)
    tx.run(_TAKE, till=till, holder=holder, host=host, until=tx.now + NAME_S)
    return None


def renew_name(tx: Tx, till: str, holder: str) -> None:
    tx.run(_RENEW, till=till, holder=holder, until=tx.now + NAME_S)


def leave_name(tx: Tx, till: str, holder: str) -> None:
    """An orderly stop: whoever comes next need not wait."""
    tx.run(_RENEW, till=till, holder=holder, until=0.0)


# -- news -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class News:
    """`kind` sale: announce it, `ref` is its id; tap: say the tap `ref` again, with `status`."""

    id: int
    kind: str
    ref: str
    status: str


_TELL = Sql(t.news.insert().values(till=_p("till"), kind=_p("kind"), ref=_p("ref"), status=_p("status")))
_NEWS = Sql(
    select(_n.id, _n.kind, _n.ref, _n.status)
    .where(_n.till == _p("till"))
    .order_by(_n.id)
    .limit(literal_column(str(NEWS_AT_ONCE)))
)
_HEARD = Sql(t.news.delete().where(_n.id == _p("id")))


def tell(tx: Tx, till: str, kind: str, ref: str, status: str = "") -> None:
    tx.run(_TELL, till=till, kind=kind, ref=ref, status=status)


def news(tx: Tx, till: str) -> list[News]:
    return [News(*row) for row in tx.all(_NEWS, till=till)]


def heard(tx: Tx, item: News) -> None:
    tx.run(_HEARD, id=item.id)


# -- the service's rate limit ---------------------------------------------------------------------------

_MAKE_RATE = Sql(
    lambda insert: insert(t.rate).values(endpoint=_p("endpoint"), used=_p("used")).on_conflict_do_nothing()
)
_RATE = Sql(select(t.rate.c.used).where(t.rate.c.endpoint == _p("endpoint")).with_for_update())
_CLOCK = Sql(select(cast(extract("epoch", func.clock_timestamp()), Float)))
_SET_RATE = Sql(update(t.rate).where(t.rate.c.endpoint == _p("endpoint")).values(used=_p("used")))


def change_rate(tx: Tx, endpoint: str, change: Callable[[str, float], tuple[str, T]]) -> T:
    """`change(used, now)` gives the new text to keep and the result; one till at a time per endpoint."""
    used = tx.scalar(_RATE, endpoint=endpoint)
    if used is None:
        tx.run(_MAKE_RATE, endpoint=endpoint, used="")
        used = tx.scalar(_RATE, endpoint=endpoint)
    # `tx.now` is from before we waited for the row: another till may have taken room since.
    new, result = change(used or "", tx.scalar(_CLOCK))
    if new != used:
        tx.run(_SET_RATE, endpoint=endpoint, used=new)
    return result
