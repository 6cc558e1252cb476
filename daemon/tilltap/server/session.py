"""One client of the POS socket, from its first byte to its last reply.

Calls about the same sale run in the order they came, others side by side. The client ends it by closing or by
shutting down its sending side: what it has sent until then is executed and answered, and only then we close.
We end it by shutting the socket down, not by cancelling a read or a write: every end takes the same way out.
"""

from __future__ import annotations

import asyncio
import math
import select
import socket
from collections import deque
from contextlib import suppress
from dataclasses import replace
from time import monotonic

import anyio
import anyio.abc
import structlog

from tilltap.caller import called_by
from tilltap.clock import answer_within
from tilltap.model import Peer
from tilltap.server import jsonrpc, methods, stream
from tilltap.server.desk import Desk
from tilltap.server.outbox import Outbox

IN_FLIGHT = 32  # calls of one client at a time; more wait unread, so a flood is the flooder's own queue
STUCK = 10.0  # seconds in which a client takes not one byte: a till frozen that long has lost its cashier
LINGER = 1.0  # seconds we go on swallowing an over-long line, so that its sender gets to read why
CALL_DEADLINE = 2.0  # seconds; contract section 3. The till keeps it, here it is only noticed when it did not
ANSWER_S = 1.8  # seconds that a till whose ledger is a server may use of it; the rest is for the way back
READ_SIZE = 64 * 1024  # bytes per read: one longest line
AT_ONCE = 64  # lines taken in one go: a flood of short ones takes its turn like everybody else's call

log = structlog.get_logger("tilltap.server")


