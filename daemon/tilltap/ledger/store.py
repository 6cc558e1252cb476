"""The store: owns the ledger's connection and runs its transactions, on its thread or on the loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Connection, Dialect, Engine

from tilltap import crash
from tilltap.clock import rfc3339
from tilltap.errors import CallError
from tilltap.events import Event, Hub
from tilltap.ledger.aside import look_into_file
from tilltap.ledger.engine import BUSY_TIMEOUT_MS, LedgerLock, Tell, Tx
from tilltap.ledger.faults import HELD, is_one_of

T = TypeVar("T")

# Transactions that share a flush, which costs as much as several of them. So many delay the first by 5 ms.
TOGETHER = 16
# The way to the thread and back is a fifth of a sale, as long as a flush takes a fraction of this. One that
# takes longer (an SD card tens of ms) is the thread's: readers and screens would wait for the loop in vain.
QUICK_S = 0.001
# Between two looks whether a file that somebody else holds is free again.
HELD_S = 0.01
# A report waits so long for another one: the rest of the 2 s of contract section 3 is for itself.
LOOK_TURN_S = 1.0


@dataclass(frozen=True, slots=True)
class _Ended:
    """What became of a transaction: its value or its error, and the events still to be published."""

    value: Any
    error: Exception | None
    events: list[Event]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A transaction that waits, and who waits for it."""

    fn: Callable[[Tx], Any]
    future: asyncio.Future[Any]


class _HeldError(Exception):
    """Somebody else holds the file, and the loop must not wait for that."""


Job = Callable[[Connection], None]


