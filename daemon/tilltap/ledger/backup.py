"""A copy of a SQLite ledger, made while its daemon goes on selling."""

from __future__ import annotations

import glob
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from tilltap.errors import StartError
from tilltap.ledger.faults import DAMAGED, is_one_of, told_in_one_line

# A commit of the daemon's takes a millisecond; whoever holds the file longer is not the daemon.
BUSY_S = 5.0

# What tells a ledger that it is such a copy, should it be put back (see restored.py).
_MARK = "INSERT INTO meta (key, value) VALUES ('copied', '1') ON CONFLICT (key) DO NOTHING"

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
# What every one of ours has since the first release.
_MARKS = {"ledger": {"meta", "entry"}, "spool": {"meta", "spooled"}}
# A database is one page at least, and that the smallest (https://www.sqlite.org/fileformat.html, 1.3.2).
SMALLEST_FILE = 512


class TargetError(StartError):
    """The copy cannot be begun under its name: nothing is wrong with the ledger."""

    def __init__(self, target: Path, error: OSError) -> None:
        super().__init__(f"backup {target}: {error.strerror} (name a new file in a folder of your own)")


def open_to_read(path: Path, what: str = "ledger") -> sqlite3.Connection:
    """The ledger without a chance to change it. StartError if there is none, or not for us."""
    refuse_no_file(path, what)
    refuse_mixed(path, what)
    refuse_emptied(path, what)
    try:
        path.stat()
        with told_in_one_line(f"{what} {path}", sqlite_too=False):
            connection, tables = _look_into(path)
    except FileNotFoundError:
        raise no_such_file(path, what) from None
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StartError(f"{what} {path}: {reason} ({_remedy(path)})") from None
    try:
        _judge_tables(path, what, tables)
    except StartError:
        connection.close()
        raise
    return connection


def _look_into(path: Path) -> tuple[sqlite3.Connection, set[str]]:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None
    )
    try:
        return connection, {row[0] for row in connection.execute(_TABLES)}
    except BaseException:
        connection.close()
        raise


def refuse_foreign(path: Path, what: str = "ledger") -> None:
    """A database that another program made: ours would be put among its tables. StartError.

    To be asked before the file is opened to be written, and under the lock; what cannot be read is complained
    of then.
    """
    refuse_mixed(path, what)
    if not _size(path):
        return
    with suppress(sqlite3.Error, UnicodeDecodeError):
        connection, tables = _look_into(path)
        connection.close()
        _judge_tables(path, what, tables)


def _judge_tables(path: Path, what: str, tables: set[str]) -> None:
    if tables and not tables >= _MARKS[what]:
        raise StartError(
            f"{what} {path}: it is a database of another program (name another file in [ledger] url)"
        )
    note = path.with_name(path.name + ".lock")
    if not tables and _size(note):
        raise _lost(path, what, "is empty", note)


