"""An HTTP service scripted byte for byte: the faults that no web framework can be talked into.

One `Script` answers one request: a sequence of bytes to send and of steps between them. Requests are read
whole (head and `Content-Length` body) and kept as they stood on the wire. Runs in the caller's loop
(`async with RawService(...)`) or, for clients that own the loop or are another process, in a thread
(`with RawService.threaded(...)`).
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Self

_HEAD_LIMIT = 64 * 1024


class Step(Enum):
    """What a script can do besides sending bytes."""

    CLOSE = auto()  # an orderly end of the connection (FIN)
    RESET = auto()  # a rude one (RST)
    HANG = auto()  # say nothing more until the client goes away


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Drip:
    """`data` one byte at a time, `gap` seconds apart."""

    data: bytes
    gap: float


Script = Sequence[bytes | Step | Pause | Drip]


@dataclass(frozen=True)
class Request:
    """One request as it stood on the wire. `connection` counts from 0."""

    connection: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[-1] if found else None

    def json(self) -> Any:
        return json.loads(self.body)


def reply(status: int, body: object = b"", *, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A complete well-formed answer; anything but bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}"]
    head += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + data


class RawService:
    """Answers each request with the next script, or with what `answer(request)` returns.

    When the scripts have run out the connection is closed without a word, so that a client's surplus
    request shows up as a fault and in `requests`.
    """

    def __init__(
        self,
        *scripts: Script,
        answer: Callable[[Request], Script] | None = None,
        tls: ssl.SSLContext | None = None,
        on_connect: Step | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self._scripts = list(scripts)
        self._answer = answer
        self._tls = tls
        self._on_connect = on_connect
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections that the client has not given up."""
        return len(self._tasks)

    async def until(self, done: Callable[[Self], bool]) -> None:
        """Waits until `done(self)`; the test's own time limit is the only one."""
        while not done(self):  # noqa: ASYNC110 - any state of the rig, not one event
            await asyncio.sleep(0.01)

    def then(self, *scripts: Script) -> None:
        self._scripts.extend(scripts)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._tls, limit=_HEAD_LIMIT
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @classmethod
    @contextmanager
    def threaded(cls, *scripts: Script, **options: Any) -> Iterator[Self]:
        """The same service on a loop and a thread of its own."""
        service, up, loop = cls(*scripts, **options), threading.Event(), asyncio.new_event_loop()
        stop = asyncio.Event()

        async def main() -> None:
            async with service:
                up.set()
                await stop.wait()

        thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
        thread.start()
        assert up.wait(5)
        try:
            yield service
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(5)
            loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number, self.connections = self.connections, self.connections + 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._serve(number, reader, writer)
        except asyncio.CancelledError:
            pass  # the service is going; a cancelled handler would be reported as an error
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._on_connect and not await self._step(self._on_connect, reader, writer):
            return
        while True:
            request = await _read(number, reader)
            self.requests.append(request)
            for step in self._next(request):
                if not await self._step(step, reader, writer):
                    return

    def _next(self, request: Request) -> Script:
        if self._scripts:
            return self._scripts.pop(0)
        return self._answer(request) if self._answer else [Step.CLOSE]

    async def _step(
        self, step: bytes | Step | Pause | Drip, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection goes on."""
        match step:
            case bytes():
                writer.write(step)
                await writer.drain()
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Drip(data, gap):
                for byte in data:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(gap)
            case Step.HANG:
                await reader.read()
                return False
            case Step.RESET:
                # A zero linger turns the close into a reset.
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
            case Step.CLOSE:
                return False
        return True


async def _read(connection: int, reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Request(connection, method, target, headers, await reader.readexactly(length))
