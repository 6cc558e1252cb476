"""Contract section 3, "Which sale a tap belongs to", and the `tap` event of 3.3."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rigs import service
from rigs.till import COFFEE, House

pytestmark = pytest.mark.anyio


@pytest.fixture
def ana(house: House) -> House:
    house.service.add("pass-ana", 5, ext_id="ana")
    house.service.add("pass-bob", 1, ext_id="bob")
    return house


async def customer(house: House, sale_id: str) -> str | None:
    found = (await house.call("sale.get", sale_id=sale_id))["customer"]
    return found["ext_id"] if found else None


async def test_the_tap_event(ana: House) -> None:
    tap = await ana.tap("ana")
    assert tap["at"].startswith("2026-11-21T10:00:")
    assert tap["at"].endswith("Z")
    assert len(tap.pop("tap_id")) == 16
    del tap["at"]
    assert tap == {
        "method": "tap",
        "seq": 1,
        "till": "till-1",
        "reader": "counter",
        "source": "apple-vas",
        "status": "identified",
        "customer": {"pass_id": "pass-ana", "ext_id": "ana"},
        "balance": 5,
        "rewards": [{"reward": "five-off", "title": "£5 off", "discount": "5.00", "available": True}],
        "sale_id": None,
        "stale": False,
    }


async def test_a_known_pass_is_answered_from_the_ledger_at_once(ana: House) -> None:
    await ana.tap("ana")
    ana.service.down = service.LOST_BEFORE
    at = ana.time.steady()
    for value in ("ana", "pass-ana"):
        assert (await ana.tap(value))["status"] == "identified"
    assert ana.time.steady() == at


async def test_a_pass_is_known_by_all_its_names(ana: House) -> None:
    ana.service.add("pass-cy", 2, ext_id="cy", nfc="Custom Value 1")
    assert (await ana.tap("Custom Value 1"))["customer"] == {"pass_id": "pass-cy", "ext_id": "cy"}
    ana.service.down = service.NOT_SENT
    for value in ("cy", "pass-cy", "Custom Value 1"):
        assert (await ana.tap(value))["balance"] == 2


async def test_a_pass_the_service_does_not_know(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8")
    tap = await ana.tap("nobody")
    assert (tap["status"], tap["customer"], tap["balance"], tap["rewards"], tap["sale_id"]) == (
        "unknown-pass",
        None,
        None,
        [],
        None,
    )
    assert await customer(ana, "1") is None
    assert await ana.refused("sale.attach", sale_id="1", tap_id=tap["tap_id"]) == "unknown-pass"


@pytest.mark.parametrize("status", ["no-pass", "unreadable", "locked"])
async def test_a_failed_tap_is_told_and_attaches_to_nothing(ana: House, status: str) -> None:
    await ana.call("sale.open", sale_id="1", total="8")
    await ana.till.tap_failed("counter", "apple-vas", status, "wrong key")  # type: ignore[arg-type]
    tap = (await ana.events(0, "tap"))[-1]
    assert (tap["status"], tap["reason"], tap["customer"], tap["sale_id"]) == (
        status,
        "wrong key",
        None,
        None,
    )
    assert await customer(ana, "1") is None
    await ana.call("sale.cancel", sale_id="1")
    await ana.till.tap_failed("counter", "apple-vas", status, "wrong key")  # type: ignore[arg-type]
    assert (await ana.call("sale.open", sale_id="2", total="8"))["customer"] is None


async def test_a_tap_goes_to_the_sale_last_opened_or_updated(ana: House) -> None:
    for sale_id in ("1", "2", "3"):
        await ana.call("sale.open", sale_id=sale_id, total="8")
    await ana.call("sale.update", sale_id="1", total="9")
    await ana.call("sale.get", sale_id="3")  # looking at a sale does not make it current
    assert (await ana.tap("ana"))["sale_id"] == "1"
    await ana.call("sale.open", sale_id="2", total="8")  # the same as an update
    assert (await ana.tap("bob"))["sale_id"] == "2"
    assert [await customer(ana, s) for s in "123"] == ["ana", "bob", None]


async def test_when_the_current_sale_ends_the_one_before_is_current(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8")
    await ana.call("sale.open", sale_id="2", total="8")
    await ana.call("sale.close", sale_id="2")
    assert (await ana.tap("ana"))["sale_id"] == "1"


async def test_its_own_customer_again_changes_nothing_and_another_attaches_to_nothing(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    before = await ana.call("sale.get", sale_id="1")
    seq = ana.store.last_seq
    assert (await ana.tap("ana"))["sale_id"] == "1"
    other = await ana.tap("bob")
    assert other["sale_id"] is None
    assert [e["method"] for e in await ana.events(seq)] == ["tap", "tap"]
    assert await ana.call("sale.get", sale_id="1") == before
    # neither waits for the next sale, but the POS may use the tap by its id
    assert (await ana.call("sale.open", sale_id="2", total="8"))["customer"] is None
    assert (await ana.call("sale.attach", sale_id="2", tap_id=other["tap_id"]))["customer"]["ext_id"] == "bob"


async def test_a_tap_that_attaches_is_told_before_its_sale(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8")
    seq = ana.store.last_seq
    await ana.tap("ana")
    tap, sale = await ana.events(seq)
    assert (tap["method"], tap["sale_id"]) == ("tap", "1")
    assert (sale["method"], sale["customer"]["ext_id"], sale["seq"]) == ("sale", "ana", tap["seq"] + 1)


@pytest.mark.parametrize(("waited", "found"), [(0, "ana"), (29, "ana"), (31, None)])
async def test_a_tap_before_the_sale_waits_thirty_seconds(
    ana: House, waited: float, found: str | None
) -> None:
    await ana.tap("ana")
    ana.time.move(waited)
    await ana.call("sale.open", sale_id="1", total="8")
    assert await customer(ana, "1") == found


async def test_of_waiting_taps_the_newest_only_and_once(ana: House) -> None:
    await ana.tap("ana")
    ana.time.move(1)
    await ana.tap("bob")
    await ana.call("sale.open", sale_id="1", total="8")
    await ana.call("sale.open", sale_id="2", total="8")
    assert [await customer(ana, s) for s in "12"] == ["bob", None]


async def test_a_waiting_tap_waits_for_a_sale_without_a_customer(ana: House) -> None:
    await ana.tap("ana")
    await ana.call("sale.open", sale_id="1", total="8", value="bob")
    await ana.call("sale.open", sale_id="2", total="8")
    assert [await customer(ana, s) for s in "12"] == ["bob", "ana"]


async def test_a_waiting_tap_that_was_named_is_used_up(ana: House) -> None:
    tap = await ana.tap("ana")
    await ana.call("sale.close", sale_id="1", total="8", tap_id=tap["tap_id"])
    await ana.call("sale.open", sale_id="2", total="8")
    await ana.tap("ana")
    assert await customer(ana, "2") == "ana"
    await ana.call("sale.close", sale_id="2")
    assert (await ana.call("sale.open", sale_id="3", total="8"))["customer"] is None


async def test_a_waiting_tap_of_somebody_served_meanwhile_is_used_up(ana: House) -> None:
    await ana.tap("ana")
    await ana.call("sale.close", sale_id="1", total="8", value="ana")
    assert (await ana.call("sale.open", sale_id="2", total="8"))["customer"] is None


async def test_a_tap_id_is_good_for_a_day(ana: House) -> None:
    tap = await ana.tap("ana")
    ana.time.move(24 * 3600 - 1)
    await ana.till.tidy()
    await ana.call("sale.open", sale_id="1", total="8")
    assert (await ana.call("sale.attach", sale_id="1", tap_id=tap["tap_id"]))["customer"]["ext_id"] == "ana"
    ana.time.move(2)
    assert await ana.refused("sale.open", sale_id="2", total="8", tap_id=tap["tap_id"]) == "unknown-tap"
    await ana.till.tidy()
    assert await ana.refused("sale.open", sale_id="2", total="8", tap_id=tap["tap_id"]) == "unknown-tap"


async def test_a_tap_survives_a_restart(ana: House) -> None:
    await ana.tap("ana")
    ana.restart()
    await ana.call("sale.open", sale_id="1", total="8")
    assert await customer(ana, "1") == "ana"


async def test_a_second_value_of_a_customer_who_just_tapped_is_no_second_tap(ana: House) -> None:
    ana.service.passes["pass-ana"].nfc = "other"
    await ana.tap("ana")
    seq = ana.store.last_seq
    owner = await ana.till.tap("counter", "google-smart-tap", "other", is_new=lambda _customer: False)
    assert owner == await ana.till.tap("counter", "apple-vas", "ana", is_new=lambda _customer: False)
    assert ana.store.last_seq == seq


async def test_rewards_of_a_tap_follow_what_is_free(ana: House) -> None:
    await ana.call("sale.open", sale_id="1", total="8", value="ana")
    await ana.call("sale.accept", sale_id="1", reward="five-off")
    await ana.call("sale.open", sale_id="2", total="8", value="bob")
    tap = await ana.tap("ana")
    assert (tap["balance"], tap["rewards"][0]["available"], tap["sale_id"]) == (5, False, None)


async def test_events_number_on_without_a_gap_over_reload_and_restart(ana: House) -> None:
    await ana.tap("ana")
    await ana.call("sale.open", sale_id="1", total="8")
    await ana.reload(replace(COFFEE, name="Other"))
    ana.restart()
    await ana.till.reader_changed("counter", "up", "")
    await ana.till.reader_changed("counter", "up", "")
    await ana.call("sale.close", sale_id="1")
    await ana.till.refuse_program(["tilltap.toml:3: program.earn.spend: must be positive"])
    await ana.till.say_bye()
    events = await ana.events()
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    methods = [e["method"] for e in events]
    assert methods == ["tap", "sale", "program", "reader", "sale", "program", "bye"]
    assert events[2]["changed"] == ["program"]
    assert events[5]["refused"] == ["tilltap.toml:3: program.earn.spend: must be positive"]
    assert await ana.till.oldest_event() == 1
    assert [e["seq"] for e in await ana.events(5)] == [6, 7]


async def test_at_least_ten_thousand_events_are_kept(ana: House) -> None:
    ana.store.watch = False

    def many(tx):  # type: ignore[no-untyped-def]
        for n in range(21_000):
            tx.emit("reader", {"reader": "counter", "state": str(n)})

    await ana.store.run(many)
    await ana.till.tidy()
    assert 0 < await ana.till.oldest_event() <= ana.store.last_seq - 10_000
    assert len(await ana.till.events(ana.store.last_seq - 10_000, 20_000)) == 10_000
