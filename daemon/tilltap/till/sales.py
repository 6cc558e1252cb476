"""The life of a sale, each call one transaction: open, update, attach, accept, decline, close, cancel.

Refunds are in refunds.py. Every function takes the transaction first and answers the sale's shape; what it
changed is announced by events of the same transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from tilltap.errors import CallError, ParamError
from tilltap.ledger import book, tills
from tilltap.ledger.book import Sale
from tilltap.ledger.engine import Tx
from tilltap.rules import redeem
from tilltap.rules.settle import Order, settle
from tilltap.till import closing
from tilltap.till.shapes import Json, Shop, account, sale_shape, view

# Contract section 3, "Which sale a tap belongs to".
TAP_WAITS_S = 30
# Contract 3.1: a closed sale takes a customer for 15 min.
LATE_ATTACH_S = 15 * 60


@dataclass(frozen=True, slots=True)
class Found:
    """Whom a call named, resolved: a customer, or (None) nobody."""

    customer_id: int | None
    tap_id: str | None = None


def open_sale(tx: Tx, shop: Shop, sale_id: str, total: int, eligible: int | None, who: Found | None) -> Json:
    sale = book.sale_to_change(tx, shop.till, sale_id)
    if sale is not None:
        return update(tx, shop, sale_id, total, eligible, who)
    sale = _new(tx, shop, sale_id, total, eligible, turn=book.last_turn(tx, shop.till) + 1)
    if who is None:
        waiting = book.take_waiting_tap(tx, shop.till, tx.now - TAP_WAITS_S)
        if waiting is not None:
            who = Found(waiting.customer_id, waiting.tap_id)
    if who is not None:
        _put_customer(tx, sale, who)
    _accept_automatic(tx, sale)
    book.add_sale(tx, sale)
    if sale.reward and sale.customer_id:
        ripple(tx, sale.customer_id, skip=sale)
    return _announce(tx, sale)


def update(
    tx: Tx, shop: Shop, sale_id: str, total: int, eligible: int | None, who: Found | None = None
) -> Json:
    sale, before = _open(tx, shop, sale_id)
    _set_total(sale, total, eligible)
    sale.turn = book.last_turn(tx, shop.till) + 1
    if who is not None:
        _put_customer(tx, sale, who)
    return _settle_down(tx, sale, before)


def attach(tx: Tx, shop: Shop, sale_id: str, who: Found) -> Json:
    sale = _sale(tx, shop.till, sale_id)
    if not sale.is_open:
        return _late_attach(tx, sale, who)
    before = _touch(tx, sale)
    _put_customer(tx, sale, who)
    return _settle_down(tx, sale, before)


def accept(tx: Tx, shop: Shop, sale_id: str, reward_id: str) -> Json:
    sale, before = _open(tx, shop, sale_id)
    seen = view(tx, sale)
    reward = seen.program.reward(reward_id)
    if seen.customer is None or seen.account is None:
        raise CallError("no-customer", "Ask the customer to tap first.")
    if not seen.customer.known:
        raise CallError("offline", "The loyalty service has not answered yet. Sell without the reward.")
    if reward is None:
        raise CallError("reward-unavailable", "There is no such reward in this shop's programme.")
    if sale.reward != reward.id:
        if not redeem.offered(reward, seen.account, sale.total):
            raise CallError("reward-unavailable", f"{reward.title} is not available on this order.")
        _take(sale, reward.id, redeem.taken(reward, seen.account))
    return _settle_down(tx, sale, before)


def decline(tx: Tx, shop: Shop, sale_id: str, reward_id: str) -> Json:
    sale, before = _open(tx, shop, sale_id)
    if book.program(tx, sale.program).reward(reward_id) is None:
        raise CallError("reward-unavailable", "There is no such reward in this shop's programme.")
    if sale.reward == reward_id:
        sale.let_go()
    if reward_id not in sale.refusals():
        sale.declined = json.dumps([*sale.refusals(), reward_id])
    return _settle_down(tx, sale, before)


def close(
    tx: Tx,
    shop: Shop,
    sale_id: str,
    total: int | None,
    eligible: int | None,
    paid: int | None,
    who: Found | None,
) -> Json:
    sale = book.sale_to_change(tx, shop.till, sale_id)
    before = None
    if sale is None:
        if total is None:
            raise ParamError("total", "total is required: this sale was not opened before")
        sale = _new(tx, shop, sale_id, total, eligible, turn=0)
    elif sale.is_open:
        before = _touch(tx, sale)
        if total is not None or eligible is not None:
            _set_total(sale, sale.total if total is None else total, eligible)
    elif sale.state == "cancelled":
        raise _not_open(sale)
    else:
        _must_agree(sale, total, eligible, paid, who)
        return sale_shape(tx, sale)
    if who is not None:
        _put_customer(tx, sale, who)
    _drop_unfit_reward(tx, sale)
    sale.paid = paid
    entered = closing.enter(tx, sale)
    (book.save_sale if before else book.add_sale)(tx, sale)
    released = before.customer_id if before and before.reward else None
    for customer_id in {entered, released} - {None}:
        ripple(tx, customer_id, skip=sale)  # type: ignore[arg-type]
    return _announce(tx, sale)


def cancel(tx: Tx, shop: Shop, sale_id: str, *, why: str = "cancelled by the till") -> Json:
    sale = _sale(tx, shop.till, sale_id)
    if sale.state == "cancelled":
        return sale_shape(tx, sale)
    if not sale.is_open:
        raise _not_open(sale)
    held = sale.reward is not None
    sale.let_go()
    sale.state, sale.why, sale.uid = "cancelled", f"Nothing earned: {why}.", tx.uid
    book.save_sale(tx, sale)
    if held and sale.customer_id:
        ripple(tx, sale.customer_id, skip=sale)
    return _announce(tx, sale)


def get(tx: Tx, shop: Shop, sale_id: str, till: str | None) -> Json:
    if till not in (None, shop.till):
        theirs = book.sale(tx, str(till), sale_id)
        if theirs is None:
            raise _unknown()
        return sale_shape(tx, theirs)
    sale = _sale(tx, shop.till, sale_id)
    if sale.is_open:
        return _settle_down(tx, sale, _touch(tx, sale))
    return sale_shape(tx, sale)


def ripple(tx: Tx, customer_id: int, skip: Sale | None = None) -> None:
    """The customer's balance or reservations changed: his other open sales say so.

    Those of other tills are looked at by their own daemons, which alone change them while they are open.
    """
    for sale in book.open_sales_of(tx, customer_id):
        if skip and (sale.till, sale.sale_id) == (skip.till, skip.sale_id):
            continue
        if sale.till == tx.till:
            _accept_automatic(tx, sale)
            book.save_sale(tx, sale)
        announce(tx, sale)


def look_again(tx: Tx, sale_id: str) -> None:
    """Another till changed this sale, or what decides about it."""
    sale = book.sale_to_change(tx, tx.till, sale_id)
    if sale is None:
        return
    if sale.is_open:
        held = sale.reward
        _accept_automatic(tx, sale)
        book.save_sale(tx, sale)
        if sale.reward != held and sale.customer_id:
            ripple(tx, sale.customer_id, skip=sale)
    announce(tx, sale)


def announce(tx: Tx, sale: Sale) -> None:
    """To the POS of the till it belongs to: by an event here, or by its own daemon."""
    if sale.till == tx.till:
        tx.emit("sale", sale_shape(tx, sale))
    else:
        tills.tell(tx, sale.till, "sale", sale.sale_id)


def take_tap(tx: Tx, sale: Sale, customer_id: int, tap_id: str) -> None:
    """A tap of somebody while `sale` is current and has no customer."""
    _put_customer(tx, sale, Found(customer_id, tap_id))
    _accept_automatic(tx, sale)
    book.save_sale(tx, sale)
    if sale.reward and sale.customer_id:
        ripple(tx, sale.customer_id, skip=sale)


# -- the parts ------------------------------------------------------------------------------------------


def _sale(tx: Tx, till: str, sale_id: str) -> Sale:
    found = book.sale_to_change(tx, till, sale_id)
    if found is None:
        raise _unknown()
    return found


def _unknown() -> CallError:
    return CallError("unknown-sale", "This sale is not known here.")


def _not_open(sale: Sale) -> CallError:
    return CallError("sale-not-open", f"This sale is already {sale.state.replace('-', ' ')}.")


def _open(tx: Tx, shop: Shop, sale_id: str) -> tuple[Sale, Sale]:
    """The open sale, touched, and what it was before this call."""
    sale = _sale(tx, shop.till, sale_id)
    if not sale.is_open:
        raise _not_open(sale)
    return sale, _touch(tx, sale)


def _new(tx: Tx, shop: Shop, sale_id: str, total: int, eligible: int | None, *, turn: int) -> Sale:
    _check_eligible(total, eligible)
    return Sale(
        till=shop.till,
        sale_id=sale_id,
        state="open",
        total=total,
        eligible=eligible,
        program=shop.version,
        turn=turn,
        touched=tx.now,
    )


def _check_eligible(total: int, eligible: int | None) -> None:
    if eligible is not None and eligible > total:
        raise ParamError("eligible", "eligible must not be more than total")


def _set_total(sale: Sale, total: int, eligible: int | None) -> None:
    _check_eligible(total, eligible)
    sale.total = total
    if eligible is not None:
        sale.eligible = eligible


def _touch(tx: Tx, sale: Sale) -> Sale:
    """A call about the sale prolongs its reservation, or renews it if nobody used the points since.

    Returns the sale as it was.
    """
    before = replace(sale)
    if sale.reward and sale.touched <= tx.now - book.RESERVATION_S and sale.customer_id:
        program = book.program(tx, sale.program)
        reward = program.reward(sale.reward)
        facts = account(tx, program, book.customer(tx, sale.customer_id), sale)
        enough = facts.free >= sale.taken and reward is not None and redeem.affordable(reward, facts)
        sale.lapsed = 0 if enough else 1
    sale.touched = tx.now
    return before


def _take(sale: Sale, reward_id: str, points: int) -> None:
    sale.reward, sale.taken, sale.lapsed = reward_id, points, 0
    sale.declined = json.dumps([r for r in sale.refusals() if r != reward_id])


def _put_customer(tx: Tx, sale: Sale, who: Found) -> None:
    book.lock(tx, who.customer_id)
    # Until we had the lock, another till could find out that this is another customer.
    customer_id = book.customer(tx, who.customer_id).id if who.customer_id else None
    if customer_id != sale.customer_id:
        sale.let_go()
        sale.declined, sale.customer_id = "[]", customer_id
    if who.tap_id:
        tap = book.tap(tx, sale.till, who.tap_id)
        if tap:
            book.set_tap(tx, sale.till, tap.tap_id, status=tap.status, sale=sale.sale_id)
    if customer_id:
        book.use_taps_of(tx, sale.till, customer_id)


def _drop_unfit_reward(tx: Tx, sale: Sale) -> None:
    """An accepted reward falls with its customer, or when the order falls below what it is offered for."""
    if sale.reward:
        reward = book.program(tx, sale.program).reward(sale.reward)
        if reward is None or sale.customer_id is None or not sale.total or sale.total < reward.minimum:
            sale.let_go()


def _accept_automatic(tx: Tx, sale: Sale) -> None:
    _drop_unfit_reward(tx, sale)
    if sale.reward or not sale.customer_id or sale.refusals():
        return  # after a decline they are not tried again (contract section 3)
    program = book.program(tx, sale.program)
    if not any(r.automatic for r in program.rewards):
        return
    customer = book.customer(tx, sale.customer_id)
    if customer.known:
        facts = account(tx, program, customer, sale)
        if reward := redeem.automatic(program, facts, sale.total):
            _take(sale, reward.id, redeem.taken(reward, facts))


def _settle_down(tx: Tx, sale: Sale, before: Sale) -> Json:
    """Saves an open sale after a call, and announces it if the call changed anything a POS can see."""
    was = sale_shape(tx, before)
    _accept_automatic(tx, sale)
    book.save_sale(tx, sale)
    held, was_held = _hold(tx, sale), _hold(tx, before)
    if held != was_held:
        for customer_id in {sale.customer_id, before.customer_id} - {None}:
            ripple(tx, customer_id, skip=sale)  # type: ignore[arg-type]
    # A reservation that ran out unannounced is announced when it is found lost.
    if sale.lapsed == before.lapsed and sale_shape(tx, sale) == was:
        return was
    return _announce(tx, sale)


def _hold(tx: Tx, sale: Sale) -> tuple[int | None, str | None, int] | None:
    """What the sale keeps others from using."""
    return (sale.customer_id, sale.reward, sale.taken) if book.holds(tx, sale) else None


def _announce(tx: Tx, sale: Sale) -> Json:
    shape = sale_shape(tx, sale)
    tx.emit("sale", shape)
    return shape


# -- closing --------------------------------------------------------------------------------------------


def _must_agree(
    sale: Sale, total: int | None, eligible: int | None, paid: int | None, who: Found | None
) -> None:
    """A repeated close may leave things out, but not say something else (contract section 3)."""
    said = [
        (total, sale.total),
        (eligible, sale.counted),
        (paid, sale.paid),
        (who.customer_id if who else None, sale.customer_id),
    ]
    if any(given is not None and given != was for given, was in said):
        raise CallError("key-reused", "This sale number was already closed with other figures.")


def _late_attach(tx: Tx, sale: Sale, who: Found) -> Json:
    """Earns as if attached before the close, without a reward; a repeat answers, all else is too late."""
    if sale.state == "cancelled" or (sale.customer_id is not None and sale.customer_id != who.customer_id):
        raise _not_open(sale)
    if who.customer_id == sale.customer_id:
        return sale_shape(tx, sale)
    assert who.customer_id is not None
    if sale.state == "refunded" or sale.closed is None or sale.closed <= tx.now - LATE_ATTACH_S:
        raise _not_open(sale)
    program = book.program(tx, sale.program)
    book.lock(tx, who.customer_id)
    customer = book.customer(tx, who.customer_id)
    facts = account(tx, program, customer)
    left = (sale.paid or 0) - sale.refunded
    done = settle(program, Order(sale.total, sale.counted, left), facts, known=customer.known)
    sale.customer_id, sale.offline, sale.why = customer.id, int(not customer.known), done.why
    _put_customer(tx, sale, who)
    entered = closing.enter_earning(tx, sale, customer.id, facts, done)
    book.save_sale(tx, sale)
    if entered:
        ripple(tx, customer.id, skip=sale)
    return _announce(tx, sale)
