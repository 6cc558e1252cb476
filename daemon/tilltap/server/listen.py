"""The POS socket: accepts clients, serves each by a `Session`, and lets all go when the daemon stops."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import anyio
import anyio.abc
import structlog

from tilltap.errors import CallError
from tilltap.server import jsonrpc, methods
from tilltap.server.desk import Desk
from tilltap.server.peers import peer_of
from tilltap.server.session import CALL_DEADLINE, Session
from tilltap.server.sockfile import SocketFile

CLIENTS = 128  # served at a time; the contract promises 64, a reconnecting POS may still count twice
TURNED_AWAY = 128  # told `overloaded` under the id of their first call at a time; the rest at once, without
FIRST_CALL = 0.5  # seconds for that first call to come: a POS sends it right after connecting
LEAVING = (
    0.02  # seconds more, in which clients that just hung up are noticed: a POS that reconnects makes room
)
DRAIN = 1.0  # seconds at stop for clients to take their last replies and `bye`
ACCEPT_AT_ONCE = 32  # new clients taken in a row before those already there get their turn
ACCEPT_PAUSE = 0.2  # seconds before accepting again when the system has no descriptor or memory left

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_OVERLOADED = CallError("overloaded", "Too many programs use this till's loyalty service. Try again.")

log = structlog.get_logger("tilltap.server")


async def serve(
    desk: Desk,
    path: Path,
    *,
    stopping: anyio.Event,
    write_group: int | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `desk` at `path` until `stopping` is set; StartError if the path cannot be had.

    Calls that change something are for members of `write_group` (a gid), root and the daemon's user only.

    Publish `bye` before setting `stopping`: watchers are sent every event published until then. Calls already
    received are executed; then everyone is let go, at the latest after `DRAIN` and one call's deadline.
    """
    server = _Server(desk, SocketFile(path), stopping, write_group)
    await server.run(task_status)


class _Server:
    def __init__(self, desk: Desk, file: SocketFile, stopping: anyio.Event, write_group: int | None) -> None:
        self._desk = desk
        self._file = file
        self._stopping = stopping
        self._write_group = write_group
        self._known_users: set[int | None] = set()
        self._sessions: set[Session] = set()
        self._turned_away = 0
        self._changed = anyio.Event()

    async def run(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        with self._file.listen() as listener:
            try:
                async with anyio.create_task_group() as clients:
                    clients.start_soon(self._close_at_stop, listener)
                    task_status.started()
                    await self._accept(listener, clients)
                    await self._let_go()
                    clients.cancel_scope.cancel()
            finally:
                self._file.remove()

    async def _close_at_stop(self, listener: socket.socket) -> None:
        """The path goes first, then the queue: who comes now is told at once that nobody is there."""
        await self._stopping.wait()
        self._file.remove()
        listener.shutdown(socket.SHUT_RDWR)

    async def _accept(self, listener: socket.socket, clients: anyio.abc.TaskGroup) -> None:
        while True:
            await anyio.wait_readable(listener)
            if self._stopping.is_set():
                return
            try:
                for _ in range(ACCEPT_AT_ONCE):
                    self._welcome(listener.accept()[0], clients)
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as problem:
                if problem.errno not in _NO_ROOM:
                    raise
                log.warning(
                    "cannot take a new client for now", error=problem.strerror, clients=len(self._sessions)
                )
                await anyio.sleep(ACCEPT_PAUSE)

    def _welcome(self, sock: socket.socket, clients: anyio.abc.TaskGroup) -> None:
        sock.setblocking(False)
        if len(self._sessions) < CLIENTS:
            clients.start_soon(self._serve, self._session(sock))
        elif self._turned_away < TURNED_AWAY:
            self._turned_away += 1
            clients.start_soon(self._hear_out, sock)
        else:
            with sock:
                _say_overloaded(sock, None)

    def _session(self, sock: socket.socket) -> Session:
        peer = peer_of(sock, self._write_group)
        if peer.uid not in self._known_users:
            self._known_users.add(peer.uid)
            log.info("a user's first connection", uid=peer.uid, pid=peer.pid, may_write=peer.may_write)
        session = Session(sock, self._desk, peer)
        self._sessions.add(session)
        return session

    async def _serve(self, session: Session) -> None:
        try:
            await session.run()
        except Exception as problem:  # a fault in one client's service must not end the others'
            log.error("a client's session failed", error=type(problem).__name__)  # noqa: TRY400 -- no values
        finally:
            self._sessions.discard(session)
            self._changed.set()

    async def _hear_out(self, sock: socket.socket) -> None:
        """One too many: served after all if others left before its first call, else told under its id."""
        try:
            with anyio.move_on_after(FIRST_CALL):
                await anyio.wait_readable(sock)
                await anyio.sleep(LEAVING)
        except BaseException:
            sock.close()
            raise
        finally:
            self._turned_away -= 1
        if len(self._sessions) < CLIENTS:
            await self._serve(self._session(sock))
            return
        with sock:
            _say_overloaded(sock, _first_id(sock))

    async def _let_go(self) -> None:
        for session in self._sessions:
            session.finish()
        if await self._all_gone(within=DRAIN):
            return
        for session in self._sessions:
            session.drop()
        if not await self._all_gone(within=CALL_DEADLINE):
            log.warning("stopped without waiting longer for calls in progress", clients=len(self._sessions))

    async def _all_gone(self, within: float) -> bool:
        with anyio.move_on_after(within):
            while self._sessions:
                self._changed = anyio.Event()
                await self._changed.wait()
        return not self._sessions


def _first_id(sock: socket.socket) -> jsonrpc.Id:
    """The id of what has arrived, if it is a whole call."""
    try:
        lines = jsonrpc.Lines().feed(sock.recv(jsonrpc.LINE_LIMIT + 1))
    except OSError:
        return None
    return next((call.id for call in map(jsonrpc.decode, lines) if call is not None), None)


def _say_overloaded(sock: socket.socket, request_id: jsonrpc.Id) -> None:
    try:
        sock.send(methods.refusal(jsonrpc.Request(request_id, "", {}), _OVERLOADED))
    except OSError:  # gone already: nobody to tell
        log.debug("a client left before it could be turned away")
