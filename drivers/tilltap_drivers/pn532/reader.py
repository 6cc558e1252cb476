"""The PN532 driver: a thread that polls, asks iPhones for passes, talks, and waits for them to go."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from tilltap_drivers.contract import DriverEvent, Health, PassRead, ReadFailure
from tilltap_drivers.io.serial_port import SerialPort, matches
from tilltap_drivers.io.worker import Stopped, Worker
from tilltap_drivers.nfc.converse import Prepared, card_by_uid, prepare, present, unknown_card
from tilltap_drivers.nfc.errors import Removed
from tilltap_drivers.nfc.wallet import CardReading, Wallet
from tilltap_drivers.pn532 import ecp
from tilltap_drivers.pn532.chip import Chip, ChipSilent, Target
from tilltap_drivers.pn532.settings import Pn532Settings

# Seconds until a phone that was locked, or that lost contact and is still there, is tried again (contract
# 3.3: every second).
AGAIN = 1.0

# Seconds between two polls. An iPhone decides after the third (ecp-and-pcsc.md, 1.2: every 100 to 250 ms or
# faster), so it answers after a fifth of a second.
POLL = 0.05

# Seconds between two looks whether what was read is still there.
LOOK = 0.15

# Seconds a device may seem gone after it was read and still be the same one: an iPhone takes four polls to
# come back after the field was reset. The same as with PC/SC readers.
BLINK = 0.6

# Seconds within which a device must have said nothing twice to count as one without a pass. Once is a hand
# with a ring on it, or a phone at the edge of the field.
SILENCE = 3 * AGAIN

# Seconds between two tries to wake a chip that does not answer.
RETRY = 1.0


class Pn532Driver:
    """A PN532 board on a serial line; the passes are decrypted here, with the keys of `wallet`."""

    def __init__(self, settings: Pn532Settings, wallet: Wallet) -> None:
        self.settings = settings
        self._wallet = replace(wallet, cards=CardReading.of(settings.cards))

    def present(self) -> bool:
        return len(matches(self.settings.port)) == 1

    async def reads(self) -> AsyncGenerator[DriverEvent, None]:
        run = _Run(self.settings, self._wallet)
        worker = Worker(f"pn532 {self.settings.name}", run.work, run.stop.set)
        worker.start()
        try:
            while True:
                yield await worker.get()
        finally:
            await worker.close()


class _Run:
    """One run, in the worker's thread."""

    def __init__(self, settings: Pn532Settings, wallet: Wallet) -> None:
        self.stop = threading.Event()
        self._settings = settings
        self._wallet = wallet

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
                    _Watch(chip, self._wallet, put, self.stop).forever()
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
        self, chip: Chip, wallet: Wallet, put: Callable[[DriverEvent], None], stop: threading.Event
    ) -> None:
        self._chip = chip
        self._wallet = wallet
        self._put = put
        self._stop = stop
        self._silent = float("-inf")  # when a device last said nothing
        self._announcement = ecp.frame(wallet.apple.mode) if wallet.apple else b""

    def forever(self) -> None:
        """Until the chip falls silent, its port goes or the run is stopped: each is an exception."""
        prepared = self._prepare()
        while True:
            target = self._poll()
            if target is None:
                continue
            result = self._read(target, prepared)
            prepared = self._prepare()
            if result is not None:
                self._put(result)
            self._chip.reset_field()
            self._until_gone(AGAIN if result is None or _changes_by_itself(result) else float("inf"))

    def _prepare(self) -> Prepared:
        return prepare(self._wallet, secrets.token_bytes, time.time)

    def _poll(self) -> Target | None:
        """One round: is somebody there? If not, the iPhones near by are told what is wanted."""
        target = self._chip.find()
        if target is None:
            if self._announcement:
                self._chip.announce(self._announcement)
            _pause(self._stop, POLL)
        return target

    def _until_gone(self, within: float) -> None:
        """Until the device has left and stayed away for `BLINK`, or `within` seconds have passed.

        It is activated anew and asked as ISO-DEP allows, as PC/SC readers do: without a session of a wallet.
        """
        deadline = time.monotonic() + within
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

    def _read(self, target: Target, prepared: Prepared) -> PassRead | ReadFailure | None:
        """One conversation with the device; None if there is nothing to tell of it, or not yet."""
        if not target.iso_dep:
            return card_by_uid(self._wallet, unknown_card(), target.uid)
        conversation, answered = present(self._wallet, prepared), False
        try:
            command = next(conversation)
            while True:
                response = self._chip.exchange(command)
                answered = answered or bool(response)
                command = conversation.send(response)
        except StopIteration as end:
            result: PassRead | ReadFailure = end.value
        if isinstance(result, PassRead):
            return result
        return card_by_uid(self._wallet, result, target.uid) if answered else self._silence()

    def _silence(self) -> ReadFailure | None:
        before, self._silent = self._silent, time.monotonic()
        if self._silent - before > SILENCE:
            return None
        self._silent = float("-inf")
        return unknown_card()


def _changes_by_itself(result: PassRead | ReadFailure) -> bool:
    """Whether the same device, left where it is, may soon give another result."""
    return isinstance(result, ReadFailure) and (result.status == "locked" or result.reason == Removed.reason)


def _pause(stop: threading.Event, seconds: float) -> None:
    if stop.wait(seconds):
        raise Stopped
