"""Contract section 3: order of calls, identity and repetition, money and points."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import bindparam, select

from rigs.till import COFFEE, FIVE_OFF, House
from tilltap.ledger import tables
from tilltap.ledger.engine import Sql, Tx
from tilltap.model import Earn

pytestmark = pytest.mark.anyio

FIGURES = (
    "state",
    "total",
    "eligible",
    "discount",
    "due",
    "paid",
    "earned",
    "reserved",
    "balance",
    "balance_after",
)


def figures(sale: dict[str, Any]) -> dict[str, Any]:
    return {name: sale[name] for name in FIGURES}


@pytest.fixture
def ana(house: House) -> House:
    """A house whose service knows one customer with 5 points."""
    house.service.add("pass-ana", 5, ext_id="ana")
    return house


async def test_the_ledger_keeps_whose_program_sold(ana: House) -> None:
    ana.uid = 1001
    await ana.call("sale.close", sale_id="1", total="20.00", value="ana")
    await ana.call("sale.close", sale_id="2", total="5.00")
    await ana.call("sale.open", sale_id="3", total="20.00")
    ana.uid = 1002
    await ana.call("sale.close", sale_id="1", total="20.00")  # repeated: it was sold already
    await ana.call("sale.cancel", sale_id="3")
    await ana.call("sale.refund", sale_id="1", refund_id="r", amount="10.00")
    ana.uid = None

    def read(tx: Tx) -> Any:
        sales = [tx.one(_SALES, id=n).uid for n in "123"]
        return sales, tx.one(_REFUNDS).uid

    assert await ana.store.run(read) == ([1001, 1001, 1002], 1002)
    history = await ana.call("customer.history", value="ana")
    assert [(e["kind"], e["uid"]) for e in history["entries"]] == [
        ("refund", 1002),
        ("earn", 1001),
        ("opening", 1001),
    ]


_SALES = Sql(select(tables.sale.c.uid).where(tables.sale.c.sale_id == bindparam("id")))
_REFUNDS = Sql(select(tables.refund.c.uid))


async def test_smallest_integration_is_one_close(ana: House) -> None:
    sale = await ana.call("sale.close", sale_id="1", total="20.00", value="ana")
    assert sale == {
        "sale_id": "1",
        "state": "closed",
        "total": "20.00",
        "eligible": "20.00",
        "discount": "0.00",
        "due": "20.00",
        "paid": "20.00",
        "currency": "GBP",
        "customer": {"pass_id": "pass-ana", "ext_id": "ana"},
        "balance": 7,
        "reserved": 0,
        "earned": 2,
        "balance_after": 7,
        "offers": [
            {
                "reward": "five-off",
                "title": "£5 off",
                "discount": "5.00",
                "state": "offered",
                "prompt": "Would you like to get £5 off on this order?",
            }
        ],
        "message": "Thank you for your order. You've earned 2 points!",
        "receipt": "2 points earned. Balance: 7",
        "why": "20.00 paid: 2 × 10.00 at 1 point each, so 2 points earned.",
        "offline": False,
    }
    assert await ana.entries("ana") == [("opening", 5), ("earn", 2)]


async def test_full_order_of_calls_is_the_worked_example(ana: House) -> None:
    opened = await ana.call("sale.open", sale_id="1004", total="8.00")
    assert (opened["customer"], opened["balance"], opened["offers"]) == (None, None, [])
    tap = await ana.tap("ana")
    assert (tap["status"], tap["balance"], tap["sale_id"]) == ("identified", 5, "1004")
    seen = await ana.call("sale.get", sale_id="1004")
    assert seen["offers"][0]["prompt"] == "Would you like to get £5 off on this order?"
    assert (seen["offers"][0]["state"], seen["due"], seen["reserved"]) == ("offered", "8.00", 0)
    accepted = await ana.call("sale.accept", sale_id="1004", reward="five-off")
    assert figures(accepted) == {
        "state": "open",
        "total": "8.00",
        "eligible": "8.00",
        "discount": "5.00",
        "due": "3.00",
        "paid": None,
        "earned": 0,
        "reserved": 5,
        "balance": 5,
        "balance_after": 0,
    }
    assert accepted["message"] == "You've used your £5 off discount!"
    assert accepted["receipt"] is None
    closed = await ana.call("sale.close", sale_id="1004", total="8.00", paid="3.00")
    assert figures(closed) == figures(accepted) | {
        "state": "closed",
        "paid": "3.00",
        "reserved": 0,
        "balance": 0,
    }
    assert await ana.entries("ana") == [("opening", 5), ("redeem", -5)]


@pytest.mark.parametrize(
    ("call", "params", "code"),
    [
        ("sale.update", {"sale_id": "none", "total": "1"}, "unknown-sale"),
        ("sale.attach", {"sale_id": "none", "value": "ana"}, "unknown-sale"),
        ("sale.accept", {"sale_id": "none", "reward": "five-off"}, "unknown-sale"),
        ("sale.decline", {"sale_id": "none", "reward": "five-off"}, "unknown-sale"),
        ("sale.cancel", {"sale_id": "none"}, "unknown-sale"),
        ("sale.refund", {"sale_id": "none", "refund_id": "r"}, "unknown-sale"),
        ("sale.get", {"sale_id": "none"}, "unknown-sale"),
        ("sale.get", {"sale_id": "open", "till": "till-2"}, "unknown-sale"),
        ("sale.close", {"sale_id": "none"}, "param total"),
        ("sale.open", {"sale_id": "x", "total": "8", "eligible": "8.01"}, "param eligible"),
        ("sale.close", {"sale_id": "x", "total": "8", "eligible": "8.01"}, "param eligible"),
        ("sale.update", {"sale_id": "open", "total": "8", "eligible": "8.01"}, "param eligible"),
        # on a sale that is not open
        ("sale.open", {"sale_id": "closed", "total": "8"}, "sale-not-open"),
        ("sale.update", {"sale_id": "closed", "total": "8"}, "sale-not-open"),
        ("sale.accept", {"sale_id": "closed", "reward": "five-off"}, "sale-not-open"),
        ("sale.decline", {"sale_id": "closed", "reward": "five-off"}, "sale-not-open"),
        ("sale.cancel", {"sale_id": "closed"}, "sale-not-open"),
        ("sale.attach", {"sale_id": "closed", "value": "bob"}, "sale-not-open"),
        ("sale.open", {"sale_id": "cancelled", "total": "8"}, "sale-not-open"),
        ("sale.update", {"sale_id": "cancelled", "total": "8"}, "sale-not-open"),
        ("sale.attach", {"sale_id": "cancelled", "value": "ana"}, "sale-not-open"),
        ("sale.attach", {"sale_id": "cancelled", "value": None}, "sale-not-open"),
        ("sale.accept", {"sale_id": "cancelled", "reward": "five-off"}, "sale-not-open"),
        ("sale.decline", {"sale_id": "cancelled", "reward": "five-off"}, "sale-not-open"),
        ("sale.close", {"sale_id": "cancelled"}, "sale-not-open"),
        ("sale.close", {"sale_id": "cancelled", "total": "8"}, "sale-not-open"),
        ("sale.refund", {"sale_id": "open", "refund_id": "r"}, "sale-not-closed"),
        ("sale.refund", {"sale_id": "cancelled", "refund_id": "r"}, "sale-not-closed"),
        # rewards
        ("sale.accept", {"sale_id": "open", "reward": "five-off"}, "no-customer"),
        ("sale.accept", {"sale_id": "bobs", "reward": "five-off"}, "reward-unavailable"),
        ("sale.accept", {"sale_id": "bobs", "reward": "no-such"}, "reward-unavailable"),
        ("sale.decline", {"sale_id": "bobs", "reward": "no-such"}, "reward-unavailable"),
        # whom
        ("sale.open", {"sale_id": "x", "total": "8", "value": "stranger"}, "unknown-pass"),
        ("sale.attach", {"sale_id": "open", "value": "stranger"}, "unknown-pass"),
        ("sale.close", {"sale_id": "open", "value": "stranger"}, "unknown-pass"),
        ("customer.find", {"value": "stranger"}, "unknown-pass"),
        ("customer.history", {"value": "stranger"}, "unknown-pass"),
        ("sale.attach", {"sale_id": "open", "tap_id": "none"}, "unknown-tap"),
    ],
)
async def test_calls_in_the_wrong_state_are_refused_and_change_nothing(
    ana: House, call: str, params: dict[str, Any], code: str
) -> None:
    ana.service.add("pass-bob", 1, ext_id="bob")
    await ana.call("sale.open", sale_id="cancelled", total="8")
    await ana.call("sale.cancel", sale_id="cancelled")
    await ana.call("sale.close", sale_id="closed", total="8", value="ana")
    await ana.call("sale.open", sale_id="bobs", total="8", value="bob")
    await ana.call("sale.open", sale_id="open", total="8")
    before = ana.store.last_seq
    assert await ana.refused(call, **params) == code
    assert ana.store.last_seq == before
    assert await ana.points("ana") == 5


async def test_doing_again_what_already_is_so_changes_nothing(ana: House) -> None:
    steps: list[tuple[str, dict[str, Any]]] = [
        ("sale.open", {"sale_id": "1", "total": "8.00"}),
        ("sale.update", {"sale_id": "1", "total": "12", "eligible": "10.0"}),
        ("sale.attach", {"sale_id": "1", "value": "ana"}),
        ("sale.accept", {"sale_id": "1", "reward": "five-off"}),
        ("sale.decline", {"sale_id": "1", "reward": "five-off"}),
        ("sale.accept", {"sale_id": "1", "reward": "five-off"}),
        ("sale.close", {"sale_id": "1", "paid": "7"}),
        ("sale.refund", {"sale_id": "1", "refund_id": "r1", "amount": "3"}),
        ("sale.refund", {"sale_id": "1", "refund_id": "r2"}),
    ]
    for method, params in steps:
        first = await ana.call(method, **params)
        seq, entries = ana.store.last_seq, await ana.entries("ana")
        for _ in range(3):
            assert await ana.call(method, **params) == first
        assert ana.store.last_seq == seq, f"{method} said something again"
        assert await ana.entries("ana") == entries
    assert await ana.points("ana") == 5


async def test_a_repeated_cancel_answers(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    first = await ana.call("sale.cancel", sale_id="1")
    assert (first["state"], first["reserved"], first["earned"]) == ("cancelled", 0, 0)
    seq = ana.store.last_seq
    assert await ana.call("sale.cancel", sale_id="1") == first
    assert ana.store.last_seq == seq
    assert (await ana.call("customer.find", value="ana"))["reserved"] == 0


@pytest.mark.parametrize(
    ("again", "code"),
    [
        ({}, None),
        ({"total": "8"}, None),
        ({"total": "8.00", "paid": "3.00", "eligible": "8", "value": "ana"}, None),
        ({"value": "pass-ana"}, None),
        ({"value": "PASS-ANA"}, "unknown-pass"),  # not a UUID: compared as it is
        ({"total": "8.01"}, "key-reused"),
        ({"paid": "8.00"}, "key-reused"),
        ({"eligible": "4.00"}, "key-reused"),
        ({"value": "bob"}, "key-reused"),
    ],
)
async def test_a_close_of_a_closed_sale_answers_or_names_the_difference(
    ana: House, again: dict[str, str], code: str | None
) -> None:
    ana.service.add("pass-bob", 1, ext_id="bob")
    await ana.call("sale.open", sale_id="1", total="8", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    first = await ana.call("sale.close", sale_id="1", paid="3")
    await ana.call("customer.adjust", value="ana", points=9, reason="moved", request_id="a1")
    seq = ana.store.last_seq
    if code:
        assert await ana.refused("sale.close", sale_id="1", **again) == code
    else:
        # the figures recorded then, the balance of now
        assert await ana.call("sale.close", sale_id="1", **again) == first | {"balance": 9}
    assert ana.store.last_seq == seq


async def test_a_close_repeated_without_its_customer_or_after_the_tap_is_forgotten_answers(
    ana: House,
) -> None:
    tap = await ana.tap("ana")
    first = await ana.call("sale.close", sale_id="1", total="20", tap_id=tap["tap_id"])
    assert await ana.call("sale.close", sale_id="1", total="20") == first
    ana.time.move(25 * 3600)
    assert await ana.call("sale.close", sale_id="1", total="20", tap_id=tap["tap_id"]) == first


async def test_ids_are_the_tills_own_and_a_pass_id_is_compared_without_case(ana: House) -> None:
    uuid = "0b1c4a6e-1111-4222-8333-abcdefabcdef"
    ana.service.add(uuid, 3)
    assert await ana.points(uuid.upper()) == 3
    assert ana.service.requests[-1][2] == uuid


@pytest.mark.parametrize(
    ("earn", "call", "earned"),
    [
        (Earn(1000), {"total": "20.00"}, 2),
        (Earn(1000), {"total": "19.99"}, 1),
        (Earn(1000), {"total": "0.00"}, 0),
        (Earn(1000), {"total": "40.00", "eligible": "20.00"}, 2),
        (Earn(1000), {"total": "40.00", "eligible": "0.00"}, 0),
        (Earn(1000), {"total": "40.00", "eligible": "20.00", "paid": "30.00"}, 1),
        (Earn(1000), {"total": "20.00", "paid": "10.00"}, 1),
        (Earn(1000), {"total": "20.00", "paid": "0.00"}, 0),
        (Earn(None, visit=1), {"total": "0.00"}, 0),
        (Earn(None, visit=1), {"total": "3.00"}, 1),
        (Earn(None, visit=1, minimum=500), {"total": "4.99"}, 0),
        (Earn(1000, points=2, visit=3), {"total": "30.00"}, 9),
    ],
)
async def test_what_a_sale_earns(ana: House, earn: Earn, call: dict[str, str], earned: int) -> None:
    await ana.reload(replace(COFFEE, earn=earn))
    sale = await ana.call("sale.close", sale_id="1", value="ana", **call)
    assert (sale["earned"], sale["balance"], sale["balance_after"]) == (earned, 5 + earned, 5 + earned)
    assert await ana.sum_of_entries("ana") == 5 + earned


@pytest.mark.parametrize("paid", ["8.00", "3.01", "99.00"])
async def test_paid_more_than_due_gives_the_points_back(ana: House, paid: str) -> None:
    await ana.call("sale.open", sale_id="1", total="8.00", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    sale = await ana.call("sale.close", sale_id="1", paid=paid)
    assert (sale["discount"], sale["due"], sale["paid"], sale["reserved"]) == ("0.00", "8.00", paid, 0)
    assert [o["state"] for o in sale["offers"]] == ["offered"]
    assert sale["message"] != "You've used your £5 off discount!"
    assert ("redeem", -5) not in await ana.entries("ana")


async def test_the_redemption_is_entered_before_the_earning(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="25.00", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    sale = await ana.call("sale.close", sale_id="1")
    assert (sale["paid"], sale["earned"], sale["balance"], sale["balance_after"]) == ("20.00", 2, 2, 2)
    assert await ana.entries("ana") == [("opening", 5), ("redeem", -5), ("earn", 2)]


async def test_an_order_of_nothing_offers_and_earns_nothing(ana: House) -> None:
    sale = await ana.call("sale.open", sale_id="1", total="0.00", value="ana")
    assert (sale["offers"], sale["earned"], sale["due"]) == ([], 0, "0.00")
    assert await ana.refused("sale.accept", sale_id="1", reward="five-off") == "reward-unavailable"
    sale = await ana.call("sale.close", sale_id="1")
    assert (sale["earned"], sale["paid"], sale["message"]) == (0, "0.00", None)


async def test_left_out_figures_stay_as_they_are(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="40.00", eligible="20.00", value="ana")
    sale = await ana.call("sale.close", sale_id="1")
    assert (sale["total"], sale["eligible"], sale["earned"]) == ("40.00", "20.00", 2)


async def test_open_on_an_open_sale_is_an_update(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8.00")
    sale = await ana.call("sale.open", sale_id="1", total="18.00", value="ana")
    assert (sale["total"], sale["earned"], sale["customer"]["ext_id"]) == ("18.00", 1, "ana")
    assert (await ana.call("sale.open", sale_id="1", total="18.00"))["customer"]["ext_id"] == "ana"


async def test_attach_replaces_the_customer_and_null_takes_him_off(ana: House) -> None:
    ana.service.add("pass-bob", 9, ext_id="bob")
    await ana.call("sale.open", sale_id="1", total="8.00", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    sale = await ana.call("sale.attach", sale_id="1", value="bob")
    assert (sale["customer"]["ext_id"], sale["reserved"], sale["discount"]) == ("bob", 0, "0.00")
    assert [o["state"] for o in sale["offers"]] == ["offered"]
    assert (await ana.call("customer.find", value="ana"))["reserved"] == 0
    sale = await ana.call("sale.attach", sale_id="1", value=None)
    assert (sale["customer"], sale["balance"], sale["balance_after"], sale["offers"]) == (
        None,
        None,
        None,
        [],
    )
    assert (await ana.call("sale.close", sale_id="1"))["earned"] == 0


@pytest.mark.parametrize("waited", [0, 14 * 60])
async def test_late_attach_earns_as_if_attached_before_the_close(ana: House, waited: int) -> None:
    await ana.call("sale.close", sale_id="1", total="10.00")
    ana.time.move(waited)
    sale = await ana.call("sale.attach", sale_id="1", value="ana")
    assert (sale["state"], sale["earned"], sale["balance"], sale["balance_after"]) == ("closed", 1, 6, 6)
    assert sale["receipt"] == "1 point earned. Balance: 6"
    assert sale["message"] == "Thank you for your order. You've earned 1 point!"
    seq = ana.store.last_seq
    assert await ana.call("sale.attach", sale_id="1", value="ana") == sale
    assert ana.store.last_seq == seq
    assert await ana.entries("ana") == [("opening", 5), ("earn", 1)]


async def test_late_attach_ends_after_a_quarter_of_an_hour_but_a_repeat_still_answers(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="10.00")
    await ana.call("sale.close", sale_id="2", total="10.00")
    first = await ana.call("sale.attach", sale_id="2", value="ana")
    ana.time.move(15 * 60 + 1)
    assert await ana.refused("sale.attach", sale_id="1", value="ana") == "sale-not-open"
    assert await ana.call("sale.attach", sale_id="2", value="ana") == first


async def test_late_attach_follows_what_is_left_after_a_refund(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="30.00")
    await ana.call("sale.refund", sale_id="1", refund_id="r1", amount="15.00")
    assert (await ana.call("sale.attach", sale_id="1", value="ana"))["earned"] == 1
    await ana.call("sale.refund", sale_id="1", refund_id="r2")
    assert await ana.points("ana") == 5


async def test_a_late_tap_is_used_up(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="10.00")
    tap = await ana.tap("ana")
    await ana.call("sale.attach", sale_id="1", tap_id=tap["tap_id"])
    assert (await ana.call("sale.open", sale_id="2", total="9"))["customer"] is None


async def test_an_untouched_sale_is_cancelled_after_a_day(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8.00", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    ana.time.move(23 * 3600)
    await ana.till.tidy()
    assert (await ana.call("sale.get", sale_id="1"))["state"] == "open"
    ana.time.move(24 * 3600 + 1)
    await ana.till.tidy()
    sale = await ana.call("sale.get", sale_id="1")
    assert (sale["state"], sale["earned"], sale["reserved"]) == ("cancelled", 0, 0)
    assert (await ana.events(0, "sale"))[-1]["state"] == "cancelled"


async def test_everything_answered_is_there_after_a_restart(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8.00", value="ana")
    before = await ana.call("sale.accept", sale_id="1", reward="five-off")
    tap = await ana.tap("ana")
    ana.restart()
    ana.service.down = None
    assert await ana.call("sale.get", sale_id="1") == before
    assert (await ana.call("customer.find", value="ana"))["reserved"] == 5
    assert (await ana.call("sale.attach", sale_id="1", tap_id=tap["tap_id"])) == before
    assert (await ana.till.snapshot())["sales"] == [before]


async def test_a_wall_clock_put_right_moves_no_window(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8.00", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    ana.time.set_wall(ana.time.wall().replace(year=2031))
    assert (await ana.call("customer.find", value="ana"))["reserved"] == 5
    await ana.till.tidy()
    assert (await ana.call("sale.get", sale_id="1"))["state"] == "open"


async def test_discount_is_cut_to_the_total_and_the_full_cost_is_spent(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="4.50", value="ana")
    sale = await ana.call("sale.accept", sale_id="1", reward="five-off")
    assert (sale["discount"], sale["due"], sale["offers"][0]["discount"]) == ("4.50", "0.00", "4.50")
    sale = await ana.call("sale.close", sale_id="1")
    assert (sale["paid"], sale["balance"]) == ("0.00", 0)


async def test_a_reward_with_a_minimum_falls_when_the_order_shrinks(ana: House) -> None:
    await ana.reload(replace(COFFEE, rewards=(replace(FIVE_OFF, minimum=600),)))
    await ana.call("sale.open", sale_id="1", total="5.99", value="ana")
    assert await ana.refused("sale.accept", sale_id="1", reward="five-off") == "reward-unavailable"
    await ana.call("sale.update", sale_id="1", total="6.00")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    sale = await ana.call("sale.update", sale_id="1", total="5.00")
    assert (sale["discount"], sale["reserved"], sale["offers"]) == ("0.00", 0, [])
