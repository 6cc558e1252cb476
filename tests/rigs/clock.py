"""Time that a test moves: a clock for the daemon, and an event loop whose sleeps take no time.

`Time` is the injected clock; `move` lets hours pass at once. `VirtualLoop` runs the real asyncio code, but when
nothing is ready it jumps to the next timer instead of waiting, unless the store thread is still at work.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

# Only an upper bound for one look at a busy store thread: its answer wakes the loop at once.
LOOK_S = 0.05


class Time:
    """Steady seconds and the wall, moved by hand; on a `VirtualLoop` its sleeps move both as well."""

    def __init__(self) -> None:
        self._steady = 1_000_000.0
        self._wall = datetime(2026, 11, 21, 10, tzinfo=UTC)
        self.loop: VirtualLoop | None = None

    def _slept(self) -> float:
        return self.loop.time() if self.loop else 0.0

    def steady(self) -> float:
        return self._steady + self._slept()

    def wall(self) -> datetime:
        return self._wall + timedelta(seconds=self._slept())

    def move(self, seconds: float) -> None:
        self._steady += seconds
        self._wall += timedelta(seconds=seconds)

    def set_wall(self, wall: datetime) -> None:
        """Somebody corrects the clock on the wall: windows in seconds must not notice."""
        self._wall = wall - timedelta(seconds=self._slept())


class _Jumping(selectors.DefaultSelector):
    """Never waits for a timer; waits for real only while another thread owes an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], None] = lambda _seconds: None
        self.owed = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        while self.owed and not ready and timeout != 0:
            ready = super().select(LOOK_S)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(None)
        self.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now = 0.0
        self._jumping = _Jumping()
        self._jumping.jump = self._jump
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float) -> None:
        # A hair more, so that the timer is certainly due in floating point.
        self._now += seconds + 1e-6

    def owe(self, n: int) -> None:
        """Another thread was asked (1) or has answered (-1): no jumping in between."""
        self._jumping.owed += n


BACKEND: tuple[str, dict[str, Any]] = ("asyncio", {"loop_factory": VirtualLoop})
