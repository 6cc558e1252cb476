"""Whom a call or a tap means: the ledger knows it, or the service is asked."""

from __future__ import annotations

from tilltap.clock import Clock, time_to_answer
from tilltap.errors import CallError
from tilltap.ledger import book, mirror_book
from tilltap.ledger.engine import Tx
from tilltap.loyalty.health import Watched
from tilltap.loyalty.provider import Outcome, PassState, about
from tilltap.model import Who
from tilltap.passes import canonical
from tilltap.till.directory import Directory
from tilltap.till.sales import Found
from tilltap.till.shapes import Shop

# A call answers within 2 s (contract section 3); this leaves half a second for the ledger and the way back.
IDENTIFY_S = 1.5
# Kept for the ledger when a call has already waited for it.
RECORD_S = 0.3
# The same while the service was last found away: whoever stands at the till has waited for it before.
IDENTIFY_DOWN_S = 0.5
# Calls in a row about a value the service was silent on must each answer within 2 s, not one after the other.
SILENT_S = 2.0
# Contract 3.1: a tap's id is good for 24 h.
TAP_GOOD_S = 24 * 3600

# The value named is not in the ledger yet (or was met offline): the service must be asked.
NEW = Found(None)


class Asking:
    """Asks the service about values, for as long as somebody at the till can wait."""

    def __init__(self, service: Watched, directory: Directory, clock: Clock) -> None:
        self._service = service
        self._directory = directory
        self._clock = clock
        self._silent: dict[str, float] = {}

    async def state_of(self, value: str) -> tuple[PassState | None, Outcome]:
        """The service's word on `value`, by itself or through the index of custom NFC values."""
        started = self._clock.steady()
        if started < self._silent.get(value, 0.0):
            return None, Outcome.UNKNOWN
        patience = IDENTIFY_S if self._service.state != "down" else IDENTIFY_DOWN_S
        patience = max(0.0, min(patience, time_to_answer() - RECORD_S))
        answer = await self._service.read(value, deadline=patience, urgent=True)
        if answer.outcome is not Outcome.GONE:
            done = answer.outcome is Outcome.DONE
            if not done:
                self._remember_silence(value)
            return (answer.state if done else None), answer.outcome
        left = IDENTIFY_S - (self._clock.steady() - started)
        pass_id, sure = await self._directory.find(value, left)
        left = IDENTIFY_S - (self._clock.steady() - started)
        if pass_id is None:
            return None, Outcome.GONE if sure else Outcome.UNKNOWN
        answer = about(pass_id, await self._service.read(pass_id, deadline=max(left, 0.1), urgent=True))
        return (answer.state if answer.outcome is Outcome.DONE else None), answer.outcome

    def _remember_silence(self, value: str) -> None:
        now = self._clock.steady()
        self._silent = {v: until for v, until in self._silent.items() if until > now}
        self._silent[value] = now + SILENT_S


def named(tx: Tx, shop: Shop, who: Who | None, closing: str | None) -> Found | None:
    """`NEW` for a value that the service must be asked about.

    A close that was done before is not refused for a tap forgotten since then, nor for a value that the
    service turned out not to know.
    """
    if who is None:
        return None
    if who.tap_id is not None:
        return _named_by_tap(tx, shop, who.tap_id, closing)
    if who.value is None:
        return Found(None)
    customer = book.by_value(tx, canonical(who.value))
    if customer is None or not (customer.known or _closed(tx, shop, closing)):
        return NEW
    book.lock(tx, customer.id)
    customer = book.customer(tx, customer.id)
    if closing is None:
        mirror_book.look(tx, customer.id, "")
    return Found(customer.id)


def _named_by_tap(tx: Tx, shop: Shop, tap_id: str, closing: str | None) -> Found | None:
    tap = book.tap(tx, shop.till, tap_id)
    if _closed(tx, shop, closing):
        return Found(book.customer(tx, tap.customer_id).id) if tap and tap.customer_id else None
    if tap is None or tap.steady < tx.now - TAP_GOOD_S:
        raise CallError("unknown-tap", "This tap is not known (any more). Ask the customer to tap again.")
    if tap.customer_id is None or tap.status not in ("identified", "offline"):
        raise CallError("unknown-pass", "That tap did not name a customer. Ask for another tap.")
    return Found(book.customer(tx, tap.customer_id).id, tap_id)


def _closed(tx: Tx, shop: Shop, sale_id: str | None) -> bool:
    sale = book.sale(tx, shop.till, sale_id) if sale_id is not None else None
    return sale is not None and sale.closed is not None
