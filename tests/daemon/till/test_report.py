"""The manager's figures: each fact in one day, one till and one figure (contract 3.1, `report`)."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time as clock
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigs import service
from rigs.clock import Time, VirtualLoop
from rigs.postgres import Postgres
from rigs.reference import PROGRAMS, STAFF, TEN_OFF, Book, Person, Refused, figures_of, figures_said
from rigs.till import COFFEE, FIVE_OFF, House, make_template
from tilltap.errors import CallError
from tilltap.ledger.book import report as rows
from tilltap.ledger.engine import Tx
from tilltap.model import Who
from tilltap.till import refunds
from tilltap.till.offline import Close

pytestmark = pytest.mark.anyio

LONDON = ZoneInfo("Europe/London")
NOTHING: dict[str, int] = {}
BOB_PAID_20 = {"with_customer": 1, "total": 2000, "paid": 2000, "earned": 2}
# A ledger of its own is never out of reach.
_SHARED = pytest.mark.parametrize("house", ["postgresql"], indirect=True)


@pytest.fixture(autouse=True, scope="module")
def _in_london() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/London")
        clock.tzset()
        yield
    clock.tzset()


@pytest.fixture
def shop(house: House) -> House:
    """Ana has 5 points, Bob none; it is the evening of a Saturday in November."""
    house.service.add("pass-ana", 5, ext_id="ana", nfc="ana-nfc")
    house.service.add("pass-bob", 0, ext_id="bob", nfc="bob-nfc")
    at(house, "2026-11-21T22:00:00")
    return house


def at(house: House, local: str) -> None:
    """The shop's clock shows `local`; windows in seconds are left as they are."""
    house.time.set_wall(datetime.fromisoformat(local).replace(tzinfo=LONDON).astimezone(UTC))


async def said(house: House, day: str | None = None, till: str | None = None) -> dict[str, int]:
    """The figures that are not 0, but for what customers had when they were first seen."""
    found = figures_said(await house.call("report", day=day, till=till))
    found.pop("opening", None)
    return found


async def below_zero(house: House, day: str) -> tuple[int, list[int]]:
    found = await house.call("report", day=day)
    return found["below_zero"], [p["balance"] for p in found["below_zero_now"]]


# -- what is counted --------------------------------------------------------------------------------------


async def test_a_day_at_a_till(shop: House) -> None:
    await shop.call("sale.close", sale_id="1", total="20.00", value="bob")
    await shop.call("sale.open", sale_id="2", total="8.00", value="ana")
    await shop.call("sale.accept", sale_id="2", reward="five-off")
    await shop.call("sale.close", sale_id="2")
    await shop.call("sale.close", sale_id="3", total="4.50")
    await shop.call("customer.adjust", value="bob", points=3, reason="a gift", request_id="a")
    await shop.call("sale.open", sale_id="open", total="99.00", value="bob")
    await shop.call("sale.open", sale_id="dropped", total="99.00", value="bob")
    await shop.call("sale.cancel", sale_id="dropped")
    found = await shop.call("report")
    assert found | {"tills": []} == {
        "day": "2026-11-21",
        "from": "2026-11-21T00:00:00.000Z",
        "to": "2026-11-22T00:00:00.000Z",
        "at": found["at"],
        "currency": "GBP",
        "sales": {"with_customer": 2, "without_customer": 1},
        "money": {
            "total": "32.50",
            "discounts": "5.00",
            "paid": "27.50",
            "refunds": 0,
            "refunded": "0.00",
        },
        "paid_differences": {"sales": 0, "over": "0.00", "under": "0.00"},
        "rewards": [{"reward": "five-off", "title": "£5 off", "count": 1, "discount": "5.00"}],
        "points": {
            "earned": 2,
            "spent": 5,
            "returned": 0,
            "taken_back": 0,
            "adjusted": 3,
            "changed_by_others": 0,
            "opening": 5,
        },
        "below_zero": 0,
        "parked": 0,
        "tills": [],
        "below_zero_now": [],
    }
    sums = {name: found[name] for name in found["tills"][0] if name != "till"}
    own = next(t for t in found["tills"] if t["till"] == "till-1")
    if not shop.url:  # a ledger of its own: all that happens on it is this till's
        assert found["tills"] == [{"till": "till-1", **sums}]
    else:
        nobodys = {"till": None, **sums} | {k: v for k, v in found["tills"][1].items() if k != "till"}
        assert (own["points"]["opening"], nobodys["points"]["opening"]) == (0, 5)


