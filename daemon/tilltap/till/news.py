"""What other tills on the same ledger did to this till's sales and taps, said to this till's POS."""

from __future__ import annotations

from tilltap.ledger import book, tills
from tilltap.ledger.engine import Tx
from tilltap.ledger.tills import News
from tilltap.till import sales, taps
from tilltap.till.shapes import Shop

# How soon a POS hears what another till did: soon enough for a cashier, rare enough for the server.
EVERY_S = 0.5


def hear(tx: Tx, shop: Shop) -> None:
    """Says what there is; of several about one thing the last is enough."""
    found = tills.news(tx, shop.till)
    latest = {(item.kind, item.ref): item for item in found}
    for item in found:
        tills.heard(tx, item)
    for item in latest.values():
        if item.kind == "sale":
            sales.look_again(tx, item.ref)
        else:
            _tap(tx, shop, item)


def _tap(tx: Tx, shop: Shop, item: News) -> None:
    tap = book.tap(tx, shop.till, item.ref)
    if tap is None or tap.customer_id is None:
        return
    customer = book.customer(tx, tap.customer_id)
    known = item.status != "unknown-pass" and customer.known
    taps.say_again(tx, shop, tap, customer if known else None, item.status)
