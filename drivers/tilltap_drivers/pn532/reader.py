"""The PN532 driver: a thread that wakes the chip and polls with it."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from tilltap_drivers.contract import DriverEvent, Health, Observer, ReaderFault
from tilltap_drivers.io.serial_port import SerialPort, matches
from tilltap_drivers.io.worker import Worker
from tilltap_drivers.nfc.wallet import CardReading, Wallet
from tilltap_drivers.pn532.chip import Chip, ChipSilent, OtherChip
from tilltap_drivers.pn532.line import SerialLine
from tilltap_drivers.pn532.settings import Pn532Settings
from tilltap_drivers.polling.watch import Watch, pause

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
        chip = Chip(SerialLine(port, self._settings.baud, self.stop.is_set))
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
                    Watch(chip, self._wallet, put, self.stop, self._observe).forever()
                except ChipSilent:
                    if state != silent:
                        state = silent
                        put(silent)
                    pause(self.stop, RETRY)
        except OtherChip as other:
            raise ReaderFault(
                "wrong-device", f"{port.path} is a {other}, not a PN532: correct `port`"
            ) from None
        finally:
            chip.close()
