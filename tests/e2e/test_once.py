"""A closed sale counts once: through repeats, kills and lost answers (contract section 4, promises 1, 3, 4)."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rigs.daemon import ANNA, BEN, Shop
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