@pytest.mark.parametrize(
    ("paid", "differing"),
    [
        ("3.00", {}),
        ("2.50", {"differing": 1, "under": 50}),
        # More than the 3.00 due: the discount was not given, and 8.00 is what was due then.
        ("8.00", {"discounts": 0, "spent": 0, "rewards": 0}),
        ("9.00", {"differing": 1, "over": 100, "discounts": 0, "spent": 0, "rewards": 0}),
        ("5.00", {"differing": 1, "under": 300, "discounts": 0, "spent": 0, "rewards": 0}),
    ],
)
async def test_what_was_paid_against_what_was_due(shop: House, paid: str, differing: dict[str, int]) -> None:
    await shop.call("sale.open", sale_id="1", total="8.00", value="ana")
    await shop.call("sale.accept", sale_id="1", reward="five-off")
    await shop.call("sale.close", sale_id="1", paid=paid)
    expected = {"with_customer": 1, "total": 800, "paid": int(paid.replace(".", ""))}
    expected |= {"discounts": 500, "spent": 5, "rewards": 1, **differing}
    assert await said(shop) == {name: value for name, value in expected.items() if value}


async def test_several_rewards_under_their_newest_titles(shop: House) -> None:
    await shop.reload(replace(COFFEE, rewards=(FIVE_OFF, TEN_OFF, STAFF)))
    await shop.call("customer.adjust", value="ana", points=20, reason="for this", request_id="a")
    for n, reward in enumerate(["ten-off", "staff", "ten-off"]):
        await shop.call("sale.open", sale_id=f"{n}", total="12.00", value="ana")
        await shop.call("sale.accept", sale_id=f"{n}", reward=reward)
        await shop.call("sale.close", sale_id=f"{n}")
        await shop.reload(replace(COFFEE, rewards=(replace(TEN_OFF, title="A tenner"), STAFF)))
    found = await shop.call("report")
    assert found["rewards"] == [
        {"reward": "staff", "title": "Staff", "count": 1, "discount": "1.00"},
        {"reward": "ten-off", "title": "A tenner", "count": 2, "discount": "20.00"},
    ]
    assert found["points"]["spent"] == 6  # `keep` takes none


async def test_what_others_changed(shop: House) -> None:
    await shop.call("sale.close", sale_id="1", total="20.00", value="bob")
    await shop.sync(300)
    shop.service.foreign("pass-bob", 1)
    await shop.tap("bob")
    await shop.sync(5)
    found = await shop.call("report")
    assert found["points"]["changed_by_others"] == -1
    assert found["points"]["earned"] == 2
    where = {t["till"]: t["points"]["changed_by_others"] for t in found["tills"]}
    assert where == ({"till-1": 0, None: -1} if shop.url else {"till-1": -1})


async def test_points_that_were_not_there(shop: House) -> None:
    """By a reservation that ran out, and by a refund of what was spent since."""
    await shop.call("sale.open", sale_id="slow", total="8.00", value="ana")
    await shop.call("sale.accept", sale_id="slow", reward="five-off")
    shop.time.move(601)
    await shop.call("sale.open", sale_id="quick", total="8.00", value="ana")
    await shop.call("sale.accept", sale_id="quick", reward="five-off")
    await shop.call("sale.close", sale_id="quick")
    assert await below_zero(shop, "2026-11-21") == (0, [])
    await shop.call("sale.close", sale_id="slow")
    assert await below_zero(shop, "2026-11-21") == (1, [-5])
    await shop.call("sale.close", sale_id="3", total="50.00", value="bob")
    await shop.call("sale.open", sale_id="4", total="8.00", value="bob")
    await shop.call("sale.accept", sale_id="4", reward="five-off")
    await shop.call("sale.close", sale_id="4")
    at(shop, "2026-11-22T09:00:00")
    await shop.call("sale.refund", sale_id="3", refund_id="r", amount="20.00")
    await shop.call("sale.close", sale_id="5", total="10.00", value="ana")  # earns: that is no news
    await shop.call("customer.adjust", value="ana", points=1, reason="a gift", request_id="a")
    assert await below_zero(shop, "2026-11-21") == (1, [-3, -2])
    assert await below_zero(shop, "2026-11-22") == (1, [-3, -2])
    assert (await shop.call("report", day="2026-11-20"))["below_zero"] == 0


