"""The manager's daily figures (contract 3.1, `report`), and which day and till each of them belongs to:

- A sale, with what it took, earned and spent: the business day on which it was closed, at the till that
  closed it. That is what the POS printed for that day. So does a sale closed without the ledger and entered
  later, and what was earned by a late attach: either may still add to a day that is over.
- A refund, with the points it gave and took: the day and the till that handed the money back, whenever and
  wherever the sale was made. That is the drawer it is missing from.
- An adjustment: when and where it was made. What others changed, and what customers had when they were first
  seen: when it was noticed, at the till if it alone has this ledger, else at no till.

Every entry of the ledger is in one day and in one figure: all figures of all days add up to the balances.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any

from tilltap.clock import rfc3339
from tilltap.errors import ParamError
from tilltap.ledger import book
from tilltap.ledger.book import report as rows
from tilltap.ledger.engine import Tx
from tilltap.model import Currency, Program
from tilltap.till.shapes import Json

# Balances below zero named at once; a shop that has more has one cause, not hundreds.
OWING_LIST = 200


@dataclass(slots=True)
class Given:
    """How often a reward was given, and for how much money."""

    times: int = 0
    discount: int = 0


@dataclass(slots=True)
class Figures:
    """One till's (or everybody's) day. Amounts in minor units; points as their names say, so `spent`,
    `returned` and `taken_back` are positive; `adjusted` and `changed_by_others` have a sign.

    `spent` bought rewards, `returned` came back to customers when such a sale was refunded, `taken_back` had
    been earned by sales refunded since, `opening` is what customers had when they were first seen.
    """

    with_customer: int = 0
    without_customer: int = 0
    total: int = 0
    discounts: int = 0
    paid: int = 0
    differing: int = 0
    over: int = 0
    under: int = 0
    refunds: int = 0
    refunded: int = 0
    earned: int = 0
    spent: int = 0
    returned: int = 0
    taken_back: int = 0
    adjusted: int = 0
    changed_by_others: int = 0
    opening: int = 0
    below_zero: int = 0
    parked: int = 0
    rewards: dict[str, Given] = field(default_factory=dict)

    def add(self, other: Figures) -> None:
        for name in (f.name for f in fields(Figures) if f.name != "rewards"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reward, given in other.rewards.items():
            self._give(reward, given.times, given.discount)

    def _give(self, reward: str, times: int, discount: int) -> None:
        given = self.rewards.setdefault(reward, Given())
        given.times += times
        given.discount += discount

    def sell(self, sold: rows.Sold) -> None:
        self.with_customer += sold.customers
        self.without_customer += sold.sales - sold.customers
        self.total += sold.total
        self.discounts += sold.discount
        self.paid += sold.paid
        self.differing += sold.differing
        self.over += sold.over
        self.under += sold.under
        self.earned += sold.earned
        self.spent += sold.spent
        self.below_zero += sold.below_zero
        if sold.reward is not None:
            self._give(sold.reward, sold.sales, sold.discount)

    def enter(self, changed: rows.Changed) -> None:
        self.below_zero += changed.below_zero
        points = changed.points
        match changed.kind:
            case "return":
                self.returned += points
            case "refund":
                self.taken_back -= points
            case "adjust":
                self.adjusted += points
            case "foreign":
                self.changed_by_others += points
            case "opening":
                self.opening += points
            case unforeseen:
                raise AssertionError(unforeseen)


@dataclass(frozen=True, slots=True)
class Day:
    """What the ledger says of a day; `parked` by till. `alone`: the till whose own this ledger is."""

    sold: Iterable[rows.Sold]
    handed: Iterable[rows.Handed]
    changed: Iterable[rows.Changed]
    parked: dict[str | None, int]
    alone: str | None


def by_till(day: Day) -> dict[str | None, Figures]:
    """Under None what is no till's. Pure."""
    found: dict[str | None, Figures] = {}

    def of(till: str | None) -> Figures:
        return found.setdefault(till or day.alone, Figures())

    for sold in day.sold:
        of(sold.till).sell(sold)
    where: dict[tuple[str, str, str], str] = {}
    for handed in day.handed:
        of(handed.till).refunds += handed.amount > 0
        of(handed.till).refunded += handed.amount
        where[handed.sale_till, handed.sale_id, handed.at] = handed.till
    for changed in day.changed:
        till = changed.till
        if changed.sale_id is not None and changed.at is not None:
            till = where.get((changed.till, changed.sale_id, changed.at), changed.till)
        of(till).enter(changed)
    for till_or_none, passes in day.parked.items():
        of(till_or_none).parked += passes
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """`begin` to `end` is the business day `day`; `till` None: all of them. `own`: whose daemon is asked."""

    day: date
    begin: datetime
    end: datetime
    till: str | None
    own: str


