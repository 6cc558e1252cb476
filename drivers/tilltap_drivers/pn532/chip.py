"""The PN532 through nfcpy's Chipset and Device, over our own serial port: the only code that imports nfcpy.

What nfcpy does to open a port (`stty` through a shell, 921600 baud) and to wait for cards is left out. The
chip's own ISO-DEP is used: it sends RATS, chains, and grants more time by itself (UM0701-02, 7.3.8).
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from nfc.clf import pn532

from tilltap_drivers.contract import ReaderFault
from tilltap_drivers.io.serial_port import SerialPort
from tilltap_drivers.io.worker import Stopped
from tilltap_drivers.pn532.frames import Frames
from tilltap_drivers.pn532.settings import DEFAULT_BAUD

# Seconds between two looks whether to stop, while the chip is silent.
SLICE = 0.05

# Seconds for one APDU, the time the phone asks for included (ecp-and-pcsc.md, 3.6: 1 to 2 s are ample).
EXCHANGE = 2.0

# Seconds the chip gets for a frame that no phone answers; it gives up after 12.8 ms by itself.
THRU = 0.1

# Seconds the field stays off so that every phone takes it for gone: 5 ms (ISO/IEC 14443-3) and some to spare.
FIELD_OFF = 0.02

# Seconds the chip gets to leave a command that was called off; nfcpy's own figure.
CALL_OFF = 0.01

# Wakes the chip from power-down, and gives it the time to (UM0701-02, 7.2.11; as libnfc does).
WAKE_UP = b"\x55\x55" + bytes(14)

# The speed nfcpy raises a chip to. After a program that was killed it stays there (ecp-and-pcsc.md, 2.2).
RAISED_BAUD = 921600

# RFConfiguration items (UM0701-02, 7.3.1) and what they are set to (ecp-and-pcsc.md, 2.1): one try to find
# a card; 12.8 ms for an answer to a raw frame; frames that came out wrong on the air are repeated twice.
_TIMINGS, _COM_RETRIES, _RETRIES = (0x02, b"\x0a\x0b\x08"), (0x04, b"\x02"), (0x05, b"\xff\x01\x00")

# SetParameters: the chip sends RATS itself. Diagnose: is the card still there (R(NAK) to ISO-DEP cards).
_AUTOMATIC_RATS, _PRESENCE = 0x10, 0x06

# After a poll the chip is left with frames of 7 bits and may be left adding a CRC (ecp-and-pcsc.md, 2.1).
_PLAIN_FRAMES = (("CIU_BitFraming", 0), ("CIU_TxMode", 0), ("CIU_RxMode", 0))

_TIME_OUT = 0x01
_PN532 = "PN532"

# nfcpy writes every frame to its log, and frames hold what is on cards.
_QUIET = logging.getLogger(f"{__name__}.nfcpy")
_QUIET.disabled = True

# What nfcpy raises when answers do not come or are not what they should be.
_TROUBLE = (OSError, pn532.Chipset.Error, IndexError, ValueError, TypeError, AssertionError)


class ChipSilent(Exception):
    """The chip does not answer, or what comes is no answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """A Type A card in the field. `uid`: 4, 7 or 10 bytes; `iso_dep`: whether it takes APDUs."""

    uid: bytes
    iso_dep: bool

    @classmethod
    def parse(cls, data: bytes) -> Target:
        """Of InListPassiveTarget: SENS_RES, SEL_RES, the number's length and the number, ATS if any."""
        size = data[3]
        if len(data) < 4 + size:
            raise ValueError("the card's number is cut off")
        return cls(bytes(data[4 : 4 + size]), len(data) > 4 + size)


