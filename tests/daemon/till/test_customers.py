"""Contract 3.1: customer.find, customer.history, customer.adjust; mirror.list and mirror.retry as answers."""

from __future__ import annotations

import pytest

from rigs import service
from rigs.till import House

pytestmark = pytest.mark.anyio


@pytest.fixture
def ana(house: House) -> House:
    house.service.add("pass-ana", 5, ext_id="ana")
    return house


async def test_find_attaches_nothing(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8")
    found = await ana.call("customer.find", value="ana")
    assert found == {
        "customer": {"pass_id": "pass-ana", "ext_id": "ana"},
        "balance": 5,
        "reserved": 0,
        "rewards": [{"reward": "five-off", "title": "£5 off", "discount": "5.00", "available": True}],
    }
    assert (await ana.call("sale.get", sale_id="1"))["customer"] is None
    assert (await ana.call("sale.open", sale_id="2", total="8"))["customer"] is None


async def test_find_of_a_known_customer_needs_no_service(ana: House) -> None:
    await ana.call("customer.find", value="ana")
    ana.service.down = service.LOST_BEFORE
    assert await ana.points("pass-ana") == 5


async def test_history_is_every_entry_newest_first(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="20", value="ana")
    await ana.call("customer.adjust", value="ana", points=-3, reason="mistake of Tuesday", request_id="a1")
    found = await ana.call("customer.history", value="ana")
    assert found["balance"] == 4
    assert [(e["kind"], e["points"], e["ref"], e["till"]) for e in found["entries"]][:2] == [
        ("adjust", -3, "a1", "till-1"),
        ("earn", 2, "1", "till-1"),
    ]
    assert found["entries"][0]["why"].startswith("mistake of Tuesday")
    assert [e["kind"] for e in (await ana.call("customer.history", value="ana", limit=1))["entries"]] == [
        "adjust"
    ]
    assert await ana.sum_of_entries("ana") == 4


@pytest.mark.parametrize(
    ("again", "code"),
    [
        ({}, None),
        ({"reason": "other words"}, None),
        ({"value": "pass-ana"}, None),
        ({"points": 3}, "key-reused"),
        ({"value": "bob"}, "key-reused"),
    ],
)
async def test_an_adjustment_counts_once_per_request(
    ana: House, again: dict[str, object], code: str | None
) -> None:
    ana.service.add("pass-bob", 9, ext_id="bob")
    params = {"value": "ana", "points": -2, "reason": "why", "request_id": "a1"}
    assert (await ana.call("customer.adjust", **params))["balance"] == 3
    await ana.call("sale.close", sale_id="1", total="10", value="ana")
    if code:
        assert await ana.refused("customer.adjust", **params | again) == code
    else:
        assert (await ana.call("customer.adjust", **params | again))["balance"] == 4
    assert await ana.points("ana") == 4


async def test_an_adjustment_below_zero_is_refused(ana: House) -> None:
    params = {"value": "ana", "reason": "why", "request_id": "a1"}
    assert await ana.refused("customer.adjust", points=-6, **params) == "balance-too-low"
    assert (await ana.call("customer.adjust", points=-5, **params))["balance"] == 0


async def test_an_adjustment_that_lifts_a_negative_balance_part_of_the_way_is_none_below_zero(
    ana: House,
) -> None:
    """A correction upwards is never refused, even if it does not reach zero."""
    await ana.call("sale.close", sale_id="1", total="50", value="ana")
    await ana.call("customer.adjust", value="ana", points=-10, reason="spent", request_id="a0")
    await ana.call("sale.refund", sale_id="1", refund_id="r")
    assert await ana.points("ana") == -5
    found = await ana.call("customer.adjust", value="ana", points=2, reason="goodwill", request_id="a1")
    assert found["balance"] == -3


async def test_an_adjustment_is_silent_on_the_phone_and_told_to_open_sales(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8", value="ana")
    seq = ana.store.last_seq
    await ana.call("customer.adjust", value="ana", points=4, reason="gift", request_id="a1")
    assert [(e["sale_id"], e["balance"]) for e in await ana.events(seq, "sale")] == [("1", 9)]
    await ana.sync(300)
    assert ana.service.passes["pass-ana"].points == 9
    assert ana.service.texts == []


async def test_a_pass_that_waits_is_counted_and_listed(ana: House) -> None:
    await ana.call("customer.find", value="ana")
    ana.service.down = service.NOT_SENT
    await ana.call("sale.close", sale_id="1", total="20", value="ana")
    ana.time.move(90)
    mirror = (await ana.call("status"))["mirror"]
    assert mirror == {"waiting": 1, "oldest_age_s": 90, "parked": 0, "foreign": 0}
    (row,) = await ana.call("mirror.list")
    assert row["customer"] == {"pass_id": "pass-ana", "ext_id": "ana"}
    assert (row["balance"], row["shown"], row["age_s"]) == (7, 5, 90)
    ana.service.down = None
    await ana.sync()
    assert await ana.call("mirror.list") == []
    mirror = (await ana.call("status"))["mirror"]
    assert mirror == {"waiting": 0, "oldest_age_s": None, "parked": 0, "foreign": 0}


async def test_retry_names_a_pass(ana: House) -> None:
    assert await ana.refused("mirror.retry", value="nobody") == "unknown-pass"
    await ana.call("sale.close", sale_id="1", total="20", value="ana")
    ana.service.writes.append(service.REFUSED)
    await ana.sync()
    (row,) = await ana.call("mirror.list")
    assert row["parked"] == row["reason"] == "scripted refused"
    await ana.call("mirror.retry", value="ana")
    await ana.sync()
    assert await ana.call("mirror.list") == []
    assert ana.service.passes["pass-ana"].points == 7
