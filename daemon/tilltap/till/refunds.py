"""Money handed back: points by difference, so that any order of parts ends at the same number."""

from __future__ import annotations

from tilltap.errors import CallError
from tilltap.ledger import book, mirror_book, push_book
from tilltap.ledger.book import Sale
from tilltap.ledger.engine import Tx
from tilltap.rules.earn import counted, earn
from tilltap.till.sales import announce, ripple
from tilltap.till.shapes import Json, Shop, sale_shape


def refund(tx: Tx, shop: Shop, sale_id: str, refund_id: str, till: str | None, amount: int | None) -> Json:
    """`amount` None: all that is left of what was paid."""
    sale = book.sale_to_change(tx, till or shop.till, sale_id)
    if sale is None:
        raise CallError("unknown-sale", "This sale is not known here.")
    known = book.refund(tx, shop.till, refund_id)
    if known is not None:
        same = (known.sale_till, known.sale_id) == (sale.till, sale_id)
        if not same or (amount is not None and amount != known.amount):
            raise CallError("key-reused", "This refund number was already used for another refund.")
        return sale_shape(tx, sale)
    if sale.state in ("open", "cancelled"):
        raise CallError("sale-not-closed", f"This sale is {sale.state}: there is nothing to refund.")
    left = (sale.paid or 0) - sale.refunded
    handed = left if amount is None else amount
    if handed > left:
        money = book.program(tx, sale.program).currency.text
        raise CallError("refund-too-large", f"Only {money(left)} of this sale is left to refund.")
    book.add_refund(
        tx,
        till=shop.till,
        refund_id=refund_id,
        sale_till=sale.till,
        sale_id=sale_id,
        amount=handed,
        asked=amount,
    )
    if sale.state == "refunded" or (handed == 0 and left > 0):
        return sale_shape(tx, sale)
    sale.refunded += handed
    sale.state = "refunded" if handed == left else "part-refunded"
    if sale.customer_id:
        _take_back(tx, sale, left, left - handed)
    book.save_sale(tx, sale)
    announce(tx, sale)
    return sale_shape(tx, sale)


def _take_back(tx: Tx, sale: Sale, before: int, left: int) -> None:
    """`before` and `left`: money kept of the sale before and after this refund.

    What the sale earned becomes what its own rules give for `left`; nothing left gives the reward back.
    """
    assert sale.customer_id is not None
    program = book.program(tx, sale.program)
    customer = book.customer(tx, sale.customer_id)
    was = earn(program.earn, counted(before, sale.counted, sale.total), sale.carried)
    now = earn(program.earn, counted(left, sale.counted, sale.total), sale.carried)
    points, carried = now.points - sale.earned, now.remainder - was.remainder
    if points or carried:
        seq = book.count_entries(tx, sale.till, sale.sale_id, "refund")
        money = program.currency.text
        book.enter(
            tx,
            customer.id,
            "refund",
            points,
            till=sale.till,
            ref=sale.sale_id,
            seq=seq,
            carried=carried,
            why=f"{money(left)} of {money(sale.paid or 0)} left after a refund on {sale.sale_id}.",
        )
    sale.earned = now.points
    if sale.state == "refunded" and sale.reward and not sale.returned:
        sale.returned = 1
        book.enter(
            tx,
            customer.id,
            "return",
            sale.taken,
            till=sale.till,
            ref=sale.sale_id,
            why=f"The reward of {sale.sale_id} is given back.",
        )
        reward = program.reward(sale.reward)
        if reward and reward.on_redeem == "keep":
            book.add_use(tx, customer.id, reward.id, -1)
    _revise_text(tx, sale, customer.id)
    mirror_book.owe(tx, customer.id)
    ripple(tx, customer.id, skip=sale)


def _revise_text(tx: Tx, sale: Sale, customer_id: int) -> None:
    """A text that has not left yet must not promise what the refund took back."""
    push = push_book.planned_for(tx, customer_id, sale)
    if push is None:
        return
    if sale.state == "refunded" or (push.kind == "earned" and not sale.earned):
        push_book.drop(tx, customer_id, sale)
    else:
        push_book.revise(tx, customer_id, sale, kind=push.kind, reward=push.reward)
