"""The ledger's statements and transactions, and the SQLite file they run on.

Statements are written in SQLAlchemy Core and compiled once per dialect; running one costs a driver call, not
a compilation (a sale is about ten of them, and the queue is at the door).
"""

from __future__ import annotations

import fcntl
import os
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from sqlalchemy import Connection, Dialect, Engine, Executable, create_engine, event, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.pool import StaticPool

from tilltap.errors import StartError
from tilltap.events import Event
from tilltap.ledger import tables
from tilltap.ledger.backup import refuse_emptied, refuse_foreign, refuse_no_file
from tilltap.written import Written

T = TypeVar("T")

# A transaction here takes a millisecond; a lock held longer is a backup or a person with a database tool. One
# second leaves room to answer `ledger-down` inside the two seconds of contract section 3.
BUSY_TIMEOUT_MS = 1000
# Bytes of the line beside the ledger: an id, a number and a time take some sixty.
LONGEST_NOTE = 200

GUARDS = [
    f"""CREATE TRIGGER IF NOT EXISTS entry_no_{verb} BEFORE {verb} ON entry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END"""
    for verb in ("UPDATE", "DELETE")
]


# Publishes events, from the store thread.
Tell = Callable[[list[Event]], None]

# How a statement is written where the dialects differ: given the dialect's own `insert`, for `ON CONFLICT`.
Insert = Callable[[Any], Any]


def _insert(dialect: Dialect) -> Insert:
    if dialect.name == "sqlite":
        return sqlite.insert
    from sqlalchemy.dialects import postgresql  # a tenth of the start-up of a till that does not need it

    return postgresql.insert


@dataclass(frozen=True, slots=True)
class _Compiled:
    text: str
    values: Callable[[Mapping[str, Any]], Sequence[Any]]  # from those by name to those in order
    row: Callable[[Any], Any]


