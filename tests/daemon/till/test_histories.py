"""Any history of calls against a second, much simpler ledger (rigs/reference.py): the same figures, entries and
refusals throughout, after every step and, day by day, in the manager's report.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rigs import service
from rigs.clock import Time, VirtualLoop
from rigs.reference import DAY_S, PROGRAMS, Book, Person, Refused, figures_of, figures_said
from rigs.till import COFFEE, House, make_template
from tilltap.days import business_day
from tilltap.errors import CallError

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
        time = Time()
        # Soon after the beginning, so that much happens around it.
        starts = (time.wall() + timedelta(minutes=12)).astimezone().time()
        self.house = House(
            Path(self.folder.name),
            PROGRAMS[0],
            time=time,
            durable=False,
            template=self.template,
            day_starts=starts,
        )
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
        self.began = self.house.time.steady()

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
            self.every_day_is_reported()
        finally:
            self.raw.close()
            self.house.stop()
            self.runner.close()
            self.folder.cleanup()

    def every_day_is_reported(self) -> None:
        """Each day as the reference has it, and every entry and sale in exactly one of them."""
        time = self.house.time
        began = time.wall() - timedelta(seconds=time.steady() - self.began)

        def day_of(at: float) -> date:
            return business_day(began + timedelta(seconds=at - self.began), self.house.day_starts)

        expected = figures_of(self.book, day_of)
        sums: Counter[str] = Counter()
        day, last = day_of(self.began), day_of(time.steady())
        while day <= last:
            said = figures_said(self.runner.run(self.house.call("report", day=day.isoformat())))
            sums.update(said)
            said.pop("opening", None)
            assert said == {name: value for name, value in expected.pop(day, {}).items() if value}, day
            day += timedelta(days=1)
        assert not expected
        kinds = dict(self.raw.execute("SELECT kind, sum(points) FROM entry GROUP BY kind").fetchall())
        names = {"earn": "earned", "redeem": "spent", "return": "returned", "refund": "taken_back"}
        names |= {"adjust": "adjusted", "opening": "opening"}
        for kind, name in names.items():
            assert abs(kinds.get(kind, 0)) == abs(sums[name]), kind

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