def is_there(path: Path, what: str = "ledger") -> bool:
    """StartError if one may not look, as in a folder that is closed to this user."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StartError(
            f"{what} {path}: {error.strerror} (run this as the daemon's user, or correct [ledger])"
        ) from None
    return True


def no_such_file(path: Path, what: str = "ledger") -> StartError:
    return StartError(f"{what} {path}: no such file (tilltap run makes it; or correct [ledger] url)")


def refuse_no_file(path: Path, what: str = "ledger") -> None:
    """StartError for a folder, or a device, where a database should be."""
    with suppress(OSError):  # it will be complained of when it is opened
        if path.exists() and not path.is_file():
            raise StartError(f"{what} {path}: not a file (name the database file in [ledger])")


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


def refuse_emptied(path: Path, what: str = "ledger") -> None:
    """An empty file, or none, where there was a ledger: nobody would notice the loss if a daemon began anew
    in it, and SQLite would destroy the newest sales, in `-wal`, too. Nor one too short for SQLite, which
    takes it for an empty one. StartError.

    To be asked before the file is opened. An empty file with nothing beside it is an installer's; no file
    beside nothing but copies is somebody's wish to begin anew.
    """
    try:
        size = _size(path)
        if size >= SMALLEST_FILE:
            return
        if size:
            raise StartError(
                f"{what} {path}: it is damaged: only its first {size} bytes are there (put a backup in its"
                f" place; to begin anew, move all that is called {path.name}* away)"
            )
        is_there = path.exists()
        witness = next(_witnesses(path, is_there=is_there), None)
    except OSError:
        return  # it will be complained of when it is opened
    if witness is not None:
        raise _lost(path, what, "is empty" if is_there else "is not there", witness)


def _lost(path: Path, what: str, state: str, witness: Path) -> StartError:
    return StartError(
        f"{what} {path}: it {state}, but {witness.name} beside it is of one with sales in it"
        f" (put a backup in its place; to begin anew, move all that is called {path.name}* away)"
    )


def _witnesses(path: Path, *, is_there: bool) -> Iterator[Path]:
    """What stands beside an empty file, or none, and was left by a ledger."""
    newest, lock = (path.with_name(path.name + end) for end in ("-wal", ".lock"))
    if _size(newest):
        yield newest
    if _size(lock):  # the note in it is of a ledger that has been run
        yield lock
    if is_there:
        yield from filter(_size, path.parent.glob(f"{glob.escape(path.name)}.*.bak"))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def free_name(path: Path, before_time: str = ".") -> Path:
    """For a copy beside the ledger: one with the time that is free, since a second may see two copies."""
    named = f"{path.name}{before_time}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (path.with_name(f"{named}{extra}.bak") for extra in chain([""], (f".{n}" for n in count(2))))
    return next(name for name in names if not name.exists())


def refuse_damaged(path: Path) -> None:
    """StartError for a ledger whose pages do not hang together; takes seconds for millions of entries."""
    with closing(open_to_read(path)) as connection:
        _refuse_damaged(connection, "quick_check", path, "restore a backup")


def _refuse_damaged(connection: sqlite3.Connection, check: str, path: Path, remedy: str) -> None:
    try:
        wrong = findings(connection.execute(f"PRAGMA {check}(1)").fetchall())
    except sqlite3.Error as error:
        wrong = [str(error)]
    if wrong:
        raise StartError(f"ledger {path}: it is damaged: {wrong[0]} ({remedy})")


def _remedy(path: Path) -> str:
    if not os.access(path, os.R_OK):
        return "run this as the daemon's user"
    if not os.access(path.parent, os.W_OK):  # SQLite keeps an index of the newest sales beside the file
        return f"{path.parent} must be writable: run this as the daemon's user"
    return "it is damaged: restore a backup"


def copy_to(path: Path, target: Path) -> Path:
    """One consistent copy, on the disk when this returns, for the eyes of its owner only.

    Never overwrites anything. It has its name only when it is whole: a kill leaves an empty file at most, and
    its unfinished `.part`. TargetError, StartError: what, where, remedy.
    """
    part = target.with_name(target.name + ".part")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise TargetError(target, error) from None
    try:
        os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with closing(open_to_read(path)) as source, closing(sqlite3.connect(part)) as copy:
            _must_hold_one(source, path)
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
        if is_one_of(error, DAMAGED):
            raise StartError(f"ledger {path}: it is damaged: {error} (restore an older backup)") from None
        raise StartError(f"backup {target}: {reason} (is there room on the disk?)") from None
    except BaseException:
        _remove(part, target)
        raise
    return target


def _must_hold_one(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute(_TABLES).fetchone() is None:
        raise StartError(f"ledger {path}: there is no ledger in it yet (tilltap run makes it)")


def checked_copy(path: Path, target: Path) -> Path:
    """`copy_to`, and read once more, since somebody will rely on it. StartError also for a damaged ledger."""
    copy_to(path, target)
    try:
        with closing(sqlite3.connect(f"{target.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            _refuse_damaged(copy, "integrity_check", path, "restore an older backup")
    except StartError:
        target.unlink()
        raise
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
