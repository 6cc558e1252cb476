"""What the mirror reads from and writes into the ledger (exactly-once.md, mode M1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Float,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    update,
)

from tilltap.ledger import push_book
from tilltap.ledger import tables as t
from tilltap.ledger.engine import Sql, Tx

_p = bindparam
_m = t.mirror.c
_d = t.mirror_send.c
_w = t.wish.c
_NULL: ColumnElement[Any] = literal_column("NULL")
_ZERO: ColumnElement[int] = literal_column("0")
_ONE: ColumnElement[int] = literal_column("1")

# Taps of one pass that are corrected together: ids of 16 characters with a space between. A pass is read
# within a second, so more than two would take many readers or a slow service.
LOOKING_TAPS = 8 * 17 - 1

# The till that wants a pass brought up to date has this long to begin; then any other may. Its own mirror
# begins at once, so only a till that is gone or stuck lets it pass.
OTHERS_WAIT_S = 3.0


@dataclass(slots=True)
class Pass:
    """A row of `mirror` (tables.py says what the columns mean)."""

    customer_id: int
    confirmed: int | None
    face: str | None
    dirty: int
    said: int
    since: float | None
    settle: float | None
    retry: float
    attempts: int
    parked: str | None
    foreign_seen: int
    look: str | None
    lease_until: float
    # No columns: when it was claimed, by the ledger's time, and by the claimer's own just before.
    claimed_at: float = 0.0
    asked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Send:
    id: int
    points: int
    base: int
    sent: float
    outcome: str  # open | applied | unknown


_COLUMNS = [_m[f.name] for f in fields(Pass) if f.name in _m]
_SAVED = [
    f.name
    for f in fields(Pass)
    if f.name not in ("customer_id", "look", "lease_until", "claimed_at", "asked_at")
]

_OWE = Sql(
    lambda insert: (
        insert(t.mirror)
        .values(customer_id=_p("id"), dirty=1, since=_p("now"))
        .on_conflict_do_update(
            index_elements=["customer_id"],
            set_={
                "dirty": _ONE,
                "said": _ZERO,
                "since": case((_m.dirty == _ONE, func.coalesce(_m.since, _p("now"))), else_=_p("now")),
                "retry": case((_m.parked.is_not(None), _ZERO), else_=_m.retry),
                "parked": _NULL,
            },
        )
    )
)
_MET = Sql(
    lambda insert: (
        insert(t.mirror)
        .values(customer_id=_p("id"), confirmed=_p("points"))
        .on_conflict_do_update(index_elements=["customer_id"], set_={"confirmed": _p("points")})
    )
)
_LOOK = Sql(
    update(t.mirror)
    .where(_m.customer_id == _p("id"))
    .values(look=func.substr(func.coalesce(_m.look + " ", "") + _p("tap", type_=Text), -LOOKING_TAPS))
)
# Of the rows of all passes, the few in the index `mirror_busy`.
_busy = or_(_m.dirty == _ONE, _m.look.is_not(None), _m.settle.is_not(None), _m.parked.is_not(None))
_wanted = or_(_m.dirty == _ONE, _m.look.is_not(None))
_NEXT = Sql(
    select(*_COLUMNS)
    .where(
        _busy,
        _m.parked.is_(None),
        or_(_wanted, _m.settle <= _p("now")),
        or_(_m.retry <= _p("now"), _m.look.is_not(None)),
        _m.lease_until <= _p("now"),
    )
    .order_by(_m.look.is_(None), _m.dirty.desc(), _m.since, _m.settle)
    .limit(1)
)
_ours = or_(_w.till == _p("owner"), _w.till.is_(None))
_NEXT_SHARED = Sql(
    select(*_COLUMNS)
    .join_from(t.mirror, t.wish, _w.customer_id == _m.customer_id, isouter=True)
    .where(
        or_(_ours, _w.at <= _p("others")),
        _busy,
        _m.parked.is_(None),
        or_(_wanted, _m.settle <= _p("now")),
        or_(_m.retry <= _p("now"), _m.look.is_not(None)),
        _m.lease_until <= _p("now"),
    )
    .order_by(_m.look.is_(None), _m.dirty.desc(), _m.since, _m.settle)
    .limit(1)
    .with_for_update(of=t.mirror, skip_locked=True)
)
_WISH = Sql(
    lambda insert: (
        insert(t.wish)
        .values(customer_id=_p("id"), till=_p("till"), at=_p("now"))
        .on_conflict_do_update(index_elements=["customer_id"], set_={"till": _p("till"), "at": _p("now")})
    )
)
_LEASE = Sql(
    update(t.mirror)
    .where(_m.customer_id == _p("id"))
    .values(lease_owner=_p("owner"), lease_until=_p("until"), look=_NULL)
)
_RELEASE = Sql(update(t.mirror).where(_m.customer_id == _p("id")).values(lease_until=_ZERO))
_GET = Sql(select(*_COLUMNS).where(_m.customer_id == _p("id")))
_SAVE = Sql(update(t.mirror).where(_m.customer_id == _p("id")).values({k: _p(k) for k in _SAVED}))
_FORGET = Sql(t.mirror.delete().where(_m.customer_id == _p("id")))
_WHEN_WANTED = Sql(select(func.min(_m.retry)).where(_busy, _m.parked.is_(None), _wanted))
_LEFT_OPEN = Sql(
    update(t.mirror_send)
    .where(_d.customer_id == _p("id"), _d.outcome == literal_column("'open'"))
    .values(outcome="unknown")
)
_WHEN_WANTED_HERE = Sql(
    select(func.min(_m.retry))
    .join_from(t.mirror, t.wish, _w.customer_id == _m.customer_id, isouter=True)
    .where(_busy, _m.parked.is_(None), _wanted, _ours)
)
_WHEN_SETTLED = Sql(select(func.min(_m.settle)).where(_busy, _m.parked.is_(None), _m.settle.is_not(None)))
_foreign = t.mirror.alias().c.foreign_seen
_COUNTS = Sql(
    select(
        func.count().filter(and_(_m.dirty == _ONE, _m.parked.is_(None))).label("waiting"),
        func.min(case((and_(_m.dirty == _ONE, _m.parked.is_(None)), _m.since))).label("oldest"),
        func.count(_m.parked).label("parked"),
        select(cast(func.coalesce(func.sum(_foreign), _ZERO), BigInteger))
        .where(_foreign > _ZERO)
        .scalar_subquery()
        .label("foreign"),
    ).where(_busy)
)
_BEHIND = Sql(
    select(*_COLUMNS)
    .where(_busy, or_(_m.dirty == _ONE, _m.parked.is_not(None)))
    .order_by(_m.parked.is_(None), _m.since)
    .limit(_p("n"))
)
_RETRY = Sql(
    update(t.mirror)
    .where(_m.customer_id == _p("id"))
    .values(
        parked=_NULL,
        dirty=_ONE,
        said=_ZERO,
        retry=_ZERO,
        attempts=_ZERO,
        since=func.coalesce(_m.since, _p("now")),
    )
)


def owe(tx: Tx, customer_id: int) -> None:
    """The pass has something to be told; one that was parked gets another chance."""
    tx.run(_OWE, id=customer_id, now=tx.now)
    _wish(tx, customer_id)


def _wish(tx: Tx, customer_id: int) -> None:
    """Among several tills, the one whose POS waits for the outcome does the work."""
    if tx.shared:
        tx.run(_WISH, id=customer_id, till=tx.till, now=tx.now)


def met(tx: Tx, customer_id: int, points: int) -> None:
    """The service was seen to hold `points`, before we ever wrote."""
    tx.run(_MET, id=customer_id, points=points)


def look(tx: Tx, customer_id: int, tap_id: str) -> None:
    """Read the pass soon: have others changed it? `tap_id` is the tap to correct then, "" for none."""
    tx.run(_LOOK, id=customer_id, tap=tap_id)
    _wish(tx, customer_id)


def claim(tx: Tx, owner: str, lease_s: float, settle_s: float) -> Pass | None:
    """The next pass with work, under a lease that nobody else can take before it ends.

    `lease_until` of what is returned is the lease's mark: see `holds`.
    """
    if tx.shared:
        row = tx.one(_NEXT_SHARED, now=tx.now, owner=owner, others=tx.now - OTHERS_WAIT_S)
    else:
        row = tx.one(_NEXT, now=tx.now)
    if row is None:
        return None
    found = Pass(*row)
    if found.lease_until:
        _take_over(tx, found, settle_s)
    found.claimed_at, found.lease_until = tx.now, tx.now + lease_s
    tx.run(_LEASE, id=found.customer_id, owner=owner, until=found.lease_until)
    return found


def _take_over(tx: Tx, found: Pass, settle_s: float) -> None:
    """A lease was not given back: what its holder sent is unknown, and it may have given a request up since,
    which the settle clock, started when that request was planned, does not cover.
    """
    push_book.left_sending(tx, found.customer_id)
    tx.run(_LEFT_OPEN, id=found.customer_id)
    if found.settle is not None:
        found.settle = tx.now + settle_s
        save(tx, found)


def abandon(tx: Tx, claimed: Pass, settle_s: float) -> bool:
    """A turn ended without being recorded: what it sent is unknown, and the pass may be claimed at once.
    False: somebody else has it by now, who knows that already.
    """
    row = get(tx, claimed.customer_id)
    if row is None or not holds(row, claimed):
        return False
    _take_over(tx, row, settle_s)
    release(tx, claimed.customer_id)
    return True


def holds(row: Pass, claimed: Pass) -> bool:
    """Whether the lease under which `claimed` was returned still is the pass's lease."""
    return row.lease_until == claimed.lease_until


