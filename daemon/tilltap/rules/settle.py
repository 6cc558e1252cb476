"""What closing a sale now would do: money, points, words and the reason. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tilltap.model import Program, Reward
from tilltap.rules.earn import Earned, counted, earn
from tilltap.rules.explain import sentence
from tilltap.rules.messages import push, say
from tilltap.rules.redeem import Account, reached

PushKind = Literal["redeemed", "reached", "earned"]


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the rules see it; `reward` with the points `taken` for it, `paid` None: what is due."""

    total: int
    eligible: int
    paid: int | None = None
    reward: Reward | None = None
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reward` and `taken` are what is really spent: nothing if more than the due amount was paid."""

    discount: int
    due: int
    paid: int
    earned: Earned
    reward: Reward | None
    taken: int
    balance_after: int | None
    kind: PushKind | None
    text_reward: str
    message: str | None
    receipt: str | None
    why: str


NOTHING = Earned(0, 0, 0, 0)


def settle(program: Program, order: Order, account: Account | None, *, known: bool = True) -> Outcome:
    """`account` None: nobody's sale. `known` False: the service has not said the balance yet (`offline`)."""
    discount = min(order.reward.discount, order.total) if order.reward else 0
    due = order.total - discount
    paid = due if order.paid is None else order.paid
    given, spent = order.reward, order.taken
    if given and paid > due:
        # The till charged more than the discounted price: the customer did not get the discount.
        given, spent, discount, due = None, 0, 0, order.total
    base = counted(paid, order.eligible, order.total)
    earned = earn(program.earn, base, account.carried) if account else NOTHING
    why = sentence(program, order, given, spent, paid, base, earned, account)
    if account is None:
        return Outcome(discount, due, paid, earned, given, spent, None, None, "", None, None, why)
    kind, title, after = _effect(program, account, given, spent, earned, known=known)
    message = push(program, kind, earned=earned.points, reward=title, balance=after) if kind else None
    receipt = say(program, program.messages.receipt, earned=earned.points, reward=title, balance=after)
    return Outcome(discount, due, paid, earned, given, spent, after, kind, title, message, receipt, why)


def _effect(
    program: Program, account: Account, given: Reward | None, spent: int, earned: Earned, *, known: bool
) -> tuple[PushKind | None, str, int | None]:
    points = account.points - spent + earned.points
    uses = dict(account.uses)
    if given:
        uses[given.id] = uses.get(given.id, 0) + (given.on_redeem == "keep")
        return "redeemed", given.title, points if known else None
    if not known:
        return ("earned" if earned.points else None), "", None
    before = Account(account.points, account.carried, 0, account.uses)
    new = reached(program, before, Account(points, account.carried, 0, uses))
    if new and earned.points:
        return "reached", new.title, points
    return ("earned" if earned.points else None), "", points