def _in_order(
    names: Sequence[str], constants: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    if len(names) < 2:
        return lambda values: [values[n] if n in values else constants[n] for n in names]
    pick: Callable[[Mapping[str, Any]], Sequence[Any]] = itemgetter(*names)
    return (lambda values: pick({**constants, **values})) if constants else pick


class Sql:
    """One statement with named parameters, compiled for a dialect at first use, run by the driver itself.

    Going through the toolkit's result objects would cost a sale as much as its flush to disk. A statement
    with `ON CONFLICT` is given as a function of the dialect's own `insert`.
    """

    __slots__ = ("_compiled", "_statement")

    def __init__(self, statement: Executable | Callable[[Insert], Executable]) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def _compile(self, dialect: Dialect) -> _Compiled:
        statement: Any = self._statement
        if not isinstance(statement, Executable):
            statement = statement(_insert(dialect))
        compiled: Any = statement.compile(dialect=dialect)
        columns = getattr(statement, "exported_columns", None) or ()
        row: Any = namedtuple("Row", [c.key for c in columns], rename=True)  # type: ignore[misc]  # noqa: PYI024
        # Values in the statement itself. A parameter that a caller forgets must be a fault, not a NULL.
        constants = {n: v for n, v in compiled.params.items() if not compiled.binds[n].required}
        done = _Compiled(str(compiled), _in_order(compiled.positiontup or (), constants), row._make)
        self._compiled[dialect.name] = done
        return done

    def run(self, cursor: Cursor, dialect: Dialect, values: Mapping[str, Any]) -> Any:
        """Executes; returns what makes a row of what the cursor fetches."""
        compiled = self._compiled.get(dialect.name) or self._compile(dialect)
        cursor.execute(compiled.text, compiled.values(values))
        return compiled.row


class Cursor(Protocol):
    """What is used of a database driver's cursor."""

    def execute(self, statement: str, parameters: Any = ..., /) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> Sequence[Any]: ...


class Owner(Protocol):
    """What a transaction needs of the store that runs it."""

    till: str
    last_seq: int
    programs: dict[int, Any]


class Tx:
    """One transaction: statements, the two times it happens at, and the events it makes true.

    `shared`: other tills write this ledger too, so what is judged must be locked first (see `book.lock`).
    """

    shared: ClassVar[bool] = False

    def __init__(
        self,
        cursor: Cursor,
        dialect: Dialect,
        store: Owner,
        steady: float,
        at: str,
        tell: Tell | None = None,
    ) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self._store = store
        self._tell = tell
        self.now = steady
        self.at = at
        self.late = 0.0  # seconds since what is entered here happened: `at` says when, for people
        self.uid: int | None = None  # of the program whose call this is
        self.events: list[Event] = []
        self.told = 0  # so many of them are published already
        # What the book has read in this transaction and need not read again.
        self.customers: dict[int, Any] = {}
        self.open_of: dict[int, list[Any]] = {}
        self.locked: set[int] = set()  # customers whom no other till can change until the end
        self.programs = store.programs

    @property
    def dialect(self) -> str:
        return self._dialect.name

    @property
    def till(self) -> str:
        """The till whose daemon this is: events are about its own sales and taps only."""
        return self._store.till

    def run(self, sql: Sql, /, **values: Any) -> None:
        sql.run(self._cursor, self._dialect, values)

    def one(self, sql: Sql, /, **values: Any) -> Any:
        """The first row, a named tuple, or None."""
        make = sql.run(self._cursor, self._dialect, values)
        row = self._cursor.fetchone()
        return None if row is None else make(row)

    def all(self, sql: Sql, /, **values: Any) -> list[Any]:
        make = sql.run(self._cursor, self._dialect, values)
        return [make(row) for row in self._cursor.fetchall()]

    def scalar(self, sql: Sql, /, **values: Any) -> Any:
        """The first column of the first row, or None."""
        row = self.one(sql, **values)
        return None if row is None else row[0]

    def emit(self, method: str, fields: dict[str, Any]) -> None:
        """An event of this transaction; published only if it commits."""
        seq = self._store.last_seq + len(self.events) + 1
        head = {"seq": seq, "at": self.at, "till": self._store.till}
        params = fields.behind(head) if isinstance(fields, Written) else head | fields
        self.events.append(Event(seq, method, params))

    def tell_now(self) -> None:
        """Publishes what was emitted so far before it is durable: for a tap, which may be recorded within
        0.1 s of its event (contract section 3); nothing between phone and screen takes longer than the flush.

        Whoever is killed in that moment gives the number again, to the first event of the next start: a
        reader's, which the snapshot of `watch` holds too.
        """
        if self._tell is not None:
            self._tell(self.events[self.told :])
            self.told = len(self.events)

    def keep_events(self) -> None:
        """Writes down the events, last of all."""
        for item in self.events:
            self.run(_ADD_EVENT, till=self._store.till, seq=item.seq, method=item.method, params=item.body)


class InUseError(StartError):
    """A daemon runs on it, or another command that changes it."""


class LedgerLock:
    """One daemon per SQLite ledger (or spool, `what`): an advisory lock on a file beside it.

    `note`: a line kept in that file, which a backup put back in the ledger's place does not change. It may be
    lost, never wrong.
    """

    def __init__(self, path: Path, what: str = "ledger") -> None:
        self._fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise InUseError(
                f"{what} {path}: another tilltap is running on it (stop that one, or give this till its own)"
            ) from None

    @property
    def note(self) -> str:
        return os.pread(self._fd, LONGEST_NOTE, 0).decode("ascii", "replace").partition("\n")[0]

    def keep(self, note: str) -> None:
        with suppress(OSError):  # a full disk
            os.pwrite(self._fd, f"{note}\n".encode("ascii"), 0)

    def release(self) -> None:
        os.close(self._fd)


def sqlite_engine(path: Path, what: str = "ledger") -> tuple[Engine, LedgerLock]:
    """Opens or creates the file: WAL, every commit flushed (exactly-once.md 3.5), readable by us alone."""
    lock = _have_file(path, what)
    # One connection, made at start-up and from then on the store's alone.
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        hide_parameters=True,  # an error's text must not carry pass values into a log
    )

    @event.listens_for(engine, "connect")
    def _prepare(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "foreign_keys=ON",
        ):
            dbapi.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine, lock


def _have_file(path: Path, what: str) -> LedgerLock:
    """Ours, locked, made if new; StartError for one that must not be touched."""
    try:
        refuse_no_file(path, what)
        _make_folder(path.parent)
        refuse_emptied(path, what)
        lock = LedgerLock(path, what)
        try:
            refuse_foreign(path, what)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            _flush_names(path.parent)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise StartError(
            f"{what} {path}: {error.strerror} (give the daemon's user write access to this folder)"
        ) from None
    return lock


def _make_folder(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _flush_names(path.parent)


def _flush_names(folder: Path) -> None:
    """What was made in `folder` must survive a power cut by name too, not only its bytes."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def create(engine: Engine) -> str | None:
    """Tables and guards, where they are missing. Returns what was kept of the clock (see clock.py)."""
    with engine.begin() as connection:
        tables.metadata.create_all(connection)
        for trigger in GUARDS:
            connection.execute(text(trigger))
        kept: str | None = connection.execute(text("SELECT value FROM meta WHERE key = 'anchor'")).scalar()
        return kept


_ADD_EVENT = Sql(tables.event.insert())
