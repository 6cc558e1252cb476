"""A driver in the background, what it says of the devices held to it, and what it should say."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio

from rigs.pcsc import RANDOM, READ, Counting, wallet
from tilltap_drivers.contract import Driver, DriverEvent, Health, PassRead, ReaderFault, ReadFailure
from tilltap_drivers.nfc import converse
from tilltap_drivers.nfc.phones import Device

NO_PASS = ReadFailure("no-pass", "unknown-card", "card")


def apple(value: str) -> PassRead:
    return PassRead(value.encode(), "apple-vas", index=1, slot=1)


def google(value: str) -> PassRead:
    return PassRead(value.encode(), "google-smart-tap", index=1, slot=1)


def text_record(text: str) -> bytes:
    """An NFC Forum text record in English, as a message."""
    payload = b"\x02en" + text.encode()
    return b"\xd1\x01" + bytes((len(payload),)) + b"T" + payload


@dataclass
class Run:
    """What a running driver has said."""

    events: list[DriverEvent] = field(default_factory=list)
    fault: ReaderFault | None = None

    @property
    def taps(self) -> list[DriverEvent]:
        return [event for event in self.events if not isinstance(event, Health)]

    @property
    def remedies(self) -> list[str]:
        return [event.remedy for event in self.events if isinstance(event, Health) and event.remedy]

    async def until(self, condition: Callable[[], object], within: float = 2 * READ) -> None:
        with anyio.move_on_after(within):
            while not condition():  # noqa: ASYNC110 -- events are appended by another task
                await anyio.sleep(0.005)
        assert condition(), f"after {within} s: {self.events}, {self.fault}"


@asynccontextmanager
async def running(
    driver: Driver, *, passing_over: DriverEvent | None = None, ends_within: float = 5.0
) -> AsyncIterator[Run]:
    """The driver, up. `ends_within`: seconds that its end may take."""
    run = Run()

    async def follow() -> None:
        try:
            async with aclosing(driver.reads()) as reads:  # type: ignore[type-var]
                async for event in reads:
                    if event != passing_over:
                        run.events.append(event)
        except ReaderFault as fault:
            run.fault = fault

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await run.until(lambda: run.events or run.fault)
        yield run
        began = time.monotonic()
        group.cancel_scope.cancel()
    assert time.monotonic() - began < ends_within


class Customers(ABC):
    """They come, one after the other, with their phones: `tap`, on a thread."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @abstractmethod
    def tap(self) -> None: ...

    def come(self) -> None:
        self.leave()
        self._thread = threading.Thread(target=self.tap)
        self._thread.start()

    def leave(self) -> None:
        if self._thread:
            self._thread.join()
            self._thread = None


def apdus(phone: Device) -> int:
    """How many a whole reading of the phone takes."""
    counting, own = Counting(phone), wallet()
    conversation = converse.present(own, converse.prepare(own, RANDOM, time.time))
    command = next(conversation)
    with suppress(StopIteration):
        while True:
            command = conversation.send(counting.answer(command))
    return len(counting.commands)


def lifted_at_every_apdu(said: Sequence[list[DriverEvent]]) -> None:
    """What must have been said of a phone lifted before its first answer, after it, before its second ..."""
    first, *middle, last = said
    assert first == []  # it had said nothing: it may have been anything
    assert [len(taps) for taps in middle] == [1] * len(middle)
    assert all(isinstance(tap, ReadFailure) for [tap] in middle)
    assert {(tap.status, tap.reason) for [tap] in middle} == {("unreadable", "removed")}
    assert [tap.value for tap in last if isinstance(tap, PassRead)] == [b"cut"]  # it had said everything