def release(tx: Tx, customer_id: int) -> None:
    tx.run(_RELEASE, id=customer_id)


def get(tx: Tx, customer_id: int) -> Pass | None:
    row = tx.one(_GET, id=customer_id)
    return Pass(*row) if row is not None else None


def save(tx: Tx, item: Pass) -> None:
    values = asdict(item)
    tx.run(_SAVE, id=item.customer_id, **values)


def forget(tx: Tx, customer_id: int) -> None:
    """The customer turned out to be another one: nothing of its own to mirror."""
    tx.run(_FORGET, id=customer_id)


def next_due(tx: Tx) -> float | None:
    """When there may be work for this till again (steady time)."""
    wanted = tx.scalar(_WHEN_WANTED_HERE, owner=tx.till) if tx.shared else tx.scalar(_WHEN_WANTED)
    times = [w for w in (wanted, tx.scalar(_WHEN_SETTLED)) if w is not None]
    return min(times, default=None)


def counts(tx: Tx) -> Any:
    """`waiting`, `oldest` (steady time or None), `parked`, `foreign`."""
    return tx.one(_COUNTS)


def behind(tx: Tx, limit: int) -> list[Pass]:
    return [Pass(*row) for row in tx.all(_BEHIND, n=limit)]


def retry(tx: Tx, customer_id: int) -> None:
    tx.run(_RETRY, id=customer_id, now=tx.now)
    _wish(tx, customer_id)


