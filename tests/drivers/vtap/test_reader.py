"""The VTAP driver on a real pty through pyserial."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from drivers.contract_suite import DriverContract, Rig, first
from rigs.pty_port import PtyPort
from rigs.tapes import as_golden, golden, load, play
from tilltap_drivers.contract import Health, PassRead, ReaderFault
from tilltap_drivers.vtap.reader import VtapDriver
from tilltap_drivers.vtap.settings import VtapSettings

FRAMES = b"\x02A11\x1f08A1B2C3\x1fone\x03\n\x02G16\x1f\x1ftwo\x03\n"


@pytest.fixture
def pty(tmp_path: Path) -> Iterator[PtyPort]:
    with PtyPort(tmp_path / "vtap") as port:
        yield port


def driver(pty: PtyPort, **settings: str) -> VtapDriver:
    return VtapDriver(VtapSettings("counter", str(pty.link), **settings))


class TestContract(DriverContract):
    @pytest.fixture
    def rig(self, pty: PtyPort) -> Rig:
        return Rig(driver(pty), [b"one", b"two"], lambda: pty.write(FRAMES), pty.unplug, pty.plug)


class TestContractWithAPattern(DriverContract):
    @pytest.fixture
    def rig(self, pty: PtyPort) -> Rig:
        by_pattern = VtapDriver(VtapSettings("counter", str(pty.link.parent / "vt*"), prefix="", postfix=""))
        return Rig(by_pattern, [b"one", b"two"], lambda: pty.write(b"one\r\ntwo\r"), pty.unplug, pty.plug)


@pytest.mark.anyio
async def test_it_learns_who_the_reader_is(pty: PtyPort) -> None:
    async with aclosing(driver(pty).reads()) as reads:
        assert await anext(reads) == Health("up")
        async with anyio.create_task_group() as tasks:

            async def answer() -> None:
                await to_thread.run_sync(pty.read, b"\r?b\r")
                pty.write(b"VTAP100\r\nFirmware: V2.2.8.2\r\n")

            tasks.start_soon(answer)
            with anyio.fail_after(5):
                assert await anext(reads) == Health("up", identity="VTAP100 firmware V2.2.8.2")


@pytest.mark.anyio
async def test_osdp_secure_mode_is_the_wrong_device(pty: PtyPort) -> None:
    reads = driver(pty).reads()
    assert await anext(reads) == Health("up")
    pty.write(b"VTAP100\r\nFirmware: V2.2.8.2\r\nOSDP:Enabled,SecureOnly OSDP address: 0\r\n")
    with pytest.raises(ReaderFault) as caught, anyio.fail_after(5):
        await anext(reads)
    assert caught.value.state == "wrong-device"


@pytest.mark.anyio
async def test_in_line_mode_not_one_byte_is_sent(pty: PtyPort) -> None:
    rig = Rig(driver(pty, prefix="", postfix=""), [], lambda: pty.write(b"one\n"), pty.unplug, pty.plug)
    assert await first(rig, 2) == [Health("up"), PassRead(b"one")]
    assert pty.sent() == b""


@pytest.mark.anyio
async def test_a_tap_that_came_in_two_halves_survives_a_slow_till(pty: PtyPort) -> None:
    """The second half waits in the kernel while the first tap is dealt with: it is not late."""
    half = len(FRAMES) - 8
    async with aclosing(driver(pty).reads()) as reads:
        await anext(reads)
        pty.write(FRAMES[:half])
        with anyio.fail_after(5):
            assert (await anext(reads)).value == b"one"
            pty.write(FRAMES[half:])
            await anyio.sleep(1.3)
            assert (await anext(reads)).value == b"two"


@pytest.mark.anyio
@pytest.mark.parametrize("size", [None, 1, 7, 4096])
@pytest.mark.parametrize("name", ["mixed-framed", "mixed-bare"])
async def test_a_tape_through_a_real_port(pty: PtyPort, name: str, size: int | None) -> None:
    tape, expected = load(name), golden(name)
    got = []
    with anyio.fail_after(30):
        async with (
            anyio.create_task_group() as tasks,
            aclosing(driver(pty, prefix=tape.prefix, postfix=tape.postfix).reads()) as reads,
        ):
            async for event in reads:
                if event == Health("up") and not got:
                    tasks.start_soon(to_thread.run_sync, lambda: play(tape, pty.master, speed=20, size=size))
                if isinstance(event, PassRead):
                    got.append(as_golden(event))
                if len(got) == len(expected):
                    break
    assert got == expected


@pytest.mark.anyio
async def test_64_kib_of_noise_on_the_line_leave_it_up(pty: PtyPort) -> None:
    noise = random.Random(5).randbytes(64 * 1024)

    def make_noise() -> None:
        os.set_blocking(pty.master, True)
        left = noise + b"\r\n" + FRAMES
        while left:
            left = left[os.write(pty.master, left) :]

    values = []
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks, aclosing(driver(pty).reads()) as reads:
            async for event in reads:
                if not values and event == Health("up"):
                    tasks.start_soon(to_thread.run_sync, make_noise)
                    values.append(b"")
                if isinstance(event, PassRead):
                    values.append(event.value)
                if values[-2:] == [b"one", b"two"]:
                    break
    assert values[-2:] == [b"one", b"two"]
