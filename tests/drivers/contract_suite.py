"""What every driver must do, whatever it drives: inherit `DriverContract` and give it a `rig`.

Source: drivers/README.md, "The contract". A driver's own tests stand beside this, not instead of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import anyio
import pytest

from tilltap_drivers.contract import Driver, DriverEvent, Health, PassRead, ReaderFault

# Seconds: contract 3.3 gives a lost reader 5 s to be noticed and a returning one 10 s to be up.
NOTICED = 5.0
UP = 10.0

# Seconds `present` may take: it is polled on the event loop.
PRESENT = 0.05


@dataclass
class Rig:
    """A driver and its device. `present_passes` makes the device read exactly `values`, once per run."""

    driver: Driver
    values: list[bytes]
    present_passes: Callable[[], object]
    remove: Callable[[], object]
    bring_back: Callable[[], object]
    live: bool = True  # False: the driver does not notice a removal while it runs (a tape is in memory)


async def first(rig: Rig, count: int) -> list[DriverEvent]:
    """The first events of a run, presenting passes once it is up."""
    got: list[DriverEvent] = []
    with anyio.fail_after(UP):
        async with aclosing(rig.driver.reads()) as reads:  # type: ignore[type-var]
            async for event in reads:
                if not got:
                    rig.present_passes()
                if not isinstance(event, Health) or not got:
                    got.append(event)
                if len(got) == count:
                    break
    return got


async def lost(rig: Rig) -> None:
    """A run whose device goes once it is up."""
    async for event in rig.driver.reads():
        if event == Health("up"):
            rig.remove()


async def settled(rig: Rig, *, present: bool) -> None:
    """Devices that are programs take a moment to go and to come."""
    with anyio.fail_after(NOTICED):
        while rig.driver.present() is not present:  # noqa: ASYNC110 -- polled, as the supervisor does
            await anyio.sleep(0.01)


class DriverContract:
    pytestmark = pytest.mark.anyio

    async def test_a_run_begins_with_up_and_gives_every_pass_in_order(self, rig: Rig) -> None:
        up, *reads = await first(rig, 1 + len(rig.values))
        assert isinstance(up, Health)
        assert up.state == "up"
        assert [read.value for read in reads if isinstance(read, PassRead)] == rig.values

    async def test_runs_are_alike_and_release_the_device(self, rig: Rig) -> None:
        assert await first(rig, 1 + len(rig.values)) == await first(rig, 1 + len(rig.values))

    async def test_a_waiting_run_ends_at_once_when_cancelled(self, rig: Rig) -> None:
        async def run() -> None:
            async for _ in rig.driver.reads():
                pass

        for _ in range(2):  # the second run finds the device free
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                await anyio.sleep(0.3)
                began = time.monotonic()
                tasks.cancel_scope.cancel()
            assert time.monotonic() - began < 0.5

    async def test_a_device_that_is_not_there_is_a_fault_with_a_remedy(self, rig: Rig) -> None:
        rig.remove()
        await settled(rig, present=False)
        with pytest.raises(ReaderFault) as caught:
            await first(rig, 1)
        assert caught.value.state == "unplugged"
        assert caught.value.remedy
        assert "\n" not in caught.value.remedy

    async def test_a_device_that_goes_ends_the_run_and_the_next_one_finds_it_again(self, rig: Rig) -> None:
        if rig.live:
            with anyio.fail_after(NOTICED), pytest.raises(ReaderFault) as caught:
                await lost(rig)
            assert caught.value.state == "unplugged"
        else:
            rig.remove()
            await settled(rig, present=False)
        rig.bring_back()
        await settled(rig, present=True)
        assert len(await first(rig, 1 + len(rig.values))) == 1 + len(rig.values)

    async def test_present_is_quick(self, rig: Rig) -> None:
        took = []
        for _ in range(5):  # the quickest: another test may have the processor meanwhile
            began = time.monotonic()
            assert rig.driver.present()
            took.append(time.monotonic() - began)
        assert min(took) < PRESENT
