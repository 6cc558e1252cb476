"""Events in the order of the ledger, for everyone who watches.

The ledger gives each event its `seq` inside the transaction that made it true; the hub only spreads what is
already decided. A watcher is a cursor, not a queue: it costs nothing until it reads, and one that falls too
far behind is its own problem.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tilltap.written import written

# Events kept in memory for watchers; older ones are read back from the ledger. At about 1 KB each this is
# half a megabyte, and a busy till makes fewer in an hour.
RING = 512


@dataclass(frozen=True)
class Event:
    """`params` holds `seq`, `at` and `till` first, then the fields of contract 3.3."""

    seq: int
    method: str
    params: dict[str, Any]

    @cached_property
    def body(self) -> str:
        """`params` as JSON: written once, into the ledger and to every watcher."""
        return written(self.params)

    def line(self) -> bytes:
        return f'{{"jsonrpc":"2.0","method":"{self.method}","params":{self.body}}}\n'.encode()


class Hub:
    """One per daemon, used from the event loop only."""

    def __init__(self, last_seq: int) -> None:
        self.last_seq = last_seq
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=RING)
        self._floor = last_seq  # every event after it is in the ring
        self._changed = asyncio.Event()
        self._waiting = 0
        self.on_publish: Callable[[list[Event]], object] = lambda _events: None

    @property
    def oldest(self) -> int:
        """The first event after it, and all since, are at hand."""
        return self._floor

    @property
    def awaited(self) -> bool:
        """Somebody waits for the next event."""
        return self._waiting > 0

    def start(self, last_seq: int) -> None:
        """Before anyone watches: everything up to `last_seq` is in the ledger only."""
        self.last_seq = self._floor = last_seq

    def publish(self, events: list[Event]) -> None:
        """Called in commit order."""
        self.on_publish(events)
        for event in events:
            if len(self._ring) == RING:
                self._floor = self._ring[0][0]
            self._ring.append((event.seq, event.line()))
            self.last_seq = event.seq
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def since(self, after: int) -> list[tuple[int, bytes]] | None:
        """`(seq, line)` of every event after `after`; None: some of them are in the ledger only."""
        if after < self._floor:
            return None
        return [item for item in self._ring if item[0] > after]

    async def wait(self, after: int) -> None:
        """Until there is an event after `after`."""
        self._waiting += 1
        try:
            while self.last_seq <= after:
                await self._changed.wait()
        finally:
            self._waiting -= 1
