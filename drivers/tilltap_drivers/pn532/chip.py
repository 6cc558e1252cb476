"""The PN532 through nfcpy's Chipset and Device, over a line of our own: the only code that imports nfcpy.

What nfcpy does to open a port (`stty` through a shell, 921600 baud) and to wait for cards is left out. The
chip's own ISO-DEP is used: it sends RATS, chains, and grants more time by itself (UM0701-02, 7.3.8).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from nfc.clf import pn532

from tilltap_drivers.contract import ReaderFault
from tilltap_drivers.pn532.line import Line, call_off
from tilltap_drivers.polling.watch import EXCHANGE, FIELD_OFF, Target

# Seconds the chip gets for a frame that no phone answers; it gives up after 12.8 ms by itself.
THRU = 0.1

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


class OtherChip(Exception):
    """Something answers that is no PN532; its name."""


def parse_target(data: bytes) -> Target:
    """Of InListPassiveTarget: SENS_RES, SEL_RES, the number's length and the number, ATS if any."""
    size = data[3]
    if len(data) < 4 + size:
        raise ValueError("the card's number is cut off")
    return Target(bytes(data[4 : 4 + size]), len(data) > 4 + size)


class Chip:
    """One PN532 on one line, used in one thread: a `Field`. Methods raise `ChipSilent`, `Stopped`, or what
    the line raises when it is gone.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._chipset: Any = pn532.Chipset(line, logger=_QUIET)
        self._chipset.host_command_frame_max_size = line.limit

    def start(self) -> str:
        """Wakes the chip and sets it up, whatever it was doing; its name and firmware version. OtherChip."""
        with _answering():
            self._line.wake(self._chipset)
            device = pn532.Device(self._chipset, logger=_QUIET)
            name = str(device.chipset_name)
            if not name.startswith(_PN532):
                raise OtherChip(name)
            self._chipset.set_parameters(_AUTOMATIC_RATS)
            for item, value in (_TIMINGS, _COM_RETRIES, _RETRIES):
                self._chipset.rf_configuration(item, value)
            return name

    def find(self) -> Target | None:
        """Switches the field on and asks once who is there."""
        with _answering():
            data = self._twice(lambda: self._chipset.in_list_passive_target(1, 0, b""))
            return parse_target(data) if data else None

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
        """As the line leaves it."""
        with suppress(ReaderFault, *_TROUBLE):
            self._line.close(self._chipset)

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
            call_off(self._chipset)
            self._chipset.get_firmware_version()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except _TROUBLE as error:
        raise ChipSilent from error
