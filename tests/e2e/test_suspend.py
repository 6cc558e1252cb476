"""A till's machine sleeps in the middle of a write for longer than its lease, and wakes (exactly-once.md, P8, N6)."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rigs.daemon import ANNA, BEN, Logs, Shop, wait_until
from rigs.pos import Pos
from rigs.postgres import Postgres
from tilltap.mirror import LEASE_S
from tilltap.sandbox.service import NewPass

REACHED = "Congratulations! You've got £5 off on your next order!"
# Every till sleeps in real time: no clock of the daemon's may be anybody else's idea of it.
ASLEEP = LEASE_S + 2.0


def falls_asleep(shop: Shop) -> None:
    """A sale whose write is under way when the lid is closed; and what was asked of the till meanwhile waits."""
    daemon = shop.start(crash_at="P4:1:stop")
    shop.ask("customer.find", value=BEN)
    shop.ask("sale.close", sale_id="before", total="10.00", value=BEN)
    stat = f"/proc/{daemon.popen.pid}/stat"
    with open(stat) as state:
        wait_until(lambda: state.seek(0) == 0 and state.read().split()[2] == "T", 20, "the till asleep")


def wakes(shop: Shop) -> None:
    """The POS has waited in vain, and repeats."""
    assert shop.daemon is not None
    with Pos(shop.socket) as waiting:
        waiting.write("sale.close", 1, sale_id="asleep", total="10.00", value=BEN)
        shop.daemon.signal(signal.SIGCONT)
        assert waiting.read()["result"]["earned"] == 1
    assert shop.ask("sale.close", sale_id="asleep", total="10.00", value=BEN)["earned"] == 1


def alone(logs: Logs) -> None:
    with Shop(logs, NewPass(BEN, 4), readers="", settle=2) as shop:
        falls_asleep(shop)
        time.sleep(ASLEEP)
        wakes(shop)
        shop.settled()
        assert shop.entries(BEN) == [("earn", "before", 1), ("earn", "asleep", 1)]
        assert shop.balance(BEN) == shop.sandbox.balance(BEN) == 6
        assert shop.ask("status")["mirror"]["foreign"] == 0
        assert shop.texts_asked(BEN).count(REACHED) == 1
        assert len(shop.texts_asked(BEN)) <= 2


def among_others(logs: Logs, url: str) -> None:
    passes = (NewPass(BEN, 4), NewPass(ANNA, 0))
    with (
        Shop(logs, *passes, readers="", settle=2, ledger=url) as one,
        Shop(logs, readers="", settle=2, ledger=url, till="till-2", beside=one) as two,
    ):
        falls_asleep(one)
        two.start()
        two.ask("sale.close", sale_id="meanwhile", total="20.00", value=BEN)
        slept = time.monotonic()
        # The other till may have the pass once the sleeping one's lease is over, and not before.
        wait_until(lambda: one.sandbox.balance(BEN) == 7, ASLEEP + 10, "the other till's write")
        assert time.monotonic() - slept > LEASE_S - 10
        wakes(one)
        one.settled()
        assert one.balance(BEN) == one.sandbox.balance(BEN) == 8
        assert one.ask("status")["mirror"]["foreign"] == 0
        assert sorted(one.entries(BEN)) == [
            ("earn", "asleep", 1),
            ("earn", "before", 1),
            ("earn", "meanwhile", 2),
        ]
        assert one.texts_asked(BEN).count(REACHED) == 1


@pytest.mark.timeout(150)
@pytest.mark.long
def test_a_sleep_longer_than_a_lease(logs: Logs, postgres: Postgres) -> None:
    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(alone, logs), pool.submit(among_others, logs, postgres.database())]:
            run.result()