def report(tx: Tx, asked: Asked, currency: Currency, *, at: datetime, spool_parked: int = 0) -> Json:
    """The answer to the call. `spool_parked`: closes of this till that the ledger refused, which only its
    spool knows. ParamError for a till that was never here.
    """
    if asked.till not in (None, asked.own) and not rows.is_till(tx, str(asked.till)):
        raise ParamError("till", "till: no till of this name was ever on this ledger")
    begin, end = rfc3339(asked.begin), rfc3339(asked.end)
    sold = rows.sold(tx, begin, end)
    handed, changed = rows.handed(tx, begin, end), rows.changed(tx, begin, end)
    alone = None if tx.shared else asked.own
    found = by_till(Day(sold, handed, changed, rows.parked(tx), alone))
    found.setdefault(asked.own, Figures()).parked += spool_parked
    for till in rows.tills(tx):
        found.setdefault(till, Figures())
    if asked.till is not None:
        found = {asked.till: found.get(asked.till, Figures())}
    everybody = Figures()
    for figures in found.values():
        everybody.add(figures)
    titles = _titles(tx, sold)
    return {
        "day": asked.day.isoformat(),
        "from": begin,
        "to": end,
        "at": rfc3339(at),
        "currency": currency.code,
        **shape(everybody, currency, titles),
        "tills": [
            {"till": till, **shape(found[till], currency, titles)}
            for till in sorted(found, key=lambda name: (name is None, name))
        ],
        "below_zero_now": [
            {"customer": {"pass_id": o.pass_id, "ext_id": o.ext_id}, "balance": o.points}
            for o in rows.owing(tx, OWING_LIST)
        ],
    }


def _titles(tx: Tx, sold: Iterable[rows.Sold]) -> dict[str, str]:
    """What the rewards were called by the newest rules that one of these sales had."""
    newest: dict[str, int] = {}
    for item in sold:
        if item.reward is not None:
            newest[item.reward] = max(item.program, newest.get(item.reward, 0))
    return {reward: _title(book.program(tx, version), reward) for reward, version in newest.items()}


def _title(program: Program, reward: str) -> str:
    found = program.reward(reward)
    return found.title if found else reward


def shape(figures: Figures, currency: Currency, titles: dict[str, str]) -> dict[str, Any]:
    """The figures as the protocol names them (docs/pos-protocol.md, `report`)."""
    money = currency.text
    return {
        "sales": {"with_customer": figures.with_customer, "without_customer": figures.without_customer},
        "money": {
            "total": money(figures.total),
            "discounts": money(figures.discounts),
            "paid": money(figures.paid),
            "refunds": figures.refunds,
            "refunded": money(figures.refunded),
        },
        "paid_differences": {
            "sales": figures.differing,
            "over": money(figures.over),
            "under": money(figures.under),
        },
        "rewards": [
            {
                "reward": reward,
                "title": titles.get(reward, reward),
                "count": given.times,
                "discount": money(given.discount),
            }
            for reward, given in sorted(figures.rewards.items())
        ],
        "points": {
            "earned": figures.earned,
            "spent": figures.spent,
            "returned": figures.returned,
            "taken_back": figures.taken_back,
            "adjusted": figures.adjusted,
            "changed_by_others": figures.changed_by_others,
            "opening": figures.opening,
        },
        "below_zero": figures.below_zero,
        "parked": figures.parked,
    }
