"""The only code that knows ttys: pyserial opens, configures and locks; the event loop reads the descriptor.

No thread: closing a port does not wake a blocked pyserial reader, and a stuck worker would hold up the stop.
Everything that goes wrong is a `ReaderFault` whose remedy names the port and what to do.
"""

from __future__ import annotations

import errno
import grp
import os
import re
import select
import stat
import termios
import time
from contextlib import suppress
from glob import glob, has_magic
from pathlib import Path
from typing import Self

import anyio
import serial

from tilltap_drivers.contract import ReaderFault

# Bytes taken from the kernel at once: the size of its own tty buffer.
CHUNK = 4096

# Seconds between looks at the device path while nothing arrives. A pulled plug hangs up the port and wakes
# the reader at once; the look catches what the kernel does not tell, within the 5 s of contract 3.3.
PATH_CHECK = 1.0

# Looks in a row that must fail: udev may renew a link while the device stays.
PATH_MISSES = 2

# Reads in a row that wake up and bring nothing before the port counts as gone: a dead adapter does that.
EMPTY_READS = 20

_GONE = frozenset({errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EIO, errno.ENOTCONN})
_BUSY = frozenset({errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


def matches(port: str) -> list[str]:
    """Existing devices for a path or pattern, two links to one device counted once, dead links not at all."""
    if not has_magic(port) or Path(port).exists():
        return [port] if Path(port).exists() else []
    found = sorted(glob(port), reverse=True)  # noqa: PTH207 -- Path.glob wants the fixed part apart
    devices = {os.path.realpath(path): path for path in found if Path(path).exists()}
    return sorted(devices.values())


def find(port: str) -> str:
    """The one device that `port` means."""
    found = matches(port)
    if not found:
        what = f"no device matches {port}" if has_magic(port) else f"{port} does not exist"
        raise ReaderFault("unplugged", f"{what}: plug the reader in, or correct `port`")
    if len(found) > 1:
        raise ReaderFault(
            "wrong-device", f"{len(found)} devices match {port}: name one of them ({', '.join(found[:4])})"
        )
    return found[0]


class SerialPort:
    """One open port, locked against others that lock, raw, DTR on; used from the event loop only."""

    def __init__(self, path: str, port: serial.Serial) -> None:
        self.path = path
        self._port = port
        self._fd: int = port.fileno()
        self._device = os.fstat(self._fd).st_rdev
        self._misses = 0
        self._empty = 0
        self._looked = time.monotonic()  # at the path, by `take`

    @classmethod
    def open(cls, port: str, baud: int) -> Self:
        """Opens what `port` resolves to; never waits. What arrived before is dropped, nothing after."""
        path = find(port)
        if not stat.S_ISCHR(_mode(path)):
            raise ReaderFault("wrong-device", f"{path} is not a serial port: correct `port`")
        try:
            # inter_byte_timeout=0 sets VMIN=1: an empty read is then a hang-up, and "nothing yet" is EAGAIN.
            device = serial.Serial(
                path, baud, exclusive=True, timeout=0, write_timeout=0, inter_byte_timeout=0
            )
        except (OSError, termios.error, ValueError, OverflowError) as error:
            raise _fault(path, baud, error) from None
        return cls(path, device)

    async def read(self, within: float) -> bytes:
        """Bytes as soon as there are any; b"" when `within` seconds brought none."""
        deadline = anyio.current_time() + within
        while True:
            wait = min(PATH_CHECK, deadline - anyio.current_time())
            with anyio.move_on_after(wait) as waiting:
                await anyio.wait_readable(self._fd)
            if not waiting.cancelled_caught:
                data = self._take()
                if data is not None:
                    self._misses = 0
                    return data
            else:
                self._empty = 0
            self._check_path()
            if anyio.current_time() >= deadline:
                return b""

    def _take(self) -> bytes | None:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            data = b""
        except OSError:
            raise self._unplugged() from None
        if data:
            self._empty = 0
            return data
        self._empty += 1
        if self._hung_up() or self._empty >= EMPTY_READS:
            raise self._unplugged()
        return None

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return any(mask & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, mask in poll.poll(0))

    def _check_path(self) -> None:
        try:
            same = Path(self.path).stat().st_rdev == self._device
        except OSError:
            same = False
        self._misses = 0 if same else self._misses + 1
        if self._misses >= PATH_MISSES or self._hung_up():
            raise self._unplugged()

    def take(self, within: float) -> bytes:
        """As `read`, for a thread that may block: what there is, b"" if `within` seconds brought none."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if poll.poll(within * 1000):
            return self._take() or b""
        self._empty = 0
        if time.monotonic() - self._looked > PATH_CHECK:
            self._looked = time.monotonic()
            self._check_path()
        return b""

    def set_baud(self, baud: int) -> None:
        """Another speed from now on."""
        try:
            self._port.baudrate = baud
        except (OSError, termios.error, ValueError, OverflowError) as error:
            raise _fault(self.path, baud, error) from None

    def write(self, data: bytes) -> bool:
        """Hands all of `data` to the kernel now, or says False: a command is not worth waiting for."""
        try:
            return os.write(self._fd, data) == len(data)
        except BlockingIOError:
            return False
        except OSError:
            raise self._unplugged() from None

    def close(self) -> None:
        """Output that nobody took is dropped first, or the kernel would wait up to 30 s for it."""
        with suppress(OSError, termios.error):
            self._port.reset_output_buffer()
        with suppress(OSError):
            self._port.close()

    def _unplugged(self) -> ReaderFault:
        return ReaderFault("unplugged", f"{self.path} is gone: check the reader's cable")


def _mode(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except OSError as error:
        raise _fault(path, 0, error) from None


def _fault(path: str, baud: int, error: Exception) -> ReaderFault:
    """The state and the remedy for a port that could not be opened.

    A port we may not have is `unplugged` like a PC/SC reader without its service (contract 3.3): nothing
    says that it is the wrong one.
    """
    number = _errno(error)
    if number in _GONE:
        return ReaderFault("unplugged", f"{path} is gone: check the reader's cable")
    if number in _BUSY:
        return ReaderFault(
            "unplugged", f"{path} is in use: stop the other program (another tilltap, ModemManager)"
        )
    if number in _FORBIDDEN:
        return ReaderFault(
            "unplugged", f"{path} may not be opened: add tilltap's user to group {_group(path)}"
        )
    if isinstance(error, (ValueError, OverflowError)):
        return ReaderFault("wrong-device", f"{path} cannot run at {baud} baud: correct `baud`")
    return ReaderFault("wrong-device", f"{path} is not a serial port: correct `port`")


def _errno(error: Exception) -> int | None:
    """The library hides the number of some faults in its text: `Could not configure port: (5, '...')`."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"\((\d+),", str(error))
    return int(found[1]) if found else None


def _group(path: str) -> str:
    try:
        return grp.getgrgid(Path(path).stat().st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"
