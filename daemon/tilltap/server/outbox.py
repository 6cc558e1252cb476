"""What waits to be sent to one client: replies and events on one bounded path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Bytes waiting for one client before nothing new is read from it or streamed to it: a few hundred sales, and
# 128 slow clients still cost no more than 32 MB.
HIGH_WATER = 256 * 1024
CHUNK = 64 * 1024  # bytes handed to the writer at a time: what a Unix socket takes in one or two writes


class Outbox:
    """Filled by the calls and the event stream, emptied by one writer; used from the event loop only.

    `send` writes what can be written without waiting and returns how many bytes that was.
    """

    def __init__(self, send: Callable[[bytes], int]) -> None:
        self._send = send
        self._waiting = bytearray()
        self._writing = False  # the writer has a chunk that is not out yet
        self._closed = False
        self.abandoned = False
        self._change = asyncio.Event()

    def put(self, line: bytes) -> None:
        """Never waits: callers ask for `room` first, so only calls in flight can go beyond `HIGH_WATER`.

        A client that keeps up gets its line here and now, without the writer's turn of the loop.
        """
        if self.abandoned:
            return
        sent = 0 if self._waiting or self._writing else self._send(line)
        if sent < len(line):
            self._waiting += line[sent:]
            self._changed()

    @property
    def has_room(self) -> bool:
        """Less than `HIGH_WATER` is waiting, or nobody will read it any more."""
        return len(self._waiting) < HIGH_WATER

    async def room(self) -> None:
        while not self.has_room:
            await self._change.wait()

    async def take(self) -> bytes:
        """The next chunk, the last one being out; empty once closed and drained, or abandoned."""
        self._writing = False
        while not self._waiting and not self._closed:
            await self._change.wait()
        chunk = bytes(self._waiting[:CHUNK])
        del self._waiting[:CHUNK]
        self._writing = True
        self._changed()
        return chunk

    def close(self) -> None:
        """Nothing more will be put; what waits is still sent."""
        self._closed = True
        self._changed()

    def abandon(self) -> None:
        """The client is gone: what waits is dropped, and so is what comes."""
        self._closed = self.abandoned = True
        self._waiting.clear()
        self._changed()

    def _changed(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()