class Line:
    """What nfcpy calls a transport, over a `SerialPort`. Stops by raising `Stopped`."""

    TYPE = "line"  # for a "TTY" nfcpy would change the speed when it closes

    def __init__(self, port: SerialPort, stopped: Callable[[], bool]) -> None:
        self.preamble = b""
        self.stopped = stopped
        self._port = port
        self._frames = Frames()
        self._waiting: list[bytes] = []

    def write(self, frame: bytes) -> None:
        """Drops what came before: it answers nothing that is still asked."""
        if self.stopped():
            raise Stopped
        while self._port.take(0):
            pass
        self._frames = Frames()
        self._waiting.clear()
        if not self._port.write(self.preamble + bytes(frame)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def read(self, timeout: int) -> bytearray:
        """The next frame within `timeout` milliseconds."""
        until = time.monotonic() + timeout / 1000
        while not self._waiting:
            if self.stopped():
                raise Stopped
            left = until - time.monotonic()
            if left <= 0:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            self._waiting += self._frames.feed(self._port.take(min(left, SLICE)))
        return bytearray(self._waiting.pop(0))

    def speed(self, baud: int) -> None:
        self._port.set_baud(baud)

    def close(self) -> None:
        self._port.close()


class Chip:
    """One PN532 on one port, used in one thread. Methods raise `ChipSilent`, `Stopped` or `ReaderFault`."""

    def __init__(self, port: SerialPort, baud: int, stopped: Callable[[], bool]) -> None:
        self.path = port.path
        self._baud = baud
        self._line = Line(port, stopped)
        self._chipset: Any = pn532.Chipset(self._line, logger=_QUIET)

    def start(self) -> str:
        """Wakes the chip and sets it up, whatever it was doing; its name and firmware version."""
        with _answering():
            self._wake()
            device = pn532.Device(self._chipset, logger=_QUIET)
            name = str(device.chipset_name)
            if not name.startswith(_PN532):
                raise ReaderFault("wrong-device", f"{self.path} is a {name}, not a PN532: correct `port`")
            self._chipset.set_parameters(_AUTOMATIC_RATS)
            for item, value in (_TIMINGS, _COM_RETRIES, _RETRIES):
                self._chipset.rf_configuration(item, value)
            return name

    def _wake(self) -> None:
        """SAMConfiguration is first after power-down; it tells at which speed the chip listens."""
        speeds = list(dict.fromkeys((self._baud, DEFAULT_BAUD, RAISED_BAUD)))
        self._line.preamble = WAKE_UP
        try:
            for speed in speeds:
                self._line.speed(speed)
                self._call_off()
                with suppress(OSError):
                    self._chipset.sam_configuration("normal")
                    break
            else:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        finally:
            self._line.preamble = b""
        if speed != self._baud:
            self._chipset.set_serial_baudrate(self._baud)
            time.sleep(CALL_OFF)
            self._line.speed(self._baud)

    def find(self) -> Target | None:
        """Switches the field on and asks once who is there."""
        with _answering():
            data = self._twice(lambda: self._chipset.in_list_passive_target(1, 0, b""))
            return Target.parse(data) if data else None

    def announce(self, frame: bytes) -> None:
        """Sends a frame, its CRC included, that nobody answers. Only after a `find` that found nobody."""
        with _answering():
            self._twice(lambda: self._chipset.write_register(*_PLAIN_FRAMES))
            try:
                self._chipset.in_communicate_thru(frame, THRU)
            except pn532.Chipset.Error as error:
                if error.errno != _TIME_OUT:
                    raise

    def exchange(self, apdu: bytes) -> bytes:
        """The card's response; nothing if none came: it was never sent twice."""
        try:
            data, more = self._chipset.in_data_exchange(apdu, EXCHANGE)
            while more:
                part, more = self._chipset.in_data_exchange(b"", EXCHANGE)
                data += part
            return bytes(data)
        except pn532.Chipset.Error:
            return b""
        except _TROUBLE:
            self._recover()
            return b""

    def there(self, target: Target) -> bool:
        """Whether a card that was found, and not let go since, is still there."""
        if not target.iso_dep:
            self.reset_field()
            return self.find() is not None
        with _answering():
            return bytes(self._twice(lambda: self._chipset.diagnose(_PRESENCE, b""))) == b"\x00"

    def reset_field(self) -> None:
        """Off, long enough to end every session; `find` switches it on again."""
        with _answering():
            self._twice(lambda: self._chipset.rf_configuration(0x01, b"\x02"))
        time.sleep(FIELD_OFF)

    def close(self) -> None:
        """Puts the chip to sleep, so that the next who opens it finds it ready, and closes the port."""
        self._line.stopped = lambda: False
        try:
            with suppress(ReaderFault, *_TROUBLE):
                self._call_off()
                self._chipset.power_down(wakeup_enable=("HSU",))
        finally:
            self._line.close()

    def _twice(self, command: Callable[[], Any]) -> Any:
        """A command that may be repeated, once more after noise on the line."""
        try:
            return command()
        except OSError:
            self._recover()
            return command()

    def _recover(self) -> None:
        """Back in step after whatever went wrong on the line; the chip keeps its settings."""
        with _answering():
            self._call_off()
            self._chipset.get_firmware_version()

    def _call_off(self) -> None:
        self._chipset.send_ack()
        time.sleep(CALL_OFF)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except _TROUBLE as error:
        raise ChipSilent from error
