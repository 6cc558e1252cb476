"""The store of a till among others: transactions on a server that may be away, and a local spool beside it.

One thread does both, one after the other, so that events have one order. Another thread makes connections,
since that can take seconds in which the till must go on.
"""

from __future__ import annotations

import asyncio
import queue
import random
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple, TypeVar

import structlog
from sqlalchemy import BigInteger, Connection, Engine, bindparam, case, func, null, select

from tilltap import crash
from tilltap.clock import rfc3339, time_to_answer
from tilltap.errors import CallError, StartError
from tilltap.events import Event
from tilltap.ledger import book, restored, spool_book, tables, tills
from tilltap.ledger.aside import Onlooker
from tilltap.ledger.engine import LedgerLock, Sql, Tx
from tilltap.ledger.postgres import (
    AGAIN,
    CONNECT_S,
    UNIQUE,
    Link,
    Server,
    Unreachable,
    make_tables,
)
from tilltap.ledger.store import Store
from tilltap.log import places

T = TypeVar("T")
log = structlog.get_logger("tilltap.ledger")

# A transaction takes milliseconds. What a POS waits for is 2 s in all (contract section 3), and a call may
# need three of these and the service in between; `time_to_answer` cuts the last ones short.
WITHIN_S = 1.2
# Another till was in the way: try again at once, then a little later, as long as `WITHIN_S` allows.
TRIES = 6
AGAIN_S = 0.02
# Back-off of the connecting thread: a restarted server is found within moments, a lost one not hammered.
FIRST_RETRY_S, LAST_RETRY_S = 0.05, 3.0
# A daemon that starts while the server is away numbers its events above anything it can have numbered before;
# what was remembered is at most half a minute old, and a till makes some events a second.
SEQ_LEAP = 100_000
# The server's clock and ours part by milliseconds between two transactions; more is a clock that was set.
STEP_S = 2.0

_number = bindparam("number", type_=BigInteger)
# A number that has not been given out yet is of a time that a restored server does not remember.
_FATE = Sql(select(case((_number < func.txid_current(), func.txid_status(_number)), else_=null())))
_ADD_OLD_EVENT = Sql(lambda insert: insert(tables.event).on_conflict_do_nothing())


def away() -> CallError:
    return CallError("ledger-down", "The ledger is out of reach. Repeat the call in a moment.")


class SharedTx(Tx):
    shared: ClassVar[bool] = True


class _Lost(Exception):
    """The connection is gone; `doubt`: a transaction that may have been committed all the same."""

    def __init__(self, doubt: _Doubt | None = None) -> None:
        super().__init__()
        self.doubt = doubt


class _Busy(Exception):
    """Another till was in the way; nothing was done, and it may be tried again."""


@dataclass(slots=True)
class _Doubt:
    """A commit without an answer. `number`: the server knows its `fate` by it."""

    number: int
    value: Any
    events: list[Event]
    fate: str | None = "in progress"


class _Ahead(NamedTuple):
    """How far the server's clock is ahead of ours, within the round trip that asked it."""

    least: float
    most: float

    def apart(self, other: _Ahead) -> float:
        return max(other.least - self.most, self.least - other.most, 0.0)


class _Call:
    """One run: may be given up before it begins, or cut off while it hangs."""

    def __init__(self, *, durable: bool = True) -> None:
        self.durable = durable
        self.until = time.monotonic() + WITHIN_S
        self.given_up = False
        self.cut: Link | None = None  # the connection that was cut to end it

    @property
    def left(self) -> float:
        return max(0.0, self.until - time.monotonic())


