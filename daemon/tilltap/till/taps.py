"""A tap becomes an event, and perhaps the customer of the current sale: one transaction."""

from __future__ import annotations

import secrets

from tilltap.ledger import book, mirror_book
from tilltap.ledger.book import Customer, Tap
from tilltap.ledger.engine import Tx
from tilltap.model import TapStatus
from tilltap.till.sales import take_tap
from tilltap.till.shapes import Json, Shop, account, balance, customer_ids, rewards, sale_shape


def record(
    tx: Tx,
    shop: Shop,
    *,
    reader: str,
    source: str,
    status: TapStatus,
    customer: Customer | None = None,
    reason: str | None = None,
) -> str:
    """Attaches the tap where contract section 3 says, keeps it for its id, says so. Returns the tap's id."""
    tap_id = secrets.token_hex(8)
    current = book.current_sale(tx, shop.till)
    takes = customer is not None and current is not None and current.customer_id in (None, customer.id)
    attached = takes and current is not None and current.customer_id is None
    tap = Tap(
        tap_id=tap_id,
        reader=reader,
        source=source,
        status=status,
        customer_id=customer.id if customer else None,
        sale_id=current.sale_id if takes and current else None,
        reason=reason,
        used=int(current is not None),
        steady=tx.now,
    )
    if attached and current is not None and customer is not None:
        book.add_tap(tx, shop.till, tap)
        take_tap(tx, current, customer.id, tap_id)
        tx.emit("tap", fields(tx, shop, tap, customer))
        tx.emit("sale", sale_shape(tx, current))
    else:
        tx.emit("tap", fields(tx, shop, tap, customer))
        tx.tell_now()
        book.add_tap(tx, shop.till, tap)
    if customer is not None and customer.known:
        mirror_book.look(tx, customer.id, tap_id)
    return tap_id


def say_again(tx: Tx, shop: Shop, tap: Tap, customer: Customer | None, status: TapStatus | str) -> None:
    """The service said something else than the tap's first event: a second one under the same id."""
    sale_id = tap.sale_id if customer else None
    book.set_tap(tx, shop.till, tap.tap_id, status=status, sale=sale_id, used=tap.used)
    fresh = Tap(
        tap.tap_id,
        tap.reader,
        tap.source,
        status,
        customer.id if customer else None,
        sale_id,
        tap.reason,
        tap.used,
        tap.steady,
    )
    tx.emit("tap", fields(tx, shop, fresh, customer))


def fields(tx: Tx, shop: Shop, tap: Tap, customer: Customer | None) -> Json:
    """The `tap` event of contract 3.3."""
    known = customer is not None and customer.known
    found: Json = {
        "tap_id": tap.tap_id,
        "reader": tap.reader,
        "source": tap.source,
        "status": tap.status,
        "customer": customer_ids(customer),
        "balance": balance(customer),
        "rewards": rewards(shop.program, account(tx, shop.program, customer)) if customer and known else [],
        "sale_id": tap.sale_id,
        "stale": False,  # the session says true when it sends a missed event again
    }
    if tap.reason:
        found["reason"] = tap.reason
    return found
