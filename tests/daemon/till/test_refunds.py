"""Contract section 3, "Money and points": refunds by difference, in any order of parts; the reward given back."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigs.clock import VirtualLoop
from rigs.till import COFFEE, FIVE_OFF, House, make_template
from tilltap.ledger import book
from tilltap.model import Earn, Program

pytestmark = pytest.mark.anyio


@pytest.fixture
def ana(house: House) -> House:
    house.service.add("pass-ana", 5, ext_id="ana")
    return house


async def test_after_each_part_the_sale_has_earned_what_its_rules_give_for_the_rest(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="35", value="ana")
    seen = []
    for n, amount in enumerate(["5", "0.01", "10", "9.99", "10"]):
        sale = await ana.call("sale.refund", sale_id="1", refund_id=f"r{n}", amount=amount)
        seen.append((sale["state"], sale["earned"], sale["balance"], sale["paid"]))
    assert seen == [
        ("part-refunded", 3, 8, "35.00"),
        ("part-refunded", 2, 7, "35.00"),
        ("part-refunded", 1, 6, "35.00"),
        ("part-refunded", 1, 6, "35.00"),
        ("refunded", 0, 5, "35.00"),
    ]
    assert await ana.sum_of_entries("ana") == 5


async def test_more_than_was_paid_is_refused_and_records_nothing(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="35", value="ana")
    await ana.call("sale.refund", sale_id="1", refund_id="r1", amount="30")
    seq = ana.store.last_seq
    assert await ana.refused("sale.refund", sale_id="1", refund_id="r2", amount="5.01") == "refund-too-large"
    assert ana.store.last_seq == seq
    assert (await ana.call("sale.refund", sale_id="1", refund_id="r2", amount="5"))["state"] == "refunded"
    assert await ana.refused("sale.refund", sale_id="1", refund_id="r3", amount="0.01") == "refund-too-large"


async def test_left_out_the_amount_is_all_that_is_left(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="35", value="ana")
    await ana.call("sale.refund", sale_id="1", refund_id="r1", amount="12")
    assert (await ana.call("sale.refund", sale_id="1", refund_id="r2"))["state"] == "refunded"
    # a further one has nothing left to hand back
    seq = ana.store.last_seq
    assert (await ana.call("sale.refund", sale_id="1", refund_id="r3"))["state"] == "refunded"
    assert ana.store.last_seq == seq


@pytest.mark.parametrize(
    ("first", "again", "code"),
    [
        ({"amount": "5"}, {"amount": "5.00"}, None),
        ({"amount": "5"}, {}, None),
        ({}, {"amount": "35"}, None),
        ({"amount": "5"}, {"amount": "6"}, "key-reused"),
        ({}, {"amount": "34"}, "key-reused"),
        ({"amount": "5"}, {"sale_id": "2"}, "key-reused"),
        ({"amount": "5"}, {"till": "till-1"}, None),
    ],
)
async def test_a_known_refund_id_answers_as_it_is_now(
    ana: House, first: dict[str, str], again: dict[str, str], code: str | None
) -> None:
    await ana.call("sale.close", sale_id="1", total="35", value="ana")
    await ana.call("sale.close", sale_id="2", total="35", value="ana")
    done = await ana.call("sale.refund", sale_id="1", refund_id="r", **first)
    seq = ana.store.last_seq
    params = {"sale_id": "1", "refund_id": "r"} | again
    if code:
        assert await ana.refused("sale.refund", **params) == code
    else:
        assert await ana.call("sale.refund", **params) == done
    assert ana.store.last_seq == seq


async def test_the_reward_is_given_back_when_nothing_is_left_and_not_before(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="25", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    await ana.call("sale.close", sale_id="1")
    sale = await ana.call("sale.refund", sale_id="1", refund_id="r1", amount="19.99")
    assert (sale["earned"], sale["balance"]) == (0, 0)
    sale = await ana.call("sale.refund", sale_id="1", refund_id="r2")
    assert (sale["state"], sale["balance"]) == ("refunded", 5)
    assert await ana.entries("ana") == [
        ("opening", 5),
        ("redeem", -5),
        ("earn", 2),
        ("refund", -2),
        ("return", 5),
    ]


async def test_a_sale_that_cost_nothing_is_refunded_with_its_reward(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="4", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    assert (await ana.call("sale.close", sale_id="1"))["paid"] == "0.00"
    sale = await ana.call("sale.refund", sale_id="1", refund_id="r")
    assert (sale["state"], sale["balance"]) == ("refunded", 5)
    assert await ana.refused("sale.refund", sale_id="1", refund_id="r2", amount="1") == "refund-too-large"


async def test_a_reward_that_was_not_given_is_not_given_back(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    await ana.call("sale.close", sale_id="1", paid="8")
    assert (await ana.call("sale.refund", sale_id="1", refund_id="r"))["balance"] == 5


async def test_a_refund_may_take_the_balance_below_zero_and_nothing_is_offered(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="30", value="ana")
    await ana.call("sale.open", sale_id="2", total="8", value="ana")
    await ana.call("sale.accept", sale_id="2", reward="five-off")
    await ana.call("sale.close", sale_id="2")
    sale = await ana.call("sale.refund", sale_id="1", refund_id="r")
    assert sale["balance"] == -3
    assert await ana.points("ana") == -3
    assert (await ana.call("sale.open", sale_id="3", total="50", value="ana"))["offers"] == []
    await ana.sync()
    assert ana.service.passes["pass-ana"].points == 0


async def test_a_refund_without_a_customer_is_only_money(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="30")
    sale = await ana.call("sale.refund", sale_id="1", refund_id="r")
    assert (sale["state"], sale["customer"], sale["earned"]) == ("refunded", None, 0)


async def test_a_refund_names_the_till_that_sold(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="30", value="ana")
    assert await ana.refused("sale.refund", sale_id="1", refund_id="r", till="till-2") == "unknown-sale"
    assert (await ana.call("sale.refund", sale_id="1", refund_id="r", till="till-1"))["state"] == "refunded"


async def test_other_open_sales_see_the_balance_change(ana: House) -> None:
    await ana.call("sale.close", sale_id="1", total="30", value="ana")
    await ana.call("sale.open", sale_id="2", total="8", value="ana")
    seq = ana.store.last_seq
    await ana.call("sale.refund", sale_id="1", refund_id="r")
    told = {e["sale_id"]: e["balance"] for e in await ana.events(seq, "sale")}
    assert told == {"1": 5, "2": 5}


CARRY = replace(COFFEE, earn=Earn(1000, carry=True, visit=1, minimum=200))


@pytest.mark.parametrize("order", list(itertools.permutations(["7", "13", "16"])))
async def test_carried_spend_comes_back_exactly(ana: House, order: tuple[str, ...]) -> None:
    await ana.reload(CARRY)
    await ana.call("sale.close", sale_id="0", total="7", value="ana")  # 7.00 carried
    await ana.call("sale.close", sale_id="1", total="36", value="ana")  # 43.00: 4 points, 3.00 carried
    for n, amount in enumerate(order):
        await ana.call("sale.refund", sale_id="1", refund_id=f"r{n}", amount=amount)
    assert await ana.points("ana") == 6
    # the running spend is 7.00 again
    assert (await ana.call("sale.open", sale_id="2", total="2.99", value="ana"))["earned"] == 1
    assert (await ana.call("sale.open", sale_id="2", total="3.00", value="ana"))["earned"] == 2


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@settings(max_examples=40)
@given(
    carry=st.booleans(),
    visit=st.integers(0, 2),
    way=st.sampled_from(["reset", "subtract", "keep"]),
    before=st.integers(0, 3000),
    total=st.integers(1, 6000),
    share=st.integers(0, 4),
    redeem=st.booleans(),
    parts=st.lists(st.integers(1, 2000), max_size=4),
    data=st.data(),
)
def test_any_order_of_parts_ends_where_the_sale_began(
    template, tmp_path_factory, carry, visit, way, before, total, share, redeem, parts, data
):
    program = Program(
        "Shop",
        COFFEE.currency,
        Earn(700, points=2, carry=carry, visit=visit, minimum=300),
        (replace(FIVE_OFF, on_redeem=way),),
    )
    orders = [parts, data.draw(st.permutations(parts))]
    ends = []
    for order in orders:
        folder = tmp_path_factory.mktemp("refunds")
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            house = House(folder, program, durable=False, template=template)
            ends.append(runner.run(_sell_and_hand_back(house, before, total, share, redeem, order)))
            house.stop()
            assert house.store.wrong == []
    assert ends[0] == ends[1]


async def _sell_and_hand_back(
    house: House, before: int, total: int, share: int, redeem: bool, parts: list[int]
) -> tuple[int, int]:
    text = house.till.currency.text
    house.service.add("pass-ana", 7, ext_id="ana")
    await house.call("sale.close", sale_id="0", total=text(before), value="ana")
    start = await _account(house)
    await house.call(
        "sale.open", sale_id="1", total=text(total), eligible=text(total * share // 4), value="ana"
    )
    if redeem:
        await house.call("sale.accept", sale_id="1", reward="five-off")
    paid = house.till.currency.parse((await house.call("sale.close", sale_id="1"))["paid"])
    if sum(parts) <= paid:
        for n, part in enumerate(parts):
            await house.call("sale.refund", sale_id="1", refund_id=f"r{n}", amount=text(part))
    middle = await _account(house)
    await house.call("sale.refund", sale_id="1", refund_id="all")
    assert await _account(house) == start
    assert (await house.call("sale.get", sale_id="1"))["earned"] == 0
    return middle


async def _account(house: House) -> tuple[int, int]:
    """Points and running spend."""
    customer = await house.store.run(lambda tx: book.by_value(tx, "ana"))
    assert customer is not None
    assert customer.points == await house.sum_of_entries("ana")
    return customer.points, customer.carried
