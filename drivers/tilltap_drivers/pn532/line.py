"""What nfcpy calls a transport: frames over a serial port, or one command at a time through a reader."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from tilltap_drivers.io.serial_port import SerialPort
from tilltap_drivers.io.worker import Stopped
from tilltap_drivers.pn532.frames import ACK, BODY_LIMIT, Frames, body, frame
from tilltap_drivers.pn532.settings import DEFAULT_BAUD

# Seconds between two looks whether to stop, while the chip is silent.
SLICE = 0.05

# Seconds the chip gets to leave a command that was called off; nfcpy's own figure.
CALL_OFF = 0.01

# Wakes the chip from power-down, and gives it the time to (UM0701-02, 7.2.11; as libnfc does).
WAKE_UP = b"\x55\x55" + bytes(14)

# The speed nfcpy raises a chip to. After a program that was killed it stays there (ecp-and-pcsc.md, 2.2).
RAISED_BAUD = 921600

# Bytes of a command and its parameters that fit into an ACR122U's pseudo-APDU; nfcpy's figure for it.
TUNNEL_LIMIT = 254


class Line(Protocol):
    """Stops by raising `Stopped`; OSError is trouble."""

    TYPE: str
    limit: int
    """Bytes of the longest body of a frame to the chip."""

    def write(self, frame: bytes) -> None: ...

    def read(self, timeout: int) -> bytearray:
        """The next frame within `timeout` milliseconds."""
        ...

    def wake(self, chipset: Any) -> None:
        """Makes the chip listen, whatever it was doing."""
        ...

    def close(self, chipset: Any) -> None:
        """Leaves the chip as the next who wants it expects it, and lets go of the line."""
        ...


class SerialLine:
    """A chip on a port of its own, brought to `baud`."""

    TYPE = "line"  # for a "TTY" nfcpy would change the speed when it closes
    limit = BODY_LIMIT

    def __init__(self, port: SerialPort, baud: int, stopped: Callable[[], bool]) -> None:
        self._port = port
        self._baud = baud
        self._stopped = stopped
        self._preamble = b""
        self._frames = Frames()
        self._waiting: list[bytes] = []

    def write(self, frame: bytes) -> None:
        """Drops what came before: it answers nothing that is still asked."""
        if self._stopped():
            raise Stopped
        while self._port.take(0):
            pass
        self._frames = Frames()
        self._waiting.clear()
        if not self._port.write(self._preamble + bytes(frame)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def read(self, timeout: int) -> bytearray:
        until = time.monotonic() + timeout / 1000
        while not self._waiting:
            if self._stopped():
                raise Stopped
            left = until - time.monotonic()
            if left <= 0:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            self._waiting += self._frames.feed(self._port.take(min(left, SLICE)))
        return bytearray(self._waiting.pop(0))

    def wake(self, chipset: Any) -> None:
        """SAMConfiguration is first after power-down; it tells at which speed the chip listens."""
        speeds = list(dict.fromkeys((self._baud, DEFAULT_BAUD, RAISED_BAUD)))
        self._preamble = WAKE_UP
        try:
            for speed in speeds:
                self._port.set_baud(speed)
                call_off(chipset)
                with suppress(OSError):
                    chipset.sam_configuration("normal")
                    break
            else:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        finally:
            self._preamble = b""
        if speed != self._baud:
            chipset.set_serial_baudrate(self._baud)
            time.sleep(CALL_OFF)
            self._port.set_baud(self._baud)

    def close(self, chipset: Any) -> None:
        """Puts the chip to sleep, so that the next who opens it finds it ready."""
        self._stopped = lambda: False
        try:
            call_off(chipset)
            chipset.power_down(wakeup_enable=("HSU",))
        finally:
            self._port.close()


class Tunnel:
    """A chip behind an ACR122U, which lets commands through by themselves and does the line's work.

    `send` takes the chip's command (D4 ..) and gives its answer (D5 ..), nothing if none came; it raises for
    a reader that is gone. Source: ecp-and-pcsc.md, 3.5; nobody has tried this with a reader yet.
    """

    TYPE = "tunnel"
    limit = TUNNEL_LIMIT

    def __init__(self, send: Callable[[bytes], bytes], stopped: Callable[[], bool]) -> None:
        self._send = send
        self._stopped = stopped
        self._waiting: list[bytes] = []

    def write(self, sent: bytes) -> None:
        self._waiting.clear()
        if sent == ACK:  # nothing is left running that could be called off
            return
        if self._stopped():
            raise Stopped
        answer = self._send(body(bytes(sent)))
        self._waiting += [ACK, frame(answer)] if answer else [ACK]

    def read(self, timeout: int) -> bytearray:  # noqa: ARG002 -- it is there already or never comes
        if not self._waiting:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return bytearray(self._waiting.pop(0))

    def wake(self, chipset: Any) -> None:
        """It is never asleep: the reader works with it."""

    def close(self, chipset: Any) -> None:
        """The field goes off; asleep, the chip would be lost to its reader."""
        self._stopped = lambda: False
        chipset.rf_configuration(0x01, b"\x02")


def call_off(chipset: Any) -> None:
    """Ends whatever command the chip is busy with."""
    chipset.send_ack()
    time.sleep(CALL_OFF)
