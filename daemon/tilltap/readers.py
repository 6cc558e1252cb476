"""Runs reader drivers for ever: visible states, back-off, early wake, one event per presentation."""

from __future__ import annotations

import random
from contextlib import aclosing
from functools import cache
from threading import Lock
from typing import Any

import anyio
import anyio.abc
import structlog

from tilltap.clock import Clock
from tilltap.errors import CallError
from tilltap.log import places
from tilltap.passes import Unreadable, parse
from tilltap.till.desk import Till
from tilltap_drivers.contract import Driver, Health, PassRead, ReaderFault, ReadFailure
from tilltap_drivers.nfc.wallet import Wallet
from tilltap_drivers.registry import DRIVERS

log = structlog.get_logger()

# A returning reader is up within 10 s (contract 3.3): the longest pause stays well below.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 5.0
# How often a pause looks whether the device is there again.
PRESENT_S = 0.25
# Contract 3.3: the same pass on the same reader is one tap until 2 s have passed without it.
FOLD_S = 2.0
# Values remembered for folding; a reader cannot be shown more passes than that in two seconds.
FOLD_SIZE = 64
# Taps whose customer the service is being asked for, per reader: beyond it the reader waits.
IN_PROGRESS = 16
# A reader that stays away is mentioned again this often.
REMIND_EVERY = 360

Key = tuple[str, str]


class Folder:
    """Decides whether a presentation is a new tap; asked from the loop and from the store thread."""

    def __init__(self) -> None:
        self._seen: dict[Key, float] = {}
        self._lock = Lock()

    def is_new(self, key: Key, now: float) -> bool:
        with self._lock:
            last = self._seen.pop(key, None)
            self._seen[key] = now
            while len(self._seen) > FOLD_SIZE:
                del self._seen[next(iter(self._seen))]
        return last is None or now - last >= FOLD_S

    def same(self, old: Key, new: Key) -> None:
        """What was seen as `old` is `new`: its time goes on under that name."""
        with self._lock:
            last = self._seen.pop(old, None)
            if last is not None:
                self._seen[new] = max(last, self._seen.get(new, last))


