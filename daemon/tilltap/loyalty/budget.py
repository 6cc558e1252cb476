"""The service's rate limit, kept on our side: a sliding window per endpoint, the till before the rest.

PassEntry allows 10 requests in any second, counted per endpoint and method, and advises 9 (passentry.md
section 1). A 429 holds its endpoint for everybody.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import anyio

# The advised rate; the tenth absorbs the jitter between our clock and theirs.
LIMIT = 9

# Left to urgent calls: two tills tapping at once and one repetition find room however busy the mirror is.
KEPT_FREE = 3

# The window of that rate, in seconds.
SPAN = 1.0

# A 429 that does not say for how long: the whole window.
DEFAULT_HOLD = SPAN

# A 429 that says something absurd must not stop the shop for a day, nor turn us into a hammer.
LONGEST_HOLD = 60.0
SHORTEST_HOLD = 0.05


class Window:
    """At most `limit` calls in any `span` seconds, `kept` of them for urgent ones. Pure: `now` is given.

    `now` is seconds of any clock that does not go back.
    """

    def __init__(self, *, limit: int = LIMIT, kept: int = KEPT_FREE, span: float = SPAN) -> None:
        self._limit = limit
        self._span = span
        self._open_to_all = limit - kept
        self._taken: deque[float] = deque(maxlen=limit)
        self._held_until = -math.inf

    def earliest(self, now: float, *, urgent: bool = False) -> float:
        """Seconds until a call may go; 0.0: now."""
        cap = self._limit if urgent else self._open_to_all
        delay = max(0.0, self._held_until - now)
        if len(self._taken) >= cap:
            # The call that must have left the window for this one to be the cap's last.
            frees = self._taken[-cap] + self._span
            # Compared as taken, not as a difference: rounding must not let it in an instant early.
            delay = max(delay, frees - now) if frees > now else delay
        return delay

    def take(self, now: float) -> None:
        """A call goes out at `now`."""
        self._taken.append(now)

    def hold(self, until: float) -> None:
        """Nobody goes before `until`; an earlier hold that lasts longer stands."""
        self._held_until = max(self._held_until, until)

    def held(self, now: float) -> float:
        """Seconds a hold still lasts; 0.0: none."""
        return max(0.0, self._held_until - now)

    def dump(self) -> str:
        """For `load`, by whoever shares this window."""
        return json.dumps([*self._taken])

    @classmethod
    def load(cls, text: str, now: float) -> Window:
        """What `dump` wrote, perhaps on another machine: what it says of the future is forgotten."""
        window = cls()
        window._taken.extend(at for at in (json.loads(text) if text else ()) if at <= now)
        return window


def grant(text: str, now: float, *, urgent: bool) -> tuple[str, float]:
    """Takes room in a dumped window if there is any: `(window, seconds to wait)`, 0.0: granted."""
    window = Window.load(text, now)
    delay = window.earliest(now, urgent=urgent)
    if delay:
        return text, delay
    window.take(now)
    return window.dump(), 0.0


# Room for a call in what all tills share: seconds to wait, 0.0 granted; None: nobody can say.
Ask = Callable[[str, bool], Awaitable[float | None]]


class NotGranted(Exception):
    """No room before the deadline. `held`: seconds the service still holds us off, 0.0 if it does not."""

    def __init__(self, held: float) -> None:
        super().__init__("no room in the rate budget in time")
        self.held = held


class Budget:
    """One window per endpoint, for all tasks of one event loop. Waiters go first come, first served.

    `others` asks for room in the windows that several daemons share; without an answer our own has to do.
    """

    def __init__(self, others: Ask | None = None) -> None:
        self._gates: dict[str, _Gate] = {}
        self._others = others

    async def wait(self, endpoint: str, *, urgent: bool, deadline: float) -> None:
        """Returns when a call may go, and counts it. Raises `NotGranted` once `deadline` cannot be kept."""
        gate = self._gate(endpoint)
        give_up = anyio.current_time() + deadline
        with anyio.move_on_at(give_up):
            async with gate.turns[urgent]:
                while True:
                    now = anyio.current_time()
                    delay = gate.window.earliest(now, urgent=urgent)
                    if not delay and self._others is not None:
                        delay = await self._others(endpoint, urgent) or 0.0
                        now = anyio.current_time()
                    if not delay:
                        gate.window.take(now)
                        return
                    if now + delay > give_up:
                        break
                    await anyio.sleep(delay)
        raise NotGranted(gate.window.held(anyio.current_time()))

    def hold(self, endpoint: str, seconds: float) -> None:
        """The service said 429: nobody calls `endpoint` for so long."""
        self._gate(endpoint).window.hold(anyio.current_time() + seconds)

    def _gate(self, endpoint: str) -> _Gate:
        return self._gates.setdefault(endpoint, _Gate())


class _Gate:
    def __init__(self) -> None:
        self.window = Window()
        self.turns = {True: anyio.Lock(), False: anyio.Lock()}


def hold_seconds(headers: Mapping[str, str]) -> float:
    """How long a 429 asks us to wait, within bounds. `headers` by lower-cased name.

    A `Retry-After` that is a date counts as not given: the till's clock may be wrong.
    """
    for name in ("x-rate-limit-retry-after", "retry-after"):
        try:
            seconds = float(headers[name])
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return min(max(seconds, SHORTEST_HOLD), LONGEST_HOLD)
    return DEFAULT_HOLD
