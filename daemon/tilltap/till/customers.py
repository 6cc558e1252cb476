"""Customers: met through the service's answer, found again by any of their values, adjusted by hand."""

from __future__ import annotations

from tilltap.errors import CallError
from tilltap.ledger import book, mirror_book, push_book, tills
from tilltap.ledger.book import Customer, Sale
from tilltap.ledger.engine import Tx
from tilltap.loyalty.provider import PassState
from tilltap.passes import canonical
from tilltap.rules import messages, redeem
from tilltap.rules.redeem import Account
from tilltap.till import taps
from tilltap.till.sales import announce, ripple
from tilltap.till.shapes import Json, Shop, customer_shape

# How many old `offline` taps of one customer are corrected when the service answers; the newest matter.
OFFLINE_TAPS_CORRECTED = 20


def stranger(tx: Tx, value: str) -> Customer:
    """A customer for a value that the service could not be asked about; it keeps what is earned meanwhile."""
    book.lock_names(tx, [value])
    found = book.by_value(tx, value)
    if found is None:
        found = book.add_customer(tx, pass_id=None, ext_id=None, value=value)
        book.put_alias(tx, value, found.id)
    if not found.known:
        mirror_book.owe(tx, found.id)  # an answer, if nothing else
    return found


def meet(tx: Tx, shop: Shop, value: str, state: PassState) -> Customer:
    """The service has answered for `value`: the customer behind it, with its balance taken over if new.

    Whoever was met offline under any name of this pass turns out to be this customer.
    """
    assert state.points is not None
    names = sorted({value, *(canonical(n) for n in (state.pass_id, state.ext_id, state.nfc) if n)})
    book.lock_names(tx, names)
    holders = {c.id: c for c in (book.by_value(tx, name) for name in names) if c is not None}
    waiting = [c for c in holders.values() if not c.known]
    customer = book.by_pass(tx, state.pass_id)
    if tx.shared:
        book.lock(tx, *(c.id for c in waiting), customer.id if customer else None)
        # As they are now that nobody changes them: one may have turned out to be somebody else meanwhile.
        waiting = [c for c in (book.customer(tx, w.id) for w in waiting) if not c.known]
        customer = book.by_pass(tx, state.pass_id)
    before = customer.points if customer else state.points
    if customer is None:
        customer = _enter_new(tx, state, waiting[0] if waiting else None)
    elif customer.ext_id != state.ext_id:
        book.set_pass(tx, customer.id, state.pass_id, state.ext_id)
    for name in names:
        book.put_alias(tx, name, customer.id)
    if not waiting:
        return book.customer(tx, customer.id)
    for other in waiting:
        if other.id != customer.id:
            book.join(tx, other, customer)
            mirror_book.forget(tx, other.id)
    mirror_book.owe(tx, customer.id)
    customer = book.customer(tx, customer.id)
    _answer(tx, shop, customer, before)
    return customer


def _enter_new(tx: Tx, state: PassState, waiting: Customer | None) -> Customer:
    assert state.points is not None
    if waiting is not None:
        book.set_pass(tx, waiting.id, state.pass_id, state.ext_id)
        customer = waiting
    else:
        customer = book.add_customer(tx, pass_id=state.pass_id, ext_id=state.ext_id, value=None)
    book.enter(
        tx,
        customer.id,
        "opening",
        state.points,
        till="",
        ref=f"pass/{customer.id}",
        why="Balance at the service when first seen.",
    )
    mirror_book.met(tx, customer.id, state.points)
    return customer


def _answer(tx: Tx, shop: Shop, customer: Customer, before: int) -> None:
    """Everything that was said `offline` about this customer is said again, with the balance."""
    for tap in book.offline_taps(tx, shop.till, customer.id, OFFLINE_TAPS_CORRECTED):
        taps.say_again(tx, shop, tap, customer, "identified")
    for till, tap_id in book.offline_taps_elsewhere(tx, customer.id, OFFLINE_TAPS_CORRECTED):
        tills.tell(tx, till, "tap", tap_id, "identified")
    running = before
    for sale in book.unanswered_sales(tx, customer.id):
        running = _complete(tx, sale, customer.id, running)
    ripple(tx, customer.id)