class SharedStore(Store):
    """As `Store`, for a ledger on a server. `up` says whether it is in reach.

    `run` works on the server and answers `ledger-down` within `WITHIN_S`; `run_local` works on the spool.
    `join(tx, first)` ends the first transaction of every connection (`first` of this daemon); a StartError
    from it ends the daemon.
    """

    shared = True

    def __init__(
        self,
        server: Server,
        spool: tuple[Engine, LedgerLock],
        till: str,
        clock: Any,
        *,
        host: str,
        join: Callable[[Tx, bool], None],
    ) -> None:
        super().__init__(spool[0], till, clock, spool[1])
        self.up = False
        self.on_change: Callable[[], object] = lambda: None
        # Called in the first transaction after the server's clock was set: waits by it are wrong now.
        self.on_step: Callable[[Tx], object] = lambda _tx: None
        self._server = server
        self._host = host
        self._join = join
        self._joined = self._begun = False
        self._link: Link | None = None
        self._fresh: queue.SimpleQueue[Link] = queue.SimpleQueue()
        self._current: _Call | None = None
        self._guard = threading.Lock()
        self._doubts: list[_Doubt] = []
        self._ahead: _Ahead | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settled = threading.Event()  # joined, failed, or nobody there
        self._wanted = threading.Event()  # a connection is
        self._closing = threading.Event()
        self.holder, self._remembered, self._seen = self._now(lambda spool: self._transact(spool, _who))
        self._connector = threading.Thread(target=self._connect, name="ledger-link", daemon=True)

    def begin(self, patience: float) -> None:
        """Waits some seconds for the ledger, less if nobody is there. StartError if it will not have us."""
        self._wanted.set()
        self._connector.start()
        self._settled.wait(patience)
        if isinstance(self.failed, StartError):
            raise self.failed
        self._now(self._number_from_here)

    def _number_from_here(self, spool: Connection) -> tuple[None, list[Event]]:
        """Events may be numbered from now on, with the ledger or without it."""
        if not self._joined:
            last = self._transact(spool, spool_book.last_seq)[0]
            self.last_seq = max(self._remembered + SEQ_LEAP, last)
        self._begun = True
        self.hub.start(self.last_seq)
        return None, []

    # -- from the event loop ----------------------------------------------------------------------------

    async def run(self, fn: Callable[[Tx], T], *, at_once: bool = False, durable: bool = True) -> T:  # noqa: ARG002
        """`durable` False: what a crash of the server may undo without harm. `at_once` or not: always in the
        thread, since a server may take long.
        """
        self._loop = asyncio.get_running_loop()
        if not self.up:
            raise away()
        call = _Call(durable=durable)
        future = self._submit(lambda spool: self._on_server(spool, call, fn))
        try:
            await asyncio.wait({future}, timeout=max(0.0, min(WITHIN_S, time_to_answer())))
        finally:
            if not future.done():
                future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        if not future.done():
            self._give_up(call)
            raise away()
        return future.result()

    async def run_local(self, fn: Callable[[Tx], T]) -> T:
        """`fn` in one durable transaction on the spool."""
        self._loop = asyncio.get_running_loop()
        return await super().run(fn)

    async def look(self, fn: Callable[[Tx], T]) -> T:
        if not self.up:
            raise away()
        try:
            async with asyncio.timeout(max(0.0, min(WITHIN_S, time_to_answer()))):
                return await super().look(fn)
        except TimeoutError:
            raise away() from None

    def _look(self, fn: Callable[[Tx], T]) -> T:
        try:
            link = self._server.connect()
        except Unreachable:
            raise away() from None
        try:
            now = link.begin_to_look()
            at = rfc3339(datetime.fromtimestamp(now, UTC))
            return fn(SharedTx(link.cursor, self._server.dialect, Onlooker(self.till), now, at))
        except link.errors.Error as error:
            log.warning("could not look into the ledger", code=getattr(error, "sqlstate", None))
            raise away() from error
        finally:
            link.close()

    def _give_up(self, call: _Call) -> None:
        with self._guard:
            call.given_up = True
            if self._current is call and self._link is not None:
                call.cut = self._link
                call.cut.cut()
                self.up = False

    async def renew(self) -> None:
        """Keeps the till's name; to be called every few seconds."""

        def work(tx: Tx) -> str:
            tills.renew_name(tx, self.till, self.holder)
            self._settle_doubts(tx)
            return restored.seen(tx)

        def keep(tx: Tx) -> None:
            book.put_meta(tx, "seq", str(self._remembered))
            book.put_meta(tx, "seen", self._seen)

        seen = await self.run(work)
        now = self.last_seq, seen
        if now != (self._remembered, self._seen):
            self._remembered, self._seen = now
            await self.run_local(keep)

    # -- in the store thread ----------------------------------------------------------------------------

    def run_now(self, fn: Callable[[Tx], T]) -> T:
        """On the server, before the loop runs."""
        return self._now(lambda spool: self._on_server(spool, _Call(), fn))

    def _on_server(self, spool: Connection, call: _Call, fn: Callable[[Tx], T]) -> tuple[T, list[Event]]:
        try:
            for attempt in range(TRIES):
                link = self._connected(spool, call)
                with self._guard:
                    if call.given_up:
                        break
                    self._current = call
                try:
                    return self._attempt(link, fn, durable=call.durable)
                except _Busy:
                    pause = random.uniform(0, AGAIN_S * 2**attempt)  # noqa: S311 - tills must not retry in step
                    time.sleep(min(call.left, pause))
                except _Lost as lost:
                    self._drop()
                    if lost.doubt is not None and self._was_done(spool, call, lost.doubt):
                        return lost.doubt.value, []
                if not call.left:
                    break
        finally:
            with self._guard:
                self._current = None
            # It may have ended by itself in that moment, without noticing; and nobody uses a connection while
            # `up` is down, to find out.
            if call.cut is not None and call.cut is self._link:
                self._drop()
        raise away()

    def _attempt(self, link: Link, fn: Callable[[Tx], T], *, durable: bool) -> tuple[T, list[Event]]:
        try:
            asked = self.clock.steady()
            now, holder = link.begin(self.till, durable=durable)
            ahead = _Ahead(now - self.clock.steady(), now - asked)
            self._must_hold(holder)
            tx = self._tx(link, now)
            if self._was_set(ahead):
                self.on_step(tx)
            value = fn(tx)
            tx.keep_events()
            if tx.events:
                crash.point("P0")
            number = link.number()
        except link.errors.Error as error:
            raise self._judged(link, error) from error
        except StartError as error:
            link.rollback()
            self._fail(error)
            raise away() from error
        except BaseException:
            link.rollback()
            raise
        try:
            link.commit()
        except link.errors.Error as error:
            judged = self._judged(link, error)
            if isinstance(judged, _Lost) and number is not None:
                judged = _Lost(self._doubt(number, value, tx.events))
            raise judged from error
        self._ahead = ahead
        if tx.events:
            crash.point("P1")
            self.last_seq = tx.events[-1].seq
        return value, tx.events

    def _was_set(self, ahead: _Ahead) -> bool:
        """Whether the server's clock made a step since our last transaction. Ours never does."""
        return self._ahead is not None and self._ahead.apart(ahead) > STEP_S

    def _must_hold(self, holder: str | None) -> None:
        """Looked at in every transaction: a till that slept while another took its name writes no more."""
        if holder != self.holder:
            raise StartError(
                f'ledger: another daemon has taken over as till "{self.till}" (stop one of the two; what this'
                " one has spooled is kept)"
            )

    def _tx(self, link: Link, now: float) -> SharedTx:
        at = rfc3339(datetime.fromtimestamp(now, UTC))
        return SharedTx(link.cursor, self._server.dialect, self, now, at)

    def _judged(self, link: Link, error: Exception) -> Exception:
        """What an error of the server means, and the transaction rolled back as far as that is possible."""
        if link.is_lost(error):
            return _Lost()
        link.rollback()
        code = getattr(error, "sqlstate", None)
        if code in AGAIN or code == UNIQUE:  # a row that another till has just made is found at the next try
            return _Busy()
        log.error("the ledger refused a statement", code=code)
        return away()

    def _doubt(self, number: int, value: Any, events: list[Event]) -> _Doubt:
        """Its events may have been recorded: their numbers are used up either way."""
        doubt = _Doubt(number, value, events)
        self.last_seq += len(events)
        self._doubts.append(doubt)
        return doubt

    def _was_done(self, spool: Connection, call: _Call, doubt: _Doubt) -> bool:
        """Asks the server whether a commit without an answer was made; `ledger-down` if it cannot say yet."""
        while True:
            link = self._connected(spool, call)  # whose first transaction asks
            if doubt.fate != "in progress":
                return doubt.fate == "committed"
            if not call.left:
                raise away()
            time.sleep(min(call.left, AGAIN_S))
            try:
                self._attempt(link, self._settle_doubts, durable=True)
            except _Busy:
                continue
            except _Lost:
                self._drop()

    def _settle_doubts(self, tx: Tx) -> None:
        """What was committed without our hearing of it is announced now, under new numbers."""
        for doubt in list(self._doubts):
            doubt.fate = tx.scalar(_FATE, number=doubt.number)
            if doubt.fate == "in progress":
                continue
            self._doubts.remove(doubt)
            if doubt.fate == "committed":
                for event in doubt.events:
                    fields = {k: v for k, v in event.params.items() if k not in ("seq", "at", "till")}
                    tx.emit(event.method, fields)

    # -- the connection ---------------------------------------------------------------------------------

    def _connect(self) -> None:
        """The connecting thread: one new connection whenever one is wanted."""
        pause = FIRST_RETRY_S
        while self._wanted.wait() and not self._closing.is_set():
            self._wanted.clear()
            try:
                link = self._server.connect()
            except Unreachable as fault:
                if fault.mistake and not self._joined:
                    self._fail(StartError(f"ledger: {fault.mistake}"))
                    return
                self._settled.set()
                self._wanted.set()
                self._closing.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - tills must not retry in step
                pause = min(LAST_RETRY_S, pause * 2)
                continue
            pause = FIRST_RETRY_S
            self._fresh.put(link)
            adopted = threading.Event()
            self._queue.put(lambda spool, adopted=adopted: self._adopt_fresh(spool, adopted))  # type: ignore[misc]
            if not adopted.wait(2 * WITHIN_S):
                link.cut()

    def _adopt_fresh(self, spool: Connection, adopted: threading.Event) -> None:
        try:
            self._adopt(spool, self._fresh.get_nowait())
        except queue.Empty:
            pass  # a call that was waiting for it has it
        finally:
            adopted.set()

    def _connected(self, spool: Connection, call: _Call) -> Link:
        """The connection; one that broke a moment ago is given the time to be made again."""
        while self._link is None:
            if not self.up or call.given_up:
                raise away()
            try:
                self._adopt(spool, self._fresh.get(timeout=call.left))
            except queue.Empty:
                self._set_up(up=False)
                raise away() from None
        return self._link

    def _adopt(self, spool: Connection, link: Link) -> None:
        """The first transaction of a connection: who we are, what was missed, what was said meanwhile."""
        said = self._said(spool)
        try:
            self.programs.clear()  # perhaps another server
            now, _ = link.begin(None)
            make_tables(link, self._server.dialect)
            tx = self._tx(link, now)
            self._take_name(tx)
            self._carry(tx, said)
            self._settle_doubts(tx)
            self._join(tx, not self._joined)
            tx.keep_events()
            link.commit()
        except StartError as error:
            link.close()
            self._fail(error)
            return
        except link.errors.Error as error:
            log.warning("could not join the ledger", code=getattr(error, "sqlstate", None))
            link.close()
            self._wanted.set()
            return
        except Exception as error:  # a fault of ours: in one line, not a store thread that is gone
            log.error("could not join the ledger", error=type(error).__name__, at=places(error))  # noqa: TRY400
            link.close()
            self._fail(StartError("ledger: could not be joined because of a fault of tilltap (see the log)"))
            return
        self._link, self._joined = link, True
        if tx.events:
            self.last_seq = tx.events[-1].seq
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self.hub.publish, tx.events)
        if said:
            with suppress(CallError):  # they would only be entered again
                self._transact(spool, lambda local: spool_book.drop_events(local, said[-1][0]))
        self._settled.set()
        self._set_up(up=True)

    def _said(self, spool: Connection) -> list[tuple[int, str, str]]:
        """Events of the time without the ledger."""
        try:
            return self._transact(spool, spool_book.events)[0]
        except CallError:  # the spool is broken, and has said so
            return []

    def _take_name(self, tx: Tx) -> None:
        taken = tills.take_name(tx, self.till, self.holder, self._host)
        if taken is not None:
            raise StartError(
                f'ledger: a daemon on {taken.host} already runs as till "{self.till}" (give this one a'
                f" [till] name of its own; if that one is gone for good, try again in {taken.seconds:.0f} s)"
            )

    def _carry(self, tx: Tx, said: list[tuple[int, str, str]]) -> None:
        """Events published without the ledger get their place in it; numbers go on behind all of them."""
        last = restored.resume(tx, self._seen)
        for seq, method, params in said:
            tx.run(_ADD_OLD_EVENT, till=self.till, seq=seq, method=method, params=params)
        last = max(last, book.last_seq(tx, self.till))
        self.last_seq = max(last, self.last_seq) if self._begun else last

    def _set_up(self, *, up: bool) -> None:
        if up != self.up:
            log.log(20 if up else 30, "ledger in reach" if up else "ledger out of reach")
        self.up = up
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.on_change)

    def _drop(self) -> None:
        """The connection is of no use any more."""
        with self._guard:
            link, self._link = self._link, None
        if link is not None:
            link.close()
        self._wanted.set()

    def _fail(self, error: StartError) -> None:
        self.failed = error
        self._set_up(up=False)
        self._settled.set()
        self.on_failure()

    def _judge(self, error: Exception) -> None:
        """The spool cannot be written: closes are refused while the ledger is away, the rest goes on."""
        log.error("the spool cannot be written", error=type(error).__name__)

    def close(self) -> None:
        """Leaves the till's name to whoever comes next."""
        self._closing.set()
        self._wanted.set()
        self._now(self._leave)
        self._connector.join(CONNECT_S + 1)
        super().close()

    def _leave(self, spool: Connection) -> tuple[None, list[Event]]:
        seq = str(self.last_seq)
        with suppress(CallError):
            self._transact(spool, lambda tx: book.put_meta(tx, "seq", seq))
        if self._link is not None and self.failed is None:
            with suppress(_Lost, _Busy, CallError):
                self._attempt(
                    self._link, lambda tx: tills.leave_name(tx, self.till, self.holder), durable=False
                )
        self._drop()
        return None, []


def _who(tx: Tx) -> tuple[str, int, str]:
    """The holder this spool stands for, drawn once, the last event number it remembers, and what it has seen
    of the ledger (restored.py).
    """
    holder = book.meta(tx, "holder")
    if holder is None:
        holder = secrets.token_hex(16)
        book.put_meta(tx, "holder", holder)
    return holder, int(book.meta(tx, "seq") or 0), book.meta(tx, "seen") or ""
