"""The PC/SC driver: one thread that waits for a card, holds the conversation, and waits for it to leave."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from tilltap_drivers.contract import DriverEvent, Health, Observer, PassRead, ReaderFault, ReadFailure
from tilltap_drivers.io.worker import Worker
from tilltap_drivers.nfc.converse import Prepared, card_by_uid, prepare, present, unknown_card
from tilltap_drivers.nfc.errors import Removed
from tilltap_drivers.nfc.wallet import CardReading, Wallet
from tilltap_drivers.pcsc.names import find, matching
from tilltap_drivers.pcsc.scard import Card, CardBusy, CardGone, Context, State
from tilltap_drivers.pcsc.settings import PcscSettings

# Seconds until a phone that was locked, or that lost contact and is still there, is tried again (contract
# 3.3: every second).
AGAIN = 1.0

# Seconds a device may seem gone after it was read and still be the same one: the field reset that ends a
# reading takes it away for as long as the reader needs to find it again, and pcscd looks only every 0.4 s at
# readers that do not tell. Nobody exchanges two phones that fast, and a pass that wants a fingerprint for
# each reading would be `locked` the second time.
BLINK = 0.6

# Seconds within which a device must have said nothing twice to count as one without a pass. Once is a hand
# with a ring on it, or a phone at the edge of the field.
SILENCE = 3 * AGAIN

# Seconds `present` waits for pcscd, below the 50 ms it may take on the event loop. pcscd answers in 0.2 ms.
ASK = 0.04

# PC/SC part 3, 3.2.2.1.3: the reader itself answers with the chip's number.
GET_UID = bytes.fromhex("FFCA000000")

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
        self._stopping = False
        self._context: Context | None = None

    def interrupt(self) -> None:
        self._stopping = True
        if context := self._context:
            context.cancel()

    def work(self, put: Callable[[DriverEvent], None]) -> None:
        with Context() as context:
            self._context = context
            try:
                reader = find(context.readers(), self._settings.match)
                put(Health("up"))
                put(Health("up", identity=reader))
                _Watch(context, reader, self._wallet, put, self._observe).until(lambda: self._stopping)
            finally:
                self._context = None


class _Watch:
    """What comes to one reader and goes again."""

    def __init__(
        self,
        context: Context,
        reader: str,
        wallet: Wallet,
        put: Callable[[DriverEvent], None],
        observe: Observer | None = None,
    ) -> None:
        self._context = context
        self._reader = reader
        self._wallet = wallet
        self._put = put
        self._observe = observe
        self._state = State()
        self._busy = False
        self._silent = float("-inf")  # when a device last said nothing

    def until(self, stopped: Callable[[], bool]) -> None:
        prepared = self._prepare()
        while not stopped():
            if not self._state.present:
                self._state = self._context.wait(self._reader, self._state)
                continue
            result = self._read(prepared)
            prepared = self._prepare()
            if result is not None:
                self._put(result)
            if result is None or _changes_by_itself(result):
                self._until_gone(stopped, AGAIN)
            else:
                self._until_gone(stopped, None, BLINK)

    def _prepare(self) -> Prepared:
        return prepare(self._wallet, secrets.token_bytes, time.time)

    def _until_gone(self, stopped: Callable[[], bool], within: float | None, blink: float = 0.0) -> None:
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

    def _read(self, prepared: Prepared) -> PassRead | ReadFailure | None:
        """One conversation with the device; None if there is nothing to tell of it, or not yet."""
        result = None
        try:
            with self._context.connect(self._reader) as card:
                self._say_busy(busy=False)
                result = self._converse(card, prepared)
        except CardBusy:
            self._say_busy(busy=True)
            return None
        except CardGone:
            pass
        return result or self._silence()

    def _silence(self) -> ReadFailure | None:
        before, self._silent = self._silent, time.monotonic()
        if self._silent - before > SILENCE:
            return None
        self._silent = float("-inf")
        return unknown_card()

    def _say_busy(self, *, busy: bool) -> None:
        if busy != self._busy:
            self._busy = busy
            self._put(Health("silent", BUSY) if busy else Health("up"))

    def _converse(self, card: Card, prepared: Prepared) -> PassRead | ReadFailure | None:
        conversation, answered = present(self._wallet, prepared), False
        try:
            command = next(conversation)
            while True:
                response = self._transmit(card, command)
                answered = answered or bool(response)
                command = conversation.send(response)
        except StopIteration as end:
            result: PassRead | ReadFailure = end.value
        if isinstance(result, PassRead):
            return result
        return self._by_uid(card, result) if answered else None

    def _by_uid(self, card: Card, result: ReadFailure) -> PassRead | ReadFailure:
        if not self._wallet.cards.uid or result != unknown_card():
            return result
        answer = self._transmit(card, GET_UID)
        return card_by_uid(self._wallet, result, answer[:-2]) if answer[-2:] == b"\x90\x00" else result

    def _transmit(self, card: Card, command: bytes) -> bytes:
        if self._observe is None:
            return _transmit(card, command)
        self._observe(">", command)
        response = _transmit(card, command)
        self._observe("<", response)
        return response


def _changes_by_itself(result: PassRead | ReadFailure) -> bool:
    """Whether the same device, left where it is, may soon give another result."""
    return isinstance(result, ReadFailure) and (result.status == "locked" or result.reason == Removed.reason)


def _transmit(card: Card, command: bytes) -> bytes:
    """Nothing at all if the card has left: what pcscd itself answers when it leaves during an exchange."""
    try:
        return card.transmit(command)
    except CardGone:
        return b""
