"""Several real daemons on one real PostgreSQL (contract section 4, promises 1, 2 and 5)."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from math import inf

import pytest

from rigs.daemon import ANNA, BEN, Logs, Shop, wait_until
from rigs.linear import Op, order
from rigs.postgres import Pooler, Postgres
from tilltap.client import Refused, Till, Unreachable
from tilltap.sandbox.service import NewPass

Json = dict
Chain = Callable[..., list[Shop]]

# Contract section 3: every call answers within 2 s; what is over is this machine's, which runs other tests too.
ANSWER = 2.5


@pytest.fixture
def chain(logs: Logs, postgres: Postgres) -> Iterator[Chain]:
    """`chain(3)`: three tills without readers on a new ledger, their daemons running."""
    with ExitStack() as stack:

        def make(
            tills: int, *passes: NewPass, url: str | None = None, server: Postgres = postgres, **options
        ) -> list[Shop]:
            url = url or server.database()
            options = {"readers": "", "ledger": url, **options}
            first = stack.enter_context(
                Shop(logs, *(passes or (NewPass(BEN, 4), NewPass(ANNA, 0))), **options)
            )
            shops = [first] + [
                stack.enter_context(Shop(logs, till=f"till-{n}", beside=first, **options))
                for n in range(2, tills + 1)
            ]
            for shop in shops:
                shop.launch()
            for shop in shops:
                wait_until(lambda shop=shop: shop.running and shop._answers(), 30, "a daemon that answers")
            return shops

        yield make


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server that may be killed."""
    with Postgres() as server:
        yield server


def refused(shop: Shop, method: str, **params: object) -> str:
    with shop.pos() as pos:
        return pos.error(method, **params)["data"]["code"]


def reachable(shop: Shop) -> None:
    wait_until(lambda: shop.ask("status")["ledger"]["state"] == "up", 20, "a ledger in reach")


# -- a pass at several tills --------------------------------------------------------------------------------


def test_a_sale_at_one_till_is_seen_at_the_other(chain: Chain) -> None:
    one, two = chain(2)
    shown = one.events
    one.ask("sale.open", sale_id="here", total="8.00", value=BEN)
    shown.wait(lambda e: e.method == "sale")  # of the opening itself
    mark = shown.mark()
    two.ask("sale.close", sale_id="there", total="10.00", value=BEN)
    event = shown.wait(lambda e: e.method == "sale", after=mark)
    assert (event.params["sale_id"], event.params["balance"], event.params["till"]) == ("here", 5, "till-1")
    assert [offer["state"] for offer in event.params["offers"]] == ["offered"]
    assert all(e.params["till"] == "till-1" for e in shown.events if e.method != "snapshot")
    one.settled()
    assert one.balance(BEN) == one.sandbox.balance(BEN) == 5
    assert one.ask("status")["mirror"]["foreign"] == 0


def test_two_tills_cannot_both_have_the_points(chain: Chain) -> None:
    one, two = chain(2, *(NewPass(f"zz-secret-race-{n}", 7) for n in range(12)))
    with ThreadPoolExecutor(2) as pool:
        for n in range(12):
            for shop in (one, two):
                shop.ask("sale.open", sale_id=f"race-{n}", total="8.00", value=f"zz-secret-race-{n}")
            gate = threading.Barrier(2)

            def accept(shop: Shop, n: int = n, gate: threading.Barrier = gate) -> bool:
                with shop.pos() as pos:
                    gate.wait()
                    return "result" in pos.call("sale.accept", sale_id=f"race-{n}", reward="five-off")

            assert sorted(pool.map(accept, (one, two))) == [False, True]


def test_a_refund_at_another_till(chain: Chain) -> None:
    one, two = chain(2)
    one.ask("sale.close", sale_id="1", total="20.00", value=BEN)
    two.ask("sale.close", sale_id="1", total="10.00", value=BEN)
    shown = one.events
    mark = shown.mark()
    part = two.ask("sale.refund", sale_id="1", refund_id="r1", till="till-1", amount="10.00")
    assert (part["state"], part["total"], part["earned"]) == ("part-refunded", "20.00", 1)
    assert shown.wait(lambda e: e.method == "sale", after=mark).params["state"] == "part-refunded"
    assert two.ask("sale.refund", sale_id="1", refund_id="r1", till="till-1", amount="10.00") == part
    assert refused(one, "sale.refund", sale_id="1", refund_id="r2", amount="10.01") == "refund-too-large"
    one.ask("sale.refund", sale_id="1", refund_id="r2")
    assert two.ask("sale.get", sale_id="1", till="till-1")["state"] == "refunded"
    assert two.ask("sale.get", sale_id="1")["state"] == "closed"
    assert one.balance(BEN) == 5