class Reader:
    """One configured reader, supervised."""

    def __init__(self, settings: Any, driver: Driver, till: Till, clock: Clock) -> None:
        self.settings = settings
        self.name: str = settings.name
        self._driver = driver
        self._till = till
        self._clock = clock
        self._folder = Folder()
        self._owners: dict[str, int] = {}  # value -> customer, for the values in the folder
        self._busy = anyio.Semaphore(IN_PROGRESS, fast_acquire=True)

    async def run(self) -> None:
        failures = 0
        await self._say("starting", "")
        # Taps outlive the run of the device: a phone that was read counts, also if the reader is gone since.
        async with anyio.create_task_group() as taps:
            while True:
                came_up = await self._once(failures, taps)
                failures = 1 if came_up else failures + 1
                await self._pause(min(LAST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 8)))

    async def _once(self, failures: int, taps: anyio.abc.TaskGroup) -> bool:
        """One run of the driver; True if the device was in working order at some time."""
        came_up = False
        try:
            async with aclosing(self._driver.reads()) as items:
                async for item in items:
                    if isinstance(item, Health):
                        came_up = came_up or item.state == "up"
                        if item.identity:
                            log.info("reader says", reader=self.name, identity=item.identity)
                        if item.state == "up" and item.remedy:
                            log.warning("reader works in part", reader=self.name, remedy=item.remedy)
                        await self._say(item.state, item.remedy)
                    else:
                        await self._take(item, taps)
        except ReaderFault as fault:
            if failures == 0 or came_up or failures % REMIND_EVERY == 0:
                log.warning("reader lost", reader=self.name, state=fault.state, remedy=fault.remedy)
            await self._say(fault.state, fault.remedy)
        except CallError as busy:
            log.warning("reader restarted", reader=self.name, error=busy.code)
        except Exception as error:
            # A device, or its driver, may do anything; that is its own trouble, not the till's.
            log.error("reader failed", reader=self.name, error=type(error).__name__, at=places(error))  # noqa: TRY400
            await self._say("unplugged", "unplug the reader and plug it in again; if it stays, tell support")
        return came_up

    async def _pause(self, seconds: float) -> None:
        """Ends early when the device comes back; a device that is there but fails is not hurried."""
        was_present = self._driver.present()
        wait = seconds * random.uniform(0.8, 1.0)  # noqa: S311 - readers of one hub must not retry in step
        with anyio.move_on_after(wait):
            while was_present or not self._driver.present():
                await anyio.sleep(PRESENT_S)
                was_present = was_present and self._driver.present()

    async def _take(self, item: PassRead | ReadFailure, taps: anyio.abc.TaskGroup) -> None:
        now = self._clock.steady()
        if isinstance(item, PassRead):
            value = parse(item.value)
            if not isinstance(value, Unreadable):
                if self._folder.is_new(self._key(value), now):
                    await self._busy.acquire()
                    taps.start_soon(self._tap, value, item, now)
                return
            item = ReadFailure("unreadable", value.reason, item.source)
        if self._folder.is_new((item.status, item.reason), now):
            await self._till.tap_failed(self.name, item.source, item.status, item.reason)
            log.info("tap", reader=self.name, status=item.status, reason=item.reason)

    def _key(self, value: str) -> Key:
        """The customer where known: an iPhone and an Android of one customer are one tap."""
        owner = self._owners.get(value)
        return ("value", value) if owner is None else ("customer", str(owner))

    async def _tap(self, value: str, item: PassRead, now: float) -> None:
        known = self._owners.get(value)

        @cache  # a transaction that another till was in the way of is run again, and must decide as before
        def is_new(owner: int) -> bool:
            return owner == known or self._folder.is_new(("customer", str(owner)), now)

        try:
            owner = await self._till.tap(self.name, item.source, value, is_new=is_new)
            if owner is not None:
                self._owners[value] = owner
                self._folder.same(("value", value), ("customer", str(owner)))
                while len(self._owners) > FOLD_SIZE:
                    del self._owners[next(iter(self._owners))]
        except CallError as busy:
            log.warning("tap lost", reader=self.name, error=busy.code, remedy="ask for another tap")
        finally:
            self._busy.release()

    async def _say(self, state: str, remedy: str) -> None:
        try:
            await self._till.reader_changed(self.name, state, remedy)
        except CallError as busy:
            log.warning("reader's state not told", reader=self.name, state=state, error=busy.code)


class Readers:
    """All readers of the till; a reload restarts only those whose settings changed."""

    def __init__(self, till: Till, clock: Clock, group: anyio.abc.TaskGroup, wallet: Wallet) -> None:
        self._till = till
        self._clock = clock
        self._group = group
        self._wallet = wallet
        self._running: dict[str, tuple[Any, anyio.CancelScope, anyio.Event]] = {}

    async def apply(self, settings: tuple[Any, ...]) -> None:
        wanted = {s.name: s for s in settings}
        for name, (old, scope, ended) in list(self._running.items()):
            if wanted.get(name) != old:
                scope.cancel()
                await ended.wait()
                del self._running[name]
                await self._till.reader_removed(name)
        for name, new in wanted.items():
            if name not in self._running:
                scope, ended = anyio.CancelScope(), anyio.Event()
                self._running[name] = (new, scope, ended)
                self._group.start_soon(
                    self._run, Reader(new, _driver(new, self._wallet), self._till, self._clock), scope, ended
                )

    async def _run(self, reader: Reader, scope: anyio.CancelScope, ended: anyio.Event) -> None:
        try:
            with scope:
                await reader.run()
        finally:
            ended.set()

    def stop(self) -> None:
        for _settings, scope, _ended in self._running.values():
            scope.cancel()


def _driver(settings: Any, wallet: Wallet) -> Driver:
    entry = next(r for r in DRIVERS.values() if isinstance(settings, r.settings))
    return entry.driver(settings, wallet)
