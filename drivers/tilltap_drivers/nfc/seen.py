"""A bounded memory of what was read, so that an exact copy of it is refused."""

from __future__ import annotations

import threading

# Reads remembered, 32 bytes each: some weeks of a busy shop. The oldest is forgotten first.
SEEN_LIMIT = 10_000


class Seen:
    """Marks, oldest forgotten first; safe to share between the threads of several readers.

    `since`: whole seconds since 1970; what was read before is not remembered. None: that is not known.
    """

    def __init__(self, limit: int = SEEN_LIMIT, *, since: int | None = None) -> None:
        self.since = since
        self._limit = limit
        self._marks: dict[bytes, None] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._marks)

    def first_time(self, mark: bytes) -> bool:
        """Whether `mark` was not there; it is now."""
        with self._lock:
            if mark in self._marks:
                return False
            self._marks[mark] = None
            if len(self._marks) > self._limit:
                del self._marks[next(iter(self._marks))]
            return True
