"""`tilltap explain`: what the rules would do with a sale, and why, touching nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tilltap.cli.run import Config

if TYPE_CHECKING:
    from tilltap.model import Program, Reward
    from tilltap.rules.redeem import Account


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


def explain(
    balance: Annotated[int, typer.Option(metavar="N", help="Points the customer has before the sale.")],
    total: Annotated[str, typer.Option(metavar="AMOUNT", help='The order, such as "20.00".')],
    redeem: Annotated[str, typer.Option(metavar="ID", help="Use this reward on the order.")] = "",
    config: Config = None,
) -> None:
    """What the rules would do with a sale, and why; no ledger, reader or service is touched.

    Example: tilltap explain --config tilltap.toml --balance 5 --total 8.00 --redeem five-off
    """
    from tilltap.config.files import locate_config
    from tilltap.config.load import load
    from tilltap.rules.redeem import Account

    program = load(locate_config(config)).program
    try:
        amount = program.currency.parse(total)
    except ValueError as bad:
        raise typer.BadParameter(str(bad), param_hint="--total") from None
    account = Account(balance)
    for line in _lines(program, account, amount, _reward(program, account, amount, redeem)):
        print(line)


def _reward(program: Program, account: Account, total: int, reward_id: str) -> Reward | None:
    from tilltap.rules import redeem

    if not reward_id:
        return redeem.automatic(program, account, total)
    reward = program.reward(reward_id)
    if reward is None:
        known = ", ".join(r.id for r in program.rewards) or "none"
        raise typer.BadParameter(f"no reward {reward_id} in this programme (there is: {known})")
    if not redeem.offered(reward, account, total):
        print(f"No: {_lacking(program, reward, account, total)}")
        raise typer.Exit(1)
    return reward


def _lacking(program: Program, reward: Reward, account: Account, total: int) -> str:
    """Why the reward is not offered, in a sentence."""
    from tilltap.rules import explain, redeem

    money, lacks = program.currency.text, []
    if not redeem.affordable(reward, account):
        lacks.append(f"{explain.points(program, reward.cost)} (the balance is {account.points})")
    if total < (least := max(reward.minimum, 1)):
        lacks.append(f"an order of at least {money(least)} (this one is {money(total)})")
    return f"{reward.title} needs {' and '.join(lacks)}."


def _lines(program: Program, account: Account, total: int, reward: Reward | None) -> list[str]:
    from tilltap.rules import messages, redeem
    from tilltap.rules.settle import Order, settle

    money = program.currency.text
    points = redeem.taken(reward, account) if reward else 0
    done = settle(program, Order(total, total, None, reward, points), account)
    code, earned = program.currency.code, done.earned.points
    lines = [
        f"Total {money(total)}, discount {money(done.discount)}, due {money(done.due)} {code}.",
        f"Balance {account.points} - {done.taken} spent + {earned} earned = {done.balance_after}.",
        f"Why: {done.why}",
    ]
    lines += [
        f"Offered: {messages.prompt(program, other, earned=earned, balance=account.points)}"
        f" (--redeem {other.id})"
        if redeem.offered(other, account, total)
        else f"Not offered: {_lacking(program, other, account, total)}"
        for other in (program.rewards if reward is None else ())
    ]
    lines.append(f"Phone: {done.message}" if done.message else "Phone: no message.")
    if done.receipt:
        lines.append(f"Receipt: {done.receipt}")
    return lines
