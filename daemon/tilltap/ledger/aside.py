"""Reads too long for the store thread, which closes wait for: of one moment, on a connection of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Dialect

from tilltap.ledger.engine import BUSY_TIMEOUT_MS, Tx

T = TypeVar("T")


@dataclass(slots=True)
class Onlooker:
    """In the store's place: it numbers nothing and remembers nothing."""

    till: str
    last_seq: int = 0
    programs: dict[int, Any] = field(default_factory=dict)


def look_into_file(path: Path, dialect: Dialect, till: str, now: float, at: str, fn: Callable[[Tx], T]) -> T:
    """sqlite3.Error if the file cannot be read.

    For the daemon's own process: nothing but SQLite may open the file there, since closing it any other way
    would give up SQLite's locks (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(
        sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN")  # every statement sees what the first one saw
        return fn(Tx(connection.cursor(), dialect, Onlooker(till), now, at))