class Store:
    """`run(fn)` executes `fn(tx)` in one durable transaction, and publishes its events.

    Calls run one after another in the order they were made; publishing happens in commit order, on the loop,
    before the caller is told. A run is never cancelled half-way: the caller may go, the transaction does not.
    Those that wait while another one is flushed are flushed together.

    The connection is the thread's while `_handed` is not 0 or `run_now` is waited for, otherwise the loop's.
    """

    shared: ClassVar[bool] = False
    up = True

    def __init__(self, engine: Engine, till: str, clock: Any, lock: LedgerLock | None = None) -> None:
        self.till = till
        self.clock = clock
        self.last_seq = 0
        self.programs: dict[int, Any] = {}  # versions are written once and never changed
        self.hub = Hub(0)
        self.failed: BaseException | None = None
        self.on_failure: Callable[[], object] = lambda: None
        self._engine = engine
        self._dbapi = engine.dialect.loaded_dbapi
        self._lock = lock
        self._connection = engine.connect()
        self._connection.connection.cursor().execute("PRAGMA busy_timeout=0")  # `_begin` waits by itself
        self._queue: queue.SimpleQueue[_Wanted | Job | None] = queue.SimpleQueue()
        self._handed = 0  # so many of `run` are the thread's
        self._quick = False  # until a flush was
        self._here: list[_Wanted] = []  # the loop's, for the end of its turn
        self._in_turn = self._crowded = False
        self._looking = asyncio.Lock()
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        waiting: deque[_Wanted | Job | None] = deque()
        while True:
            if not waiting:
                waiting.append(self._queue.get())
            with suppress(queue.Empty):
                while len(waiting) < TOGETHER:
                    waiting.append(self._queue.get_nowait())
            item = waiting.popleft()
            if item is None:
                return
            if not isinstance(item, _Wanted):
                item(self._connection)
                continue
            together = [item]
            while waiting and isinstance(waiting[0], _Wanted):
                together.append(waiting.popleft())  # type: ignore[arg-type]
            self._execute_in_thread(together)

    async def run(self, fn: Callable[[Tx], T], *, at_once: bool = False) -> T:
        """`at_once`: on the loop, if the disk is quick: for a few rows that a POS waits for.

        Whoever is alone in a turn of the loop waits for nobody; others share a flush at its end.
        """
        loop = asyncio.get_running_loop()
        on_loop = at_once and self._quick and not self._handed
        if on_loop and not self._in_turn:
            self._in_turn = True
            loop.call_soon(self._end_turn)
            if not self._crowded:
                with suppress(_HeldError):
                    return await self._run_here(fn)
                on_loop = False
        wanted = _Wanted(fn, loop.create_future())
        self._here.append(wanted)
        if not on_loop:
            self._hand_over()
        result: T = await wanted.future
        return result

    async def _run_here(self, fn: Callable[[Tx], T]) -> T:
        value, events = self._transact(self._connection, fn, wait=False)
        awaited = bool(events) and self.hub.awaited
        self.hub.publish(events)
        if awaited:
            await asyncio.sleep(0)  # watchers are told before the caller is
        return value

    def _end_turn(self) -> None:
        if not self._quick:
            self._hand_over()
        here, rest = self._here[:TOGETHER], self._here[TOGETHER:]
        self._crowded = bool(here)
        self._here, self._in_turn = rest, bool(rest)
        if rest:
            asyncio.get_running_loop().call_soon(self._end_turn)
        if not here:
            return
        try:
            ended = self._execute(here, wait=False)
        except _HeldError:
            self._here = here + rest
            self._hand_over()
        else:
            self._tell(here, ended)

    def _hand_over(self) -> None:
        """To the thread, all that waits on the loop: the order stays, and the connection has one user."""
        self._handed += len(self._here)
        for wanted in self._here:
            self._queue.put(wanted)
        self._here = []

    def _execute_in_thread(self, together: list[_Wanted]) -> None:
        loop = together[0].future.get_loop()

        def tell_now(events: list[Event]) -> None:
            loop.call_soon_threadsafe(self.hub.publish, events)

        def tell() -> None:
            self._handed -= len(together)
            self._tell(together, ended)

        ended = self._execute(together, tell_now)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell)

    def _tell(self, together: list[_Wanted], ended: list[_Ended]) -> None:
        for wanted, end in zip(together, ended, strict=True):
            self._tell_one(wanted.future, end)

    def _tell_one(self, future: asyncio.Future[Any], ended: _Ended) -> None:
        self.hub.publish(ended.events)
        if future.cancelled():
            return
        if ended.error is not None:
            future.set_exception(ended.error)
        else:
            future.set_result(ended.value)

    def _submit(self, work: Callable[[Connection], tuple[T, list[Event]]]) -> asyncio.Future[T]:
        """`work` in the store thread, by itself."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job(connection: Connection) -> None:
            try:
                value, events = work(connection)
            except Exception as error:
                ended = _Ended(None, error, [])
            else:
                ended = _Ended(value, None, events)
            loop.call_soon_threadsafe(self._tell_one, future, ended)

        self._queue.put(job)
        return future

    async def look(self, fn: Callable[[Tx], T]) -> T:
        """`fn`, which only reads, beside the store thread: from one moment, however long it takes; one at a
        time, also when nobody waits for the last one any more.
        """
        try:
            async with asyncio.timeout(LOOK_TURN_S):
                await self._looking.acquire()
        except TimeoutError:
            raise CallError("overloaded", "Others are reading the ledger. Try again.") from None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def ended(value: Any, error: Exception | None) -> None:
            self._looking.release()
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)

        def work() -> None:
            try:
                end = self._look(fn), None
            except Exception as error:
                end = None, error  # type: ignore[assignment]
            with suppress(RuntimeError):  # the loop is closed: the daemon does not wait for a reader
                loop.call_soon_threadsafe(ended, *end)

        threading.Thread(target=work, name="look", daemon=True).start()
        return await future

    def _look(self, fn: Callable[[Tx], T]) -> T:
        now, at = self.clock.steady(), rfc3339(self.clock.wall())
        path = Path(str(self._engine.url.database))
        try:
            return look_into_file(path, self._engine.dialect, self.till, now, at, fn)
        except (self._dbapi.Error, UnicodeDecodeError) as error:
            raise CallError("ledger-down", "The ledger cannot be read. Try again in a moment.") from error

    def run_now(self, fn: Callable[[Tx], T]) -> T:
        """The same before the loop runs (start-up) or without one (tools and tests)."""
        return self._now(lambda connection: self._transact(connection, fn))

    def _now(self, work: Callable[[Connection], tuple[T, list[Event]]]) -> T:
        done: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def job(connection: Connection) -> None:
            try:
                value, events = work(connection)
            except Exception as caught:
                done.put((None, caught))
            else:
                if events:
                    self.hub.start(events[-1].seq)
                done.put((value, None))

        self._queue.put(job)
        value, error = done.get()
        if error is not None:
            raise error
        result: T = value
        return result

    def _execute(
        self, together: list[_Wanted], tell: Tell | None = None, *, wait: bool = True
    ) -> list[_Ended]:
        try:
            if len(together) == 1:
                value, events = self._transact(self._connection, together[0].fn, tell, wait=wait)
                return [_Ended(value, None, events)]
            return self._transact_together(self._connection, together, tell, wait=wait)
        except _HeldError:
            raise
        except Exception as error:
            return [_Ended(None, error, []) for _ in together]

    def _transact(
        self, connection: Connection, fn: Callable[[Tx], T], tell: Tell | None = None, *, wait: bool = True
    ) -> tuple[T, list[Event]]:
        """The value of `fn`, and the events that are still to be published. `wait` False: _HeldError rather
        than wait for a file that somebody else holds.
        """
        cursor = connection.connection.cursor()
        try:
            changes = self._begin(cursor, wait=wait)
            tx = self._new_tx(cursor, connection.dialect, tell)
            value = self._done(fn, tx)
            if tx.events:
                crash.point("P0")
            self._commit(cursor, changes)
        except BaseException as error:
            self._undo(cursor, error)
            raise
        if tx.events:
            crash.point("P1")
            self.last_seq = tx.events[-1].seq
        return value, tx.events[tx.told :]

    def _transact_together(
        self, connection: Connection, together: list[_Wanted], tell: Tell | None, *, wait: bool
    ) -> list[_Ended]:
        """One flush for all of them. Each is whole or not at all, whatever becomes of the others."""
        cursor = connection.connection.cursor()
        before = seen = self.last_seq  # numbers given, and those of them that are published
        ended: list[_Ended] = []
        try:
            changes = self._begin(cursor, wait=wait)
            for one in together:
                # An event is not told before those that have lower numbers.
                tx = self._new_tx(cursor, connection.dialect, None if self.last_seq > seen else tell)
                ended.append(self._part(cursor, one.fn, tx))
                if tx.told:
                    seen = tx.events[tx.told - 1].seq
            if self.last_seq > before:
                crash.point("P0")
            self._commit(cursor, changes)
        except BaseException as error:
            self.last_seq = seen
            self._undo(cursor, error)
            raise
        if self.last_seq > before:
            crash.point("P1")
        return ended

    def _begin(self, cursor: Any, *, wait: bool) -> int:
        """How often anything was changed on this connection before."""
        until = monotonic() + BUSY_TIMEOUT_MS / 1000
        while True:
            try:
                cursor.execute("BEGIN IMMEDIATE")
            except self._dbapi.OperationalError as error:
                if not is_one_of(error, HELD) or (wait and monotonic() > until):
                    raise
            else:
                return int(cursor.connection.total_changes)
            if not wait:
                raise _HeldError
            sleep(HELD_S)

    def _commit(self, cursor: Any, changes: int) -> None:
        began = monotonic()
        cursor.execute("COMMIT")
        # What changed nothing says nothing of the disk.
        if cursor.connection.total_changes > changes:
            self._quick = monotonic() - began < QUICK_S

    def _part(self, cursor: Any, fn: Callable[[Tx], Any], tx: Tx) -> _Ended:
        cursor.execute("SAVEPOINT part")
        try:
            value = self._done(fn, tx)
        except Exception as error:
            if self._blames_disk(error):
                raise
            cursor.execute("ROLLBACK TO part")
            cursor.execute("RELEASE part")
            return _Ended(None, error, [])
        cursor.execute("RELEASE part")
        if tx.events:
            self.last_seq = tx.events[-1].seq
        return _Ended(value, None, tx.events[tx.told :])

    def _new_tx(self, cursor: Any, dialect: Dialect, tell: Tell | None) -> Tx:
        return Tx(cursor, dialect, self, self.clock.steady(), rfc3339(self.clock.wall()), tell)

    def _done(self, fn: Callable[[Tx], T], tx: Tx) -> T:
        try:
            value = fn(tx)
            tx.keep_events()
        except BaseException:
            self.last_seq += tx.told  # numbers that were seen are not given twice
            raise
        return value

    def _undo(self, cursor: Any, error: BaseException) -> None:
        """Nothing of a transaction that failed stays: the next one must not find it open.

        CallError if the file or the disk is to blame. A lock passes; anything else ends the process
        (architecture section 5).
        """
        with suppress(self._dbapi.Error):
            if cursor.connection.in_transaction:
                cursor.execute("ROLLBACK")
            # Not later, when it is collected as garbage: that would be on the loop, and wait for the thread.
            cursor.close()
        if not self._blames_disk(error):
            return
        if "locked" not in str(error):
            self.failed = error
            self.on_failure()
        raise CallError(
            "ledger-down", "The ledger cannot be written. Repeat the call; tell the manager."
        ) from error

    def _blames_disk(self, error: BaseException) -> bool:
        """Not a refusal of ours, and not a broken rule of ours either; see `faults.told_in_one_line` for what
        is no text.
        """
        damage = self._dbapi.DatabaseError, UnicodeDecodeError
        return isinstance(error, damage) and not isinstance(error, self._dbapi.IntegrityError)

    @property
    def note(self) -> str:
        """What `keep_note` kept beside the file, which is not put back with it."""
        return self._lock.note if self._lock else ""

    def keep_note(self, note: str) -> None:
        if self._lock:
            self._lock.keep(note)

    def close(self) -> None:
        self._hand_over()
        self._queue.put(None)
        self._thread.join()
        self._connection.close()
        self._engine.dispose()
        if self._lock:
            self._lock.release()
