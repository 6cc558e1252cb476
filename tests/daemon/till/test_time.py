"""The clock on the wall is put right, by an hour in autumn or by years after a flat battery: no window notices."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rigs.till import SETTLE_S, House

pytestmark = pytest.mark.anyio

STEPS = [timedelta(hours=-1), timedelta(hours=1), timedelta(days=-400), timedelta(days=400)]
LONG = 3 * SETTLE_S


@pytest.fixture
async def ana(house: House) -> House:
    house.service.add("pass-ana", 0, ext_id="ana", nfc="ana-nfc")
    await house.call("customer.find", value="ana")
    await house.sync()
    return house


def step(house: House, by: timedelta) -> None:
    house.time.set_wall(house.time.wall() + by)


@pytest.mark.parametrize("by", STEPS, ids=str)
async def test_the_pushes_of_a_day_are_those_of_24_hours(ana: House, by: timedelta) -> None:
    """Two for earning; a clock put forward by a day does not bring new ones, nor does one put back keep them."""
    for n in range(3):
        await ana.call("sale.close", sale_id=f"{n}", total="10", value="ana")
        await ana.sync(LONG)
        step(ana, by)
    assert len(ana.service.shown("pass-ana")) == 2
    ana.time.move(24 * 3600 - 3 * LONG + 60)
    step(ana, -3 * by)
    await ana.call("sale.close", sale_id="later", total="10", value="ana")
    await ana.sync(LONG)
    assert len(ana.service.shown("pass-ana")) == 3
    assert ana.service.passes["pass-ana"].points == 4


@pytest.mark.parametrize("by", STEPS, ids=str)
async def test_waiting_taps_and_reservations_last_as_long_as_ever(ana: House, by: timedelta) -> None:
    await ana.call("customer.adjust", value="ana", points=5, reason="gift", request_id="1")
    await ana.tap("ana-nfc")
    step(ana, by)
    ana.time.move(29)
    opened = await ana.call("sale.open", sale_id="first", total="8")
    assert opened["customer"] == {"pass_id": "pass-ana", "ext_id": "ana"}
    await ana.call("sale.accept", sale_id="first", reward="five-off")
    await ana.call("sale.open", sale_id="second", total="8", value="ana")
    step(ana, by)
    ana.time.move(598)
    assert await ana.refused("sale.accept", sale_id="second", reward="five-off") == "reward-unavailable"
    ana.time.move(4)
    assert (await ana.call("sale.accept", sale_id="second", reward="five-off"))["reserved"] == 5


async def test_a_pass_made_after_the_clock_was_put_back_is_found(ana: House) -> None:
    """What was listed by a clock four hundred days ahead says nothing of the passes made since."""
    step(ana, timedelta(days=400))
    assert (await ana.tap("new-to-all"))["status"] == "unknown-pass"
    step(ana, timedelta(days=-400))
    ana.time.move(60)
    ana.service.requests.clear()
    await ana.tap("another")
    assert [since for _at, kind, since in ana.service.requests if kind == "list"] == [""]
