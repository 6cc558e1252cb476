"""One sentence that tells a manager why a sale does what it does. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilltap.model import Program, Reward

if TYPE_CHECKING:
    from tilltap.rules.earn import Earned
    from tilltap.rules.redeem import Account
    from tilltap.rules.settle import Order


def points(program: Program, n: int) -> str:
    return f"{n} {program.point if n == 1 else program.points}"


def sentence(
    program: Program,
    order: Order,
    given: Reward | None,
    spent: int,
    paid: int,
    base: int,
    earned: Earned,
    account: Account | None,
) -> str:
    money = program.currency.text
    parts = []
    if given:
        cost = f"{points(program, spent)} spent" if spent else "no points spent"
        parts.append(f"{given.title} given ({money(order.total - _due(order))} off, {cost})")
    elif order.reward:
        charged = f"{money(paid)} was charged instead of {money(_due(order))}"
        parts.append(f"{order.reward.title} not given because {charged}")
    if account is None:
        parts.append("no customer, so nothing is earned" if parts else "No customer, so nothing is earned")
        return "; ".join(parts) + "."
    parts.append(_earning(program, order, paid, base, earned, account.carried))
    return "; ".join(parts) + "."


def _due(order: Order) -> int:
    return order.total - (min(order.reward.discount, order.total) if order.reward else 0)


def _earning(program: Program, order: Order, paid: int, base: int, earned: Earned, carried: int) -> str:
    money, rule = program.currency.text, program.earn
    what = f"{money(paid)} paid"
    if order.eligible != order.total:
        what += f" ({money(base)} of it earning points)"
    if rule.carry and carried and base:
        what += f" and {money(carried)} carried over"
    if rule.spend is None:
        reasons = []
    elif earned.steps:
        each = f"{earned.steps} × {money(rule.spend)}"
        reasons = [f"{each} at {points(program, rule.points)} each"]
    else:
        reasons = [f"no full {money(rule.spend)}"]
    if earned.visit:
        reasons.append(f"{points(program, earned.visit)} for the visit")
    elif rule.visit:
        reasons.append(
            f"no visit point below {money(rule.minimum)}" if rule.minimum else "no visit point unpaid"
        )
    text = f"{what}: {', '.join(reasons)}, so {points(program, earned.points)} earned"
    if rule.carry and earned.remainder:
        text += f", {money(earned.remainder)} carried on"
    return text