# -- the name is the identity --------------------------------------------------------------------------------


def test_a_second_daemon_of_the_same_name_is_refused(chain: Chain, logs: Logs) -> None:
    (one,) = chain(1)
    one.ask("sale.open", sale_id="kept", total="8.00")
    with Shop(logs, beside=one, ledger=one.ledger, readers="") as twin:
        daemon = twin.launch()
        assert daemon.ended() == 3
        assert len(daemon.said()) == 1
        assert 'till "till-1"' in daemon.said()[0]
        one.kill()
        before = time.monotonic()
        one.start()
        one.ask("sale.get", sale_id="kept")
        assert time.monotonic() - before < 15, "its own restart had to wait for its name"
        assert one.stop() == 0
        twin.start()
        assert twin.ask("sale.get", sale_id="kept")["state"] == "open", "an orderly stop leaves the name"


def test_a_ledger_of_another_currency_is_refused(chain: Chain, logs: Logs) -> None:
    (one,) = chain(1)
    program = '[program]\ncurrency = "EUR"\n[program.earn]\nspend = "10.00"\n'
    with Shop(logs, beside=one, ledger=one.ledger, till="till-2", readers="", program=program) as other:
        assert other.launch().ended() == 3
        assert "currency GBP" in other.daemon.said()[0]


# -- the ledger out of reach ---------------------------------------------------------------------------------


def test_selling_without_the_ledger(chain: Chain, server: Postgres) -> None:
    one, two = chain(2, server=server)
    shown = one.events
    opened = one.ask("sale.open", sale_id="open", total="18.00", value=BEN)
    two.ask("sale.close", sale_id="before", total="10.00", value=BEN)
    wait_until(lambda: one.ask("sale.get", sale_id="open")["balance"] == 5, 10, "the other till's sale")
    accepted = one.ask("sale.accept", sale_id="open", reward="five-off")
    server.kill()

    before = time.monotonic()
    closed = one.ask("sale.close", sale_id="open", total="18.00", paid="13.00")
    assert time.monotonic() - before < ANSWER
    assert opened["customer"]
    assert closed["customer"] == accepted["customer"]
    assert (closed["state"], closed["discount"], closed["due"]) == ("closed", "5.00", "13.00")
    assert (closed["offline"], closed["balance"], closed["balance_after"]) == (True, None, None)
    small = one.ask("sale.close", sale_id="small", total="30.00", value=ANNA)
    assert (small["offline"], small["earned"], small["customer"]) == (
        True,
        3,
        {"pass_id": None, "ext_id": None},
    )
    nobody = one.ask("sale.close", sale_id="nobody", total="30.00")
    assert (nobody["offline"], nobody["customer"], nobody["earned"]) == (True, None, 0)

    assert one.ask("sale.close", sale_id="small", total="30.00", value=ANNA) == small
    assert one.ask("sale.close", sale_id="small") == small
    assert one.ask("sale.get", sale_id="small") == small
    for changed in ({"total": "31.00"}, {"paid": "29.00"}, {"value": BEN}):
        assert refused(one, "sale.close", sale_id="small", **{"total": "30.00", **changed}) == "key-reused"
    assert refused(one, "sale.cancel", sale_id="small") == "sale-not-open"
    for method, params in {
        "sale.open": {"sale_id": "new", "total": "1.00"},
        "sale.update": {"sale_id": "new", "total": "1.00"},
        "sale.close": {"sale_id": "never-seen"},
        "sale.refund": {"sale_id": "small", "refund_id": "r"},
        "customer.find": {"value": BEN},
        "mirror.list": {},
    }.items():
        with one.pos() as pos:
            assert pos.error(method, **params)["data"] == {"code": "ledger-down", "retry": True}
    status = one.ask("status")
    assert (status["state"], status["ledger"]["state"]) == ("degraded", "down")

    one.kill()
    one.start()  # with the ledger still away, and what was answered is there
    assert one.ask("sale.close", sale_id="small", total="30.00") == small
    later = one.ask("sale.close", sale_id="later", total="10.00", value=BEN)
    assert later["offline"]

    server.start()
    reachable(one)
    wait_until(lambda: not one.ask("sale.get", sale_id="later")["offline"], 20, "the spool to be entered")
    told = shown.wait(
        lambda e: e.method == "sale" and e.params["sale_id"] == "small" and not e.params["offline"]
    )
    assert told.params["customer"]["ext_id"] == ANNA
    final = one.ask("sale.close", sale_id="open", total="18.00", paid="13.00")
    assert (final["discount"], final["balance_after"], final["earned"]) == ("5.00", 1, 1)
    one.settled()
    assert one.entries(BEN) == [
        ("earn", "before", 1),
        ("redeem", "open", -5),
        ("earn", "open", 1),
        ("earn", "later", 1),
    ]
    assert one.entries(ANNA) == [("earn", "small", 3)]
    with one.pos() as pos:
        entered = pos.result("customer.history", value=ANNA)["entries"]
    assert [(e["kind"], e["uid"]) for e in entered] == [("opening", None), ("earn", os.geteuid())]
    assert one.sandbox.balance(BEN) == one.balance(BEN) == 2
    assert one.sandbox.balance(ANNA) == one.balance(ANNA) == 3
    seqs = [e.params["seq"] for e in shown.events if e.method != "snapshot"]
    assert seqs == sorted(set(seqs)), "an event was sent twice or out of order"


