"""The replay driver: a tape as a reader."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from drivers.contract_suite import DriverContract, Rig
from rigs.tapes import TAPES, as_golden, golden
from tilltap_drivers.contract import Health, PassRead, ReaderFault
from tilltap_drivers.replay.reader import ReplayDriver
from tilltap_drivers.replay.settings import ReplaySettings

TAPE = """\
# tilltap tape 1
# Reader: VTAP50
# Prefix: %02$t$n%1F$u%1F
# Postfix: %03%0A

0.010 < %02A11%1F%1Fone%03
0.010 < %0A%02G16%1F%1Ftwo%03%0A
"""


class TestContract(DriverContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        tape = tmp_path / "x.tape"
        tape.write_text(TAPE)
        driver = ReplayDriver(ReplaySettings("desk", str(tape)))
        return Rig(
            driver,
            [b"one", b"two"],
            lambda: None,
            tape.unlink,
            lambda: tape.write_text(TAPE),
            live=False,
        )


async def played(settings: ReplaySettings, count: int) -> list[PassRead]:
    got: list[PassRead] = []
    with anyio.fail_after(20):
        async with aclosing(ReplayDriver(settings).reads()) as reads:
            async for event in reads:
                if isinstance(event, PassRead):
                    got.append(event)
                if len(got) == count:
                    break
    return got


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["mixed-framed", "mixed-bare", "odd-framed"])
async def test_the_tapes_give_their_golden_events_at_any_speed(name: str) -> None:
    expected = golden(name)
    got = await played(ReplaySettings("desk", str(TAPES / f"{name}.tape"), speed=100), len(expected))
    assert [as_golden(tap) for tap in got] == expected


@pytest.mark.anyio
async def test_a_looped_tape_begins_again(tmp_path: Path) -> None:
    (tmp_path / "x.tape").write_text(TAPE)
    got = await played(ReplaySettings("desk", str(tmp_path / "x.tape"), loop=True, speed=100), 5)
    assert [tap.value for tap in got] == [b"one", b"two", b"one", b"two", b"one"]


@pytest.mark.anyio
async def test_after_the_end_it_stays_up_and_quiet(tmp_path: Path) -> None:
    (tmp_path / "x.tape").write_text(TAPE)
    async with aclosing(ReplayDriver(ReplaySettings("desk", str(tmp_path / "x.tape"))).reads()) as reads:
        assert await anext(reads) == Health("up", identity="VTAP50 (replayed)")
        assert [(await anext(reads)).value for _ in range(2)] == [b"one", b"two"]
        with anyio.move_on_after(0.3) as quiet:
            await anext(reads)
    assert quiet.cancelled_caught


@pytest.mark.anyio
@pytest.mark.parametrize("content", [b"nonsense", TAPE.encode() + b"oops\n", b"\xff\xfe"])
async def test_a_broken_tape_is_the_wrong_device(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tape").write_bytes(content)
    with pytest.raises(ReaderFault) as caught:
        await played(ReplaySettings("desk", str(tmp_path / "x.tape")), 1)
    assert (caught.value.state, "x.tape" in caught.value.remedy) == ("wrong-device", True)
