"""Any history of calls against a second, much simpler ledger: the same figures, entries and refusals throughout.

`Book` below was written from contract section 3 alone. It knows customers, sales and what they are worth; it
knows no tables, no events and no service. After every step the two must agree.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rigs import service
from rigs.clock import VirtualLoop
from rigs.till import COFFEE, FIVE_OFF, House, make_template
from tilltap.errors import CallError
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
            order.who.entries.append((order.id, "earn", order.earned))

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
            order.who.entries.append((order.id, "redeem", -order.taken))
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
        before, order.left = order.left, order.left - amount
        order.state = "part-refunded" if order.left else "refunded"
        if order.who is None:
            return
        was, now = order.worth(before, order.carried), order.worth(order.left, order.carried)
        order.who.carried += now[1] - was[1]
        if now != was:
            order.who.entries.append((order.id, "refund", now[0] - was[0]))
        order.earned = now[0]
        if order.state == "refunded" and order.reward:
            order.who.entries.append((order.id, "return", order.taken))
            if order.gift.on_redeem == "keep":
                order.who.uses[order.reward] -= 1

    def adjust(self, who: Person, points: int, request_id: str) -> None:
        if points < 0 and who.points + points < 0:
            raise Refused("balance-too-low")
        who.entries.append((request_id, "adjust", points))


AMOUNTS = st.sampled_from([0, 1, 299, 500, 700, 800, 1000, 1850, 3000])
VALUES = st.sampled_from(["ana", "ana-nfc", "bob", "bob-nfc", "nobody"])
REWARDS = st.sampled_from(["five-off", "ten-off", "staff"])
WHICH = st.integers(0, 4)


class Histories(RuleBasedStateMachine):
    template: Path

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.house = House(Path(self.folder.name), PROGRAMS[0], durable=False, template=self.template)
        self.house.time.loop = self.runner.get_loop()  # type: ignore[assignment]
        people = {
            "ana": Person(4),
            "bob": Person(9),
            "nobody": Person(),
            "ana-nfc": Person(),
            "bob-nfc": Person(),
        }
        for name in ("ana", "bob"):
            self.house.service.add(f"pass-{name}", people[name].opening, ext_id=name, nfc=f"{name}-nfc")
        self.book = Book(people)
        self.asked: set[str] = set()  # values used while the service was away
        self.count = 0
        self.done: list[tuple[str, dict[str, Any]]] = []
        self.raw = sqlite3.connect(self.house.path)

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        try:
            if self.house.service.down:
                self.online()
            self.runner.run(self.house.sync(300))
            for name in ("ana", "bob"):
                person = self.book.people[name]
                shown = self.house.service.passes[f"pass-{name}"].points
                assert shown == (max(0, person.points) if person.met else person.opening)
        finally:
            self.raw.close()
            self.house.stop()
            self.runner.close()
            self.folder.cleanup()

    # -- helpers ----------------------------------------------------------------------------------------

    def new_id(self) -> str:
        self.count += 1
        return str(self.count)

    def pick(self, which: int) -> str:
        names = list(self.book.orders)
        return names[-1 - which % len(names)]

    def who(self, value: str | None) -> Person | None:
        """The reference's customer for a value that is about to be used; `Refused` as the service says."""
        if value is None:
            return None
        if self.house.service.down:
            self.asked.add(value)
        elif value == "nobody":
            raise Refused("unknown-pass")
        else:
            self.book.meet(value.removesuffix("-nfc"))
        return self.book.people[value]

    def both(self, expected: Any, method: str, **params: Any) -> None:
        """The call, at both; then once more at the till, where a repeat must change nothing."""
        params = {k: v for k, v in params.items() if v is not ...}
        try:
            answer: Any = self.runner.run(self.house.call(method, **params))
        except CallError as error:
            answer = error.code
        self.book.now = self.house.time.steady()
        try:
            expected()
        except Refused as refused:
            code = refused.args[0]
        else:
            code = None
        assert code is None or answer == code, f"{method} {params}"
        if code is not None:
            return
        assert not isinstance(answer, str), f"{method} {params} was refused: {answer}"
        seq = self.house.store.last_seq
        assert self.runner.run(self.house.call(method, **params)) == answer, f"{method} {params} repeated"
        assert self.house.store.last_seq == seq, f"{method} {params} said something again"
        if method in ("sale.close", "sale.refund", "customer.adjust"):
            self.done.append((method, params))

    def money(self, minor: int | None) -> Any:
        return ... if minor is None else COFFEE.currency.text(minor)

    # -- calls ------------------------------------------------------------------------------------------

    @rule(total=AMOUNTS, share=st.sampled_from([None, 0, 1, 2]), value=st.one_of(st.none(), VALUES))
    def open(self, total: int, share: int | None, value: str | None) -> None:
        sale_id, eligible = self.new_id(), None if share is None else total * share // 2
        self.both(
            lambda: self.book.open(sale_id, total, eligible, self.who(value)),
            "sale.open",
            sale_id=sale_id,
            total=self.money(total),
            eligible=self.money(eligible),
            value=... if value is None else value,
        )

    @precondition(lambda self: self.book.orders)
    @rule(which=WHICH, total=AMOUNTS)
    def update(self, which: int, total: int) -> None:
        sale_id = self.pick(which)
        self.both(
            lambda: self.book.update(sale_id, total, total // 2),
            "sale.update",
            sale_id=sale_id,
            total=self.money(total),
            eligible=self.money(total // 2),
        )

    @rule(value=VALUES)
    def tap(self, value: str) -> None:
        self.house.time.move(0.01)  # no two phones at the same instant: the newest must be one
        self.runner.run(self.house.tap(value))
        self.book.now = self.house.time.steady()
        try:
            person = self.who(value)
        except Refused:
            return
        assert person is not None
        self.book.tap(person)

    @precondition(lambda self: self.book.orders)
    @rule(which=WHICH, value=st.one_of(st.none(), VALUES))
    def attach(self, which: int, value: str | None) -> None:
        sale_id = self.pick(which)
        self.both(
            lambda: self.book.attach(sale_id, self.who(value)), "sale.attach", sale_id=sale_id, value=value
        )

    @precondition(lambda self: self.book.orders)
    @rule(which=WHICH, reward=REWARDS)
    def accept(self, which: int, reward: str) -> None:
        sale_id = self.pick(which)
        self.both(lambda: self.book.accept(sale_id, reward), "sale.accept", sale_id=sale_id, reward=reward)

    @precondition(lambda self: self.book.orders)
    @rule(which=WHICH, reward=REWARDS)
    def decline(self, which: int, reward: str) -> None:
        sale_id = self.pick(which)
        self.both(lambda: self.book.decline(sale_id, reward), "sale.decline", sale_id=sale_id, reward=reward)

    @precondition(lambda self: any(o.state == "open" for o in self.book.orders.values()))
    @rule(which=WHICH, paid=st.one_of(st.none(), AMOUNTS), value=st.one_of(st.none(), VALUES))
    def close(self, which: int, paid: int | None, value: str | None) -> None:
        names = [o.id for o in self.book.orders.values() if o.state == "open"]
        self._close(names[-1 - which % len(names)], None, paid, value)

    @rule(total=AMOUNTS, value=st.one_of(st.none(), VALUES))
    def close_at_once(self, total: int, value: str | None) -> None:
        self._close(self.new_id(), total, None, value)

    def _close(self, sale_id: str, total: int | None, paid: int | None, value: str | None) -> None:
        self.both(
            lambda: self.book.close(sale_id, total, paid, self.who(value)),
            "sale.close",
            sale_id=sale_id,
            total=self.money(total),
            paid=self.money(paid),
            value=... if value is None else value,
        )

    @precondition(lambda self: self.book.orders)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        sale_id = self.pick(which)
        self.both(lambda: self.book.cancel(sale_id), "sale.cancel", sale_id=sale_id)

    @precondition(lambda self: self.book.orders)
    @rule(which=WHICH, amount=st.one_of(st.none(), AMOUNTS))
    def refund(self, which: int, amount: int | None) -> None:
        sale_id, refund_id = self.pick(which), self.new_id()
        self.both(
            lambda: self.book.refund(sale_id, refund_id, amount),
            "sale.refund",
            sale_id=sale_id,
            refund_id=refund_id,
            amount=self.money(amount),
        )

    @rule(value=VALUES, points=st.sampled_from([-5, -1, 2, 6]))
    def adjust(self, value: str, points: int) -> None:
        request_id = self.new_id()

        def expected() -> None:
            if self.house.service.down and not self.book.people[value].met:
                raise Refused("offline")
            person = self.who(value)
            assert person is not None
            self.book.adjust(person, points, request_id)

        self.both(
            expected, "customer.adjust", value=value, points=points, reason="because", request_id=request_id
        )

    @precondition(lambda self: self.done)
    @rule(which=st.integers(0, 20))
    def repeat_an_old_call(self, which: int) -> None:
        """Whoever did not hear an answer asks again, however late: nothing changes."""
        method, params = self.done[which % len(self.done)]
        seq = self.house.store.last_seq
        self.runner.run(self.house.call(method, **params))
        assert self.house.store.last_seq == seq

    # -- the world --------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 20, 400, 700, 1000]))
    def time_passes(self, seconds: int) -> None:
        self.house.time.move(seconds)

    @rule()
    def a_day_passes(self) -> None:
        self.house.time.move(DAY_S + 1)
        self.runner.run(self.house.till.tidy())
        self.book.now = self.house.time.steady()
        for order in self.book.orders.values():
            if order.state == "open" and order.touched < self.book.now - DAY_S:
                self.book.cancel(order.id)

    @precondition(lambda self: not self.house.service.down)
    @rule()
    def offline(self) -> None:
        self.house.service.down = service.NOT_SENT

    @precondition(lambda self: self.house.service.down)
    @rule()
    def online(self) -> None:
        """The service answers, and the mirror puts everything right that was sold meanwhile."""
        self.house.service.down = None
        self.house.time.move(3)
        self.runner.run(self.house.sync(20))
        for value in self.asked - {"nobody"}:
            self.book.meet(value.removesuffix("-nfc"))
        self.asked.clear()
        nobody = self.book.people["nobody"]
        self.book.taps = [(at, p) for at, p in self.book.taps if p is not nobody]
        for order in self.book.orders.values():
            if order.state == "open" and order.who is nobody:
                order.who = None

    @precondition(lambda self: not self.house.service.down)
    @rule()
    def mirror_works(self) -> None:
        self.runner.run(self.house.sync(5))

    @rule(which=st.integers(0, len(PROGRAMS) - 1))
    def reload(self, which: int) -> None:
        self.book.program = PROGRAMS[which]
        self.runner.run(self.house.reload(PROGRAMS[which]))

    @rule()
    def restart(self) -> None:
        self.house.restart()

    # -- what must hold after every step ----------------------------------------------------------------

    @invariant()
    def balances_are_sums_of_entries(self) -> None:
        if not hasattr(self, "raw"):
            return
        rows = self.raw.execute(
            "SELECT c.id, c.points, c.carried, (SELECT coalesce(sum(e.points), 0) FROM entry e JOIN customer o"
            " ON o.id = e.customer_id WHERE o.id = c.id OR o.same_as = c.id), (SELECT coalesce(sum(e.carried), 0)"
            " FROM entry e JOIN customer o ON o.id = e.customer_id WHERE o.id = c.id OR o.same_as = c.id)"
            " FROM customer c WHERE c.same_as IS NULL"
        ).fetchall()
        for _id, points, carried, entries, carries in rows:
            assert (points, carried) == (entries, carries)

    @invariant()
    def both_books_agree(self) -> None:
        if not hasattr(self, "raw"):
            return
        entered = self.raw.execute(
            "SELECT ref, kind, points FROM entry WHERE kind != 'opening' ORDER BY id"
        ).fetchall()
        expected = [e for p in {id(p): p for p in self.book.people.values()}.values() for e in p.entries]
        assert sorted(entered) == sorted(expected)
        for name in ("ana", "bob"):
            person = self.book.people[name]
            row = self.raw.execute("SELECT points FROM customer WHERE ext_id = ?", [name]).fetchone()
            assert (row is not None) == person.met
            assert row is None or row[0] == person.points

    @invariant()
    def sales_look_as_they_must(self) -> None:
        if not hasattr(self, "raw"):
            return
        self.book.now = self.house.time.steady()
        for order in self.book.orders.values():
            columns = "state, total, reward, taken, paid, earned, customer_id"
            row = self.raw.execute(f"SELECT {columns} FROM sale WHERE sale_id = ?", [order.id]).fetchone()
            state, total, reward, taken, paid, earned, customer = row
            assert (state, total, reward, taken) == (order.state, order.total, order.reward, order.taken), (
                order.id
            )
            assert (customer is None) == (order.who is None)
            if order.state not in ("open", "cancelled"):
                assert (paid, earned) == (order.paid, order.earned)

    @invariant()
    def events_are_honest(self) -> None:
        if not hasattr(self, "raw"):
            return
        assert self.house.store.wrong == []
        rows = self.raw.execute("SELECT seq, params FROM event ORDER BY seq").fetchall()
        assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
        assert all(json.loads(params)["seq"] == seq for seq, params in rows[-3:])


@pytest.fixture(scope="module", autouse=True)
def _template(tmp_path_factory: pytest.TempPathFactory) -> None:
    Histories.template = make_template(tmp_path_factory.mktemp("template"))


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40)