class Session:
    """Serves one connected, non-blocking stream socket and closes it at the end of `run`."""

    def __init__(self, sock: socket.socket, desk: Desk, peer: Peer) -> None:
        self._sock = sock
        self._desk = desk
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._heard_all: asyncio.Future[bool] = self._loop.create_future()
        self._listening = False
        self._lines = jsonrpc.Lines()
        self._unanswered: deque[bytes] = deque()  # of one read at most
        self._calls_begun = 0
        self._looking: set[asyncio.Task[None]] = set()  # calls that change nothing
        self._outbox = Outbox(self._send_now)
        self._last_of_sale: dict[str, asyncio.Event] = {}
        self._cursor: int | None = None
        self._missed = 0  # events up to this `seq` happened before the snapshot
        self._streaming = anyio.CancelScope()
        self._tasks: anyio.abc.TaskGroup
        self._calls: asyncio.TaskGroup

    async def run(self) -> None:
        with self._sock:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._write)
                async with asyncio.TaskGroup() as self._calls:
                    overlong = await self._read()
                self._streaming.cancel()
                await self._last_events()
                self._outbox.close()
            if overlong:
                await self._swallow()

    def finish(self) -> None:
        """Take no more calls; `run` ends when those received are answered and the events so far are sent."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def drop(self) -> None:
        """Stop serving this client at once; what its calls change is still done."""
        self._give_up()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _give_up(self) -> None:
        """Nobody will read an answer: whoever only looks need not look any further."""
        self._outbox.abandon()
        for task in self._looking:
            task.cancel()

    async def _read(self) -> bool:
        """Until the client has nothing more to say; true if it said too much in one line."""
        self._listen()
        try:
            return await self._heard_all
        finally:
            self._unanswered.clear()
            self._pause()

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._loop.add_reader(self._sock, self._hear)

    def _pause(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._sock)

    def _hear(self) -> None:
        try:
            chunk = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:  # reset: it went without reading what we sent
            chunk = b""
        if chunk:
            self._unanswered.extend(self._lines.feed(chunk))
            self._go_on()
        else:
            if _hung_up(self._sock):
                self._give_up()
            self._hear_no_more(overlong=False)

    def _hear_no_more(self, *, overlong: bool) -> None:
        self._pause()
        if not self._heard_all.done():  # the session is being cancelled
            self._heard_all.set_result(overlong)

    def _go_on(self) -> None:
        """Begins the calls received, as far as there is room, and listens for more once all are begun."""
        if self._heard_all.done():
            return
        taken = 0
        while self._unanswered and self._calls_begun < IN_FLIGHT and self._outbox.has_room:
            if taken == AT_ONCE:
                self._loop.call_soon(self._go_on)
                break
            self._begin(self._unanswered.popleft())
            taken += 1
        if self._unanswered:
            self._pause()
        elif self._lines.overlong:
            self._outbox.put(jsonrpc.TOO_LONG.line())
            self._hear_no_more(overlong=True)
        else:
            self._listen()

    def _begin(self, line: bytes) -> None:
        request = jsonrpc.decode(line)
        if request is None:
            return
        if isinstance(request, jsonrpc.Fault):
            self._outbox.put(request.line())
            return
        self._calls_begun += 1
        sale_id = request.params.get("sale_id") if isinstance(request.params, dict) else None
        if isinstance(sale_id, str):
            before, done = self._last_of_sale.get(sale_id), asyncio.Event()
            self._last_of_sale[sale_id] = done
            self._calls.create_task(self._in_turn(request, sale_id, before, done))
        else:
            self._calls.create_task(self._call(request))

    async def _in_turn(
        self, request: jsonrpc.Request, sale_id: str, before: asyncio.Event | None, done: asyncio.Event
    ) -> None:
        if before is not None:
            await before.wait()
        try:
            await self._call(request)
        finally:
            done.set()
            if self._last_of_sale[sale_id] is done:
                del self._last_of_sale[sale_id]

    async def _call(self, request: jsonrpc.Request) -> None:
        try:
            await self._answer(request)
        finally:
            self._calls_begun -= 1
            self._go_on()

    async def _answer(self, request: jsonrpc.Request) -> None:
        method = methods.find(request)
        if isinstance(method, jsonrpc.Fault):
            self._reply(request, method.line())
        elif method.writes:
            await self._execute(request, method)
        elif not self._outbox.abandoned:
            task = asyncio.current_task()
            assert task is not None
            self._looking.add(task)
            try:
                await self._execute(request, method)
            finally:
                self._looking.discard(task)

    async def _execute(self, request: jsonrpc.Request, method: methods.Method) -> None:
        began, start = monotonic(), None
        answer_within(ANSWER_S)
        called_by(self._peer.uid)
        try:
            methods.permit(method, self._peer)
            args = methods.check(method, request.params, self._desk.currency)
            if method.run is None:
                value, cursor = await stream.opening(self._desk, args.get("after"))
                start = cursor, value["seq"]
            else:
                value = await method.run(self._desk, args, self._peer)
            line = jsonrpc.result(request.id, value)
        except Exception as problem:  # a call must never take the daemon down; the table knows what to say
            line, start = methods.refusal(request, problem), None
        else:
            if request.method == "hello":
                self._peer = replace(self._peer, client=args["client"])
        if monotonic() - began > CALL_DEADLINE:
            log.warning("a call took too long", method=request.method, seconds=round(monotonic() - began, 3))
        self._reply(request, line)
        if start is not None:
            self._stream_from(*start)

    def _reply(self, request: jsonrpc.Request, line: bytes) -> None:
        if not request.notification:
            self._outbox.put(line)

    def _stream_from(self, cursor: int, missed: int) -> None:
        """Right behind the reply, in the same breath: a `watch` while watching starts the stream anew."""
        self._streaming.cancel()
        self._streaming = anyio.CancelScope()
        self._cursor, self._missed = cursor, missed
        self._tasks.start_soon(self._stream, self._streaming)

    async def _stream(self, scope: anyio.CancelScope) -> None:
        answer_within(math.inf)  # the call is answered: who reads slowly is not cut off for that
        with scope:
            try:
                while not (scope.cancel_called or self._outbox.abandoned):
                    await self._send_page(scope)
            except stream.FellBehindError:
                log.warning("a watcher fell too far behind and was dropped", client=self._peer.client)
                self.drop()
            except Exception as problem:  # the ledger could not be read: it asks again, the others go on
                log.warning("a watcher's events could not be read", error=type(problem).__name__)
                self.drop()

    async def _send_page(self, scope: anyio.CancelScope) -> None:
        assert self._cursor is not None
        for seq, line in await stream.page(self._desk, self._cursor):
            await self._outbox.room()
            if scope.cancel_called:  # a new `watch` was answered meanwhile
                return
            self._outbox.put(line if seq > self._missed else stream.as_missed(line))
            self._cursor = seq

    async def _last_events(self) -> None:
        """What the till had published when the client was ended, `bye` above all."""
        last = self._desk.hub.last_seq
        try:
            while self._cursor is not None and self._cursor < last and not self._outbox.abandoned:
                await self._send_page(anyio.CancelScope())
        except Exception as problem:  # nobody to tell: the connection is ending anyway
            log.warning("a watcher's last events could not be read", error=type(problem).__name__)

    async def _write(self) -> None:
        while chunk := await self._outbox.take():
            if not await self._send(memoryview(chunk)):
                self._give_up()
            self._go_on()
        self._go_on()

    def _send_now(self, line: bytes) -> int:
        try:
            return self._sock.send(line)
        except OSError:  # full, or the client is gone: the writer finds out
            return 0

    async def _send(self, rest: memoryview) -> bool:
        """False: the client is gone, or stuck and now dropped."""
        waited = False
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
                waited = False
            except BlockingIOError:
                if waited:
                    log.warning("a client stopped reading and was dropped", client=self._peer.client)
                    self.drop()
                    return False
                with anyio.move_on_after(STUCK) as patience:
                    await anyio.wait_writable(self._sock)
                # Linux calls a Unix socket writable only when three quarters are free: so ask once more.
                waited = patience.cancelled_caught
            except OSError:
                return False
        return True

    async def _swallow(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        with suppress(OSError), anyio.move_on_after(LINGER):
            while await self._loop.sock_recv(self._sock, READ_SIZE):
                pass


def _hung_up(sock: socket.socket) -> bool:
    """Closed by the client, not only for sending."""
    look = select.poll()
    look.register(sock, 0)
    return any(found & select.POLLHUP for _, found in look.poll(0))