def test_a_tap_without_the_ledger(logs: Logs, server: Postgres) -> None:
    with Shop(logs, NewPass(BEN, 4), ledger=server.database()) as shop:
        shop.start()
        shop.ready()
        shown = shop.events
        server.kill()
        mark = shown.mark()
        shop.tap(BEN)
        tap = shown.wait(lambda e: e.method == "tap", after=mark).params
        assert (tap["status"], tap["customer"], tap["balance"]) == (
            "offline",
            {"pass_id": None, "ext_id": None},
            None,
        )
        assert shop.ask("sale.close", sale_id="1", total="10.00", tap_id=tap["tap_id"])["offline"]
        server.start()
        again = shown.wait(
            lambda e: e.method == "tap" and e.params["status"] == "identified", after=mark
        ).params
        assert (again["tap_id"], again["customer"]["ext_id"]) == (tap["tap_id"], BEN)
        wait_until(
            lambda: shop.ask("sale.get", sale_id="1")["balance_after"] == 5, 20, "the sale in the ledger"
        )
        shop.settled()
        assert shop.sandbox.balance(BEN) == 5


@pytest.mark.parametrize("point", ["P0", "P1"])
def test_a_kill_while_the_spool_is_entered(chain: Chain, server: Postgres, point: str) -> None:
    (one,) = chain(1, server=server)
    one.ask("customer.find", value=BEN)
    server.kill()
    for n in range(5):
        one.ask("sale.close", sale_id=f"s{n}", total="10.00", value=BEN)
    one.kill()
    server.start()
    daemon = one.launch(crash_at=f"{point}:2")
    assert daemon.ended(30) == -signal.SIGKILL
    one.start()
    wait_until(lambda: not one.ask("sale.get", sale_id="s4")["offline"], 20, "the spool to be entered")
    one.settled()
    assert one.entries(BEN) == [("earn", f"s{n}", 1) for n in range(5)]
    assert one.sandbox.balance(BEN) == one.balance(BEN) == 9