# -- what was sent and may still turn up ----------------------------------------------------------------

_ADD_SEND = Sql(
    t.mirror_send.insert()
    .values(customer_id=_p("id"), points=_p("points"), base=_p("base"), sent=_p("now"), outcome="open")
    .returning(_d.id)
)
_SENDS = Sql(
    select(_d.id, _d.points, _d.base, _d.sent, _d.outcome).where(_d.customer_id == _p("id")).order_by(_d.id)
)
_SET_SEND = Sql(update(t.mirror_send).where(_d.id == _p("send")).values(outcome=_p("outcome")))
_DROP_SEND = Sql(t.mirror_send.delete().where(_d.id == _p("send")))
_DROP_SENDS = Sql(t.mirror_send.delete().where(_d.customer_id == _p("id")))
_DROP_OLD_SENDS = Sql(t.mirror_send.delete().where(_d.customer_id == _p("id"), _d.sent < _p("before")))


def add_send(tx: Tx, customer_id: int, points: int, base: int) -> int:
    return int(tx.scalar(_ADD_SEND, id=customer_id, points=points, base=base, now=tx.now))


def sends(tx: Tx, customer_id: int) -> list[Send]:
    """Oldest first."""
    return [Send(*row) for row in tx.all(_SENDS, id=customer_id)]


def set_send(tx: Tx, send_id: int, outcome: str) -> None:
    tx.run(_SET_SEND, send=send_id, outcome=outcome)


def drop_send(tx: Tx, send_id: int) -> None:
    tx.run(_DROP_SEND, send=send_id)


def drop_sends(tx: Tx, customer_id: int, before: float | None = None) -> None:
    if before is None:
        tx.run(_DROP_SENDS, id=customer_id)
    else:
        tx.run(_DROP_OLD_SENDS, id=customer_id, before=before)


# -- start-up -------------------------------------------------------------------------------------------

_FREE = Sql(
    update(t.mirror)
    .where(_m.lease_owner == _p("owner"), or_(_m.lease_until != _ZERO, _m.retry != _ZERO))
    .values(lease_until=_ZERO, retry=_ZERO)
)
_RESTART_SETTLE = Sql(
    update(t.mirror).where(_m.lease_owner == _p("owner"), _m.settle.is_not(None)).values(settle=_p("due"))
)
_UNKNOWN_SENDS = Sql(
    update(t.mirror_send)
    .where(_d.outcome == literal_column("'open'"), _d.customer_id.in_(push_book.IN_HAND))
    .values(outcome="unknown")
)
# A reboot under a wrong clock must not make them look old: they are pruned by age.
_RENEW_SENDS = Sql(update(t.mirror_send).where(_d.customer_id.in_(push_book.IN_HAND)).values(sent=_p("now")))


def recover(tx: Tx, owner: str, settle_s: float) -> None:
    """After a stop or a kill: our leases are void, what was on its way is unknown, and the settle clocks
    start anew, since nobody watched them (exactly-once.md, Clocks). Passes that another till has held since
    are that till's to judge.
    """
    tx.run(_FREE, owner=owner)
    tx.run(_RESTART_SETTLE, owner=owner, due=tx.now + settle_s)
    tx.run(_UNKNOWN_SENDS, owner=owner)
    tx.run(_RENEW_SENDS, owner=owner, now=tx.now)
    push_book.left_sending_by(tx, owner)


_SETTLE_ALL = Sql(
    update(t.mirror)
    .where(or_(_m.settle.is_not(None), _m.retry > _p("now")))
    .values(settle=case((_m.settle.is_not(None), _p("due", type_=Float))), retry=_ZERO)
)
_RENEW_ALL = Sql(update(t.mirror_send).values(sent=_p("now")))


def restart_settling(tx: Tx, settle_s: float) -> None:
    """The clock that `settle` runs by was set: nobody can say how long ago anything was sent, so every wait
    begins anew, whichever till's it is (exactly-once.md, Clocks).
    """
    tx.run(_SETTLE_ALL, now=tx.now, due=tx.now + settle_s)
    tx.run(_RENEW_ALL, now=tx.now)
