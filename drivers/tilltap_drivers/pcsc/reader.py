"""The PC/SC driver: one thread that waits for a card, holds the conversation, and waits for it to leave.

Where the configuration asks for Apple's polling frame it polls by itself instead (`polled`).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from tilltap_drivers.contract import DriverEvent, Health, Observer, PassRead, ReaderFault, ReadFailure
from tilltap_drivers.io.worker import Stopped, Worker
from tilltap_drivers.nfc.visits import BLINK, Transmit, Visits, again_after, observed
from tilltap_drivers.nfc.wallet import CardReading, Wallet
from tilltap_drivers.pcsc.names import find, matching
from tilltap_drivers.pcsc.polled import GET_UID, Escape, configure, done, poll
from tilltap_drivers.pcsc.scard import Card, CardBusy, CardGone, Context, Direct, State
from tilltap_drivers.pcsc.settings import PcscSettings

# Seconds `present` waits for pcscd, below the 50 ms it may take on the event loop. pcscd answers in 0.2 ms.
ASK = 0.04

# Seconds between two looks whether another program has let go of the reader.
RETRY = 1.0

UP = Health("up")
BUSY = "another program holds the reader: close it"


class PcscDriver:
    """Any PC/SC reader for ISO 14443 cards; the passes are decrypted here, with the keys of `wallet`."""

    def __init__(self, settings: PcscSettings, wallet: Wallet, observe: Observer | None = None) -> None:
        self.settings = settings
        self._observe = observe
        self._wallet = replace(wallet, cards=CardReading.of(settings.cards))
        self._asking: _Question | None = None

    def present(self) -> bool:
        # A pcscd that hangs must not hold up the loop: it is asked in a thread, once at a time.
        if self._asking is None or self._asking.answered:
            self._asking = _Question(self.settings.match)
        return self._asking.answer(ASK)

    async def reads(self) -> AsyncGenerator[DriverEvent, None]:
        run = _Run(self.settings, self._wallet, self._observe)
        worker = Worker(f"pcsc {self.settings.name}", run.work, run.interrupt)
        worker.start()
        try:
            while True:
                yield await worker.get()
        finally:
            await worker.close()


class _Question:
    """Whether pcscd lists exactly one such reader, asked once."""

    def __init__(self, match: str) -> None:
        self._match = match
        self._found = False
        self._done = threading.Event()
        threading.Thread(target=self._ask, name="pcsc look", daemon=True).start()

    @property
    def answered(self) -> bool:
        return self._done.is_set()

    def answer(self, within: float) -> bool:
        self._done.wait(within)
        return self._found

    def _ask(self) -> None:
        try:
            with Context() as context:
                self._found = len(matching(context.readers(), self._match)) == 1
        except ReaderFault:
            self._found = False
        finally:
            self._done.set()


class _Run:
    """One run, in the worker's thread."""

    def __init__(self, settings: PcscSettings, wallet: Wallet, observe: Observer | None) -> None:
        self._settings = settings
        self._wallet = wallet
        self._observe = observe
        self._stop = threading.Event()
        self._context: Context | None = None

    def interrupt(self) -> None:
        self._stop.set()
        if context := self._context:
            context.cancel()

    def work(self, put: Callable[[DriverEvent], None]) -> None:
        with Context() as context:
            self._context = context
            try:
                reader = find(context.readers(), self._settings.match)
                put(UP)
                put(Health("up", identity=reader))
                up = UP
                if self._settings.ecp != "off" and self._wallet.apple:
                    up = self._with_ecp(context, reader, put)
                _Watch(context, reader, self._wallet, put, self._observe, up).until(self._stop.is_set)
            finally:
                self._context = None

    def _with_ecp(self, context: Context, reader: str, put: Callable[[DriverEvent], None]) -> Health:
        """Polls as configured, or has the reader do so; what it is when it polls by itself again."""
        with self._direct(context, reader, put) as direct:
            escape = Escape(direct, self._settings.ecp_code)
            if commands := self._settings.commands:
                remedy, said = configure(escape, commands)
                if said:
                    put(Health("up", identity=f"{reader}, {said}"))
            else:
                remedy = poll(
                    escape,
                    self._settings,
                    self._wallet,
                    put,
                    self._stop,
                    self._observe,
                    lambda: context.wait(reader, State(), 0).present,
                )
        up = Health("up", remedy)
        if remedy:
            put(up)
        return up

    def _direct(self, context: Context, reader: str, put: Callable[[DriverEvent], None]) -> Direct:
        busy = False
        while True:
            try:
                direct = context.direct(reader)
            except CardBusy:
                if not busy:
                    busy = True
                    put(Health("silent", BUSY))
                if self._stop.wait(RETRY):
                    raise Stopped from None
                continue
            if busy:
                put(UP)
            return direct


class _Watch:
    """What comes to one reader and goes again."""

    def __init__(
        self,
        context: Context,
        reader: str,
        wallet: Wallet,
        put: Callable[[DriverEvent], None],
        observe: Observer | None = None,
        up: Health = UP,
    ) -> None:
        self._context = context
        self._reader = reader
        self._up = up
        self._visits = Visits(wallet, secrets.token_bytes, time.time, time.monotonic)
        self._put = put
        self._observe = observe
        self._state = State()
        self._busy = False

    def until(self, stopped: Callable[[], bool]) -> None:
        while not stopped():
            if not self._state.present:
                self._state = self._context.wait(self._reader, self._state)
                continue
            result = self._read()
            if result is not None:
                self._put(result)
            again = again_after(result)
            self._until_gone(stopped, again, BLINK if again is None else 0.0)

    def _until_gone(self, stopped: Callable[[], bool], within: float | None, blink: float) -> None:
        """Until the device has left, and stayed away for `blink` seconds, or `within` seconds have passed."""
        deadline = None if within is None else time.monotonic() + within
        count = self._state.count
        while not stopped() and self._state.count == count:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            self._state = self._context.wait(self._reader, self._state, left)
            if blink and self._state.count != count and self._is_back(stopped, blink):
                count = self._state.count

    def _is_back(self, stopped: Callable[[], bool], blink: float) -> bool:
        """Whether a device that has just gone is there again in time, or already."""
        deadline = time.monotonic() + blink
        while not stopped() and not self._state.present and (left := deadline - time.monotonic()) > 0:
            self._state = self._context.wait(self._reader, self._state, left)
        return self._state.present

    def _read(self) -> PassRead | ReadFailure | None:
        """One conversation with the device; None if there is nothing to tell of it, or not yet."""
        try:
            with self._context.connect(self._reader) as card:
                self._say_busy(busy=False)
                transmit = observed(_transmit(card), self._observe)
                return self._visits.read(transmit, lambda: done(transmit(GET_UID)))
        except CardBusy:
            self._say_busy(busy=True)
            return None
        except CardGone:
            return self._visits.silence()

    def _say_busy(self, *, busy: bool) -> None:
        if busy != self._busy:
            self._busy = busy
            self._put(Health("silent", BUSY) if busy else self._up)


def _transmit(card: Card) -> Transmit:
    """Answers nothing if the card has left: what pcscd itself says when it leaves during an exchange."""

    def transmit(command: bytes) -> bytes:
        try:
            return card.transmit(command)
        except CardGone:
            return b""

    return transmit