def test_a_wrong_entry_is_parked_and_the_others_go_on(chain: Chain, server: Postgres) -> None:
    (one,) = chain(1, server=server)
    server.kill()
    one.ask("sale.close", sale_id="wrong", total="10.00", tap_id="no-such-tap")
    one.ask("sale.close", sale_id="right", total="10.00", value=BEN)
    server.start()
    wait_until(lambda: not one.ask("sale.get", sale_id="right")["offline"], 20, "the right one to be entered")
    (entry,) = [e for e in one.ask("mirror.list") if e["parked"]]
    assert "unknown-tap" in entry["reason"]
    assert entry["sale_id"] == "wrong"
    assert one.ask("status")["mirror"]["parked"] == 1
    one.kill()
    one.start()
    assert [e["sale_id"] for e in one.ask("mirror.list") if e["parked"]] == ["wrong"], "it was dropped"
    assert one.ask("sale.close", sale_id="wrong", total="10.00")["state"] == "closed"


def test_a_server_that_says_nothing(chain: Chain, server: Postgres) -> None:
    """Nothing is refused, nothing is closed: packets just stop being answered."""
    (one,) = chain(1, server=server)
    one.ask("sale.open", sale_id="open", total="8.00", value=BEN)
    server.freeze()
    try:
        for n in range(3):
            before = time.monotonic()
            assert one.ask("sale.close", sale_id=f"s{n}", total="10.00", value=BEN)["offline"]
            assert time.monotonic() - before < ANSWER
            before = time.monotonic()
            assert refused(one, "sale.update", sale_id="open", total="9.00") == "ledger-down"
            assert time.monotonic() - before < ANSWER
    finally:
        server.thaw()
    reachable(one)
    wait_until(lambda: not one.ask("sale.get", sale_id="s2")["offline"], 20, "the spool to be entered")
    assert one.entries(BEN) == [("earn", f"s{n}", 1) for n in range(3)]


def test_a_till_begins_to_sell_before_there_is_a_ledger(chain: Chain, server: Postgres) -> None:
    url = server.database()
    server.kill()
    (one,) = chain(1, url=url)
    assert one.ask("hello", client="pos")["state"] == "degraded"
    assert one.ask("sale.close", sale_id="first", total="10.00", value=BEN)["offline"]
    server.start()
    wait_until(lambda: not one.ask("sale.get", sale_id="first")["offline"], 20, "the spool to be entered")
    one.settled()
    assert one.sandbox.balance(BEN) == 5


def test_a_wrong_address_is_said_at_once(logs: Logs, postgres: Postgres) -> None:
    with Shop(logs, ledger=postgres.url("nowhere"), readers="") as shop:
        daemon = shop.launch()
        assert daemon.ended() == 3
        assert daemon.said() == [
            "ledger: there is no such database or user (create it, or correct ledger.url)"
        ]


# -- one hot pass, everything dies now and then ---------------------------------------------------------------


class Cashier:
    """A POS that repeats every call until it is answered, starts its daemon again, and keeps a log of it all."""

    def __init__(self, shop: Shop, number: int) -> None:
        self.shop, self.number = shop, number
        self.log: list[Op] = []
        self.sold: list[str] = []
        self.random = random.Random(number)

    def call(self, method: str, **params: object) -> Json | str:
        """The result, or the code it was refused with."""
        while True:
            try:
                if not self.shop.running:
                    self.shop.launch()
                    wait_until(lambda: not self.shop.running or self.shop._answers(), 30, "a daemon")
                with Till(str(self.shop.socket), patience=0) as till:
                    return till.call(method, params)
            except Unreachable:
                time.sleep(0.02)
            except Refused as no:
                if not no.retry:
                    return no.code
                time.sleep(0.02)

    def sell(self, number: int) -> None:
        sale_id = f"{self.number}-{number}"
        if self.random.random() < 0.35:
            self._redeem(sale_id)
        else:
            self._close(sale_id, "10.00", 1, value=BEN)
        self.sold.append(sale_id)

    def _redeem(self, sale_id: str) -> None:
        self.call("sale.open", sale_id=sale_id, total="8.00", value=BEN)
        begin = time.monotonic()
        answer = self.call("sale.accept", sale_id=sale_id, reward="five-off")
        given = None if isinstance(answer, str) else answer["reserved"]
        self.log.append(Op(begin, time.monotonic(), accept(sale_id, given), f"accept {sale_id} {given}"))
        self._close(sale_id, "8.00", 0)

    def _close(self, sale_id: str, total: str, earns: int, **who: str) -> None:
        begin = time.monotonic()
        answer = self.call("sale.close", sale_id=sale_id, total=total, **who)
        assert isinstance(answer, dict), answer
        end = inf if answer["offline"] else time.monotonic()
        self.log.append(
            Op(begin, end, close(sale_id, earns, answer["balance_after"]), f"close {sale_id} {answer}")
        )


