"""Contract section 3: the till goes on selling without the service, and is put right when it answers."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from rigs import service
from rigs.till import COFFEE, House
from tilltap.ledger import push_book

pytestmark = pytest.mark.anyio

NOBODY = {"pass_id": None, "ext_id": None}


@pytest.fixture
def away(house: House) -> House:
    """The service knows Ana (5 points), but does not answer."""
    house.service.add("pass-ana", 5, ext_id="ana", nfc="ana-nfc")
    house.service.down = service.NOT_SENT
    return house


async def parked(house: House) -> list[str]:
    return [row["parked"] for row in await house.call("mirror.list") if row["parked"]]  # type: ignore[index]


@pytest.mark.parametrize(
    "fault", [service.NOT_SENT, service.LOST_BEFORE, service.LIMITED, service.KEY_REFUSED]
)
async def test_every_call_answers_within_two_seconds(away: House, fault: service.Fault) -> None:
    away.service.down = fault
    for n, (method, params) in enumerate(
        [
            ("sale.open", {"sale_id": "1", "total": "8", "value": "new-1"}),
            ("sale.attach", {"sale_id": "1", "value": "new-2"}),
            ("sale.close", {"sale_id": "1", "value": "new-3"}),
            ("sale.close", {"sale_id": "2", "total": "10", "value": "new-4"}),
        ]
    ):
        at = away.time.steady()
        sale = await away.call(method, **params)
        assert away.time.steady() - at < 2, n
        assert (sale["customer"], sale["balance"], sale["balance_after"], sale["offline"]) == (
            NOBODY,
            None,
            None,
            True,
        )
        assert sale["offers"] == []
    for method, params in [("customer.find", {"value": "new-5"}), ("customer.history", {"value": "new-5"})]:
        at = away.time.steady()
        assert await away.refused(method, **params) == "offline"
        assert away.time.steady() - at < 2


async def test_accept_says_offline_and_goes_on_once_the_service_answers(away: House) -> None:
    await away.call("sale.open", sale_id="1", total="8", value="ana")
    assert await away.refused("sale.accept", sale_id="1", reward="five-off") == "offline"
    away.service.down = None
    away.time.move(10)  # a silent service is not asked about the same pass with every call
    sale = await away.call("sale.accept", sale_id="1", reward="five-off")
    assert (sale["due"], sale["balance"], sale["offline"]) == ("3.00", 5, False)


async def test_an_offline_tap_attaches_and_is_corrected_with_a_second_event(away: House) -> None:
    await away.call("sale.open", sale_id="1", total="10")
    tap = await away.tap("ana")
    assert (tap["status"], tap["customer"], tap["balance"], tap["sale_id"]) == ("offline", NOBODY, None, "1")
    sale = await away.call("sale.get", sale_id="1")
    assert (sale["offline"], sale["earned"], sale["message"]) == (
        True,
        1,
        "Thank you for your order. You've earned 1 point!",
    )
    away.service.down = None
    seq = away.store.last_seq
    await away.sync(10)
    told = [e for e in await away.events(seq) if e["method"] in ("tap", "sale")]
    assert [e["method"] for e in told] == ["tap", "sale"]
    assert told[0] | {"seq": 0, "at": ""} == tap | {
        "seq": 0,
        "at": "",
        "status": "identified",
        "customer": {"pass_id": "pass-ana", "ext_id": "ana"},
        "balance": 5,
        "rewards": told[0]["rewards"],
    }
    assert told[0]["rewards"][0]["available"] is True
    assert (told[1]["balance"], told[1]["offline"], told[1]["balance_after"]) == (5, False, 6)


async def test_points_earned_offline_are_credited_once(away: House) -> None:
    tap = await away.tap("ana")
    sale = await away.call("sale.close", sale_id="1", total="20", tap_id=tap["tap_id"])
    assert (sale["earned"], sale["balance_after"], sale["receipt"]) == (
        2,
        None,
        "2 points earned. Balance: –",
    )
    assert await away.call("sale.close", sale_id="1", total="20", tap_id=tap["tap_id"]) == sale
    away.restart()
    away.service.down = None
    seq = away.store.last_seq
    await away.sync(300)
    assert away.service.passes["pass-ana"].points == 7
    assert await away.entries("ana") == [("earn", 2), ("opening", 5)]
    told = [e for e in await away.events(seq) if e["method"] in ("tap", "sale")]
    assert [(e["method"], e["balance"]) for e in told] == [("tap", 7), ("sale", 7)]
    sale = await away.call("sale.get", sale_id="1")
    assert (sale["offline"], sale["balance"], sale["balance_after"]) == (False, 7, 7)
    assert sale["customer"] == {"pass_id": "pass-ana", "ext_id": "ana"}
    assert away.service.shown("pass-ana") == ["Thank you for your order. You've earned 2 points!"]


@pytest.mark.parametrize("earned", [COFFEE.messages.earned, ""])
async def test_a_reward_reached_by_an_offline_sale_is_told_after_all(away: House, earned: str) -> None:
    await away.reload(replace(COFFEE, messages=replace(COFFEE.messages, earned=earned)))
    away.service.passes["pass-ana"].points = 4
    await away.call("sale.close", sale_id="1", total="10", value="ana")
    away.service.down = None
    await away.sync(10)
    reached = "Congratulations! You've got £5 off on your next order!"
    assert away.service.shown("pass-ana") == [reached]
    assert (await away.call("sale.get", sale_id="1"))["message"] == reached


async def test_a_value_that_turns_out_to_be_a_known_pass_is_merged(away: House) -> None:
    away.service.down = None
    await away.call("sale.close", sale_id="1", total="10", value="ana")
    away.service.passes["pass-ana"].nfc = "new-nfc"
    away.service.down = service.NOT_SENT
    tap = await away.tap("new-nfc")
    await away.call("sale.close", sale_id="2", total="20", tap_id=tap["tap_id"])
    await away.call("sale.open", sale_id="3", total="30", value="new-nfc")
    away.service.down = None
    await away.sync(300)
    assert await away.points("ana") == await away.points("new-nfc") == 8 == await away.sum_of_entries("ana")
    assert away.service.passes["pass-ana"].points == 8
    sale = await away.call("sale.get", sale_id="2")
    assert (sale["balance"], sale["balance_after"], sale["customer"]["ext_id"]) == (8, 8, "ana")
    sale = await away.call("sale.accept", sale_id="3", reward="five-off")
    assert (sale["reserved"], (await away.call("customer.find", value="ana"))["reserved"]) == (8, 8)
    assert (await away.call("sale.attach", sale_id="3", tap_id=tap["tap_id"]))["reserved"] == 8


async def test_two_values_of_one_new_pass_become_one_customer(away: House) -> None:
    await away.call("sale.close", sale_id="1", total="10", value="ana")
    await away.call("sale.close", sale_id="2", total="20", value="ana-nfc")
    away.service.down = None
    await away.sync(300)
    assert await away.points("ana") == await away.points("ana-nfc") == 8 == await away.sum_of_entries("ana")
    assert away.service.passes["pass-ana"].points == 8


async def test_points_for_a_pass_nobody_knows_are_parked_and_listed(away: House) -> None:
    tap = await away.tap("who")
    await away.call("sale.close", sale_id="1", total="20", tap_id=tap["tap_id"])
    await away.call("sale.open", sale_id="2", total="20", value="who")
    away.service.down = None
    seq = away.store.last_seq
    await away.sync(10)
    assert await parked(away) == ["the loyalty service does not know this pass"]
    assert (await away.call("status"))["mirror"]["parked"] == 1
    events = await away.events(seq)
    second = next(e for e in events if e["method"] == "tap")
    assert (second["tap_id"], second["status"], second["customer"]) == (tap["tap_id"], "unknown-pass", None)
    assert next(e for e in events if e["method"] == "pass")["parked"]
    sale = await away.call("sale.get", sale_id="2")
    assert (sale["customer"], sale["offline"]) == (None, False)
    # the POS that never heard its answer repeats, and is answered
    for who in ({"tap_id": tap["tap_id"]}, {"value": "who"}, {}):
        assert (await away.call("sale.close", sale_id="1", total="20", **who))["earned"] == 2
    assert await away.refused("sale.attach", sale_id="2", tap_id=tap["tap_id"]) == "unknown-pass"
    # somebody makes the pass: the next tap, or a retry, credits what was parked
    away.service.add("pass-who", 1, ext_id="who")
    await away.call("mirror.retry")
    await away.sync(300)
    assert await parked(away) == []
    assert away.service.passes["pass-who"].points == 3 == await away.points("who")
    assert (await away.call("sale.get", sale_id="1"))["balance"] == 3


async def test_the_next_tap_credits_what_was_parked(away: House) -> None:
    await away.call("sale.close", sale_id="1", total="20", value="who")
    away.service.down = None
    await away.sync(10)
    away.service.add("pass-who", 1, ext_id="who")
    assert (await away.tap("who"))["balance"] == 3
    await away.sync(10)
    assert await parked(away) == []
    assert away.service.passes["pass-who"].points == 3


async def test_an_offline_tap_and_nothing_more_parks_nothing_but_is_answered_each_time(away: House) -> None:
    for _ in range(2):
        away.service.down = service.NOT_SENT
        tap = await away.tap("who")
        assert tap["status"] == "offline"
        away.service.down = None
        await away.sync(10)
        told = [e for e in await away.events(0, "tap") if e["tap_id"] == tap["tap_id"]]
        assert [e["status"] for e in told] == ["offline", "unknown-pass"]
        assert await parked(away) == []


async def test_a_refund_before_the_service_answers(away: House) -> None:
    await away.call("sale.close", sale_id="1", total="30", value="ana")
    sale = await away.call("sale.refund", sale_id="1", refund_id="r", amount="15")
    assert (sale["earned"], sale["balance"]) == (1, None)
    away.service.down = None
    await away.sync(300)
    assert away.service.passes["pass-ana"].points == 6 == await away.sum_of_entries("ana")


async def test_a_known_customer_is_served_as_ever_while_the_service_is_away(away: House) -> None:
    away.service.down = None
    await away.tap("ana")
    away.service.down = service.LOST_BEFORE
    at = away.time.steady()
    await away.call("sale.open", sale_id="1", total="8", value="ana")
    sale = await away.call("sale.accept", sale_id="1", reward="five-off")
    assert (sale["due"], sale["offline"]) == ("3.00", False)
    assert (await away.call("sale.close", sale_id="1"))["balance"] == 0
    assert away.time.steady() - at < 0.01


async def test_a_custom_value_is_not_called_unknown_while_the_passes_cannot_be_listed(away: House) -> None:
    away.service.down = None
    away.service.passes["pass-ana"].nfc = None
    away.service.lists = False
    tap = await away.tap("custom")
    assert tap["status"] == "offline"
    away.service.passes["pass-ana"].nfc = "custom"
    away.service.lists = True
    await away.sync(10)
    told = [e for e in await away.events(0, "tap") if e["tap_id"] == tap["tap_id"]]
    assert [e["status"] for e in told] == ["offline", "identified"]


async def test_a_slow_answer_while_the_mirror_already_has_it_counts_once(away: House) -> None:
    """The call's own question and the mirror's may be answered in any order."""
    await away.call("sale.close", sale_id="1", total="10", value="ana")
    away.service.down = None
    async with away.mirroring(), anyio.create_task_group() as group:
        for n in range(2, 6):
            group.start_soon(lambda n=n: away.call("sale.close", sale_id=str(n), total="10", value="ana"))  # type: ignore[misc]
            await anyio.sleep(0.02)
    await away.sync(300)
    assert await away.sum_of_entries("ana") == 10 == await away.points("ana")
    assert away.service.passes["pass-ana"].points == 10


async def test_texts_of_two_values_of_one_pass_are_one(away: House) -> None:
    away.service.add("pass-ben", 0, ext_id="ben")
    await away.call("sale.close", sale_id="1", total="10.00", value="ben")
    await away.call("sale.close", sale_id="2", total="10.00", value="pass-ben")
    away.service.down = None
    away.time.move(3)
    await away.sync(20)
    assert away.service.passes["pass-ben"].points == 2
    assert away.service.shown("pass-ben") == ["Thank you for your order. You've earned 2 points!"]


@pytest.mark.parametrize("earned", ["", COFFEE.messages.earned])
async def test_no_text_about_a_sale_of_last_week(away: House, earned: str) -> None:
    """Neither a first one, nor one that was dropped and forgotten meanwhile."""
    await away.reload(replace(COFFEE, messages=replace(COFFEE.messages, earned=earned)))
    away.service.add("pass-ben", 0, ext_id="ben")
    await away.call("sale.close", sale_id="1", total="60.00", value="ben")
    await away.store.run(
        lambda tx: [push_book.set_state(tx, p.id, "dropped") for p in push_book.planned(tx, 1)]
    )
    away.time.move(7 * 24 * 3600 + 60)
    await away.till.tidy()
    away.service.down = None
    await away.sync(20)
    assert away.service.passes["pass-ben"].points == 6
    assert away.service.shown("pass-ben") == []
