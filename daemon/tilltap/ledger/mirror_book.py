"""What the mirror reads from and writes into the ledger (exactly-once.md, mode M1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, bindparam, case, func, literal_column, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from tilltap.ledger import tables as t
from tilltap.ledger.engine import Sql, Tx

_p = bindparam
_m = t.mirror.c
_q = t.push.c
_d = t.mirror_send.c
_NULL: ColumnElement[Any] = literal_column("NULL")
_ZERO: ColumnElement[int] = literal_column("0")
_ONE: ColumnElement[int] = literal_column("1")

# Taps of one pass that are corrected together: ids of 16 characters with a space between. A pass is read
# within a second, so more than two would take many readers or a slow service.
LOOKING_TAPS = 8 * 17 - 1

# At most 3 pushes per pass in 24 h, the last kept for rewards (contract section 4; passentry.md section 5).
PUSH_WINDOW_S = 24 * 3600


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


@dataclass(frozen=True, slots=True)
class Send:
    id: int
    points: int
    base: int
    sent: float
    outcome: str  # open | applied | unknown


@dataclass(frozen=True, slots=True)
class Push:
    id: int
    till: str
    sale_id: str
    kind: str
    earned: int
    reward: str
    program: int
    planned: float


_COLUMNS = [_m[f.name] for f in fields(Pass)]
_SAVED = [f.name for f in fields(Pass) if f.name not in ("customer_id", "look")]

_OWE = Sql(
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
_MET = Sql(
    insert(t.mirror)
    .values(customer_id=_p("id"), confirmed=_p("points"))
    .on_conflict_do_update(index_elements=["customer_id"], set_={"confirmed": _p("points")})
)
_LOOK = Sql(
    update(t.mirror)
    .where(_m.customer_id == _p("id"))
    .values(look=func.substr(func.coalesce(_m.look + " ", "") + _p("tap", type_=Text), -LOOKING_TAPS))
)
_wanted = or_(_m.dirty == _ONE, _m.look.is_not(None))
_NEXT = Sql(
    select(*_COLUMNS)
    .where(
        _m.parked.is_(None),
        or_(_wanted, _m.settle <= _p("now")),
        or_(_m.retry <= _p("now"), _m.look.is_not(None)),
        _m.lease_until <= _p("now"),
    )
    .order_by(_m.look.is_(None), _m.dirty.desc(), _m.since, _m.settle)
    .limit(1)
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
_WHEN_WANTED = Sql(select(func.min(_m.retry)).where(_m.parked.is_(None), _wanted))
_WHEN_SETTLED = Sql(select(func.min(_m.settle)).where(_m.parked.is_(None), _m.settle.is_not(None)))
_COUNTS = Sql(
    select(
        func.count().filter(and_(_m.dirty == _ONE, _m.parked.is_(None))).label("waiting"),
        func.min(case((and_(_m.dirty == _ONE, _m.parked.is_(None)), _m.since))).label("oldest"),
        func.count(_m.parked).label("parked"),
        func.coalesce(func.sum(_m.foreign_seen), _ZERO).label("foreign"),
    ).select_from(t.mirror)
)
_BEHIND = Sql(
    select(*_COLUMNS)
    .where(or_(_m.dirty == _ONE, _m.parked.is_not(None)))
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


def met(tx: Tx, customer_id: int, points: int) -> None:
    """The service was seen to hold `points`, before we ever wrote."""
    tx.run(_MET, id=customer_id, points=points)


def look(tx: Tx, customer_id: int, tap_id: str) -> None:
    """Read the pass soon: have others changed it? `tap_id` is the tap to correct then, "" for none."""
    tx.run(_LOOK, id=customer_id, tap=tap_id)


# A lease that ended without being given back: whoever held it may have given a request up since, which the
# settle clock, started when that request was planned, does not cover.
_TAKE_OVER = Sql(
    update(t.mirror)
    .where(_m.customer_id == _p("id"), _m.lease_until > _ZERO, _m.settle.is_not(None))
    .values(settle=_p("due"))
)


def claim(tx: Tx, owner: str, lease_s: float, settle_s: float) -> Pass | None:
    """The next pass with work, under a lease that nobody else can take before it ends."""
    row = tx.one(_NEXT, now=tx.now)
    if row is None:
        return None
    found = Pass(*row)
    tx.run(_TAKE_OVER, id=found.customer_id, due=tx.now + settle_s)
    tx.run(_LEASE, id=found.customer_id, owner=owner, until=tx.now + lease_s)
    return found


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
    """When there may be work again (steady time)."""
    times = [w for w in (tx.scalar(_WHEN_WANTED), tx.scalar(_WHEN_SETTLED)) if w is not None]
    return min(times, default=None)


def counts(tx: Tx) -> Any:
    """`waiting`, `oldest` (steady time or None), `parked`, `foreign`."""
    return tx.one(_COUNTS)


def behind(tx: Tx, limit: int) -> list[Pass]:
    return [Pass(*row) for row in tx.all(_BEHIND, n=limit)]


def retry(tx: Tx, customer_id: int) -> None:
    tx.run(_RETRY, id=customer_id, now=tx.now)


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


# -- texts ----------------------------------------------------------------------------------------------

_PLAN = Sql(
    insert(t.push)
    .values(
        customer_id=_p("id"),
        till=_p("till"),
        sale_id=_p("sale_id"),
        kind=_p("kind"),
        earned=_p("earned"),
        reward=_p("reward"),
        program=_p("program"),
        state="planned",
        planned=_p("now"),
    )
    .on_conflict_do_nothing()
)
_PLANNED = Sql(
    select(_q.id, _q.till, _q.sale_id, _q.kind, _q.earned, _q.reward, _q.program, _q.planned)
    .where(_q.customer_id == _p("id"), _q.state == literal_column("'planned'"))
    .order_by(_q.id)
)
_PLANNED_FOR = Sql(
    select(_q.id, _q.till, _q.sale_id, _q.kind, _q.earned, _q.reward, _q.program, _q.planned).where(
        _q.till == _p("till"), _q.sale_id == _p("sale_id"), _q.state == literal_column("'planned'")
    )
)
_SET_PUSH = Sql(update(t.push).where(_q.id == _p("push")).values(state=_p("state"), sent=_p("sent")))
_REVISE = Sql(
    update(t.push)
    .where(_q.till == _p("till"), _q.sale_id == _p("sale_id"), _q.state == literal_column("'planned'"))
    .values(kind=_p("kind"), earned=_p("earned"), reward=_p("reward"))
)
_DROP_PUSH = Sql(
    update(t.push)
    .where(_q.till == _p("till"), _q.sale_id == _p("sale_id"), _q.state == literal_column("'planned'"))
    .values(state="dropped")
)
_MAYBE_SINCE = Sql(
    select(func.count()).where(
        _q.customer_id == _p("id"), _q.state == literal_column("'maybe'"), _q.sent >= _p("since")
    )
)
_SPENT = Sql(
    select(func.count()).where(
        _q.customer_id == _p("id"),
        _q.sent > _p("since"),
        _q.state.in_([literal_column(f"'{s}'") for s in ("sending", "sent", "maybe")]),
    )
)


def in_doubt(tx: Tx, customer_id: int, since: float | None) -> bool:
    """Whether a text of unknown fate was sent since the pass fell behind."""
    return bool(since is not None and tx.scalar(_MAYBE_SINCE, id=customer_id, since=since))


def plan_push(
    tx: Tx, customer_id: int, *, till: str, sale_id: str, kind: str, earned: int, reward: str, program: int
) -> None:
    tx.run(
        _PLAN,
        id=customer_id,
        till=till,
        sale_id=sale_id,
        kind=kind,
        earned=earned,
        reward=reward,
        program=program,
        now=tx.now,
    )


def planned(tx: Tx, customer_id: int) -> list[Push]:
    """Texts still owed, oldest first."""
    return [Push(*row) for row in tx.all(_PLANNED, id=customer_id)]


def planned_for(tx: Tx, till: str, sale_id: str) -> Push | None:
    row = tx.one(_PLANNED_FOR, till=till, sale_id=sale_id)
    return Push(*row) if row is not None else None


def set_push(tx: Tx, push_id: int, state: str, sent: float | None = None) -> None:
    tx.run(_SET_PUSH, push=push_id, state=state, sent=sent)


def revise_push(tx: Tx, till: str, sale_id: str, *, kind: str, earned: int, reward: str) -> None:
    """The sale behind a text that was not sent yet changed."""
    tx.run(_REVISE, till=till, sale_id=sale_id, kind=kind, earned=earned, reward=reward)


def drop_push(tx: Tx, till: str, sale_id: str) -> None:
    tx.run(_DROP_PUSH, till=till, sale_id=sale_id)


def pushes_spent(tx: Tx, customer_id: int) -> int:
    """How much of the day's budget is gone; a text of unknown fate counts."""
    return int(tx.scalar(_SPENT, id=customer_id, since=tx.now - PUSH_WINDOW_S))


# -- start-up -------------------------------------------------------------------------------------------

_FREE = Sql(update(t.mirror).where(_m.lease_owner == _p("owner")).values(lease_until=_ZERO, retry=_ZERO))
_RESTART_SETTLE = Sql(update(t.mirror).where(_m.settle.is_not(None)).values(settle=_p("due")))
_UNKNOWN_SENDS = Sql(
    update(t.mirror_send).where(_d.outcome == literal_column("'open'")).values(outcome="unknown")
)
# A reboot under a wrong clock must not make them look old: they are pruned by age.
_RENEW_SENDS = Sql(update(t.mirror_send).values(sent=_p("now")))
_MAYBE = Sql(update(t.push).where(_q.state == literal_column("'sending'")).values(state="maybe"))


def recover(tx: Tx, owner: str, settle_s: float) -> None:
    """After a stop or a kill: our leases are void, what was on its way is unknown, and the settle clocks
    start anew, since nobody watched them (exactly-once.md, Clocks).
    """
    tx.run(_FREE, owner=owner)
    tx.run(_RESTART_SETTLE, due=tx.now + settle_s)
    tx.run(_UNKNOWN_SENDS)
    tx.run(_RENEW_SENDS, now=tx.now)
    tx.run(_MAYBE)