async def test_points_taken_and_given_back_in_one_refund_count_by_what_they_leave(shop: House) -> None:
    await shop.call("sale.open", sale_id="1", total="40.00", value="ana")
    await shop.call("sale.accept", sale_id="1", reward="five-off")
    assert (await shop.call("sale.close", sale_id="1"))["balance_after"] == 3
    await shop.call("customer.adjust", value="ana", points=-3, reason="x", request_id="r")
    assert (await shop.call("sale.refund", sale_id="1", refund_id="r"))["balance"] == 2
    assert await below_zero(shop, "2026-11-21") == (0, [])


async def test_passes_that_need_a_person(shop: House) -> None:
    shop.service.down = service.NOT_SENT
    await shop.call("sale.close", sale_id="1", total="20.00", value="nobody we know")
    assert (await shop.call("report"))["parked"] == 0
    shop.service.down = None
    await shop.sync(10)
    found = await shop.call("report")
    assert found["parked"] == sum(t["parked"] for t in found["tills"]) == 1
    assert {t["till"]: t["parked"] for t in found["tills"]}["till-1"] == 1
    assert found["sales"] == {"with_customer": 1, "without_customer": 0}


# -- which day --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts", "local", "day"),
    [
        ("00:00", "2026-11-21T23:59:59", "2026-11-21"),
        ("00:00", "2026-11-22T00:00:00", "2026-11-22"),
        ("04:00", "2026-11-22T03:59:59", "2026-11-21"),
        ("04:00", "2026-11-22T04:00:00", "2026-11-22"),
        # The clock goes forward at 01:00 and back at 02:00: nights of 23 and 25 hours.
        ("00:00", "2026-03-29T23:59:59", "2026-03-29"),
        ("04:00", "2026-03-29T03:59:59", "2026-03-28"),
        ("04:00", "2026-03-29T04:00:00", "2026-03-29"),
        ("00:00", "2026-10-25T00:00:00", "2026-10-25"),
        ("00:00", "2026-10-25T23:59:59", "2026-10-25"),
        ("00:00", "2026-10-26T00:00:00", "2026-10-26"),
        ("04:00", "2026-10-25T03:59:59", "2026-10-24"),
        ("01:30", "2026-10-25T01:29:59", "2026-10-24"),
    ],
)
async def test_a_sale_is_in_the_day_that_the_shops_clock_says(
    shop: House, starts: str, local: str, day: str
) -> None:
    shop.day_starts = time.fromisoformat(starts)
    shop.restart()
    await shop.call("customer.find", value="bob")  # so that the close takes no time
    at(shop, local)
    await shop.call("sale.close", sale_id="1", total="10.00", value="bob")
    sold = {"with_customer": 1, "total": 1000, "paid": 1000, "earned": 1}
    here = date.fromisoformat(day)
    around = [(here + timedelta(days=n)).isoformat() for n in (-1, 0, 1)]
    assert [await said(shop, day) for day in around] == [NOTHING, sold, NOTHING]
    assert await said(shop) == sold  # asked at that moment, without a day


