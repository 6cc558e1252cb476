"""Supervision of readers (contract 3.3): folding, back-off, early wake, visible states; the driver is scripted."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from rigs import service
from rigs.clock import BACKEND
from rigs.till import House
from tilltap.readers import Reader
from tilltap_drivers.contract import DriverEvent, Health, PassRead, ReaderFault, ReadFailure

pytestmark = pytest.mark.anyio

UP = Health("up")
LOCKED = ReadFailure("locked", "ask the customer to unlock", "apple-vas")
UNPLUGGED = ReaderFault("unplugged", "plug the reader in")


@pytest.fixture
def anyio_backend() -> Any:
    return BACKEND


@dataclass(frozen=True)
class Settings:
    name: str = "counter"


Step = float | DriverEvent | Exception


@dataclass
class Script:
    """Each run plays the next list of steps: seconds to wait, what to yield, what to raise. Then it waits."""

    runs: list[list[Step]]
    there: bool = True
    began: list[float] = field(default_factory=list)

    def present(self) -> bool:
        return self.there

    async def reads(self) -> AsyncIterator[DriverEvent]:
        self.began.append(anyio.current_time())
        for step in self.runs.pop(0) if self.runs else []:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await anyio.sleep(step)
            else:
                yield step
        await anyio.sleep_forever()


@asynccontextmanager
async def reading(house: House, script: Script) -> AsyncIterator[Script]:
    reader = Reader(Settings(), script, house.till, house.time)
    async with anyio.create_task_group() as group:
        group.start_soon(reader.run)
        yield script
        group.cancel_scope.cancel()


async def play(house: House, *steps: Step, seconds: float = 30.0) -> list[tuple[str, str | None]]:
    """`(status, ext id or reason)` of every tap that a run of these steps makes."""
    async with reading(house, Script([[UP, *steps]])):
        await anyio.sleep(seconds)
    return [
        (e["status"], e.get("reason") or (e["customer"] or {}).get("ext_id"))
        for e in await house.events(0, "tap")
    ]


def read(value: str, source: Any = "apple-vas") -> PassRead:
    return PassRead(value.encode(), source)


@pytest.fixture
def ana(house: House) -> House:
    house.service.add("pass-ana", 5, ext_id="ana", nfc="ana-2")
    house.service.add("pass-bob", 5, ext_id="bob")
    return house


ANA, ANA_2, BOB = read("ana"), read("ana-2", "google-smart-tap"), read("bob")
TAP_A, TAP_B = ("identified", "ana"), ("identified", "bob")


@pytest.mark.parametrize(
    ("steps", "taps"),
    [
        ([ANA], [TAP_A]),
        ([ANA, ANA, 0.5, ANA], [TAP_A]),
        ([ANA, 1.9, ANA], [TAP_A]),
        ([ANA, 2.1, ANA], [TAP_A, TAP_A]),
        # until 2 s have passed without it: a phone left on the reader is one tap
        ([ANA, 1.5, ANA, 1.5, ANA, 1.5, ANA], [TAP_A]),
        ([ANA, 1.5, ANA, 1.5, ANA, 2.1, ANA], [TAP_A, TAP_A]),
        ([BOB, ANA, BOB, ANA], [TAP_B, TAP_A]),
        # the same customer through two values
        ([ANA, 0.5, ANA_2], [TAP_A]),
        ([ANA, 0.5, ANA_2, 1.5, ANA, 1.5, ANA_2], [TAP_A]),
        ([ANA, 2.5, ANA_2], [TAP_A, TAP_A]),
        ([ANA, ANA_2], [TAP_A]),
        # equal failures are joined likewise, a locked followed by an identified gives both
        ([LOCKED, 1.0, LOCKED, 1.0, LOCKED], [("locked", LOCKED.reason)]),
        ([LOCKED, 1.0, ANA], [("locked", LOCKED.reason), TAP_A]),
        ([LOCKED, 1.0, ReadFailure("no-pass", "x")], [("locked", LOCKED.reason), ("no-pass", "x")]),
        # unreadable values
        ([PassRead(b"")], [("unreadable", "malformed: empty")]),
        ([PassRead(b"\xff\xfe")], [("unreadable", "malformed: not UTF-8 text")]),
        ([PassRead(b"a" * 257)], [("unreadable", "malformed: longer than 256 characters")]),
        ([PassRead(b"a\x00b")], [("unreadable", "malformed: unprintable characters")]),
    ],
)
async def test_folding(ana: House, steps: list[Step], taps: list[tuple[str, str]]) -> None:
    await ana.tap("bob")  # bob is known to the ledger, ana is not
    found = await play(ana, *steps)
    assert found[1:] == taps


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("slow", [0.05, 1.2, 1.4])
@pytest.mark.parametrize("every", [0.7, 1.3, 1.9])
async def test_a_phone_left_on_the_reader_is_one_tap_however_long_the_service_takes(
    ana: House, known: bool, slow: float, every: float
) -> None:
    if known:
        await ana.call("customer.find", value="ana")
    ana.service.reads.append(service.Fault(service.Outcome.DONE, after=slow))
    found = await play(ana, *[ANA, every] * 10)
    assert found == [TAP_A]


@pytest.mark.parametrize("down", [service.NOT_SENT, service.LOST_BEFORE])
async def test_an_offline_tap_is_folded_as_any_other(ana: House, down: service.Fault) -> None:
    ana.service.down = down
    found = await play(ana, *[ANA, 0.7] * 10)
    assert [status for status, _ in found] == ["offline"]


async def test_an_unknown_pass_is_folded_as_any_other(ana: House) -> None:
    found = await play(ana, *[read("who"), 0.7] * 10)
    assert [status for status, _ in found] == ["unknown-pass"]


async def test_readers_fold_for_themselves(ana: House) -> None:
    assert await play(ana, ANA, seconds=0.5) == [TAP_A]
    assert await play(ana, ANA, seconds=0.5) == [TAP_A, TAP_A]


async def test_a_slow_service_holds_up_neither_the_reader_nor_known_passes(ana: House) -> None:
    await ana.call("customer.find", value="bob")
    ana.service.down = service.LOST_BEFORE
    async with reading(ana, Script([[UP, ANA, BOB]])):
        await anyio.sleep(0.01)
        assert [e["customer"]["ext_id"] for e in await ana.events(0, "tap")] == ["bob"]
        await anyio.sleep(2)
        assert [e["status"] for e in await ana.events(0, "tap")] == ["identified", "offline"]


async def states(house: House) -> list[str]:
    return [e["state"] for e in await house.events(0, "reader")]


async def test_states_are_told_once_each_with_the_remedy(ana: House) -> None:
    script = Script([[UP, UP, UNPLUGGED], [UNPLUGGED], [ReaderFault("wrong-device", "not a VTAP")], [UP]])
    async with reading(ana, script):
        await anyio.sleep(15)
        assert (await ana.call("status"))["readers"] == [{"reader": "counter", "state": "up"}]
    assert await states(ana) == ["starting", "up", "unplugged", "wrong-device", "up"]
    events = await ana.events(0, "reader")
    assert [e.get("remedy") for e in events] == [None, None, "plug the reader in", "not a VTAP", None]


async def test_a_reader_that_stays_away_is_tried_for_ever_at_most_every_five_seconds(ana: House) -> None:
    script = Script([[UNPLUGGED] for _ in range(1000)])
    async with reading(ana, script):
        await anyio.sleep(600)
    pauses = [b - a for a, b in zip(script.began, script.began[1:], strict=False)]
    assert pauses[0] < 0.6
    assert all(p <= 5.01 for p in pauses)
    assert all(p > 3.9 for p in pauses[5:])


async def test_a_reader_that_worked_is_tried_again_soon(ana: House) -> None:
    script = Script([[UNPLUGGED]] * 6 + [[UP, 1.0, UNPLUGGED], [UP]])
    async with reading(ana, script):
        await anyio.sleep(60)
    assert script.began[-1] - script.began[-2] < 1.0 + 0.6


@pytest.mark.parametrize("there", [False, True])
async def test_the_pause_ends_when_the_device_is_back(ana: House, there: bool) -> None:
    """Whether it was away all the time, or is pulled and put in again during the pause."""
    script = Script([[UNPLUGGED] for _ in range(6)] + [[UP]], there=there)
    async with reading(ana, script):
        await anyio.sleep(12.8)  # in the middle of the pause after the sixth try
        assert len(script.began) == 6
        script.there = False
        await anyio.sleep(0.3)
        back = anyio.current_time()
        script.there = True
        await anyio.sleep(3)
        assert (await states(ana))[-1] == "up"
        assert script.began[-1] - back < 0.3


async def test_a_device_that_is_there_and_fails_is_not_hurried(ana: House) -> None:
    script = Script([[ReaderFault("wrong-device", "not a VTAP")] for _ in range(100)])
    async with reading(ana, script):
        await anyio.sleep(60)
    assert len(script.began) < 20


@pytest.mark.parametrize(
    "fault", [OSError(5, "I/O error"), ValueError("odd"), KeyError("x"), RuntimeError("y")]
)
async def test_a_driver_may_fail_in_any_way(ana: House, fault: Exception) -> None:
    async with reading(ana, Script([[UP, fault], [UP, ANA]])):
        await anyio.sleep(5)
    assert await states(ana) == ["starting", "up", "unplugged", "up"]
    assert len(await ana.events(0, "tap")) == 1


async def test_a_tap_outlives_the_reader_that_read_it(ana: House) -> None:
    ana.service.reads.append(service.Fault(service.Outcome.DONE, after=1.0))
    assert await play(ana, ANA, UNPLUGGED) == [TAP_A]


async def test_a_locked_ledger_costs_taps_but_no_reader(ana: House) -> None:
    other = sqlite3.connect(ana.path, isolation_level=None)
    async with reading(ana, Script([[UP, 1.0, ANA, LOCKED, UNPLUGGED], [UP, 1.0, BOB]])):
        await anyio.sleep(0.5)
        other.execute("BEGIN IMMEDIATE")
        await anyio.sleep(1)
        other.execute("ROLLBACK")
        other.close()
        await anyio.sleep(20)
    assert [e["customer"]["ext_id"] for e in await ana.events(0, "tap")][-1] == "bob"
    assert (await states(ana))[-1] == "up"
