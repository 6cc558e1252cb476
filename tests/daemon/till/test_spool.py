"""A sale closed while the shared ledger was out of reach is entered later, but it happened when it happened."""

from __future__ import annotations

import pytest

from rigs.till import House

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("house", ["postgresql"], indirect=True)]

THANKS = "Thank you for your order. You've earned 2 points!"


@pytest.mark.parametrize(("hours", "texts"), [(1.9, [THANKS]), (2.1, [])])
async def test_a_phone_hears_of_it_within_two_hours_of_the_sale(
    house: House, hours: float, texts: list[str]
) -> None:
    """Contract section 4, promise 4; the balance is told whenever."""
    house.service.add("pass-ana", 0, ext_id="ana")
    house.store.up = False
    sale = await house.call("sale.close", sale_id="1", total="20.00", value="ana")
    assert (sale["state"], sale["earned"], sale["offline"]) == ("closed", 2, True)
    house.time.move(hours * 3600)
    house.store.up = True
    assert await house.till.offline.enter_all(house.till.shop)
    await house.sync(300)
    assert (house.service.passes["pass-ana"].points, house.service.shown("pass-ana")) == (2, texts)


@pytest.mark.parametrize(("minutes", "taken"), [(14, True), (16, False)])
async def test_it_takes_a_customer_for_a_quarter_of_an_hour_from_the_sale(
    house: House, minutes: float, taken: bool
) -> None:
    house.service.add("pass-ana", 0, ext_id="ana")
    house.store.up = False
    await house.call("sale.close", sale_id="1", total="20.00")
    house.time.move(minutes * 60)
    house.store.up = True
    assert await house.till.offline.enter_all(house.till.shop)
    if taken:
        assert (await house.call("sale.attach", sale_id="1", value="ana"))["earned"] == 2
    else:
        assert await house.refused("sale.attach", sale_id="1", value="ana") == "sale-not-open"
