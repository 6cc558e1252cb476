"""A second, much simpler ledger: what a history of calls must come to, in points, money and refusals.

`Book` was written from contract section 3 alone. It knows customers, sales and what they are worth; it knows no
tables, no events and no service.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from rigs.till import COFFEE, FIVE_OFF
from tilltap.model import Earn, Program

TEN_OFF = replace(
    FIVE_OFF, id="ten-off", title="£10 off", cost=3, discount=1000, on_redeem="subtract", minimum=600
)
STAFF = replace(FIVE_OFF, id="staff", title="Staff", cost=2, discount=100, on_redeem="keep")
PROGRAMS = [
    replace(COFFEE, rewards=(FIVE_OFF, TEN_OFF)),
    replace(COFFEE, earn=Earn(700, points=2, carry=True, visit=1, minimum=300), rewards=(TEN_OFF, STAFF)),
    replace(COFFEE, earn=Earn(None, visit=3), rewards=(replace(FIVE_OFF, cost=4),)),
]
HELD_S, LATE_S, DAY_S, TAP_S = 600, 900, 86400, 30


class Refused(Exception):
    """The code a call must be refused with."""


@dataclass
class Person:
    """A pass, or a value of one while the service has not said whose it is."""

    opening: int = 0
    met: bool = False
    carried: int = 0
    uses: dict[str, int] = field(default_factory=dict)
    entries: list[tuple[str, str, int]] = field(default_factory=list)  # ref, kind, points

    @property
    def points(self) -> int:
        return self.opening * self.met + sum(points for _ref, _kind, points in self.entries)


@dataclass
class Order:
    id: str
    program: Program
    total: int
    eligible: int | None
    touched: float
    turn: int
    state: str = "open"
    who: Person | None = None
    reward: str | None = None
    taken: int = 0
    lost: bool = False  # the reservation ran out and the points are gone
    paid: int = 0
    left: int = 0
    carried: int = 0
    earned: int = 0
    closed: float = 0.0

    @property
    def gift(self) -> Any:
        return self.program.reward(self.reward or "")

    @property
    def due(self) -> int:
        return self.total - (min(self.gift.discount, self.total) if self.gift else 0)

    def worth(self, money: int, carried: int) -> tuple[int, int]:
        """Points for `money` kept of this order, and the running spend after it."""
        rule = self.program.earn
        share = min(self.total if self.eligible is None else self.eligible, self.total)
        base = money * share // self.total if self.total else 0
        points = rule.visit if base and base >= rule.minimum else 0
        if rule.spend is None or not base:
            return points, carried
        if not rule.carry:
            return points + base // rule.spend * rule.points, carried
        full = max(0, (carried + base) // rule.spend)
        return points + full * rule.points, carried + base - full * rule.spend


class Book:
    """The reference: every method is a call, refused or entered at `self.now`."""

    def __init__(self, people: dict[str, Person]) -> None:
        self.people = people  # by every value; several values may mean one person
        self.orders: dict[str, Order] = {}
        self.refunds: dict[str, tuple[str, int]] = {}
        self.taps: list[tuple[float, Person]] = []
        self.now = 0.0
        self.turn = 0
        self.program = PROGRAMS[0]
        self.facts: list[tuple[float, str, int]] = []  # when (of a sale: its close), kind, points
        self.handed: list[tuple[float, int]] = []

    def enter(self, who: Person, ref: str, kind: str, points: int, at: float) -> None:
        who.entries.append((ref, kind, points))
        self.facts.append((at, kind, points))

    def meet(self, name: str) -> None:
        """The service has said whose the values of this pass are: what was sold meanwhile is theirs."""
        whole = self.people[name]
        for value in (name, f"{name}-nfc"):
            part, self.people[value] = self.people[value], whole
            if part is not whole:
                whole.entries += part.entries
                whole.carried += part.carried
                self.taps = [(at, whole if p is part else p) for at, p in self.taps]
                for order in self.orders.values():
                    order.who = whole if order.who is part else order.who
        whole.met = True

    def held_by_others(self, order: Order) -> list[Order]:
        return [
            o
            for o in self.orders.values()
            if o is not order and o.who is order.who and o.reward and o.state == "open" and self.holds(o)
        ]

    def holds(self, order: Order) -> bool:
        return bool(order.reward) and not order.lost and order.touched > self.now - HELD_S

    def free(self, order: Order) -> int:
        assert order.who is not None
        return order.who.points - sum(o.taken for o in self.held_by_others(order))

    def affords(self, order: Order, gift: Any) -> bool:
        assert order.who is not None
        if gift.on_redeem != "keep":
            return self.free(order) >= gift.cost
        others = sum(
            1 for o in self.held_by_others(order) if o.gift.on_redeem == "keep" and o.reward == gift.id
        )
        return order.who.points // gift.cost > order.who.uses.get(gift.id, 0) + others

    def touch(self, sale_id: str) -> Order:
        order = self.orders[sale_id]
        if order.state != "open":
            raise Refused("sale-not-open")
        if order.reward and order.touched <= self.now - HELD_S:
            order.lost = not (self.free(order) >= order.taken and self.affords(order, order.gift))
        order.touched = self.now
        return order

    def drop(self, order: Order) -> None:
        order.reward, order.taken, order.lost = None, 0, False

    def put(self, order: Order, who: Person | None) -> None:
        if who is not order.who:
            self.drop(order)
        order.who = who
        self.taps = [(at, p) for at, p in self.taps if p is not who]

    def fits(self, order: Order) -> None:
        if order.reward and (not order.total or order.total < order.gift.minimum):
            self.drop(order)

    def begin(self, sale_id: str, total: int, eligible: int | None) -> Order:
        self.turn += 1
        self.orders[sale_id] = Order(sale_id, self.program, total, eligible, self.now, self.turn)
        return self.orders[sale_id]

    def open(self, sale_id: str, total: int, eligible: int | None, who: Person | None) -> None:
        order = self.begin(sale_id, total, eligible)
        if who is not None:
            self.put(order, who)
        else:
            waiting = [p for at, p in self.taps if at > self.now - TAP_S]
            self.taps.clear()
            if waiting:
                self.put(order, waiting[-1])

    def update(self, sale_id: str, total: int, eligible: int | None) -> None:
        order = self.touch(sale_id)
        self.turn += 1
        order.total, order.turn = total, self.turn
        order.eligible = order.eligible if eligible is None else eligible
        self.fits(order)

    def tap(self, who: Person) -> None:
        current = max(
            (o for o in self.orders.values() if o.state == "open"), key=lambda o: o.turn, default=None
        )
        if current is None:
            self.taps.append((self.now, who))
        elif current.who is None:
            self.put(current, who)

    def attach(self, sale_id: str, who: Person | None) -> None:
        order = self.orders[sale_id]
        if order.state == "open":
            self.put(self.touch(sale_id), who)
            return
        if order.state == "cancelled" or (order.who and order.who is not who):
            raise Refused("sale-not-open")
        if order.who is who:
            return
        if order.state == "refunded" or order.closed <= self.now - LATE_S:
            raise Refused("sale-not-open")
        self.put(order, who)
        self.earn(order, order.left)

    def earn(self, order: Order, money: int) -> None:
        if order.who is None:
            return
        order.carried = order.who.carried
        order.earned, order.who.carried = order.worth(money, order.carried)
        if order.earned or order.who.carried != order.carried:
            self.enter(order.who, order.id, "earn", order.earned, order.closed)

    def accept(self, sale_id: str, reward: str) -> None:
        order = self.orders[sale_id]
        if order.state == "open" and order.who and not order.who.met:
            raise Refused("offline")
        before = replace(order)
        self.touch(sale_id)
        gift = order.program.reward(reward)
        if order.who is not None and order.reward == reward:
            return
        fits = gift is not None and order.total and order.total >= gift.minimum
        if order.who is None or not fits or not self.affords(order, gift):
            self.orders[sale_id] = before  # nothing was recorded, not even the call
            raise Refused("reward-unavailable" if order.who else "no-customer")
        free = self.free(order)
        order.reward, order.lost = reward, False
        order.taken = {"reset": free, "subtract": gift.cost, "keep": 0}[gift.on_redeem]

    def decline(self, sale_id: str, reward: str) -> None:
        order, before = self.orders[sale_id], replace(self.orders[sale_id])
        self.touch(sale_id)
        if order.program.reward(reward) is None:
            self.orders[sale_id] = before
            raise Refused("reward-unavailable")
        if order.reward == reward:
            self.drop(order)

    def close(self, sale_id: str, total: int | None, paid: int | None, who: Person | None) -> None:
        if sale_id not in self.orders:
            assert total is not None
            self.begin(sale_id, total, None)
        order = self.touch(sale_id)
        order.total = order.total if total is None else total
        if who is not None:
            self.put(order, who)
        self.fits(order)
        order.paid = order.left = order.due if paid is None else paid
        if order.paid > order.due:
            self.drop(order)
        order.state, order.closed = "closed", self.now
        if order.who is not None and order.reward:
            self.enter(order.who, order.id, "redeem", -order.taken, order.closed)
            if order.gift.on_redeem == "keep":
                order.who.uses[order.reward] = order.who.uses.get(order.reward, 0) + 1
        self.earn(order, order.paid)

    def cancel(self, sale_id: str) -> None:
        order = self.orders[sale_id]
        if order.state == "cancelled":
            return
        if order.state != "open":
            raise Refused("sale-not-open")
        self.drop(order)
        order.state = "cancelled"

    def refund(self, sale_id: str, refund_id: str, amount: int | None) -> None:
        order = self.orders[sale_id]
        if order.state in ("open", "cancelled"):
            raise Refused("sale-not-closed")
        amount = order.left if amount is None else amount
        if amount > order.left:
            raise Refused("refund-too-large")
        if order.state == "refunded" or (not amount and order.left):
            return
        if amount:
            self.handed.append((self.now, amount))
        before, order.left = order.left, order.left - amount
        order.state = "part-refunded" if order.left else "refunded"
        if order.who is None:
            return
        was, now = order.worth(before, order.carried), order.worth(order.left, order.carried)
        order.who.carried += now[1] - was[1]
        if now != was:
            self.enter(order.who, order.id, "refund", now[0] - was[0], self.now)
        order.earned = now[0]
        if order.state == "refunded" and order.reward:
            self.enter(order.who, order.id, "return", order.taken, self.now)
            if order.gift.on_redeem == "keep":
                order.who.uses[order.reward] -= 1

    def adjust(self, who: Person, points: int, request_id: str) -> None:
        if points < 0 and who.points + points < 0:
            raise Refused("balance-too-low")
        self.enter(who, request_id, "adjust", points, self.now)


def figures_of(book: Book, day_of: Callable[[float], date]) -> dict[date, dict[str, int]]:
    """What a manager must be told of each day, from the reference alone."""
    days: dict[date, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for order in book.orders.values():
        if order.state in ("open", "cancelled"):
            continue
        day = days[day_of(order.closed)]
        day["with_customer" if order.who else "without_customer"] += 1
        day["total"] += order.total
        day["discounts"] += order.total - order.due
        day["paid"] += order.paid
        day["differing"] += order.paid != order.due
        day["over"] += max(0, order.paid - order.due)
        day["under"] += max(0, order.due - order.paid)
        day["rewards"] += order.reward is not None
    for at, amount in book.handed:
        days[day_of(at)]["refunds"] += 1
        days[day_of(at)]["refunded"] += amount
    names = {
        "earn": "earned",
        "redeem": "spent",
        "return": "returned",
        "refund": "taken_back",
        "adjust": "adjusted",
    }
    for at, kind, points in book.facts:
        days[day_of(at)][names[kind]] += -points if kind in ("redeem", "refund") else points
    return days


def figures_said(report: dict[str, Any]) -> dict[str, int]:
    """The same figures of an answer to `report`, those that are not 0."""
    money, differing = report["money"], report["paid_differences"]
    minor = {name: money[name] for name in ("total", "discounts", "paid", "refunded")}
    minor |= {name: differing[name] for name in ("over", "under")}
    found = {
        **report["sales"],
        **report["points"],
        **{name: int(text.replace(".", "")) for name, text in minor.items()},
        "refunds": money["refunds"],
        "differing": differing["sales"],
        "rewards": sum(r["count"] for r in report["rewards"]),
    }
    assert sum(int(r["discount"].replace(".", "")) for r in report["rewards"]) == found["discounts"]
    return {name: value for name, value in found.items() if value}