async def test_a_refund_is_in_the_day_on_which_the_money_was_handed_back(shop: House) -> None:
    await shop.call("sale.open", sale_id="1", total="25.00", value="ana")
    await shop.call("sale.accept", sale_id="1", reward="five-off")
    await shop.call("sale.close", sale_id="1")
    sold = {"with_customer": 1, "total": 2500, "discounts": 500, "paid": 2000, "rewards": 1}
    sold |= {"earned": 2, "spent": 5}
    assert await said(shop, "2026-11-21") == sold
    await shop.call("sale.refund", sale_id="1", refund_id="same-day", amount="5.00")
    part = {"refunds": 1, "refunded": 500, "taken_back": 1}
    assert await said(shop, "2026-11-21") == sold | part
    at(shop, "2026-11-23T12:00:00")
    await shop.call("sale.refund", sale_id="1", refund_id="later")
    assert await said(shop, "2026-11-21") == sold | part
    assert await said(shop, "2026-11-22") == NOTHING
    assert await said(shop) == {"refunds": 1, "refunded": 1500, "taken_back": 1, "returned": 5}


@_SHARED
async def test_a_reward_given_back_without_money_is_at_the_till_that_gave_it_back(shop: House) -> None:
    await shop.call("sale.open", sale_id="1", total="5.00", value="ana")
    await shop.call("sale.accept", sale_id="1", reward="five-off")
    assert (await shop.call("sale.close", sale_id="1"))["paid"] == "0.00"
    other = replace(shop.till.shop, till="till-2")
    await shop.store.run(lambda tx: refunds.refund(tx, other, "1", "r", "till-1", None))
    tills = {t["till"]: t for t in (await shop.call("report"))["tills"]}
    assert {name: t["points"]["returned"] for name, t in tills.items() if name} == {"till-1": 0, "till-2": 5}
    assert [t["money"]["refunds"] for t in tills.values()] == [0] * len(tills)


async def test_a_late_attach_is_in_the_day_of_its_sale(shop: House) -> None:
    at(shop, "2026-11-21T23:55:00")
    await shop.call("sale.close", sale_id="1", total="20.00")
    assert await said(shop) == {"without_customer": 1, "total": 2000, "paid": 2000}
    at(shop, "2026-11-22T00:05:00")
    await shop.call("sale.attach", sale_id="1", value="bob")
    assert await said(shop) == NOTHING
    assert await said(shop, "2026-11-21") == BOB_PAID_20


@_SHARED
async def test_a_sale_closed_without_the_ledger_is_in_the_day_of_its_closing(shop: House) -> None:
    offline = shop._among.offline
    await offline.close(shop.till.shop, Close("1", 2000, None, None, Who(value="bob")))
    at(shop, "2026-11-23T12:00:00")
    assert await said(shop, "2026-11-21") == NOTHING
    assert await offline.enter_all(shop.till.shop)
    assert await said(shop) == NOTHING
    assert await said(shop, "2026-11-21") == BOB_PAID_20


