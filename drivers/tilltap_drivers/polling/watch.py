"""Readers that the till polls itself: who is there, what is wanted, the talk, and until they have left.

What makes an iPhone bring a pass up is a frame between two polls that found nobody (ecp-and-pcsc.md, 1.2), so
whoever sends it has to poll. The radio is a `Field`: a PN532 on a line, or what a PC/SC reader lets through.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tilltap_drivers.contract import DriverEvent, Observer, PassRead, ReadFailure
from tilltap_drivers.io.worker import Stopped
from tilltap_drivers.nfc.converse import card_by_uid, unknown_card
from tilltap_drivers.nfc.visits import BLINK, Visits, again_after, observed
from tilltap_drivers.nfc.wallet import Wallet
from tilltap_drivers.polling import ecp

# Seconds between two polls. An iPhone decides after the third (ecp-and-pcsc.md, 1.2: every 100 to 250 ms or
# faster), so it answers after a fifth of a second.
POLL = 0.05

# Seconds between two looks whether what was read is still there.
LOOK = 0.15

# Seconds the field stays off so that every phone takes it for gone: 5 ms (ISO/IEC 14443-3) and some to spare.
FIELD_OFF = 0.02

# Seconds for one APDU, the time the phone asks for included (ecp-and-pcsc.md, 3.6: 1 to 2 s are ample).
EXCHANGE = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """A Type A card in the field. `uid`: 4, 7 or 10 bytes, none if the reader does not say it; `iso_dep`:
    whether it takes APDUs.
    """

    uid: bytes
    iso_dep: bool


class Field(Protocol):
    """A radio, used in one thread. What its methods raise is its driver's to know."""

    def find(self) -> Target | None:
        """Switches the field on and asks once who is there."""
        ...

    def announce(self, frame: bytes) -> None:
        """Sends a frame, its CRC_A included, that nobody answers. Only after a `find` that found nobody."""
        ...

    def exchange(self, apdu: bytes) -> bytes:
        """The card's response; nothing if none came."""
        ...

    def there(self, target: Target) -> bool:
        """Whether a card that was found, and not let go since, is still there."""
        ...

    def reset_field(self) -> None:
        """Off, long enough to end every session; `find` switches it on again."""
        ...


class Watch:
    """What comes to one field and goes again."""

    def __init__(
        self,
        field: Field,
        wallet: Wallet,
        put: Callable[[DriverEvent], None],
        stop: threading.Event,
        observe: Observer | None,
    ) -> None:
        self._field = field
        self._wallet = wallet
        self._put = put
        self._stop = stop
        self._visits = Visits(wallet, secrets.token_bytes, time.time, time.monotonic)
        self._transmit = observed(field.exchange, observe)
        self._announcement = ecp.frame(wallet.apple.mode) if wallet.apple else b""

    def forever(self) -> None:
        """Until the field fails or the run is stopped: each is an exception."""
        while True:
            target = self._poll()
            if target is None:
                continue
            result = self._read(target)
            if result is not None:
                self._put(result)
            self._field.reset_field()
            self._until_gone(again_after(result))

    def _poll(self) -> Target | None:
        """One round: is somebody there? If not, the iPhones near by are told what is wanted."""
        target = self._field.find()
        if target is None:
            if self._announcement:
                self._field.announce(self._announcement)
            pause(self._stop, POLL)
        return target

    def _until_gone(self, within: float | None) -> None:
        """Until the device has left and stayed away for `BLINK`, or `within` seconds have passed.

        It is activated anew and asked as the field can, as PC/SC readers do: without a session of a wallet.
        """
        deadline = time.monotonic() + (float("inf") if within is None else within)
        seen, target = time.monotonic(), None
        while time.monotonic() < deadline and time.monotonic() - seen <= BLINK:
            if target is not None and not self._field.there(target):
                self._field.reset_field()
                target = None
            target = target or self._poll()
            if target is not None:
                seen = time.monotonic()
                pause(self._stop, LOOK)
        self._field.reset_field()

    def _read(self, target: Target) -> PassRead | ReadFailure | None:
        """One conversation with the device; None if there is nothing to tell of it, or not yet."""
        if not target.iso_dep:
            return card_by_uid(self._wallet, unknown_card(), target.uid)
        return self._visits.read(self._transmit, lambda: target.uid)


def pause(stop: threading.Event, seconds: float) -> None:
    """Raises `Stopped` as soon as the run is."""
    if stop.wait(seconds):
        raise Stopped
