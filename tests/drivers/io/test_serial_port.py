"""A real pty through pyserial: finding, locking, reading, losing and writing to a port."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from rigs.pty_port import PtyPort
from tilltap_drivers.contract import ReaderFault
from tilltap_drivers.io import serial_port
from tilltap_drivers.io.serial_port import SerialPort, find, matches

pytestmark = pytest.mark.anyio


@pytest.fixture
def pty(tmp_path: Path) -> Iterator[PtyPort]:
    with PtyPort(tmp_path / "vtap") as port:
        yield port


@pytest.fixture
def port(pty: PtyPort) -> Iterator[SerialPort]:
    port = SerialPort.open(str(pty.link), 9600)
    yield port
    port.close()


def refused(path: object) -> ReaderFault:
    with pytest.raises(ReaderFault) as caught:
        SerialPort.open(str(path), 9600)
    assert "\n" not in caught.value.remedy
    return caught.value


def test_a_pattern_must_match_exactly_one(tmp_path: Path, pty: PtyPort) -> None:
    pattern = str(tmp_path / "vt*")
    assert find(pattern) == str(pty.link)
    (tmp_path / "vtap-again").symlink_to(pty.link)
    assert len(matches(pattern)) == 1, "two links to one device are one device"
    (tmp_path / "vtap-dead").symlink_to(tmp_path / "nothing")
    assert len(matches(pattern)) == 1, "a dead link is no device"
    with PtyPort(tmp_path / "vtap2"):
        fault = refused(pattern)
    assert (fault.state, "2 devices match" in fault.remedy) == ("wrong-device", True)


@pytest.mark.parametrize("name", ["vtap", "vt*", "v[12]"])
def test_nothing_there_is_unplugged(tmp_path: Path, name: str) -> None:
    fault = refused(tmp_path / name)
    assert (fault.state, name in fault.remedy) == ("unplugged", True)


def test_a_dead_link_is_unplugged(tmp_path: Path) -> None:
    (tmp_path / "vtap").symlink_to(tmp_path / "gone")
    assert refused(tmp_path / "vtap").state == "unplugged"


def test_a_device_named_like_a_pattern_is_found(tmp_path: Path) -> None:
    with PtyPort(tmp_path / "usb[1]") as pty:
        assert find(str(pty.link)) == str(pty.link)


def test_what_is_no_tty_is_the_wrong_device(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "file", tmp_path / "fifo", tmp_path, "/dev/null"):
        fault = refused(path)
        assert (fault.state, "not a serial port" in fault.remedy) == ("wrong-device", True)


def test_a_port_in_use_is_refused_and_free_again_after_close(pty: PtyPort, port: SerialPort) -> None:
    fault = refused(pty.link)
    assert (fault.state, "in use" in fault.remedy) == ("unplugged", True)
    port.close()
    SerialPort.open(str(pty.link), 9600).close()


def test_a_forbidden_port_names_the_group(pty: PtyPort, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serial_port.serial, "Serial", forbidden)  # the tests may run as root
    assert "add tilltap's user to group" in refused(pty.link).remedy


def test_an_impossible_speed_is_the_wrong_device(pty: PtyPort) -> None:
    with pytest.raises(ReaderFault, match="baud"):
        SerialPort.open(str(pty.link), 2**70)


async def test_the_line_is_raw(pty: PtyPort, port: SerialPort) -> None:
    every = bytes(range(256))
    pty.write(every)
    got = b""
    while len(got) < 256:
        got += await port.read(within=2.0)
    assert got == every
    assert port.write(every)
    assert pty.read(until=b"\xff") == every


async def test_what_came_before_opening_is_dropped_and_nothing_after(pty: PtyPort) -> None:
    pty.write(b"old")
    port = SerialPort.open(str(pty.link), 9600)
    pty.write(b"new")
    assert await port.read(within=2.0) == b"new"
    port.close()


async def test_read_gives_up_in_time(port: SerialPort) -> None:
    began = time.monotonic()
    assert await port.read(within=0.05) == b""
    assert time.monotonic() - began < 1.0


async def test_a_hang_up_wakes_the_reader_within_a_second(pty: PtyPort, port: SerialPort) -> None:
    timer = threading.Timer(0.2, pty.unplug)
    timer.start()
    began = time.monotonic()
    with pytest.raises(ReaderFault) as caught:
        await port.read(within=30.0)
    timer.join()
    assert caught.value.state == "unplugged"
    assert time.monotonic() - began < 1.2


async def test_a_write_to_a_lost_port_is_a_fault(pty: PtyPort, port: SerialPort) -> None:
    pty.unplug()
    with pytest.raises(ReaderFault):
        port.write(b"?b\r")


async def test_a_link_that_goes_or_points_elsewhere_is_noticed(
    tmp_path: Path, pty: PtyPort, port: SerialPort
) -> None:
    with PtyPort(tmp_path / "other") as other:
        pty.link.unlink()
        pty.link.symlink_to(os.ttyname(other.slave))
        began = time.monotonic()
        with pytest.raises(ReaderFault, match="is gone"):
            await port.read(within=30.0)
        assert time.monotonic() - began < 5.0  # contract 3.3


async def test_a_write_that_nobody_takes_does_not_wait_and_close_does_not_either(port: SerialPort) -> None:
    began = time.monotonic()
    while port.write(b"x" * 1000):
        assert time.monotonic() - began < 2.0
    port.close()
    assert time.monotonic() - began < 2.0


async def test_a_cancelled_read_loses_nothing(pty: PtyPort, port: SerialPort) -> None:
    with anyio.move_on_after(0.05):
        await port.read(within=30.0)
    pty.write(b"abc")
    assert await port.read(within=2.0) == b"abc"
