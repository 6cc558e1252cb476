"""The simulated VTAP on its pty, as the real driver sees it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from drivers.contract_suite import DriverContract, Rig
from tilltap_drivers.contract import DriverEvent, Health, PassRead, ReaderFault
from tilltap_drivers.vtap.reader import VtapDriver
from tilltap_drivers.vtap.script import QuitError, Script, ScriptError
from tilltap_drivers.vtap.settings import VtapSettings
from tilltap_drivers.vtap.simulator import LinkError, VtapSimulator
from tilltap_drivers.vtap.virtual import Presented, Profile, VirtualVtap

IDENTITY = "VTAP100 firmware V2.2.8.2 hardware 5.01 serial CC123456"

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(link: Path, reader: VirtualVtap | None = None) -> AsyncIterator[VtapSimulator]:
    simulator = VtapSimulator(link, reader or VirtualVtap())
    async with anyio.create_task_group() as tasks:
        await tasks.start(simulator.run)
        yield simulator
        tasks.cancel_scope.cancel()


def driver(link: Path) -> VtapDriver:
    return VtapDriver(VtapSettings("counter", str(link)))


async def until(reads: AsyncIterator[DriverEvent], value: bytes) -> list[bytes]:
    """Values up to and with `value`."""
    got = []
    with anyio.fail_after(8):
        async for event in reads:
            if isinstance(event, PassRead):
                got.append(event.value)
                if event.value == value:
                    break
    return got


@pytest.fixture
def link(tmp_path: Path) -> Path:
    return tmp_path / "vtap"


class TestContract(DriverContract):
    """The driver cannot tell the simulator from a reader."""

    @pytest.fixture
    async def rig(self, link: Path) -> AsyncIterator[Rig]:
        async with running(link) as sim:
            taps = [Presented(b"one"), Presented(b"two", "G", 1, 6)]
            yield Rig(driver(link), [b"one", b"two"], lambda: sim.tap(*taps), sim.unplug, sim.plug)


async def test_it_is_asked_and_answers(link: Path) -> None:
    async with running(link), aclosing(driver(link).reads()) as reads:
        with anyio.fail_after(5):
            assert await anext(reads) == Health("up")
            assert await anext(reads) == Health("up", identity=IDENTITY)


async def test_every_fault_of_the_menu_costs_no_good_tap(link: Path) -> None:
    async with running(link) as sim, aclosing(driver(link).reads()) as reads:
        await anext(reads)
        script = Script(sim)
        for line in (
            "plain", ":google g", ":card c", ":scan 4006", ":apple :colon", ":split slow", ":noise 500", ":undecryptable",
            ":raw 0d0a", ":burst 3 b{n}", ":startup", ":reply-tap inside", ":raw 0241313103", "last",
        ):  # fmt: skip
            assert script.perform(line)
        got = await until(reads, b"last")
    assert got == [b"plain", b"g", b"c", b"4006", b":colon", b"slow", b"b1", b"b2", b"b3", b"inside", b"last"]


async def test_the_line_after_a_disconnect_inside_a_tap(link: Path) -> None:
    async with running(link) as sim:
        script = Script(sim)
        reads = driver(link).reads()
        await anext(reads)
        script.perform(":cut lost")
        with pytest.raises(ReaderFault) as caught:
            await until(reads, b"never")
        assert caught.value.state == "unplugged"
        assert script.perform("while away") == "not sent: unplugged"
        script.perform(":plug")
        await anyio.sleep(0.1)
        async with aclosing(driver(link).reads()) as again:
            await anext(again)
            script.perform("back")
            assert await until(again, b"back") == [b"back"]


async def test_reboot_disappears_and_comes_back(link: Path) -> None:
    async with running(link, VirtualVtap(profile=Profile(reboot_seconds=0.3))) as sim:
        before = sim.reader
        fd = os.open(link, os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b"?reboot\r")
        await anyio.sleep(0.25)
        assert not link.is_symlink()
        os.close(fd)
        await anyio.sleep(0.5)
        assert link.exists()
        assert sim.reader is before


async def test_nobody_reads_and_it_goes_on(link: Path) -> None:
    async with running(link) as sim:
        for _ in range(50):
            sim.send(b"x" * 4096)
        with anyio.fail_after(6):
            await sim.drained()
        async with aclosing(driver(link).reads()) as reads:
            await anext(reads)
            sim.tap(Presented(b"fresh"))
            assert (await until(reads, b"fresh"))[-1] == b"fresh"


async def test_the_till_may_come_and_go(link: Path) -> None:
    async with running(link) as sim:
        for n in range(10):
            async with aclosing(driver(link).reads()) as reads:
                await anext(reads)
                sim.tap(Presented(b"%d" % n))
                assert await until(reads, b"%d" % n) == [b"%d" % n]


async def test_the_link_is_replaced_and_removed_but_never_a_file(link: Path) -> None:
    link.symlink_to("/nowhere")
    async with running(link):
        assert link.exists()
        async with running(link) as second:
            assert second.plugged
        assert not link.is_symlink()
    link.write_text("a file of somebody's")
    simulator = VtapSimulator(link, VirtualVtap())
    with pytest.raises(LinkError, match="is not a link"):
        await simulator.run()
    assert link.read_text() == "a file of somebody's"
    with pytest.raises(LinkError, match="cannot be made"):
        await VtapSimulator(link.parent / "no" / "vtap", VirtualVtap()).run()


async def test_one_that_was_replaced_leaves_the_link_of_the_other_alone(link: Path) -> None:
    async with running(link):
        second = VtapSimulator(link, VirtualVtap())
        tasks = anyio.create_task_group()
        async with tasks:
            async with running(link.parent / "unused"):
                pass
            await tasks.start(second.run)
            mine = link.readlink()
            tasks.cancel_scope.cancel()
        assert not link.is_symlink()
        link.symlink_to(mine)
    assert link.is_symlink()


@pytest.mark.parametrize(
    "line",
    [
        ":bogus",
        ":google",
        ":burst x v",
        ":burst 0 v",
        ":burst 1000000 v",
        ":noise x",
        ":raw xyz",
        ":osdp maybe",
        ":unplug soon",
    ],
)
async def test_a_line_that_is_not_understood_changes_nothing(link: Path, line: str) -> None:
    async with running(link) as sim:
        with pytest.raises(ScriptError):
            Script(sim).perform(line)
        assert sim.plugged


async def test_quit_and_help(link: Path) -> None:
    script = Script(VtapSimulator(link, VirtualVtap()))
    with pytest.raises(QuitError):
        script.perform(":quit")
    assert ":google VALUE" in script.perform(":help")
    assert script.perform("\n") == ""
    assert [script.perform(line) for line in (":lock", ":unlock", ":osdp off")] == [
        "locked",
        "unlocked",
        "OSDP off",
    ]
