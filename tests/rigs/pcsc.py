"""Phones on a real pcscd: the shop's keys and wallet, its customers' phones, and ways to lift them.

libpcsclite reads once per process where its pcscd is, so a test process has one folder for that, with one
pcscd in it at a time.
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tilltap_drivers.nfc.keys import from_scalar
from tilltap_drivers.nfc.phones import Android, ApplePass, Device, GooglePass, IPhone, Lifted
from tilltap_drivers.nfc.visits import BLINK
from tilltap_drivers.nfc.wallet import AppleWallet, GoogleKey, GoogleWallet, Wallet
from tilltap_drivers.pcsc.scard import Context, State
from tilltap_drivers.pcsc.virtual import VirtualReaders

PASS_TYPE_ID = "pass.com.example.coffee"
COLLECTOR = 20180608
APPLE_KEY = from_scalar(int.from_bytes(b"the shop's Apple key", "big"))
GOOGLE_KEY = from_scalar(int.from_bytes(b"the shop's Google key", "big"))

# Seconds from a phone put into the field to its event: pcscd looks every 0.4 s, the rest is for slow machines.
READ = 5.0

FOLDER = Path(tempfile.mkdtemp(prefix="tt-pcscd-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


# No two phones of a test process draw the same numbers: that would look like a replay.
RANDOM = random.Random("the phones of the test").randbytes


def wallet() -> Wallet:
    """The shop's, with nothing seen yet."""
    apple = AppleWallet((PASS_TYPE_ID,), (APPLE_KEY,))
    return Wallet(apple, GoogleWallet(COLLECTOR, (GoogleKey(1, GOOGLE_KEY),)))


def iphone(value: str, **ways: bool) -> IPhone:
    held = ApplePass(PASS_TYPE_ID, APPLE_KEY.public, value.encode())
    return IPhone([held], random=RANDOM, now=time.time, **ways)


def android(value: str, **ways: bool) -> Android:
    collectors = {COLLECTOR: {1: GOOGLE_KEY.public}}
    held = [GooglePass(COLLECTOR, value)]
    return Android(held, collectors, random=RANDOM, **ways)


@contextmanager
def pcscd(count: int = 1) -> Iterator[VirtualReaders]:
    """A pcscd for this process, with `count` empty readers."""
    shutil.rmtree(FOLDER)
    readers = VirtualReaders(FOLDER, count)
    os.environ.update(readers.environment)
    with readers:
        yield readers


def take_away(readers: VirtualReaders, number: int = 0) -> None:
    """Removes what is in a reader's field, until pcscd has seen it and a driver takes the next for another."""
    readers.slots[number].remove()
    with Context() as context:
        state, until = State(present=True), time.monotonic() + READ
        while state.present:
            assert time.monotonic() < until, f"pcscd does not see that reader {number} is empty: {state}"
            state = context.wait(readers.names[number], state, READ)
    time.sleep(1.5 * BLINK)


class Counting:
    """A device that keeps the APDUs it was sent since the field came on."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.sessions: list[list[bytes]] = [[]]

    @property
    def uid(self) -> bytes:
        return self._device.uid

    @property
    def commands(self) -> list[bytes]:
        return [command for session in self.sessions for command in session]

    def answer(self, command: bytes) -> bytes:
        self.sessions[-1].append(command)
        return self._device.answer(command)

    def field_off(self) -> None:
        self.sessions.append([])
        self._device.field_off()


class LiftedAt(Counting):
    """A device that is lifted at its APDU number `index`: before it has answered it, or just after."""

    def __init__(self, device: Device, index: int, *, answered: bool) -> None:
        super().__init__(device)
        self._index = index
        self._answered = answered

    def answer(self, command: bytes) -> bytes:
        answer = super().answer(command)
        if len(self.commands) - 1 < self._index:
            return answer
        raise Lifted(answer if self._answered else b"")


class Stuck(Counting):
    """A device that stops answering at its APDU number `index` until `released`: worse than any real one."""

    def __init__(self, device: Device, index: int) -> None:
        super().__init__(device)
        self._index = index
        self.released = threading.Event()

    def answer(self, command: bytes) -> bytes:
        answer = super().answer(command)
        if len(self.commands) - 1 == self._index:
            self.released.wait()
        return answer
