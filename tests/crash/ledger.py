"""A ledger read from its file, past the daemon that has it open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

# How many passes have not been brought up to date and read back; how many of them wait for a person.
BEHIND = (
    "SELECT count(*), count(parked) FROM mirror WHERE dirty = 1 OR settle IS NOT NULL OR look IS NOT NULL"
)
# What sales have entered; what the service brought: a balance at first, changes by others.
ENTERED = (
    "SELECT till, ref, kind, seq, points FROM entry WHERE kind NOT IN ('opening', 'foreign') ORDER BY id"
)
BROUGHT = (
    "SELECT pass_id, sum(entry.points) FROM entry JOIN customer ON customer.id = customer_id"
    " WHERE kind IN ('opening', 'foreign') GROUP BY pass_id"
)
# Texts that went out, or may have.
TEXTS = (
    "SELECT pass_id, count(*) FROM push JOIN customer ON customer.id = customer_id"
    " WHERE state IN ('sending', 'sent', 'maybe') GROUP BY pass_id"
)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as file:
        return list(file.execute(query))
