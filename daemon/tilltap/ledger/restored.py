"""A ledger put back from a backup: it is behind what was seen of it, or says itself that it is a copy.

What happened since is not in it, but its balances are at the service. So every pass is read again and what
differs is taken over, as any change by others is: the mirror does it, and there is no other policy
(docs/ledger.md).
"""

from __future__ import annotations

import secrets

import structlog
from sqlalchemy import bindparam, literal_column, update

from tilltap.ledger import book
from tilltap.ledger import tables as t
from tilltap.ledger.engine import Sql, Tx

log = structlog.get_logger("tilltap.ledger")

_FORGET = Sql(t.meta.delete().where(t.meta.c.key == bindparam("key")))
# As a pass whose last write is to be read back: behind everything that somebody waits for.
_READ_AGAIN = Sql(
    update(t.mirror)
    .where(t.mirror.c.settle.is_(None), t.mirror.c.confirmed.is_not(None))
    .values(settle=bindparam("now"))
)
_DROP_TEXTS = Sql(update(t.push).where(t.push.c.state == literal_column("'planned'")).values(state="dropped"))


def seen(tx: Tx) -> str:
    """What to keep outside of the ledger: which one it is, how far this till's events go, and when it was
    last put back.
    """
    return f"{_identity(tx)} {book.last_seq(tx, tx.till)} {_put_back(tx)}"


def resume(tx: Tx, kept: str) -> int:
    """The number after which this till's events go on; `kept` is what `seen` last said, or nothing.

    Numbers that were given out before a backup was put back are not given out again.
    """
    last = book.last_seq(tx, tx.till)
    ledger, number, known = (*kept.split(" "), "", "0")[:3]
    before = int(number) if ledger == _identity(tx) and number.isdecimal() else 0
    if before > last or book.meta(tx, "copied"):
        _start_over(tx, max(0, before - last), float(known))
    return max(before, last)


def _put_back(tx: Tx) -> float:
    return float((book.meta(tx, "restored") or "0").partition(" ")[0])


def _start_over(tx: Tx, lost: int, known: float) -> None:
    """`known`: the last time of it that this till has seen. A later one is another till's work, which need
    not be done again; the same or an earlier one was in the backup.
    """
    tx.run(_FORGET, key="copied")
    if tx.shared and _put_back(tx) > known:
        return
    book.put_meta(tx, "restored", f"{tx.now} {tx.at}")
    tx.run(_READ_AGAIN, now=tx.now)
    # They may have been sent after the backup was made, and no text is sent twice.
    tx.run(_DROP_TEXTS)
    log.warning(
        "ledger put back from a backup",
        events_lost=lost,
        remedy="balances are taken over from the service; sales made since the backup are not in it",
    )


def _identity(tx: Tx) -> str:
    """Drawn once per ledger: what was kept of another one at its place says nothing about this."""
    found = book.meta(tx, "id")
    if found is None:
        found = secrets.token_hex(8)
        book.put_meta(tx, "id", found)
    return found
