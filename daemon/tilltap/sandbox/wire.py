"""Answers that go wrong on the wire: dropped, cut, slow, or in another dress than promised.

They are ordinary ASGI responses; the ones that break the connection reach for its transport, which
`SandboxProtocol` puts into the connection's own state (`scope["state"]`).
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tilltap.sandbox.api import Reply, errors
from tilltap.sandbox.faults import Armed, alter

# How long the first half of an answer is given to reach the caller before the connection is reset: a reset
# overtakes data that the other side has not read yet.
BEFORE_RESET = 0.05

Wanted = Callable[[], Awaitable[Any]]


class SandboxProtocol(H11Protocol):
    """uvicorn's own HTTP/1.1 protocol that also tells the application which transport it is served on."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class JsonResponse(Response):
    media_type = "application/json"

    def __init__(self, reply: Reply) -> None:
        super().__init__(json.dumps(reply.document).encode(), reply.status, dict(reply.headers))


class FaultyResponse(Response):
    """What the caller gets of `reply` under the fault `armed`. `stopping` ends those that wait."""

    def __init__(self, armed: Armed, reply: Reply, stopping: anyio.Event, path: str) -> None:
        self._armed = armed
        self._stopping = stopping
        reply = _dressed(armed, reply)
        headers = {"content-type": "application/json", **reply.headers}
        body = json.dumps(reply.document).encode()
        match armed.fault.reply:
            case "half-json":
                body = body[: len(body) // 2]
            case "plain-text":
                headers["content-type"] = "text/plain; charset=utf-8"
            case "redirect":
                headers["location"] = f"{path}?redirected=1"
            case "html":
                headers["content-type"] = "text/html; charset=utf-8"
                body = b"<!doctype html><title>Please wait</title><h1>Checking your connection</h1>"
        super().__init__(body, reply.status, headers)

    @property
    def told(self) -> int | None:
        """The status the caller gets to see; None when the connection ends before a whole answer."""
        return None if self._armed.fault.reply in ("drop", "abort", "reset", "hang") else self.status_code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        match self._armed.fault.reply:
            case "drop":
                await _hang_up(transport, receive, reset=False)
            case "abort":
                await _hang_up(transport, receive, reset=True)
            case "reset":
                await self._start(send)
                await send(_part(self.body[: len(self.body) // 2], more=True))
                await anyio.sleep(BEFORE_RESET)
                await _hang_up(transport, receive, reset=True)
            case "hang":
                await self._while_wanted(receive, anyio.sleep_forever)
                await _hang_up(transport, receive, reset=False)
            case "slow":
                await self._while_wanted(receive, lambda: anyio.sleep(self._armed.seconds))
                await super().__call__(scope, receive, send)
            case "drip":
                await self._start(send)
                await self._while_wanted(receive, lambda: self._drip(send))
                if self._stopping.is_set():
                    await _hang_up(transport, receive, reset=False)
            case _:
                await super().__call__(scope, receive, send)

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def _drip(self, send: Send) -> None:
        body = bytes(self.body)
        for i in range(len(body)):
            await anyio.sleep(self._armed.seconds / len(body))
            await send(_part(body[i : i + 1], more=i + 1 < len(body)))

    async def _while_wanted(self, receive: Receive, work: Wanted) -> None:
        """Run `work` to its end, unless the caller hangs up or the sandbox stops before."""
        async with anyio.create_task_group() as group:

            async def end_on(event: Wanted) -> None:
                await event()
                group.cancel_scope.cancel()

            group.start_soon(end_on, lambda: _gone(receive))
            group.start_soon(end_on, self._stopping.wait)
            await work()
            group.cancel_scope.cancel()


def _dressed(armed: Armed, reply: Reply) -> Reply:
    """The status line and document that the fault wants told instead of `reply`'s."""
    fault = armed.fault
    if fault.reply == "alter":
        hide = fault.name == "no-notification-status"
        return Reply(reply.status, alter(fault.name, reply.document), {} if hide else reply.headers)
    if fault.reply == "redirect":
        return Reply(307, {})
    if fault.reply != "status":
        return reply
    if fault.status == 429:
        return too_many(armed.seconds)
    return errors(fault.status, fault.why)


def too_many(retry_after: float) -> Reply:
    """429 as PassEntry words it: an array of plain strings, and the wait in seconds, fractional."""
    document = {"errors": [f"Rate limit exceeded. Retry in {retry_after} seconds."]}
    return Reply(429, document, {"x-rate-limit-retry-after": str(retry_after)})


def _part(body: bytes | memoryview, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": bytes(body), "more_body": more}


async def _hang_up(transport: asyncio.Transport, receive: Receive, *, reset: bool) -> None:
    if reset and not transport.is_closing():  # linger 0: the kernel says RST instead of FIN
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _gone(receive)  # only then does uvicorn know that there is nobody left to answer


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
