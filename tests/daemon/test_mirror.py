"""exactly-once.md, mode M1, and contract section 4, promises 3 and 4: the pass follows the ledger.

The mirror's own loop runs in moved time against a service that does what its script says.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import anyio
import anyio.abc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from rigs import service
from rigs.clock import BACKEND, VirtualLoop
from rigs.service import Fault
from rigs.till import COFFEE, SETTLE_S, House, make_template
from tilltap.ledger import tables
from tilltap.ledger.engine import Sql
from tilltap.model import Messages, PassFace

pytestmark = pytest.mark.anyio

EARNED_2 = "Thank you for your order. You've earned 2 points!"
REACHED = "Congratulations! You've got £5 off on your next order!"
REDEEMED = "You've used your £5 off discount!"

# Long enough for a back-off, the settled read-back, and what the read-back may bring.
LONG = 3 * SETTLE_S

SURE = {"limited": service.LIMITED, "not-sent": service.NOT_SENT, "key-refused": service.KEY_REFUSED}
UNSURE = {
    "lost-before": service.LOST_BEFORE,
    "applied-but-lost": service.APPLIED_BUT_LOST,
    "late": service.LATE,
    "very-late": service.VERY_LATE,
    "late-and-twice": Fault(service.Outcome.UNKNOWN, (10.0, 100.0)),
}
DOUBLED = {"twice": service.TWICE, "second-copy-late": service.SECOND_COPY_LATE}


@pytest.fixture
def anyio_backend() -> Any:
    return BACKEND


@pytest.fixture
async def ana(house: House) -> House:
    """A customer with 4 points whom the ledger knows."""
    house.service.add("pass-ana", 4, ext_id="ana")
    await house.call("customer.find", value="ana")
    await house.sync()
    house.service.requests.clear()
    return house


async def sell(house: House, sale_id: str, total: str = "20", value: str = "ana") -> dict[str, Any]:
    return await house.call("sale.close", sale_id=sale_id, total=total, value=value)


async def redeem(house: House, sale_id: str) -> None:
    await house.call("sale.open", sale_id=sale_id, total="8", value="ana")
    await house.call("sale.accept", sale_id=sale_id, reward="five-off")
    await house.call("sale.close", sale_id=sale_id)


def shown(house: House) -> int:
    return house.service.passes["pass-ana"].points


def texts(house: House) -> list[str]:
    return [text for pass_id, text in house.service.texts if pass_id == "pass-ana"]


async def passes(house: House, after: int = 0) -> list[tuple[int | None, str]]:
    return [(e["balance"], e["notification"]) for e in await house.events(after, "pass")]


async def mirror(house: House) -> dict[str, Any]:
    found: dict[str, Any] = (await house.call("status"))["mirror"]
    return found


# -- one write ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", UNSURE)
async def test_what_waits_has_an_age(ana: House, fault: str) -> None:
    """Contract 3.1, `status`: also what waits only for its text, until no older one can be under way."""
    ana.service.writes.append(UNSURE[fault])
    ages = set()
    async with ana.mirroring():
        await sell(ana, "1")
        await anyio.sleep(1)
        await sell(ana, "2")
        for _ in range(int(LONG)):
            await anyio.sleep(1)
            found = await mirror(ana)
            assert (found["oldest_age_s"] is None) == (found["waiting"] == 0)
            ages.add(found["oldest_age_s"])
    assert max(age for age in ages if age is not None) > SETTLE_S / 2
    assert None in ages


async def test_a_sale_is_read_written_with_its_text_and_read_back(ana: House) -> None:
    await sell(ana, "1", "5")
    await sell(ana, "2")
    async with ana.mirroring():
        await anyio.sleep(1)
        assert shown(ana) == 6
        assert texts(ana) == [REACHED]
        assert await passes(ana) == [(6, "delivered")]
        assert (await mirror(ana))["waiting"] == 0
        assert [kind for _at, kind, _key in ana.service.requests] == ["read", "write"]
        await anyio.sleep(SETTLE_S)
    assert [kind for _at, kind, _key in ana.service.requests] == ["read", "write", "read"]
    assert await passes(ana) == [(6, "delivered")]
    # from now on the pass is quiet
    await ana.sync(LONG)
    assert ana.service.count("read") == 2


async def test_calls_that_follow_one_another_go_before_the_mirror_for_a_moment(ana: House) -> None:
    async with ana.mirroring():
        await anyio.sleep(1)
        began = asyncio.get_running_loop().time()
        for n in range(100):
            await sell(ana, f"burst-{n}")
            await anyio.sleep(0.02)
        first = ana.service.requests[0][0] - began
        assert 0.1 <= first < 0.3
        assert ana.service.count("write") >= 1, "a till that never rests is not kept waiting for ever"


@pytest.mark.parametrize("notification", ["delivered", "not-delivered", "suppressed", "unknown"])
async def test_the_pass_event_says_what_became_of_the_text(ana: House, notification: Any) -> None:
    ana.service.notification = notification
    await sell(ana, "1")
    await ana.sync(LONG)
    assert await passes(ana) == [(6, notification)]


@pytest.mark.parametrize("name", SURE)
async def test_a_write_that_was_certainly_not_applied_is_repeated_with_its_text(
    ana: House, name: str
) -> None:
    ana.service.writes.append(SURE[name])
    await sell(ana, "1")
    await ana.sync(LONG)
    assert shown(ana) == 6
    assert ana.service.shown("pass-ana") == [REACHED]
    assert await passes(ana) == [(6, "delivered")]


@pytest.mark.parametrize("name", UNSURE | DOUBLED)
async def test_an_unknown_outcome_ends_with_the_right_balance_and_one_text(ana: House, name: str) -> None:
    ana.service.writes.append((UNSURE | DOUBLED)[name])
    await sell(ana, "1")
    await ana.sync(LONG)
    assert shown(ana) == 6
    assert texts(ana) == [REACHED]
    events = await passes(ana)
    assert [balance for balance, _ in events] == [6]
    assert (await mirror(ana)) == {"waiting": 0, "oldest_age_s": None, "parked": 0, "foreign": 0}


@pytest.mark.parametrize("name", UNSURE)
async def test_after_an_unknown_outcome_the_balance_is_right_as_soon_as_the_service_answers(
    ana: House, name: str
) -> None:
    ana.service.writes.append(UNSURE[name])
    await sell(ana, "1")
    async with ana.mirroring():
        await anyio.sleep(12)
        assert shown(ana) == 6
        assert await passes(ana) == [(6, "unknown")]


@pytest.mark.parametrize("first", UNSURE | DOUBLED)
@pytest.mark.parametrize("second", UNSURE | SURE)
async def test_a_late_copy_of_an_older_value_is_repaired_when_the_writes_have_settled(
    ana: House, first: str, second: str
) -> None:
    """Zombies: the older balance turns up after a newer one was written."""
    ana.service.writes.extend([(UNSURE | DOUBLED)[first], (UNSURE | SURE)[second]])
    await sell(ana, "1")
    async with ana.mirroring():
        await anyio.sleep(10)
        await sell(ana, "2", "30")
        await anyio.sleep(2 * LONG)
    assert shown(ana) == 9
    assert len(texts(ana)) == len(set(texts(ana)))
    assert (await mirror(ana)) == {"waiting": 0, "oldest_age_s": None, "parked": 0, "foreign": 0}


@pytest.mark.parametrize("name", UNSURE)
async def test_a_second_text_waits_until_no_earlier_outcome_is_open(ana: House, name: str) -> None:
    ana.service.writes.append(UNSURE[name])
    await sell(ana, "1")
    async with ana.mirroring():
        await anyio.sleep(10)
        await sell(ana, "2", "30")
        await anyio.sleep(20)
        assert (shown(ana), texts(ana)) == (9, [REACHED])
        await anyio.sleep(LONG)
    assert texts(ana) == [REACHED, "Thank you for your order. You've earned 3 points!"]


@pytest.mark.parametrize("fault", [service.REFUSED, service.GONE])
async def test_a_refused_write_is_parked_until_the_next_sale(ana: House, fault: Fault) -> None:
    ana.service.writes.append(fault)
    await sell(ana, "1")
    await ana.sync(LONG)
    assert shown(ana) == 4
    event = (await ana.events(0, "pass"))[-1]
    assert (event["balance"], event["notification"]) == (6, "none")
    assert event["parked"] == f"scripted {fault.outcome}"
    assert ((await mirror(ana))["parked"], (await mirror(ana))["waiting"]) == (1, 0)
    asked = len(ana.service.requests)
    await ana.sync(LONG)
    assert len(ana.service.requests) == asked, "a person must look first"
    await sell(ana, "2")
    await ana.sync(LONG)
    assert shown(ana) == 8
    assert (await mirror(ana))["parked"] == 0


async def test_a_pass_that_is_gone_is_parked_at_the_read(ana: House) -> None:
    gone = ana.service.passes.pop("pass-ana")
    await sell(ana, "1")
    await ana.sync(LONG)
    assert (await mirror(ana))["parked"] == 1
    assert ana.service.count("write") == 0
    ana.service.passes["pass-ana"] = gone
    await ana.call("mirror.retry", value="ana")
    await ana.sync(LONG)
    assert shown(ana) == 6


async def test_a_refused_key_stops_all_writes_but_a_try_now_and_then(ana: House) -> None:
    ana.service.add("pass-bob", 0, ext_id="bob")
    await ana.call("customer.find", value="bob")
    ana.service.down = service.KEY_REFUSED
    await sell(ana, "1")
    await sell(ana, "2", value="bob")
    await ana.sync(100)
    assert ana.service.count("write") == 0
    assert ana.service.count("read") <= 12
    assert (await ana.call("status"))["loyalty"]["state"] == "refused"
    assert (await mirror(ana))["parked"] == 0
    ana.service.down = None
    await ana.sync(40)
    assert (shown(ana), ana.service.passes["pass-bob"].points) == (6, 2)


async def test_who_mended_the_key_need_not_wait_for_the_next_try(ana: House) -> None:
    ana.service.down = service.KEY_REFUSED
    async with ana.mirroring():
        await sell(ana, "1")
        await anyio.sleep(100)
        ana.service.down = None
        await ana.call("mirror.retry")
        await anyio.sleep(3)
        assert shown(ana) == 6


async def test_nobody_hurries_past_a_limit(ana: House) -> None:
    ana.service.writes.append(replace(service.LIMITED, retry_after=20.0))
    async with ana.mirroring():
        await sell(ana, "1")
        await anyio.sleep(5)
        await ana.call("mirror.retry")
        await anyio.sleep(5)
        assert (shown(ana), len(ana.service.requests)) == (4, 2)


async def test_a_limit_is_waited_out(ana: House) -> None:
    ana.service.writes.append(replace(service.LIMITED, retry_after=20.0))
    await sell(ana, "1")
    async with ana.mirroring():
        await anyio.sleep(19)
        assert (shown(ana), len(ana.service.requests)) == (4, 2)
        await anyio.sleep(3)
        assert shown(ana) == 6


@pytest.mark.parametrize("down", [service.NOT_SENT, service.LOST_BEFORE])
async def test_while_the_service_is_away_it_is_asked_seldom_and_then_at_once(ana: House, down: Fault) -> None:
    for n in range(8):
        ana.service.add(f"pass-{n}", 0, ext_id=f"c{n}")
        await ana.call("customer.find", value=f"c{n}")
    await ana.sync()
    ana.service.requests.clear()
    ana.service.down = down
    for n in range(8):
        await sell(ana, str(n), value=f"c{n}")
    async with ana.mirroring():
        await anyio.sleep(300)
        assert ana.service.count("write") == 0
        assert ana.service.count("read") < 150
        ana.service.down = None
        await anyio.sleep(15)
        assert [ana.service.passes[f"pass-{n}"].points for n in range(8)] == [2] * 8


# -- coalescing, merging, budget ------------------------------------------------------------------------


async def test_sales_while_the_service_is_away_become_one_write_and_one_text(ana: House) -> None:
    ana.service.down = service.NOT_SENT
    for n in range(20):
        await sell(ana, str(n), "10")
    ana.service.passes["pass-ana"].points = 4
    await ana.sync(20)
    ana.service.down = None
    await ana.sync(LONG)
    assert ana.service.written("pass-ana") == [24]
    assert texts(ana) == [REACHED]
    assert await passes(ana) == [(24, "delivered")]


async def test_a_merged_text_adds_up_what_was_earned(ana: House) -> None:
    await ana.reload(replace(COFFEE, rewards=()))
    for n in range(3):
        await sell(ana, str(n), "20")
    await ana.sync(LONG)
    assert texts(ana) == ["Thank you for your order. You've earned 6 points!"]


@pytest.fixture
async def ben(house: House) -> House:
    """The service knows one customer, who has no points yet, and so does the ledger."""
    house.service.add("pass-ben", 0, ext_id="ben")
    await house.call("customer.find", value="ben")
    return house


@pytest.mark.parametrize("name", ["limited", "not-sent"])
async def test_a_merged_text_that_did_not_leave_still_speaks_of_all(ben: House, name: str) -> None:
    ben.service.writes.append(SURE[name])
    await sell(ben, "1", "10", value="ben")
    await sell(ben, "2", "10", value="ben")
    await ben.sync(LONG)
    assert ben.service.passes["pass-ben"].points == 2
    assert ben.service.shown("pass-ben") == [EARNED_2]


async def test_a_refund_of_one_sale_takes_nothing_from_the_text_of_another(ben: House) -> None:
    ben.service.writes.extend([service.NOT_SENT] * 3)
    await sell(ben, "1", "10", value="ben")
    await sell(ben, "2", "10", value="ben")
    await ben.sync(0.4)
    await ben.call("sale.refund", sale_id="2", refund_id="r")
    await ben.sync(LONG)
    assert ben.service.passes["pass-ben"].points == 1
    assert ben.service.shown("pass-ben") == ["Thank you for your order. You've earned 1 point!"]


async def test_redeemed_outranks_reached_outranks_earned(ana: House) -> None:
    await sell(ana, "1", "10")
    await redeem(ana, "2")
    await sell(ana, "3", "10")
    await ana.sync(LONG)
    assert texts(ana) == [REDEEMED]
    assert shown(ana) == 1


async def test_reached_is_not_said_of_a_reward_that_is_gone_again(ana: House) -> None:
    await sell(ana, "1", "10")
    await ana.call("customer.adjust", value="ana", points=-2, reason="mistake", request_id="a")
    await ana.sync(LONG)
    assert texts(ana) == ["Thank you for your order. You've earned 1 point!"]


async def test_three_pushes_a_day_the_last_kept_for_rewards(ana: House) -> None:
    await ana.call("customer.adjust", value="ana", points=-4, reason="zero", request_id="a")
    said = []
    for n, total in enumerate(["10", "10", "10", "20", "10"]):
        await sell(ana, str(n), total)
        seq = ana.store.last_seq
        await ana.sync(LONG)
        said.append((await passes(ana, seq))[-1])
    assert said == [
        (1, "delivered"),
        (2, "delivered"),
        (3, "suppressed"),
        (5, "delivered"),
        (6, "suppressed"),
    ]
    assert texts(ana)[-1] == REACHED
    assert len(texts(ana)) == 3
    # a spent budget makes the update silent, even of a redemption
    await redeem(ana, "r")
    await ana.sync(LONG)
    assert (shown(ana), len(texts(ana))) == (0, 3)
    # rolling: 24 h after the first there is room again
    ana.time.move(24 * 3600 - 4 * LONG)
    await sell(ana, "later", "10")
    await ana.sync(LONG)
    assert len(texts(ana)) == 4


async def test_a_text_of_unknown_fate_counts_against_the_budget(ana: House) -> None:
    await ana.reload(replace(COFFEE, rewards=()))
    ana.service.writes.extend([service.LOST_BEFORE])
    for n in range(4):
        await sell(ana, str(n))
        await ana.sync(LONG)
    assert len(texts(ana)) == 2
    assert shown(ana) == 12


async def test_texts_of_known_fate_are_forgotten_after_a_week(ana: House) -> None:
    def kept() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(ana.path)) as raw:
            return raw.execute("SELECT sale_id, state FROM push ORDER BY sale_id").fetchall()

    await sell(ana, "1")
    await ana.sync(LONG)
    ana.service.down = service.NOT_SENT
    await sell(ana, "2")
    ana.time.move(7 * 24 * 3600 - 2 * LONG)
    await ana.till.tidy()
    assert kept() == [("1", "sent"), ("2", "planned")]
    ana.time.move(2 * LONG)
    await ana.till.tidy()
    assert kept() == [("2", "planned")], "what is still owed is never forgotten"


async def test_a_text_not_sent_within_two_hours_is_dropped_the_balance_is_not(ana: House) -> None:
    ana.service.down = service.NOT_SENT
    await sell(ana, "1")
    await ana.sync(10)
    ana.time.move(2 * 3600)
    ana.service.down = None
    await ana.sync(LONG)
    assert (shown(ana), texts(ana)) == (6, [])
    assert await passes(ana) == [(6, "none")]


@pytest.mark.parametrize("amount", [None, "19.99"])
async def test_a_refund_drops_a_text_that_has_not_left(ana: House, amount: str | None) -> None:
    ana.service.down = service.NOT_SENT
    await sell(ana, "1")
    await ana.call("sale.refund", sale_id="1", refund_id="r", **({"amount": amount} if amount else {}))
    ana.service.down = None
    await ana.sync(LONG)
    assert (shown(ana), texts(ana)) == (4, [])


async def test_a_part_refund_corrects_a_text_that_has_not_left(ana: House) -> None:
    await ana.reload(replace(COFFEE, rewards=()))
    await sell(ana, "1", "30")
    await ana.call("sale.refund", sale_id="1", refund_id="r", amount="10")
    await ana.sync(LONG)
    assert texts(ana) == [EARNED_2]


async def test_refunds_and_adjustments_are_silent(ana: House) -> None:
    await sell(ana, "1")
    await ana.sync(LONG)
    await ana.call("sale.refund", sale_id="1", refund_id="r")
    await ana.sync(LONG)
    await ana.call("customer.adjust", value="ana", points=3, reason="gift", request_id="a")
    await ana.sync(LONG)
    assert (shown(ana), len(texts(ana))) == (7, 1)
    assert [n for _, n in await passes(ana)] == ["delivered", "none", "none"]


async def test_an_empty_template_sends_nothing(ana: House) -> None:
    await ana.reload(replace(COFFEE, messages=Messages(earned="", reached="", redeemed="")))
    await sell(ana, "1")
    await redeem(ana, "2")
    await ana.sync(LONG)
    assert (shown(ana), texts(ana)) == (0, [])


async def test_a_message_without_points_moved_is_sent_all_the_same(ana: House) -> None:
    """A kept reward changes no balance, but the customer is told."""
    keep = replace(COFFEE.rewards[0], on_redeem="keep", cost=4)
    await ana.reload(replace(COFFEE, rewards=(keep,)))
    await redeem(ana, "1")
    await ana.sync(LONG)
    assert (shown(ana), texts(ana)) == (4, [REDEEMED])


async def test_every_message_of_a_training_till_begins_so(ana: House) -> None:
    await ana.reload(replace(COFFEE, training=True))
    await sell(ana, "1")
    await ana.sync(LONG)
    assert texts(ana) == ["TRAINING " + REACHED]


# -- changes by others ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("to", "delta"), [(14, 10), (1, -3), (0, -4)])
async def test_a_foreign_change_is_taken_over_once_before_a_write(ana: House, to: int, delta: int) -> None:
    ana.service.foreign("pass-ana", to)
    await sell(ana, "1")
    await ana.sync(LONG)
    assert await ana.entries("ana") == [("opening", 4), ("earn", 2), ("foreign", delta)]
    assert shown(ana) == to + 2 == await ana.points("ana")
    assert (await mirror(ana))["foreign"] == 1
    await sell(ana, "2")
    await ana.sync(LONG)
    assert (await mirror(ana))["foreign"] == 1
    assert shown(ana) == to + 4


@pytest.mark.parametrize("to", [11, 2])
async def test_a_foreign_change_is_noticed_at_a_tap(ana: House, to: int) -> None:
    ana.service.foreign("pass-ana", to)
    await ana.call("sale.open", sale_id="1", total="8")
    tap = await ana.tap("ana")
    assert tap["balance"] == 4
    seq = ana.store.last_seq
    await ana.sync()
    told = await ana.events(seq)
    assert [(e["method"], e["balance"]) for e in told] == [("tap", to), ("sale", to), ("pass", to)]
    assert (told[0]["tap_id"], told[0]["status"], told[0]["sale_id"]) == (tap["tap_id"], "identified", "1")
    assert told[0]["rewards"][0]["available"] is (to >= 5)
    assert ana.service.count("write") == 0, "the pass shows the balance already"


async def test_no_second_event_when_nothing_differs(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8")
    await ana.tap("ana")
    seq = ana.store.last_seq
    await ana.sync(LONG)
    assert ana.service.count("read") == 1
    assert ana.store.last_seq == seq


async def test_a_tap_is_corrected_even_if_the_pos_asks_about_the_customer_meanwhile(ana: House) -> None:
    ana.service.foreign("pass-ana", 11)
    tap = await ana.tap("ana")
    await ana.call("customer.find", value="ana")
    await ana.call("sale.open", sale_id="1", total="8", value="ana")
    await ana.sync()
    assert [(e["tap_id"], e["balance"]) for e in await ana.events(0, "tap")] == [
        (tap["tap_id"], 4),
        (tap["tap_id"], 11),
    ]


async def test_two_taps_before_the_service_was_asked_are_both_corrected(ana: House) -> None:
    ana.service.foreign("pass-ana", 11)
    taps = [await ana.tap("ana", reader) for reader in ("counter", "door")]
    await ana.sync()
    second = [e["tap_id"] for e in await ana.events(0, "tap") if e["balance"] == 11]
    assert sorted(second) == sorted(t["tap_id"] for t in taps)


async def test_a_tap_while_the_service_is_away_is_corrected_when_it_is_back(ana: House) -> None:
    ana.service.foreign("pass-ana", 11)
    ana.service.down = service.NOT_SENT
    await ana.tap("ana")
    await ana.sync(20)
    ana.service.down = None
    await ana.sync(20)
    assert [e["balance"] for e in await ana.events(0, "tap")] == [4, 11]


async def test_a_foreign_change_between_unsettled_writes_is_taken_over_once(ana: House) -> None:
    ana.service.writes.append(service.APPLIED_BUT_LOST)
    await sell(ana, "1")
    async with ana.mirroring():
        await anyio.sleep(20)
        ana.service.foreign("pass-ana", 9)
        await sell(ana, "2")
        await anyio.sleep(LONG)
    assert shown(ana) == await ana.points("ana") == 11
    assert (await mirror(ana))["foreign"] == 1


async def test_a_pass_that_shows_nothing_for_a_debt_takes_over_what_others_add(ana: House) -> None:
    await sell(ana, "1", "60")
    await redeem(ana, "2")
    await ana.call("sale.refund", sale_id="1", refund_id="r")
    await ana.sync(LONG)
    assert (await ana.points("ana"), shown(ana)) == (-6, 0)
    ana.service.foreign("pass-ana", 2)
    await ana.tap("ana")
    await ana.sync(LONG)
    assert (await ana.points("ana"), shown(ana)) == (-4, 0)
    await sell(ana, "3", "70")
    await ana.sync(LONG)
    assert shown(ana) == await ana.points("ana") == 3


# -- stop, kill and restart -----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [service.FINE, *UNSURE.values(), service.NOT_SENT])
@pytest.mark.parametrize("after", [0.08, 0.13, 0.17])
async def test_killed_in_the_middle_of_a_turn(ana: House, fault: Fault, after: float) -> None:
    """What was on its way is unknown: right balance at the first read, and never a second text."""
    ana.service.writes.append(fault)
    await sell(ana, "1")
    with anyio.move_on_after(after):
        async with anyio.create_task_group() as group:
            group.start_soon(ana.bare_mirror().run)
    # Sent at 0.10, answered 0.05 later if at all.
    in_flight = after > 0.1 and (fault.after is None or after < 0.15)
    ana.restart()
    async with ana.mirroring():
        await anyio.sleep(15)
        assert shown(ana) == 6
        await anyio.sleep(LONG)
    assert shown(ana) == 6
    assert len(texts(ana)) <= 1
    assert (await mirror(ana))["waiting"] == 0
    if in_flight:
        assert (await passes(ana))[-1] == (6, "unknown")


async def test_after_a_restart_the_settle_clock_starts_anew(ana: House) -> None:
    """Nobody watched it: however late it is now, what was sent before may still arrive."""
    ana.service.writes.append(service.SECOND_COPY_LATE)
    await sell(ana, "1")
    await ana.sync(1)
    await sell(ana, "2")
    await ana.sync(1)
    ana.time.move(10 * SETTLE_S)
    ana.restart()
    await ana.sync(LONG)
    assert ana.service.written("pass-ana") == [6, 8, 6, 8]


async def test_killed_while_repairing_a_zombie(ana: House) -> None:
    ana.service.writes.append(Fault(service.Outcome.DONE, (0.0,)))
    await sell(ana, "1")
    await ana.sync(10)
    ana.service.passes["pass-ana"].points = 4  # an old value turned up again
    ana.time.move(SETTLE_S)
    with anyio.move_on_after(0.13):
        async with anyio.create_task_group() as group:
            ana.service.writes.append(service.LOST_BEFORE)
            group.start_soon(ana.bare_mirror().run)
    assert ana.service.count("write") == 2, "killed after the repair was sent"
    ana.restart()
    await ana.sync(15)
    assert shown(ana) == 6


async def test_an_orderly_stop_waits_for_what_it_sent(ana: House) -> None:
    await sell(ana, "1")
    await ana.sync(0.12)
    ana.restart()
    await ana.sync(LONG)
    assert texts(ana) == [REACHED]
    assert await passes(ana) == [(6, "delivered")]


async def test_a_ledger_locked_by_others_is_waited_for(ana: House) -> None:
    other = sqlite3.connect(ana.path, isolation_level=None)
    await sell(ana, "1")
    async with ana.mirroring():
        other.execute("BEGIN IMMEDIATE")
        assert await ana.refused("sale.close", sale_id="2", total="5") == "ledger-down"
        await anyio.sleep(2)
        other.execute("ROLLBACK")
        other.close()
        await anyio.sleep(60)
    assert shown(ana) == 6


# -- the reward on the face of the pass -----------------------------------------------------------------

FACE = replace(COFFEE, face=PassFace("reward", "{reward} your next order", "none yet"))


async def test_the_reward_is_written_on_the_pass_and_taken_off(ana: House) -> None:
    await ana.reload(FACE)
    fields = ana.service.passes["pass-ana"].fields
    await sell(ana, "1", "5")
    await sell(ana, "2", "10")
    await ana.sync(LONG)
    assert fields == {"reward": "£5 off your next order"}
    await redeem(ana, "3")
    await ana.sync(LONG)
    assert fields == {"reward": "none yet"}
    assert ana.service.count("field") == 2, "written when it differs, and then only"


@pytest.mark.parametrize(
    "fault", [service.LOST_BEFORE, service.APPLIED_BUT_LOST, service.LATE, service.NOT_SENT]
)
async def test_a_lost_reward_text_is_written_again(ana: House, fault: Fault) -> None:
    await ana.reload(FACE)
    ana.service.fields.append(fault)
    await sell(ana, "1", "10")
    await ana.sync(LONG)
    assert ana.service.passes["pass-ana"].fields == {"reward": "£5 off your next order"}
    assert texts(ana) == [REACHED]


async def test_a_template_without_the_field_does_not_hold_up_the_balance(ana: House) -> None:
    await ana.reload(FACE)
    ana.service.passes["pass-ana"].fields["reward"] = "old"
    ana.service.fields.extend([service.REFUSED] * 50)
    await sell(ana, "1", "10")
    await ana.sync(3600)
    assert shown(ana) == 5
    assert (await mirror(ana)) == {"waiting": 0, "oldest_age_s": None, "parked": 0, "foreign": 0}
    assert ana.service.count("field") <= 2


# -- anything, in any order -----------------------------------------------------------------------------

FAULTS = [service.FINE, *UNSURE.values(), *DOUBLED.values(), *SURE.values()]
SPENT_TEXTS = Sql(select(func.count()).select_from(tables.push).where(text("state IN ('sent', 'maybe')")))
STEPS = st.one_of(
    st.tuples(st.just("sell"), st.sampled_from(["5", "10", "20"])),
    st.tuples(st.just("wait"), st.sampled_from([0.06, 0.2, 1.0, 9.0, 45.0, 130.0])),
    st.tuples(st.just("tap"), st.none()),
    st.tuples(st.just("refund"), st.none()),
    st.tuples(st.just("redeem"), st.none()),
    st.tuples(st.just("kill"), st.none()),
    st.tuples(st.just("hours"), st.sampled_from([1, 3, 25])),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_template(tmp_path_factory.mktemp("template"))


@settings(max_examples=60)
@given(
    steps=st.lists(STEPS, min_size=1, max_size=12),
    writes=st.lists(st.sampled_from(FAULTS), max_size=8),
    reads=st.lists(st.sampled_from([service.FINE, service.LOST_BEFORE, service.NOT_SENT]), max_size=8),
)
def test_whatever_happens_the_balance_ends_right_and_no_text_goes_twice(
    template, tmp_path_factory, steps, writes, reads
):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        house = House(tmp_path_factory.mktemp("mirror"), durable=False, template=template)
        try:
            runner.run(_live(house, steps, writes, reads))
        finally:
            house.stop()
        assert house.store.wrong == []


class Life:
    """A till whose mirror runs, is killed and is started again while things happen."""

    def __init__(self, house: House, group: anyio.abc.TaskGroup) -> None:
        self.house = house
        self.group = group
        self.sales: list[str] = []
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()

    def start(self) -> None:
        self.scope, self.ended = anyio.CancelScope(), anyio.Event()
        self.group.start_soon(self._run, self.scope, self.ended)

    async def _run(self, scope: anyio.CancelScope, ended: anyio.Event) -> None:
        with scope:
            await self.house.bare_mirror().run()
        ended.set()

    async def kill(self) -> None:
        self.scope.cancel()
        await self.ended.wait()

    async def step(self, what: str, value: Any) -> None:
        house, sale_id = self.house, str(len(self.sales))
        match what:
            case "sell":
                await sell(house, sale_id, value)
                self.sales.append(sale_id)
            case "redeem":
                sale = await house.call("sale.open", sale_id=sale_id, total="8", value="ana")
                if sale["offers"]:
                    await house.call("sale.accept", sale_id=sale_id, reward="five-off")
                await house.call("sale.close", sale_id=sale_id)
                self.sales.append(sale_id)
            case "refund" if self.sales:
                await house.call("sale.refund", sale_id=self.sales[-1], refund_id=f"of {self.sales[-1]}")
            case "wait":
                await anyio.sleep(value)
            case "hours":
                await anyio.sleep(SETTLE_S)  # no request outlives that, and a leap would let it
                house.time.move(value * 3600)
            case "tap":
                await house.tap("ana")
            case "kill":
                await self.kill()
                house.restart()
                self.start()


async def _live(house: House, steps: list[Any], writes: list[Fault], reads: list[Fault]) -> None:
    house.time.loop = asyncio.get_running_loop()  # type: ignore[assignment]
    house.service.add("pass-ana", 4, ext_id="ana")
    await house.call("customer.find", value="ana")
    house.service.writes.extend(writes)
    house.service.reads.extend(reads)
    async with anyio.create_task_group() as group:
        life = Life(house, group)
        life.start()
        for what, value in steps:
            await life.step(what, value)
        house.service.writes.clear()
        house.service.reads.clear()
        await anyio.sleep(4 * SETTLE_S)
        await life.kill()
    ledger = await house.points("ana")
    assert ledger == await house.sum_of_entries("ana")
    assert shown(house) == max(0, ledger or 0)
    assert await mirror(house) == {"waiting": 0, "oldest_age_s": None, "parked": 0, "foreign": 0}
    # Each text belongs to a sale of its own, and is spent by being sent.
    spent = await house.store.run(lambda tx: tx.scalar(SPENT_TEXTS))
    assert len(texts(house)) <= spent <= len(life.sales)