# The pass as one thing: (points, what open sales hold of them).
Pass = tuple[int, frozenset[tuple[str, int]]]


def accept(sale_id: str, given: int | None) -> Callable[[Pass], Pass | None]:
    """`reset`: all free points, if there are five; None: refused, so there were not."""

    def step(state: Pass) -> Pass | None:
        points, held = state
        free = points - sum(n for _, n in held)
        if given is None:
            return state if free < 5 else None
        return (points, held | {(sale_id, given)}) if free == given >= 5 else None

    return step


def close(sale_id: str, earns: int, told: int | None) -> Callable[[Pass], Pass | None]:
    """`told`: the balance that was answered; None: the ledger was away."""

    def step(state: Pass) -> Pass | None:
        points, held = state
        spent = {item for item in held if item[0] == sale_id}
        after = points - sum(n for _, n in spent) + earns
        return (after, held - spent) if told in (None, after) else None

    return step


def hot_pass(shops: list[Shop], server: Postgres, sales: int, seed: int) -> tuple[list[Cashier], int]:
    """The cashiers, and how often something was killed meanwhile."""
    cashiers = [Cashier(shop, n) for n, shop in enumerate(shops)]
    chance, done, killed = random.Random(seed), threading.Event(), 0

    def chaos() -> int:
        nonlocal killed
        while not done.wait(chance.uniform(0.1, 0.6)):
            what = chance.random()
            killed += 1
            if what < 0.45:
                with suppress(AssertionError):
                    daemon = chance.choice(shops).daemon
                    if daemon is not None and daemon.exit_code is None:
                        daemon.signal(signal.SIGKILL)
            elif what < 0.9:
                server.end_connections()
            else:
                server.kill()
                time.sleep(chance.uniform(0, 1.5))
                server.start()
        return killed

    with ThreadPoolExecutor(len(shops) + 1) as pool:
        trouble = pool.submit(chaos)
        try:
            tills = [
                pool.submit(lambda c: [c.sell(n) for n in range(sales // len(shops))], c) for c in cashiers
            ]
            for till in tills:
                till.result()
        finally:
            done.set()
        trouble.result()
    return cashiers, killed


@pytest.mark.parametrize(
    "sales",
    [
        pytest.param(160, marks=pytest.mark.timeout(300)),
        pytest.param(2000, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_four_tills_and_one_hot_pass(chain: Chain, server: Postgres, sales: int) -> None:
    shops = chain(4, NewPass(BEN, 4), server=server)
    cashiers, killed = hot_pass(shops, server, sales, seed=sales)
    assert killed > 3, "nothing was in the way: the test has tested nothing"
    for shop in shops:
        if not shop.running:
            shop.start()
        reachable(shop)
    for cashier in cashiers:
        last = cashier.sold[-1]
        wait_until(
            lambda c=cashier, last=last: not c.shop.ask("sale.get", sale_id=last)["offline"],
            30,
            "the spool entered",
        )
    shops[0].settled(120)

    told = [cashier.shop.ask("sale.get", sale_id=s) for cashier in cashiers for s in cashier.sold]
    entries = shops[0].ask("customer.history", value=BEN, limit=1000)["entries"] if sales < 900 else None
    spent = earned = 0
    for cashier in cashiers:
        for sale_id in cashier.sold:
            sale = cashier.shop.ask("sale.get", sale_id=sale_id)
            assert sale["state"] == "closed"
            earned += sale["earned"]
    database = shops[0].ledger.split("/")[3].partition("?")[0]
    rows = server.admin("SELECT till, ref, kind, points FROM entry", database)
    assert len({row[:3] for row in rows}) == len(rows)
    spent = -sum(row[3] for row in rows if row[2] == "redeem")
    assert sum(row[3] for row in rows if row[2] == "earn") == earned
    assert {(row[0], row[1]) for row in rows if row[2] == "earn"} == {
        (c.shop.till_name, s["sale_id"])
        for c in cashiers
        for s in told
        if s["earned"] and s["sale_id"] in c.sold
    }
    assert not [row for row in rows if row[2] == "foreign"], "our own writes were taken for somebody else's"
    balance = shops[0].balance(BEN)
    assert balance == 4 + earned - spent == shops[0].sandbox.balance(BEN)
    assert entries is None or sum(e["points"] for e in entries) == balance
    history = [op for cashier in cashiers for op in cashier.log]
    assert order(history, (4, frozenset())) is not None, "no order of the calls explains what was answered"


def test_a_pooler_in_transaction_mode(chain: Chain, postgres: Postgres) -> None:
    url = postgres.database()
    with Pooler(postgres, connections=2) as pooler:
        shops = chain(3, url=pooler.url(url))
        with ThreadPoolExecutor(3) as pool:

            def sell(shop: Shop) -> None:
                for n in range(10):
                    shop.ask("sale.open", sale_id=f"{n}", total="10.00", value=BEN)
                    shop.ask("sale.close", sale_id=f"{n}", total="10.00")

            list(pool.map(sell, shops))
        shops[0].settled()
        assert shops[0].balance(BEN) == shops[0].sandbox.balance(BEN) == 34
        assert len(shops[0].entries(BEN)) == 30


# -- the checker itself ---------------------------------------------------------------------------------------

HISTORY = [
    Op(0, 2, close("a", 1, 5), "a"),
    Op(1, 3, close("b", 1, 6), "b"),
    Op(4, 5, accept("c", 6), "c takes all"),
    Op(4, 6, accept("d", None), "d gets none"),
    Op(7, 8, close("c", 0, 0), "c"),
    Op(7, inf, close("e", 1, None), "e, spooled"),
    Op(9, 10, close("f", 1, 2), "f"),
]


def test_the_checker_finds_an_order() -> None:
    assert [op.what for op in order(HISTORY, (4, frozenset())) or []][:2] == ["a", "b"]


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (1, Op(1, 3, close("b", 1, 5))),  # a sale was lost
        (1, Op(2.5, 3, close("b", 1, 5))),  # told out of time
        (3, Op(4, 6, accept("d", 6))),  # the points were given twice
        (6, Op(9, 10, close("f", 1, 3))),  # a sale counted twice
        (4, Op(7, 8, close("c", 0, 6))),  # a reward was not paid for
    ],
)
def test_the_checker_finds_what_is_wrong(place: int, wrong: Op) -> None:
    assert order([*HISTORY[:place], wrong, *HISTORY[place + 1 :]], (4, frozenset())) is None


def test_the_managers_report_is_of_all_tills_and_of_what_was_closed_without_the_ledger(
    chain: Chain, server: Postgres
) -> None:
    one, two = chain(2, server=server)
    one.ask("sale.close", sale_id="1", total="30.00", value=ANNA)
    two.ask("sale.refund", sale_id="1", refund_id="r", till="till-1", amount="10.00")
    two.ask("sale.close", sale_id="1", total="5.00")
    server.kill()
    assert one.ask("sale.close", sale_id="2", total="20.00", value=ANNA)["offline"]
    assert refused(two, "report") == "ledger-down"
    server.start()
    reachable(two)
    wait_until(lambda: not one.ask("sale.get", sale_id="2")["offline"], 20, "the spool to be entered")
    found = two.ask("report")
    each = {row["till"]: row for row in found["tills"]}
    figures = [(each[t]["money"]["paid"], each[t]["money"]["refunded"]) for t in ("till-1", "till-2")]
    assert figures == [("50.00", "0.00"), ("5.00", "10.00")]
    points = [(each[t]["points"]["earned"], each[t]["points"]["taken_back"]) for t in ("till-1", "till-2")]
    assert points == [(5, 0), (0, 1)]  # the points of a refund are where its money is
    assert found["money"] == {
        "total": "55.00",
        "discounts": "0.00",
        "paid": "55.00",
        "refunds": 1,
        "refunded": "10.00",
    }
    assert one.ask("report", till="till-2")["tills"] == [each["till-2"]]
    with one.pos() as pos:
        assert pos.error("report", till="till-9")["data"] == {"field": "till"}
