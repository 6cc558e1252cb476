"""The sandbox as one running thing: `SandboxServer`, for the command, the demo and the tests.

    with SandboxServer() as sandbox:              # a thread of its own on a free loopback port
        sandbox.url                               # "http://127.0.0.1:40123"
        sandbox.service.find("anna").balance      # the store and the journal, from any thread
        sandbox.faults.arm(MENU["apply-then-drop"], endpoint="PATCH /loyalty/{id}")

or `await SandboxServer(port=7447).serve(ready)` on a loop of the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from tilltap.errors import StartError
from tilltap.sandbox import api
from tilltap.sandbox.desk import Desk
from tilltap.sandbox.door import Door, Later
from tilltap.sandbox.faults import Switchboard
from tilltap.sandbox.feed import Feed
from tilltap.sandbox.guard import Guard
from tilltap.sandbox.limits import RateLimit
from tilltap.sandbox.service import Clock, NewPass, Service
from tilltap.sandbox.wire import JsonResponse, SandboxProtocol

HOST = "127.0.0.1"  # the sandbox believes any key: it is for this machine only
DEFAULT_PASSES = (NewPass("anna", 0), NewPass("ben", 4))
PROGRAMME = "PassEntry Coffee"

START_LIMIT = 10.0  # seconds a thread may take to listen; it takes a fraction of one
GRACE = 0.3  # seconds that answers under way get when the sandbox stops, before their connections are cut
KEEP_ALIVE = (
    60  # seconds an idle connection stays open; longer than the daemon pauses between two sales in a demo
)
MAX_CONNECTIONS = 256  # beyond it the server answers 503: a till opens a handful, a page one


class SandboxServer:
    """Serves `service` until stopped. `port` 0: any free one. `key` None: any bearer key is accepted."""

    def __init__(
        self,
        passes: Iterable[NewPass] = DEFAULT_PASSES,
        *,
        port: int = 0,
        key: str | None = None,
        rate_limit: bool = True,
        programme: str = PROGRAMME,
        clock: Clock = time.time,
    ) -> None:
        self.service = Service(passes, clock=clock)
        self.faults = Switchboard()
        self._options: dict[str, Any] = {"key": key, "limit": RateLimit(clock) if rate_limit else None}
        self._programme = programme
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def serve(self, ready: Callable[[], object] = lambda: None) -> None:
        """Until `stop()`; calls `ready` once connections are accepted."""
        loop = asyncio.get_running_loop()
        feed, later = Feed(), Later()
        self.service.on_change = _Waker(loop, feed.wake)
        door = Door(self.service, self.faults, feed, later, **self._options)
        desk = Desk(self.service, self.faults, feed, later, programme=self._programme)
        app = Starlette(
            routes=[*door.routes(), *desk.routes()],
            middleware=[Middleware(Guard)],
            exception_handlers={HTTPException: _plain_error, api.ApiError: _api_error},
        )
        config = uvicorn.Config(
            app,
            http=SandboxProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            limit_concurrency=MAX_CONNECTIONS,
        )
        self._server = _Server(config, feed, ready)
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            later.cancel()
            self.service.on_change = lambda: None

    def stop(self) -> None:
        """Ask the server to end; from any thread or a signal handler."""
        if self._server is not None:
            self._server.should_exit = True

    def __enter__(self) -> Self:
        if self._socket.fileno() < 0:  # stopped before: the same service comes back under the same address
            self._socket = _listen(self.port)
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self.serve(ready.set)), name="sandbox", daemon=True
        )
        self._thread.start()
        if not ready.wait(START_LIMIT):
            raise StartError(f"sandbox: did not start within {START_LIMIT:.0f} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(START_LIMIT)


class _Server(uvicorn.Server):
    """uvicorn that tells when it listens, leaves signals to its caller, and does not wait for pages."""

    def __init__(self, config: uvicorn.Config, feed: Feed, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._feed = feed
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feed.stop()
        asyncio.get_running_loop().call_later(GRACE, self._cut)
        await super().shutdown(sockets)

    def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Waker:
    """Carries "something changed" from any thread to the loop, at most one wake-up under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake = wake
        self._under_way = False

    def __call__(self) -> None:
        if not self._under_way:
            self._under_way = True
            with contextlib.suppress(RuntimeError):  # the loop closed between the change and here
                self._loop.call_soon_threadsafe(self._arrive)

    def _arrive(self) -> None:
        self._under_way = False
        self._wake()


def _listen(port: int) -> socket.socket:
    """A listening socket on loopback; StartError when the port is taken or out of range."""
    # With the protocol named, asyncio switches Nagle off on accepted connections; else answers take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or "no such port"
        raise StartError(
            f"sandbox: port {port} of {HOST}: {why} (choose another with --port, 0 for any)"
        ) from None
    return listener


async def _api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, api.ApiError)
    return JsonResponse(error.reply())


async def _plain_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reply = api.errors(error.status_code, error.detail)
    return JsonResponse(api.Reply(reply.status, reply.document, dict(error.headers or {})))
