"""The daemon's two times: what people read on the wall, and the seconds that windows are measured in.

Windows in seconds (reservations, waiting taps, push budget, settle) must not follow the wall clock (contract
section 3), and must survive a restart of the daemon. So they run on `CLOCK_BOOTTIME`, counted on from where
the ledger last saw it; only a reboot falls back to the wall clock, and never backwards.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

_ANSWER_BY: ContextVar[float] = ContextVar("answer_by", default=math.inf)


def answer_within(seconds: float) -> None:
    """For the call that the current task answers."""
    _ANSWER_BY.set(time.monotonic() + seconds)


def time_to_answer() -> float:
    """Seconds until the call under way must have its answer; infinite when nobody waits at a POS."""
    return _ANSWER_BY.get() - time.monotonic()


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    def steady(self) -> float:
        """Seconds that only go forward, comparable over restarts on one ledger."""
        ...

    def wall(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Anchor:
    """A point where both times were known: kept in the ledger."""

    boot_id: str
    boottime: float
    steady: float


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class SystemClock:
    """Continues from `anchor` if the machine has not booted since, else from the wall clock."""

    def __init__(self, anchor: Anchor | None = None) -> None:
        self._boot_id = _boot_id()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        if anchor and anchor.boot_id == self._boot_id and self._boot_id and anchor.boottime <= now:
            steady = anchor.steady + now - anchor.boottime
        else:
            steady = max(time.time(), anchor.steady if anchor else 0.0)
        self._offset = steady - now

    def steady(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self._offset

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def anchor(self) -> Anchor:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return Anchor(self._boot_id, now, now + self._offset)


def rfc3339(at: datetime) -> str:
    """UTC with milliseconds: `2026-11-21T10:00:00.123Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
