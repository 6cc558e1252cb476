"""Contract section 3: offers, reservations, automatic rewards; section 4.2: points are reserved for one sale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rigs.till import COFFEE, FIVE_OFF, House
from tilltap.model import Reward

pytestmark = pytest.mark.anyio

SUBTRACT = replace(FIVE_OFF, on_redeem="subtract")
TEN_OFF = Reward("ten-off", "£10 off", cost=8, discount=1000, on_redeem="subtract")
KEEP = Reward("staff", "£1 off", cost=5, discount=100, on_redeem="keep")


def states(sale: dict[str, Any]) -> dict[str, str]:
    return {o["reward"]: o["state"] for o in sale["offers"]}


async def till_with(house: House, points: int, *rewards: Reward) -> House:
    house.service.add("pass-ana", points, ext_id="ana")
    await house.reload(replace(COFFEE, rewards=rewards))
    return house


async def reserved(house: House) -> int:
    return (await house.call("customer.find", value="ana"))["reserved"]


async def test_one_reward_a_sale_accepting_another_replaces_it(house: House) -> None:
    await till_with(house, 12, SUBTRACT, TEN_OFF)
    sale = await house.call("sale.open", sale_id="1", total="30", value="ana")
    assert states(sale) == {"five-off": "offered", "ten-off": "offered"}
    sale = await house.call("sale.accept", sale_id="1", reward="five-off")
    assert (states(sale), sale["reserved"]) == ({"five-off": "accepted", "ten-off": "offered"}, 5)
    sale = await house.call("sale.accept", sale_id="1", reward="ten-off")
    assert (states(sale), sale["reserved"]) == ({"five-off": "offered", "ten-off": "accepted"}, 8)
    assert await reserved(house) == 8
    sale = await house.call("sale.close", sale_id="1")
    assert (sale["discount"], sale["earned"], sale["balance"]) == ("10.00", 2, 6)


async def test_an_accepted_reward_may_be_declined_and_taken_again(house: House) -> None:
    await till_with(house, 5, SUBTRACT)
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    await house.call("sale.accept", sale_id="1", reward="five-off")
    sale = await house.call("sale.decline", sale_id="1", reward="five-off")
    assert (states(sale), sale["reserved"], sale["due"]) == ({"five-off": "declined"}, 0, "8.00")
    assert await reserved(house) == 0
    sale = await house.call("sale.accept", sale_id="1", reward="five-off")
    assert states(sale) == {"five-off": "accepted"}


@pytest.mark.parametrize(
    ("way", "points", "taken", "left"),
    [("reset", 7, 7, 0), ("subtract", 7, 5, 2), ("keep", 7, 0, 7)],
)
async def test_what_a_redemption_takes_and_a_refund_gives_back(
    house: House, way: Any, points: int, taken: int, left: int
) -> None:
    await till_with(house, points, replace(FIVE_OFF, on_redeem=way))
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    sale = await house.call("sale.accept", sale_id="1", reward="five-off")
    assert (sale["reserved"], sale["balance_after"]) == (taken, left)
    sale = await house.call("sale.close", sale_id="1")
    assert (sale["balance"], sale["message"]) == (left, "You've used your £5 off discount!")
    sale = await house.call("sale.refund", sale_id="1", refund_id="r")
    assert sale["balance"] == points
    sale = await house.call("sale.open", sale_id="2", total="8", value="ana")
    assert states(sale) == {"five-off": "offered"}, "the use is given back as well"


async def test_kept_points_are_good_for_one_use_per_full_cost(house: House) -> None:
    await till_with(house, 9, KEEP)
    await house.call("sale.open", sale_id="1", total="5", value="ana")
    await house.call("sale.accept", sale_id="1", reward="staff")
    # a second sale at the same time may not use it again
    sale = await house.call("sale.open", sale_id="2", total="5", value="ana")
    assert sale["offers"] == []
    assert await house.refused("sale.accept", sale_id="2", reward="staff") == "reward-unavailable"
    await house.call("sale.close", sale_id="1")
    assert (await house.call("sale.get", sale_id="2"))["offers"] == []
    # 10 points: the second full cost
    sale = await house.call("sale.close", sale_id="2", total="10")
    assert sale["message"] == "Congratulations! You've got £1 off on your next order!"
    assert states(await house.call("sale.open", sale_id="3", total="5", value="ana")) == {"staff": "offered"}


async def test_reset_takes_all_free_points_of_the_accept_only(house: House) -> None:
    await till_with(house, 7, FIVE_OFF)
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    await house.call("sale.accept", sale_id="1", reward="five-off")
    await house.call("customer.adjust", value="ana", points=3, reason="gift", request_id="a")
    assert (await house.call("sale.close", sale_id="1"))["balance"] == 3


async def test_points_reserved_for_one_sale_are_not_offered_in_another(house: House) -> None:
    await till_with(house, 9, SUBTRACT)
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    await house.call("sale.open", sale_id="2", total="8", value="ana")
    await house.call("sale.accept", sale_id="1", reward="five-off")
    sale = await house.call("sale.get", sale_id="2")
    assert (sale["offers"], sale["balance"], sale["reserved"]) == ([], 9, 0)
    assert await house.refused("sale.accept", sale_id="2", reward="five-off") == "reward-unavailable"
    # each way of letting go frees them
    await house.call("sale.cancel", sale_id="1")
    assert states(await house.call("sale.accept", sale_id="2", reward="five-off")) == {"five-off": "accepted"}


@pytest.mark.parametrize("way_out", ["cancel", "decline", "attach", "close-elsewhere", "paid-more"])
async def test_the_other_sale_is_told_when_points_are_free_again(house: House, way_out: str) -> None:
    await till_with(house, 9, SUBTRACT)
    house.service.add("pass-bob", 0, ext_id="bob")
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    await house.call("sale.accept", sale_id="1", reward="five-off")
    await house.call("sale.open", sale_id="2", total="8", value="ana")
    seq = house.store.last_seq
    match way_out:
        case "cancel":
            await house.call("sale.cancel", sale_id="1")
        case "decline":
            await house.call("sale.decline", sale_id="1", reward="five-off")
        case "attach":
            await house.call("sale.attach", sale_id="1", value=None)
        case "close-elsewhere":
            await house.call("sale.close", sale_id="1", value="bob")
        case "paid-more":
            await house.call("sale.close", sale_id="1", paid="8")
    told = [e for e in await house.events(seq, "sale") if e["sale_id"] == "2"]
    assert states(told[-1]) == {"five-off": "offered"}


async def test_a_close_tells_the_other_sale_what_is_really_left(house: House) -> None:
    await till_with(house, 10, SUBTRACT)
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    await house.call("sale.accept", sale_id="1", reward="five-off")
    await house.call("sale.open", sale_id="2", total="8", value="ana")
    await house.call("sale.close", sale_id="1")
    told = [e for e in await house.events(0, "sale") if e["sale_id"] == "2"][-1]
    assert (told["balance"], states(told)) == (5, {"five-off": "offered"})


async def test_reservations_last_ten_minutes_after_the_last_call_about_the_sale(house: House) -> None:
    await till_with(house, 5, SUBTRACT)
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    await house.call("sale.accept", sale_id="1", reward="five-off")
    for _ in range(3):
        house.time.move(599)
        assert (await house.call("sale.get", sale_id="1"))["reserved"] == 5
    house.time.move(601)
    assert await reserved(house) == 0
    await house.call("sale.open", sale_id="2", total="8", value="ana")
    assert (await house.call("sale.accept", sale_id="2", reward="five-off"))["reserved"] == 5
    # the first sale has lost them, but not its discount
    sale = await house.call("sale.get", sale_id="1")
    assert (sale["reserved"], sale["discount"], states(sale)) == (0, "5.00", {"five-off": "accepted"})
    sale = await house.call("sale.close", sale_id="2")
    assert sale["balance"] == 0
    sale = await house.call("sale.close", sale_id="1")
    assert (sale["discount"], sale["paid"], sale["balance"], sale["balance_after"]) == (
        "5.00",
        "3.00",
        -5,
        -5,
    )
    assert await house.entries("ana") == [("opening", 5), ("redeem", -5), ("redeem", -5)]
    assert (await house.call("sale.open", sale_id="3", total="8", value="ana"))["offers"] == []


async def test_a_lapsed_reservation_is_renewed_if_nobody_used_the_points(house: House) -> None:
    await till_with(house, 5, SUBTRACT)
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    await house.call("sale.accept", sale_id="1", reward="five-off")
    house.time.move(700)
    assert await reserved(house) == 0
    sale = await house.call("sale.update", sale_id="1", total="9")
    assert sale["reserved"] == 5
    assert await reserved(house) == 5


async def test_what_is_reserved_stays_reserved_over_a_restart(house: House) -> None:
    await till_with(house, 5, SUBTRACT)
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    await house.call("sale.accept", sale_id="1", reward="five-off")
    house.restart()
    assert await reserved(house) == 5


AUTO = replace(SUBTRACT, automatic=True)
AUTO_TEN = replace(TEN_OFF, automatic=True, minimum=2000)


async def test_automatic_rewards_are_accepted_once_customer_and_total_are_known(house: House) -> None:
    await till_with(house, 9, AUTO, AUTO_TEN)
    assert (await house.call("sale.open", sale_id="1", total="8"))["discount"] == "0.00"
    await house.tap("ana")
    sale = await house.call("sale.get", sale_id="1")
    assert (states(sale), sale["discount"], sale["reserved"]) == ({"five-off": "accepted"}, "5.00", 5)
    # of several, the dearest: but what was taken is not taken back
    sale = await house.call("sale.open", sale_id="2", total="20", value="ana")
    assert sale["reserved"] == 0
    await house.call("sale.cancel", sale_id="1")
    assert states(await house.call("sale.get", sale_id="2"))["ten-off"] == "accepted"


async def test_an_automatic_reward_that_was_declined_is_not_tried_again(house: House) -> None:
    await till_with(house, 9, AUTO)
    await house.call("sale.open", sale_id="1", total="8", value="ana")
    sale = await house.call("sale.decline", sale_id="1", reward="five-off")
    assert (states(sale), sale["reserved"]) == ({"five-off": "declined"}, 0)
    sale = await house.call("sale.update", sale_id="1", total="12")
    assert states(sale) == {"five-off": "declined"}
    # the cashier may still change his mind
    assert states(await house.call("sale.accept", sale_id="1", reward="five-off")) == {"five-off": "accepted"}


async def test_an_automatic_reward_does_not_displace_an_accepted_one(house: House) -> None:
    await till_with(house, 20, SUBTRACT, replace(TEN_OFF, automatic=True))
    sale = await house.call("sale.open", sale_id="1", total="30", value="ana")
    assert states(sale)["ten-off"] == "accepted"
    sale = await house.call("sale.accept", sale_id="1", reward="five-off")
    assert states(sale) == {"five-off": "accepted", "ten-off": "offered"}
    assert states(await house.call("sale.update", sale_id="1", total="31"))["five-off"] == "accepted"


async def test_a_close_in_one_call_gives_no_reward(house: House) -> None:
    """Only a reward accepted before the close is spent: the money was taken already."""
    await till_with(house, 9, AUTO)
    sale = await house.call("sale.close", sale_id="1", total="8", value="ana")
    assert (sale["discount"], sale["paid"], sale["balance"]) == ("0.00", "8.00", 9)
    await house.call("sale.open", sale_id="2", total="8")
    sale = await house.call("sale.close", sale_id="2", value="ana")
    assert (sale["discount"], sale["balance"]) == ("0.00", 9)


async def test_an_open_sale_keeps_the_rules_and_words_it_was_opened_under(house: House) -> None:
    await till_with(house, 5, SUBTRACT)
    await house.call("sale.open", sale_id="1", total="30", value="ana")
    words = replace(COFFEE.messages, earned="{earned} new!", redeemed="Used {reward}!")
    await house.reload(
        replace(COFFEE, earn=replace(COFFEE.earn, points=7), rewards=(TEN_OFF,), messages=words)
    )
    sale = await house.call("sale.accept", sale_id="1", reward="five-off")
    assert (sale["due"], sale["earned"], sale["message"]) == ("25.00", 2, "You've used your £5 off discount!")
    assert await house.refused("sale.accept", sale_id="1", reward="ten-off") == "reward-unavailable"
    house.restart()
    sale = await house.call("sale.close", sale_id="1")
    assert (sale["earned"], sale["message"]) == (2, "You've used your £5 off discount!")
    # so does its refund
    sale = await house.call("sale.refund", sale_id="1", refund_id="r", amount="10")
    assert sale["earned"] == 1
    # and the next sale has the new ones
    sale = await house.call("sale.close", sale_id="2", total="10", value="ana")
    assert (sale["earned"], sale["message"]) == (7, "Congratulations! You've got £10 off on your next order!")
