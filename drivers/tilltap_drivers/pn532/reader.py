"""The PN532 driver: a thread that polls, asks iPhones for passes, talks, and waits for them to go."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from tilltap_drivers.contract import DriverEvent, Health, Observer, PassRead, ReadFailure
from tilltap_drivers.io.serial_port import SerialPort, matches
from tilltap_drivers.io.worker import Stopped, Worker
from tilltap_drivers.nfc.converse import card_by_uid, unknown_card
from tilltap_drivers.nfc.visits import BLINK, Visits, again_after, observed
from tilltap_drivers.nfc.wallet import CardReading, Wallet
from tilltap_drivers.pn532 import ecp
from tilltap_drivers.pn532.chip import Chip, ChipSilent, Target
from tilltap_drivers.pn532.settings import Pn532Settings

# Seconds between two polls. An iPhone decides after the third (ecp-and-pcsc.md, 1.2: every 100 to 250 ms or
# faster), so it answers after a fifth of a second.
POLL = 0.05

# Seconds between two looks whether what was read is still there.
LOOK = 0.15

# Seconds between two tries to wake a chip that does not answer.
RETRY = 1.0


class Pn532Driver:
    """A PN532 board on a serial line; the passes are decrypted here, with the keys of `wallet`."""

    def __init__(self, settings: Pn532Settings, wallet: Wallet, observe: Observer | None = None) -> None:
        self.settings = settings
        self._observe = observe
        self._wallet = replace(wallet, cards=CardReading.of(settings.cards))

    def present(self) -> bool:
        return len(matches(self.settings.port)) == 1

    async def reads(self) -> AsyncGenerator[DriverEvent, None]:
        run = _Run(self.settings, self._wallet, self._observe)
        worker = Worker(f"pn532 {self.settings.name}", run.work, run.stop.set)
        worker.start()
        try:
            while True:
                yield await worker.get()
        finally:
            await worker.close()


class _Run:
    """One run, in the worker's thread."""

    def __init__(self, settings: Pn532Settings, wallet: Wallet, observe: Observer | None) -> None:
        self.stop = threading.Event()
        self._settings = settings
        self._wallet = wallet
        self._observe = observe

    def work(self, put: Callable[[DriverEvent], None]) -> None:
        port = SerialPort.open(self._settings.port, self._settings.baud)
        chip = Chip(port, self._settings.baud, self.stop.is_set)
        silent = Health(
            "silent",
            f"the reader on {port.path} does not answer: check its power, its cable and its switches",
        )
        state: Health | None = None
        try:
            while True:
                try:
                    identity = chip.start()
                    put(Health("up"))
                    put(Health("up", identity=identity))
                    state = None
                    _Watch(chip, self._wallet, put, self.stop, self._observe).forever()
                except ChipSilent:
                    if state != silent:
                        state = silent
                        put(silent)
                    _pause(self.stop, RETRY)
        finally:
            chip.close()


class _Watch:
    """What comes to one reader and goes again."""

    def __init__(
        self,
        chip: Chip,
        wallet: Wallet,
        put: Callable[[DriverEvent], None],
        stop: threading.Event,
        observe: Observer | None,
    ) -> None:
        self._chip = chip
        self._wallet = wallet
        self._put = put
        self._stop = stop
        self._visits = Visits(wallet, secrets.token_bytes, time.time, time.monotonic)
        self._transmit = observed(chip.exchange, observe)
        self._announcement = ecp.frame(wallet.apple.mode) if wallet.apple else b""

    def forever(self) -> None:
        """Until the chip falls silent, its port goes or the run is stopped: each is an exception."""
        while True:
            target = self._poll()
            if target is None:
                continue
            result = self._read(target)
            if result is not None:
                self._put(result)
            self._chip.reset_field()
            self._until_gone(again_after(result))

    def _poll(self) -> Target | None:
        """One round: is somebody there? If not, the iPhones near by are told what is wanted."""
        target = self._chip.find()
        if target is None:
            if self._announcement:
                self._chip.announce(self._announcement)
            _pause(self._stop, POLL)
        return target

    def _until_gone(self, within: float | None) -> None:
        """Until the device has left and stayed away for `BLINK`, or `within` seconds have passed.

        It is activated anew and asked as ISO-DEP allows, as PC/SC readers do: without a session of a wallet.
        """
        deadline = time.monotonic() + (float("inf") if within is None else within)
        seen, target = time.monotonic(), None
        while time.monotonic() < deadline and time.monotonic() - seen <= BLINK:
            if target is not None and not self._chip.there(target):
                self._chip.reset_field()
                target = None
            target = target or self._poll()
            if target is not None:
                seen = time.monotonic()
                _pause(self._stop, LOOK)
        self._chip.reset_field()

    def _read(self, target: Target) -> PassRead | ReadFailure | None:
        """One conversation with the device; None if there is nothing to tell of it, or not yet."""
        if not target.iso_dep:
            return card_by_uid(self._wallet, unknown_card(), target.uid)
        return self._visits.read(self._transmit, lambda: target.uid)


def _pause(stop: threading.Event, seconds: float) -> None:
    if stop.wait(seconds):
        raise Stopped
