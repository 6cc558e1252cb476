"""A copy of a SQLite ledger, made while its daemon goes on selling."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tilltap.errors import StartError

# A commit of the daemon's takes a millisecond; whoever holds the file longer is not the daemon.
BUSY_S = 5.0

# What tells a ledger that it is such a copy, should it be put back (see restored.py).
_MARK = "INSERT INTO meta (key, value) VALUES ('copied', '1') ON CONFLICT (key) DO NOTHING"


def open_to_read(path: Path, what: str = "ledger") -> sqlite3.Connection:
    """The ledger without a chance to change it. StartError if there is none, or not for us."""
    refuse_mixed(path, what)
    try:
        path.stat()
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None
        )
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except FileNotFoundError:
        raise StartError(
            f"{what} {path}: no such file (tilltap run makes it; or correct [ledger] url)"
        ) from None
    except (OSError, sqlite3.Error) as error:
        raise StartError(f"{what} {path}: {error} ({_remedy(path)})") from None
    return connection


def refuse_mixed(path: Path, what: str = "ledger") -> None:
    """A copy put where another ledger was, with the newest sales of that one still beside it: SQLite would
    take them for the copy's own and destroy it. StartError.

    To be asked before the file is opened. A copy can be told because it alone is in no WAL mode (bytes 18 and
    19, https://www.sqlite.org/fileformat.html); a ledger that a daemon has opened is, for ever.
    """
    beside = path.with_name(path.name + "-wal")
    try:
        with path.open("rb") as file:
            is_copy = file.read(20)[18:] == b"\x01\x01"
        if is_copy and beside.stat().st_size:
            raise StartError(
                f"{what} {path}: {beside.name} beside it belongs to the file it replaces (move that one away)"
            )
    except OSError:
        pass  # no such file, or one that will be complained of when it is opened


def _remedy(path: Path) -> str:
    if not os.access(path, os.R_OK):
        return "run this as the daemon's user"
    if not os.access(path.parent, os.W_OK):  # SQLite keeps an index of the newest sales beside the file
        return f"{path.parent} must be writable: run this as the daemon's user"
    return "it is damaged: restore a backup"


def copy_to(path: Path, target: Path) -> Path:
    """One consistent copy, on the disk when this returns, for the eyes of its owner only.

    Never overwrites anything. It has its name only when it is whole: a kill leaves an empty file at most, and
    its unfinished `.part`. StartError: what, where, remedy.
    """
    part = target.with_name(target.name + ".part")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StartError(
            f"backup {target}: {error.strerror} (name a new file in a folder of your own)"
        ) from None
    try:
        os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with closing(open_to_read(path)) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy)  # in one step, from one moment; the daemon need not wait
            copy.execute("PRAGMA journal_mode=DELETE")  # a copy is one file, with nothing beside it
            copy.execute(_MARK)
            copy.commit()
        _flush(part)
        part.replace(target)
        _flush(target.parent)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        _remove(part, target)
        raise StartError(f"backup {target}: {reason} (is there room on the disk?)") from None
    except BaseException:
        _remove(part, target)
        raise
    return target


def checked_copy(path: Path, target: Path) -> Path:
    """`copy_to`, and read once more, since somebody will rely on it. StartError also for a damaged ledger."""
    copy_to(path, target)
    with closing(sqlite3.connect(f"{target.absolute().as_uri()}?mode=ro", uri=True)) as copy:
        wrong = findings(copy.execute("PRAGMA integrity_check(1)").fetchall())
    if wrong:
        target.unlink()
        raise StartError(f"ledger {path}: it is damaged: {wrong[0]} (restore an older backup)")
    return target


def findings(rows: Sequence[Sequence[Any]]) -> list[str]:
    """What `PRAGMA integrity_check` found, a line each; none if all is well."""
    lines = [line for row in rows for line in str(row[0]).splitlines()]
    return [line for line in lines if line != "ok" and not line.startswith("***")]


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
