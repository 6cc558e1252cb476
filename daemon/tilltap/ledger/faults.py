"""What goes wrong with a ledger's file, in one line for a person."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from tilltap.errors import CallError, StartError

# Primary result codes, the low byte of those that SQLite gives (https://www.sqlite.org/rescode.html).
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_one_of(error: BaseException, codes: tuple[int, ...]) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


@contextmanager
def told_in_one_line(where: str, *, sqlite_too: bool = True) -> Iterator[None]:
    """StartError for whatever SQLite says of the file at `where`, in the hands of a command or at start-up;
    not `sqlite_too`: only for what it cannot say.

    It quotes a damaged page in its own words, which may be no text then: Python raises UnicodeDecodeError in
    their place.
    """
    try:
        yield
    except UnicodeDecodeError:
        raise StartError(f"{where}: it is damaged: its pages are no text (restore a backup)") from None
    except (CallError, DBAPIError, sqlite3.Error) as error:
        cause = _cause(error)
        if not sqlite_too or not isinstance(cause, sqlite3.Error):
            raise
        raise StartError(f"{where}: {_printable(cause)} ({_remedy(cause)})") from None


def _cause(error: BaseException) -> BaseException | None:
    if isinstance(error, CallError):
        return error.__cause__
    return error.orig if isinstance(error, DBAPIError) else error


def _remedy(error: sqlite3.Error) -> str:
    if is_one_of(error, DAMAGED):
        return "it is damaged: restore a backup"
    if is_one_of(error, HELD):
        return "another program holds it: end that one, or try again in a moment"
    return "check the disk and tilltap ledger status; if it is damaged, restore a backup"


def _printable(error: sqlite3.Error) -> str:
    """One line, whatever page is quoted in it."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(error).split()))
