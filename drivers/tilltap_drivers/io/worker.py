"""One blocking thread for a device whose library blocks, and a way to stop it.

Items cross to the event loop through a bounded queue and an eventfd, so the thread needs nothing of the loop:
it may outlive it. The loop never waits for the thread but in `close`, and there not for long.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

# Items that wait for the event loop; beyond them the thread waits. A reader gives a few a second.
MOST_WAITING = 64

# Seconds `close` waits for the thread: a stop may take 0.5 s (drivers/README.md). A call that cannot be
# interrupted ends later, on its own, and finds itself stopped.
LET_GO = 0.4

# Seconds between two interrupts: one that comes just before the thread blocks has no effect.
INTERRUPT_EVERY = 0.02

T = TypeVar("T")


class Stopped(Exception):
    """Raised by `put` in the thread once the worker is closed: there is nobody left to tell."""


class Worker(Generic[T]):
    """Runs `work(put)` in a thread; what it puts comes out of `get` in order, then the error it ended with.

    `interrupt` wakes the thread from whatever blocks it. It may be called at any time, from any thread and
    repeatedly, and must not raise.
    """

    def __init__(
        self, name: str, work: Callable[[Callable[[T], None]], None], interrupt: Callable[[], None]
    ) -> None:
        self._name = name
        self._work = work
        self._interrupt = interrupt
        self._items: queue.Queue[T] = queue.Queue(MOST_WAITING)
        self._closing = threading.Event()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._bell: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def start(self) -> None:
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    async def get(self) -> T:
        """The next item; when there will be none, the exception that ended the work, or Stopped."""
        assert self._bell is not None, "the worker is closed"
        while True:
            over = self._ended.is_set()  # before the look into the queue: the last items come first
            try:
                return self._items.get_nowait()
            except queue.Empty:
                if over:
                    raise self._error or Stopped from None
            await anyio.wait_readable(self._bell)
            os.eventfd_read(self._bell)

    async def close(self) -> bool:
        """Stops the thread and waits for it, at most `LET_GO` seconds; whether it has ended."""
        self._closing.set()
        threading.Thread(target=self._interrupt_until_it_ends, name=f"{self._name} stop", daemon=True).start()
        with anyio.CancelScope(shield=True), anyio.move_on_after(LET_GO):
            while not self._ended.is_set():
                assert self._bell is not None
                await anyio.wait_readable(self._bell)
                os.eventfd_read(self._bell)
        with self._lock:
            bell, self._bell = self._bell, None
        if bell is not None:
            os.close(bell)
        return self._ended.is_set()

    def _run(self) -> None:
        try:
            self._work(self._put)
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
            self._ring()

    def _put(self, item: T) -> None:
        while not self._closing.is_set():
            try:
                self._items.put(item, timeout=INTERRUPT_EVERY)
            except queue.Full:
                continue
            self._ring()
            return
        raise Stopped

    def _ring(self) -> None:
        with self._lock:  # a closed descriptor's number may already be another file's
            if self._bell is not None:
                os.eventfd_write(self._bell, 1)

    def _interrupt_until_it_ends(self) -> None:
        # In a thread: even an interrupt may block, when the service it goes to hangs.
        for _ in range(round(LET_GO / INTERRUPT_EVERY)):
            self._interrupt()
            if self._ended.wait(INTERRUPT_EVERY):
                break
