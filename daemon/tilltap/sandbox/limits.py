"""The rate limit of the service: so many requests a second for each endpoint and method. Pure.

Source: PassEntry's "rate limiting" page; 10 requests/s in a sliding window, counted per endpoint and method.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

PER_WINDOW = 10  # requests PassEntry lets through per window
WINDOW = 1.0  # seconds of that sliding window


@dataclass(frozen=True, slots=True)
class Allowance:
    """`retry_after` is None when the request may pass, else the seconds until the window has room."""

    remaining: int
    reset_at: float
    retry_after: float | None


class RateLimit:
    def __init__(self, clock: Callable[[], float], per_window: int = PER_WINDOW) -> None:
        self._clock = clock
        self.per_window = per_window
        self._passed: dict[str, deque[float]] = {}

    def ask(self, endpoint: str) -> Allowance:
        """Count one request to `endpoint`; a refused one does not count."""
        now = self._clock()
        passed = self._passed.setdefault(endpoint, deque())
        # A clock set back (the window's times lie ahead) must not lock the endpoint until it catches up.
        while passed and not now - WINDOW < passed[0] <= now:
            passed.popleft()
        if len(passed) >= self.per_window:
            free_at = passed[0] + WINDOW
            return Allowance(0, free_at, round(max(free_at - now, 0.001), 3))
        passed.append(now)
        return Allowance(self.per_window - len(passed), passed[0] + WINDOW, None)
