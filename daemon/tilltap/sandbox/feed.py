"""Live pages: server-sent events that tell the newest state, never a backlog.

A stream keeps no queue. It sleeps until something changed, then sends the state as it is now, if it differs
from what it sent last; a slow page skips states and a page that comes back is right after its first event.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from starlette.responses import StreamingResponse

MAX_STREAMS = 64  # pages open at once; a training room has ten, and a browser tab that leaks is stopped here
HEARTBEAT = 15.0  # seconds between comments on a quiet stream, so that a vanished page is noticed
CALM = 0.05  # seconds a stream rests after an event: a burst of changes becomes one
RECONNECT_MS = 1000  # what a page is told to wait before it comes back


class Feed:
    """Wakes all streams on a change. Belongs to one event loop; `wake` is to be called on it."""

    def __init__(self) -> None:
        self.stopping = anyio.Event()
        self._changed = anyio.Event()
        self._open = 0

    def wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def stop(self) -> None:
        """End all streams, and all faults that wait."""
        self.stopping.set()
        self.wake()

    @property
    def full(self) -> bool:
        return self._open >= MAX_STREAMS

    def response(self, state: Callable[[], Any]) -> StreamingResponse:
        """A stream of `state()`, which answers None when there is nothing left to tell (the stream ends)."""
        headers = {"cache-control": "no-store"}
        return StreamingResponse(self._events(state), media_type="text/event-stream", headers=headers)

    async def _events(self, state: Callable[[], Any]) -> AsyncIterator[str]:
        self._open += 1
        try:
            yield f"retry: {RECONNECT_MS}\n\n"
            last = None
            while not self.stopping.is_set():
                changed = self._changed  # before the state is taken: a change in between is not missed
                now = state()
                if now is None:
                    return
                text = json.dumps(now)
                if text != last:
                    yield f"data: {text}\n\n"
                    last = text
                    await anyio.sleep(CALM)
                with anyio.move_on_after(HEARTBEAT) as quiet:
                    await changed.wait()
                if quiet.cancelled_caught:
                    yield ": still here\n\n"
        finally:
            self._open -= 1
