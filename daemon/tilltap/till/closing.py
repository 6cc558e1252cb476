"""What closing a sale enters into the ledger: the redemption first, then what was earned, and what to say."""

from __future__ import annotations

from tilltap.ledger import book, mirror_book, push_book
from tilltap.ledger.book import Sale
from tilltap.ledger.engine import Tx
from tilltap.rules import redeem
from tilltap.rules.settle import Outcome
from tilltap.till.shapes import offers, view
from tilltap.written import written


def enter(tx: Tx, sale: Sale) -> int | None:
    """Freezes the sale; returns the customer whose balance (or running spend) it changed."""
    seen = view(tx, sale)
    done, customer = seen.outcome, seen.customer
    if done.reward is None:
        sale.let_go()
    sale.discount, sale.paid, sale.taken = done.discount, done.paid, done.taken
    found = offers(sale, seen)
    sale.offers = written(found) if found else None
    sale.state, sale.closed, sale.closed_at = "closed", tx.now - tx.late, tx.at
    sale.why, sale.lapsed, sale.uid = done.why, 0, tx.uid
    if customer is None or seen.account is None:
        return None
    sale.offline = int(not customer.known)
    if done.reward:
        why = f"{done.reward.title} on {sale.sale_id}"
        book.enter(tx, customer.id, "redeem", -done.taken, till=sale.till, ref=sale.sale_id, why=why)
        if done.reward.on_redeem == "keep":
            book.add_use(tx, customer.id, done.reward.id, 1)
    earned = enter_earning(tx, sale, customer.id, seen.account, done)
    return customer.id if earned or done.reward else None


def enter_earning(tx: Tx, sale: Sale, customer_id: int, facts: redeem.Account, done: Outcome) -> bool:
    """True if there was anything to enter."""
    moved = done.earned.remainder - facts.carried
    sale.earned, sale.carried = done.earned.points, facts.carried
    sale.balance_after, sale.message, sale.receipt = done.balance_after, done.message, done.receipt
    if sale.earned or moved:
        book.enter(
            tx,
            customer_id,
            "earn",
            sale.earned,
            till=sale.till,
            ref=sale.sale_id,
            why=done.why,
            carried=moved,
        )
    if done.kind and done.message:
        push_book.plan(tx, customer_id, sale, kind=done.kind, reward=done.text_reward)
    if sale.earned or done.reward or done.message:
        mirror_book.owe(tx, customer_id)
    return bool(sale.earned or moved)