@_SHARED
async def test_a_close_that_the_ledger_refused_is_parked(shop: House) -> None:
    await shop.call("sale.open", sale_id="1", total="8.00")
    await shop.call("sale.cancel", sale_id="1")
    await shop._among.offline.close(shop.till.shop, Close("1", 800, None, None, None))
    await shop._among.offline.enter_all(shop.till.shop)
    found = await shop.call("report")
    assert (found["parked"], found["sales"]["without_customer"]) == (1, 0)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_any_other_day_is_empty(shop: House, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    clock.tzset()
    try:
        for day in ("0002-01-01", "1969-12-31", "2026-11-22", "9998-12-31"):
            assert await said(shop, day) == NOTHING
    finally:
        monkeypatch.undo()
        clock.tzset()


# -- which till -------------------------------------------------------------------------------------------


async def test_one_till_of_those_that_were_ever_here(shop: House) -> None:
    await shop.call("sale.close", sale_id="1", total="20.00")
    assert await said(shop, till="till-1") == await said(shop)
    assert await shop.refused("report", till="till-l") == "param till"
    found = await shop.call("report", till="till-1", day="2020-02-29")
    assert [t["till"] for t in found["tills"]] == ["till-1"]
    assert figures_said(found) == NOTHING


# -- beside the sales -------------------------------------------------------------------------------------


async def test_a_report_sees_one_moment_and_no_close_waits_for_it(shop: House) -> None:
    begun, gate = threading.Event(), threading.Event()

    def read(tx: Tx) -> tuple[int, int]:
        before = len(rows.sold(tx, "2026", "2027"))
        begun.set()
        assert gate.wait(20)
        return before, len(rows.sold(tx, "2026", "2027"))

    await shop.call("sale.close", sale_id="0", total="1.00", value="ana")
    looking = asyncio.create_task(shop.store.look(read))
    await asyncio.to_thread(begun.wait, 20)
    await shop.call("sale.open", sale_id="1", total="8.00", value="ana")
    await shop.call("sale.accept", sale_id="1", reward="five-off")
    assert (await shop.call("sale.close", sale_id="1"))["state"] == "closed"
    gate.set()
    assert await looking == (1, 1)
    assert await shop.store.look(lambda tx: len(rows.sold(tx, "2026", "2027"))) == 2


async def test_one_report_at_a_time_also_when_nobody_waits_for_the_last(shop: House) -> None:
    begun, gate = threading.Event(), threading.Event()
    running: list[int] = []

    def read(_tx: Tx) -> int:
        running.append(1)
        begun.set()
        assert gate.wait(20)
        running.pop()
        return len(running)

    given_up = asyncio.create_task(shop.store.look(read))
    await asyncio.to_thread(begun.wait, 20)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up
    next_one = asyncio.create_task(shop.store.look(read))
    await asyncio.sleep(0)
    assert len(running) == 1
    gate.set()
    assert await next_one == 0


async def test_a_read_that_writes_is_refused(shop: House) -> None:
    with pytest.raises(CallError) as refused:
        await shop.store.look(lambda tx: tx._cursor.execute("DELETE FROM sale"))
    assert (refused.value.code, refused.value.retry) == ("ledger-down", True)


# -- any days at all --------------------------------------------------------------------------------------

_WHO = st.sampled_from(["ana", "bob", None])
_OPS = st.one_of(
    st.tuples(
        st.just("sell"),
        _WHO,
        st.sampled_from([500, 800, 1000, 3700, 10000]),
        st.sampled_from([None, None, -100, 100]),
        st.sampled_from([None, "five-off", "ten-off", "staff"]),
    ),
    st.tuples(st.just("refund"), st.integers(0, 4), st.sampled_from([None, 100, 1900])),
    st.tuples(st.just("attach"), st.integers(0, 2), st.sampled_from(["ana", "bob"])),
    st.tuples(st.just("adjust"), st.sampled_from(["ana", "bob"]), st.sampled_from([-3, 4, 30])),
    st.tuples(st.just("wait"), st.sampled_from([0.2, 7, 23, 24, 47])),
)


class Days:
    """One history at a till and in the reference. Moves in time that end in the middle of an hour: what calls
    cost then changes no day.
    """

    def __init__(self, house: House, begin: datetime, which: int) -> None:
        self.house, self.begin = house, begin
        house.time.set_wall(begin)
        self.steady = house.time.steady()
        self.book = Book({"ana": Person(4), "bob": Person(9), "ana-nfc": Person(), "bob-nfc": Person()})
        self.book.program = PROGRAMS[which]
        self.count = 0

    def day_of(self, at: float, starts: time) -> date:
        """By the clock on the wall alone, for a start that no night skips or repeats."""
        local = (self.begin + timedelta(seconds=at - self.steady)).astimezone(LONDON).replace(tzinfo=None)
        return (local - timedelta(hours=starts.hour)).date()

    async def both(self, method: str, call: dict[str, Any], expected: Any) -> bool:
        refused = entered = None
        try:
            await self.house.call(method, **{k: v for k, v in call.items() if v is not None})
        except CallError as error:
            refused = error.code
        self.book.now = self.house.time.steady()
        try:
            expected()
        except Refused as error:
            entered = error.args[0]
        assert refused == entered, (method, call)
        return refused is None

    def who(self, name: str | None) -> Person | None:
        if name is not None:
            self.book.meet(name)
        return self.book.people[name] if name else None

    async def do(self, op: tuple[Any, ...]) -> None:
        book, money = self.book, COFFEE.currency.text
        match op:
            case ("sell", name, total, off, reward):
                self.count += 1
                sale = str(self.count)
                call = {"sale_id": sale, "total": money(total), "value": name}
                await self.both("sale.open", call, lambda: book.open(sale, total, None, self.who(name)))
                if reward:
                    call = {"sale_id": sale, "reward": reward}
                    await self.both("sale.accept", call, lambda: book.accept(sale, reward))
                paid = None if off is None else book.orders[sale].due + off
                call = {"sale_id": sale, "paid": None if paid is None else money(max(0, paid))}
                charged = None if paid is None else max(0, paid)
                await self.both("sale.close", call, lambda: book.close(sale, None, charged, None))
            case ("refund", which, amount) if book.orders:
                self.count += 1
                sale = list(book.orders)[-1 - which % len(book.orders)]
                call = {"sale_id": sale, "refund_id": f"r{self.count}"}
                call |= {} if amount is None else {"amount": money(amount)}
                await self.both("sale.refund", call, lambda: book.refund(sale, "", amount))
            case ("attach", which, name) if book.orders:
                sale = list(book.orders)[-1 - which % len(book.orders)]
                call = {"sale_id": sale, "value": name}
                await self.both("sale.attach", call, lambda: book.attach(sale, self.who(name)))
            case ("adjust", name, points):
                self.count += 1
                call = {"value": name, "points": points, "reason": "because", "request_id": f"a{self.count}"}
                person = self.who(name)
                assert person is not None
                await self.both("customer.adjust", call, lambda: book.adjust(person, points, ""))
            case ("wait", hours):
                self.house.time.move(hours * 3600)

    async def check(self) -> None:
        starts = self.house.day_starts
        expected = figures_of(self.book, lambda at: self.day_of(at, starts))
        day = self.day_of(self.steady, starts) - timedelta(days=1)
        while day <= self.day_of(self.house.time.steady(), starts):
            wanted = {name: value for name, value in expected.pop(day, {}).items() if value}
            assert await said(self.house, day.isoformat()) == wanted, day
            day += timedelta(days=1)
        assert not expected


_BEGINS = st.sampled_from(
    [datetime(*day, 23, 50, 30, tzinfo=UTC) for day in ((2026, 3, 28), (2026, 10, 23), (2026, 6, 1))]
)
_HISTORY = (
    st.lists(_OPS, min_size=6, max_size=30),
    _BEGINS,
    st.integers(0, len(PROGRAMS) - 1),
    st.sampled_from([time(0), time(4)]),
)


def live(house: House, ops: list[tuple[Any, ...]], begin: datetime, which: int) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        house.time.loop = runner.get_loop()  # type: ignore[assignment]
        for name, points in (("ana", 4), ("bob", 9)):
            house.service.add(f"pass-{name}", points, ext_id=name, nfc=f"{name}-nfc")
        runner.run(house.reload(PROGRAMS[which]))
        days = Days(house, begin, which)
        for op in ops:
            runner.run(days.do(op))
        runner.run(days.check())
        house.time.loop = None
    assert house.store.wrong == []


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@settings(max_examples=80)
@given(*_HISTORY)
def test_any_days_add_up_to_what_was_done(
    template: Path, ops: list[tuple[Any, ...]], begin: datetime, which: int, starts: time
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), durable=False, template=template, day_starts=starts)
        try:
            live(house, ops, begin, which)
        finally:
            house.stop()


@settings(max_examples=10)
@given(*_HISTORY)
def test_any_days_of_a_shared_ledger(
    postgres: Postgres, shared_url: str, ops: list[tuple[Any, ...]], begin: datetime, which: int, starts: time
) -> None:
    postgres.empty(shared_url)
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), durable=False, time=Time(), day_starts=starts)
        house.share(shared_url)
        try:
            live(house, ops, begin, which)
        finally:
            house.stop()
