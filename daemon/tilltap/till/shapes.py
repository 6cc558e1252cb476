"""A sale or customer as the rules see it, and as the POS reads it (contract 3.2)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tilltap.ledger import book, mirror_book
from tilltap.ledger.book import Customer, Sale
from tilltap.ledger.engine import Tx
from tilltap.model import Currency, Program
from tilltap.rules import messages, redeem
from tilltap.rules.redeem import Account
from tilltap.rules.settle import Order, Outcome, settle
from tilltap.written import Written

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shop:
    """The till and the rules for what begins now; replaced whole by a reload."""

    till: str
    program: Program
    version: int


def account(tx: Tx, program: Program, customer: Customer, own: Sale | None = None) -> Account:
    """The customer's points, less what sales other than `own` hold. Uses matter to a programme only that has
    rewards which keep their points.
    """
    held, uses = 0, book.uses(tx, customer.id) if program.counts_uses else {}
    for till, sale_id, reward, points in book.held(tx, customer.id):
        if own and (till, sale_id) == (own.till, own.sale_id):
            continue
        held += points
        if not points:  # a `keep` reward holds a use, not points
            uses[reward] = uses.get(reward, 0) + 1
    return Account(customer.points, customer.carried, held, uses)


@dataclass(frozen=True, slots=True)
class View:
    """An open sale with everything that decides about it."""

    program: Program
    customer: Customer | None
    account: Account | None
    outcome: Outcome

    @property
    def known(self) -> bool:
        return self.customer is not None and self.customer.known


def view(tx: Tx, sale: Sale) -> View:
    program = book.program(tx, sale.program)
    customer = book.customer(tx, sale.customer_id) if sale.customer_id else None
    facts = account(tx, program, customer, sale) if customer else None
    reward = program.reward(sale.reward) if sale.reward else None
    order = Order(sale.total, sale.counted, sale.paid, reward, sale.taken)
    known = customer is not None and customer.known
    return View(program, customer, facts, settle(program, order, facts, known=known))


def offers(sale: Sale, seen: View) -> list[Json]:
    """What the cashier may give, and what became of it."""
    if not seen.known or seen.account is None:
        return []
    found = []
    for reward in seen.program.rewards:
        if reward.id == sale.reward:
            state = "accepted"
        elif not redeem.offered(reward, seen.account, sale.total):
            continue
        else:
            state = "declined" if reward.id in sale.refusals() else "offered"
        found.append(
            {
                "reward": reward.id,
                "title": reward.title,
                "discount": seen.program.currency.text(min(reward.discount, sale.total)),
                "state": state,
                "prompt": messages.prompt(
                    seen.program, reward, earned=seen.outcome.earned.points, balance=seen.account.points
                ),
            }
        )
    return found


def customer_ids(customer: Customer | None) -> Json | None:
    return {"pass_id": customer.pass_id, "ext_id": customer.ext_id} if customer else None


def balance(customer: Customer | None) -> int | None:
    return customer.points if customer and customer.known else None


def sale_shape(tx: Tx, sale: Sale) -> Written:
    """Before close: what closing now would do. From then on: what was recorded, and the balance of now."""
    if sale.is_open:
        seen = view(tx, sale)
        outcome, customer = seen.outcome, seen.customer
        return shape_of(
            sale,
            seen.program.currency,
            customer,
            discount=outcome.discount,
            paid=None,
            reserved=sale.taken if book.holds(tx, sale) else 0,
            earned=outcome.earned.points,
            balance_after=outcome.balance_after,
            offers=offers(sale, seen),
            message=outcome.message,
            receipt=None,
            why=outcome.why,
            offline=customer is not None and not customer.known,
        )
    customer = book.customer(tx, sale.customer_id) if sale.customer_id else None
    return shape_of(
        sale,
        book.program(tx, sale.program).currency,
        customer,
        discount=sale.discount,
        paid=sale.paid,
        reserved=0,
        earned=sale.earned,
        balance_after=sale.balance_after,
        offers=json.loads(sale.offers) if sale.offers else [],
        message=sale.message,
        receipt=sale.receipt,
        why=sale.why,
        offline=bool(sale.offline),
    )


def shape_of(sale: Sale, currency: Currency, customer: Customer | None, **f: Any) -> Written:
    money = currency.text
    shape = {
        "sale_id": sale.sale_id,
        "state": sale.state,
        "total": money(sale.total),
        "eligible": money(sale.counted),
        "discount": money(f["discount"]),
        "due": money(sale.total - f["discount"]),
        "paid": None if f["paid"] is None else money(f["paid"]),
        "currency": currency.code,
        "customer": customer_ids(customer),
        "balance": balance(customer),
        "reserved": f["reserved"],
        "earned": f["earned"],
        "balance_after": f["balance_after"],
        "offers": f["offers"],
        "message": f["message"],
        "receipt": f["receipt"],
        "why": f["why"],
        "offline": f["offline"],
    }
    return Written(shape)


def rewards(program: Program, facts: Account | None) -> list[Json]:
    """Every reward of the programme and whether the customer can afford it now."""
    return [
        {
            "reward": r.id,
            "title": r.title,
            "discount": program.currency.text(r.discount),
            "available": facts is not None and redeem.affordable(r, facts),
        }
        for r in program.rewards
    ]


def customer_shape(tx: Tx, shop: Shop, customer: Customer) -> Json:
    facts = account(tx, shop.program, customer)
    return {
        "customer": customer_ids(customer),
        "balance": balance(customer),
        "reserved": facts.held,
        "rewards": rewards(shop.program, facts) if customer.known else [],
    }


def behind(tx: Tx, most: int) -> list[Json]:
    """Passes that do not show their balance, as `mirror.list` has them."""
    found = []
    for row in mirror_book.behind(tx, most):
        customer = book.customer(tx, row.customer_id)
        found.append(
            {
                "customer": customer_ids(customer),
                "value": None if customer.known else customer.value,
                "sales": [sale.sale_id for sale in book.unanswered_sales(tx, customer.id)],
                "balance": balance(customer),
                "shown": row.confirmed,
                "parked": row.parked,
                "reason": row.parked or "waiting for the loyalty service",
                "age_s": None if row.since is None else max(0, int(tx.now - row.since)),
            }
        )
    return found