def _complete(tx: Tx, sale: Sale, customer_id: int, before: int) -> int:
    """Fills in what a sale closed `offline` could not know; a reward it reached is told after all."""
    program = book.program(tx, sale.program)
    after = before + sale.earned
    sale.offline, sale.balance_after = 0, after
    new = redeem.reached(program, Account(before), Account(after)) if sale.earned else None
    if new and sale.state == "closed":
        sale.message = messages.push(program, "reached", earned=sale.earned, reward=new.title, balance=after)
        push_book.plan(tx, customer_id, sale, kind="reached", reward=new.title)
        push_book.revise(tx, customer_id, sale, kind="reached", reward=new.title)
    book.save_sale(tx, sale)
    announce(tx, sale)
    return after


def unknown(tx: Tx, shop: Shop, customer: Customer, reason: str) -> None:
    """The service does not know the value of a customer met offline: nothing is lost, a person must look."""
    for tap in book.offline_taps(tx, shop.till, customer.id, OFFLINE_TAPS_CORRECTED):
        taps.say_again(tx, shop, tap, None, "unknown-pass")
    for till, tap_id in book.offline_taps_elsewhere(tx, customer.id, OFFLINE_TAPS_CORRECTED):
        tills.tell(tx, till, "tap", tap_id, "unknown-pass")
    for sale in book.open_sales_of(tx, customer.id):
        sale.customer_id = None
        book.save_sale(tx, sale)
        announce(tx, sale)
    row = mirror_book.get(tx, customer.id)
    if not customer.points and not book.unanswered_sales(tx, customer.id):
        mirror_book.forget(tx, customer.id)  # a tap and nothing more: nothing is owed to anybody
    elif row is not None and row.parked != reason:
        row.parked, row.dirty = reason, 1
        mirror_book.save(tx, row)
        tx.emit(
            "pass",
            {
                "customer": {"pass_id": None, "ext_id": None},
                "balance": None,
                "notification": "none",
                "parked": reason,
            },
        )


def adopt(tx: Tx, shop: Shop, customer: Customer, delta: int, tap_ids: list[str]) -> Customer:
    """Others changed the balance at the service: enter the change and correct what was shown of it."""
    ref = f"pass/{customer.id}"
    book.enter(
        tx,
        customer.id,
        "foreign",
        delta,
        till="",
        ref=ref,
        seq=book.count_entries(tx, "", ref, "foreign"),
        why="Changed at the service by others.",
    )
    customer = book.customer(tx, customer.id)
    for tap_id in tap_ids:
        tap = book.tap(tx, shop.till, tap_id)
        if tap is not None:
            taps.say_again(tx, shop, tap, customer, tap.status)
        elif tx.shared and (till := book.tap_till(tx, tap_id)):
            tills.tell(tx, till, "tap", tap_id, "identified")
    ripple(tx, customer.id)
    return customer


def adjust(tx: Tx, shop: Shop, customer_id: int, points: int, reason: str, request_id: str) -> Json:
    """A manager's correction, once per `request_id`; silent on the phone."""
    book.lock(tx, customer_id)
    customer = book.customer(tx, customer_id)
    done = book.entry(tx, shop.till, request_id, "adjust")
    if done is not None:
        if done.points != points or book.customer(tx, done.customer_id).id != customer.id:
            raise CallError("key-reused", "This request number was already used for another adjustment.")
        return customer_shape(tx, shop, customer)
    if points < 0 and customer.points + points < 0:
        raise CallError(
            "balance-too-low", f"The balance is {customer.points}: it cannot go below zero by hand."
        )
    book.enter(tx, customer.id, "adjust", points, till=shop.till, ref=request_id, why=reason)
    mirror_book.owe(tx, customer.id)
    ripple(tx, customer.id)
    return customer_shape(tx, shop, book.customer(tx, customer.id))


def history(tx: Tx, shop: Shop, customer_id: int, limit: int) -> Json:
    customer = book.customer(tx, customer_id)
    shape = customer_shape(tx, shop, customer)
    entries = [
        {
            "at": row.at,
            "kind": row.kind,
            "points": row.points,
            "till": row.till or None,
            "ref": row.ref,
            "why": row.why,
            "uid": row.uid,
        }
        for row in book.history(tx, customer.id, limit)
    ]
    return {**shape, "entries": entries}
