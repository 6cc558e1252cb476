"""Texts owed to phones: one per sale at most, sent at most once (contract section 4, promise 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, literal_column, select, update

from tilltap.ledger import tables as t
from tilltap.ledger.book import Sale
from tilltap.ledger.engine import Sql, Tx

_p = bindparam
_q = t.push.c

# At most 3 pushes per pass in 24 h, the last kept for rewards (contract section 4; passentry.md section 5).
PUSH_WINDOW_S = 24 * 3600


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


_PLAN = Sql(
    lambda insert: (
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
            planned=_p("closed"),
        )
        .on_conflict_do_nothing()
    )
)
_PLANNED = Sql(
    select(_q.id, _q.till, _q.sale_id, _q.kind, _q.earned, _q.reward, _q.program, _q.planned)
    .where(_q.customer_id == _p("id"), _q.state == literal_column("'planned'"))
    .order_by(_q.id)
)
_still_owed = (
    _q.customer_id == _p("id"),
    _q.till == _p("till"),
    _q.sale_id == _p("sale_id"),
    _q.state == literal_column("'planned'"),
)
_PLANNED_FOR = Sql(
    select(_q.id, _q.till, _q.sale_id, _q.kind, _q.earned, _q.reward, _q.program, _q.planned).where(
        *_still_owed
    )
)
_SET_STATE = Sql(update(t.push).where(_q.id == _p("push")).values(state=_p("state"), sent=_p("sent")))
_REVISE = Sql(
    update(t.push).where(*_still_owed).values(kind=_p("kind"), earned=_p("earned"), reward=_p("reward"))
)
_DROP = Sql(update(t.push).where(*_still_owed).values(state="dropped"))
_FORGET = Sql(
    t.push.delete().where(
        _q.till == _p("till"),
        _q.planned < _p("before"),
        _q.state.not_in([literal_column(f"'{s}'") for s in ("planned", "sending", "maybe")]),
    )
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


def plan(tx: Tx, customer_id: int, sale: Sale, *, kind: str, reward: str) -> None:
    """A text for the phone about a closed sale; there may be one already."""
    tx.run(
        _PLAN,
        id=customer_id,
        till=sale.till,
        sale_id=sale.sale_id,
        kind=kind,
        earned=sale.earned,
        reward=reward,
        program=sale.program,
        closed=sale.closed,
    )


def planned(tx: Tx, customer_id: int) -> list[Push]:
    """Texts still owed, oldest first."""
    return [Push(*row) for row in tx.all(_PLANNED, id=customer_id)]


def planned_for(tx: Tx, customer_id: int, sale: Sale) -> Push | None:
    row = tx.one(_PLANNED_FOR, id=customer_id, till=sale.till, sale_id=sale.sale_id)
    return Push(*row) if row is not None else None


def set_state(tx: Tx, push_id: int, state: str) -> None:
    tx.run(_SET_STATE, push=push_id, state=state, sent=None)


def send(tx: Tx, push_ids: Sequence[int], state: str) -> None:
    """One text for the sales of all of these is on its way, or was: that is the first, the others are merged
    into it.
    """
    for n, push_id in enumerate(push_ids):
        tx.run(_SET_STATE, push=push_id, state="merged" if n else state, sent=None if n else tx.now)


def revise(tx: Tx, customer_id: int, sale: Sale, *, kind: str, reward: str) -> None:
    """The sale behind a text that was not sent yet changed."""
    tx.run(
        _REVISE,
        id=customer_id,
        till=sale.till,
        sale_id=sale.sale_id,
        kind=kind,
        earned=sale.earned,
        reward=reward,
    )


def drop(tx: Tx, customer_id: int, sale: Sale) -> None:
    tx.run(_DROP, id=customer_id, till=sale.till, sale_id=sale.sale_id)


def forget(tx: Tx, till: str, before: float) -> None:
    """Texts planned before then whose fate is known."""
    tx.run(_FORGET, till=till, before=before)


def spent(tx: Tx, customer_id: int) -> int:
    """How much of the day's budget is gone; a text of unknown fate counts."""
    return int(tx.scalar(_SPENT, id=customer_id, since=tx.now - PUSH_WINDOW_S))


_LEFT_SENDING = Sql(
    update(t.push)
    .where(_q.customer_id == _p("id"), _q.state == literal_column("'sending'"))
    .values(state="maybe")
)


def left_sending(tx: Tx, customer_id: int) -> None:
    """Whoever was about to send has not said what came of it: it may have been shown."""
    tx.run(_LEFT_SENDING, id=customer_id)


# The passes that a daemon has in hand, by the leases of the mirror.
IN_HAND = select(t.mirror.c.customer_id).where(t.mirror.c.lease_owner == _p("owner"))
_LEFT_SENDING_BY = Sql(
    update(t.push)
    .where(_q.state == literal_column("'sending'"), _q.customer_id.in_(IN_HAND))
    .values(state="maybe")
)


def left_sending_by(tx: Tx, owner: str) -> None:
    """The same of all that a daemon had in hand when it ended."""
    tx.run(_LEFT_SENDING_BY, owner=owner)
