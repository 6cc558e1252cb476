"""A closed sale counts once: through repeats, kills and lost answers (contract section 4, promises 1, 3, 4)."""

from __future__ import annotations

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rigs.daemon import ANNA, BEN, Logs, Shop, wait_until
from rigs.sandbox import READ_POINTS, WRITE_POINTS
from tilltap.client import Till, Unreachable
from tilltap.sandbox.service import NewPass


def close_again_and_again(shop: Shop, times: int, connections: int = 5) -> list[dict]:
    """The same `sale.close`, so many times, over several connections at once."""

    def one(_: int) -> list[dict]:
        with shop.pos() as pos:
            return [
                pos.result("sale.close", sale_id="once", total="10.00", value=BEN)
                for _ in range(times // connections)
            ]

    with ThreadPoolExecutor(connections) as pool:
        return [answer for answers in pool.map(one, range(connections)) for answer in answers]


@pytest.mark.parametrize(("point", "committed"), [("P0", False), ("P1", True)])
def test_a_close_repeated_a_hundred_times_around_a_kill(open_shop, point, committed):
    """The kill is in the very transaction of the first close: before its commit, or between commit and reply."""
    shop = open_shop(NewPass(BEN, 4), readers="")
    shop.start()
    shop.ask("customer.find", value=BEN)
    shop.kill()
    # Without a reader, and with the customer known, the first thing that is told to a POS is the close.
    daemon = shop.start(crash_at=point)
    with shop.pos() as pos:
        pos.write("sale.close", 1, sale_id="once", total="10.00", value=BEN)
        assert pos.read_all() == []
    assert daemon.ended() == -signal.SIGKILL

    shop.start()
    with shop.pos() as pos:
        known = pos.call("sale.get", sale_id="once")
        assert ("result" in known) == committed
    answers = close_again_and_again(shop, 100)
    assert len(answers) == 100
    figures = {(a["earned"], a["balance_after"], a["message"], a["state"]) for a in answers}
    assert figures == {(1, 5, "Congratulations! You've got £5 off on your next order!", "closed")}
    shop.settled()
    close_again_and_again(shop, 10)
    assert shop.entries(BEN) == [("earn", "once", 1)]
    assert shop.balance(BEN) == shop.sandbox.balance(BEN) == 5
    assert shop.texts_asked(BEN) == ["Congratulations! You've got £5 off on your next order!"]


def test_what_was_answered_survives_a_kill(shop: Shop) -> None:
    """Open sales, their customers and reservations too."""
    shop.sandbox.foreign(BEN, 2)
    shop.ask("sale.open", sale_id="open", total="8.00", value=BEN)
    accepted = shop.ask("sale.accept", sale_id="open", reward="five-off")
    shop.ask("sale.open", sale_id="other", total="8.00", value=BEN)
    tap = shop.events
    shop.tap(ANNA)
    tap_id = tap.wait(lambda e: e.method == "tap").params["tap_id"]
    time.sleep(0.1)  # contract section 3: within it a tap is recorded
    shop.kill()
    shop.start()
    assert shop.ask("sale.get", sale_id="open") == accepted
    with shop.pos() as pos:
        assert (
            pos.error("sale.accept", sale_id="other", reward="five-off")["data"]["code"]
            == "reward-unavailable"
        )
        with_tap = pos.result("sale.attach", sale_id="other", tap_id=tap_id)
    assert with_tap["customer"]["ext_id"] == ANNA


# -- every crash point against every kind of fault, a seeded sample of it ---------------------------------

POINTS = ("P0", "P1", "P3", "P5", "P6", "P7")
FAULTS = (
    "none",
    "apply-then-drop",
    "apply-late",
    "apply-twice",
    "late-second-copy",
    "500-after-apply",
    "503",
    "429",
    "reset-mid-body",
    "truncate-json",
)
COMBINATIONS = 12
SEED = 20261121


def combinations() -> list[tuple[str, int, str, str]]:
    """(crash point, its count, fault, endpoint): every point twice, everything else drawn."""
    rng = random.Random(SEED)
    found = []
    for n in range(COMBINATIONS):
        point = POINTS[n % len(POINTS)]
        # P0 and P1 pass with each change a POS is told of: two for the reader, then about eight for the sales.
        # The others with each turn of the mirror that gets there: two sales and their read-backs.
        count = rng.randint(3, 8) if point in ("P0", "P1") else rng.randint(1, 2)
        found.append((point, count, rng.choice(FAULTS), rng.choice((WRITE_POINTS, READ_POINTS))))
    return found


class StubbornTill:
    """A POS that repeats every call until it is answered, and an operator who starts the daemon again."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.crashes = 0

    def call(self, method: str, **params: object) -> dict:
        while True:
            self._keep_running()
            try:
                with Till(str(self.shop.socket), patience=0) as till:
                    return till.call(method, params)
            except Unreachable:
                wait_until(lambda: not self.shop.running or self.shop._answers(), 20, "a daemon, or its end")

    def _keep_running(self) -> None:
        if not self.shop.running:
            assert self.shop.daemon is not None
            assert self.shop.daemon.exit_code == -signal.SIGKILL
            self.crashes += 1
            self.shop.start()


def two_sales_through_a_crash(logs: Logs, point: str, count: int, fault: str, endpoint: str) -> dict:
    with Shop(logs, NewPass(BEN, 4), settle=2) as shop:
        if fault != "none":
            shop.sandbox.fault(fault, endpoint=endpoint, count=2, seconds=0.4)
        shop.start(crash_at=f"{point}:{count}")
        till = StubbornTill(shop)
        till.call("sale.open", sale_id="s1", total="10.00", value=BEN)
        till.call("sale.close", sale_id="s1", total="10.00", paid="10.00")
        wait_until(
            lambda: (
                not shop.running or shop.sandbox.balance(BEN) == 5 or till.call("status")["mirror"]["parked"]
            ),
            30,
            "the first sale at the service, or a crash",
        )
        till.call("sale.open", sale_id="s2", total="8.00", value=BEN)
        sale = till.call("sale.get", sale_id="s2")
        if sale["balance"] is not None:
            till.call("sale.accept", sale_id="s2", reward="five-off")
        closed = till.call("sale.close", sale_id="s2", total="8.00")
        first = shop.daemon
        shop.settled()
        return {
            "crashed": till.crashes > 0 or shop.daemon is not first,
            "redeemed": closed["discount"] == "5.00",
            "entries": shop.entries(BEN),
            "ledger": shop.balance(BEN),
            "service": shop.sandbox.balance(BEN),
            "asked": shop.texts_asked(BEN),
            "foreign": shop.ask("status")["mirror"]["foreign"],
        }


@pytest.fixture(scope="module")
def crashes(logs):
    with ThreadPoolExecutor(4) as pool:
        yield {c: pool.submit(two_sales_through_a_crash, logs, *c) for c in combinations()}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("combination", combinations(), ids=lambda c: "-".join(map(str, c)))
def test_a_crash_anywhere_during_a_fault_counts_once(crashes, combination):
    seen = crashes[combination].result(90)
    assert seen["crashed"], "the crash point was never passed: the test has tested nothing"
    expected = [("earn", "s1", 1)] + ([("redeem", "s2", -5)] if seen["redeemed"] else [])
    assert seen["entries"] == expected
    assert seen["ledger"] == seen["service"] == 4 + sum(points for *_, points in expected)
    assert len(seen["asked"]) == len(set(seen["asked"])), "a text was asked for twice"
    assert len(seen["asked"]) <= 2
    assert seen["foreign"] == 0, "our own writes were taken for somebody else's"
