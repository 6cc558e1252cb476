"""PostgreSQL as the ledger of several tills: one connection, and transactions that any pooler can carry.

Nothing is kept in the session: settings are local to their transaction, statements are not prepared, locks
end with it (exactly-once.md section 4.2, "never rely on session advisory locks through a pooler").
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Dialect, Engine, create_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from tilltap.errors import StartError
from tilltap.ledger import tables

if TYPE_CHECKING:
    import psycopg

# A server on the shop's network answers in a millisecond; two seconds is the least that libpq allows.
CONNECT_S = 2
# The calls of contract section 3 must answer within 2 s; one lock or one statement may not use that up.
LOCK_MS, STATEMENT_MS = 500, 1000
# A till frozen inside a transaction must not hold its customer's row for longer than its POS would wait.
IDLE_MS = 5000
# A server that vanished without a word is noticed by the kernel after this (TCP_USER_TIMEOUT).
UNACKNOWLEDGED_MS = 2000

# https://www.postgresql.org/docs/current/errcodes-appendix.html
AGAIN = frozenset({"40001", "40P01", "55P03"})  # serialisation, deadlock, a lock not had in time
UNIQUE = "23505"
# Too many connections, shutting down, starting up, idle in transaction, and a server that only reads.
_LOST = frozenset({"53300", "57P01", "57P02", "57P03", "57P05", "25P03", "25006"})
_LOST_CLASSES = ("08", "58", "F0", "XX")
# What no waiting will mend; libpq gives the server's words only, and no code.
_MISTAKES = {
    "password authentication failed": "the password is wrong or none was given (see ledger.password_file)",
    "no password supplied": "it asks for a password (see ledger.password_file)",
    "no pg_hba.conf entry": "it lets nobody in from here (add this till to its pg_hba.conf)",
    "does not exist": "there is no such database or user (create it, or correct ledger.url)",
    "no such database": "the pooler knows no such database (correct ledger.url)",
    "certificate verify failed": "its certificate was not accepted (see sslrootcert)",
}


class Unreachable(Exception):
    """No connection; `mistake` is a sentence if a person must do something about it."""

    def __init__(self, mistake: str = "") -> None:
        super().__init__(mistake or "the server does not answer")
        self.mistake = mistake


class Server:
    """Where the ledger is. `url` holds no password: that is in its file, a pgpass file or a service file."""

    def __init__(self, url: str, password: str | None = None) -> None:
        self._url = url
        self._password = password
        self._psycopg = _driver()
        self.dialect = _dialect()

    def connect(self) -> Link:
        """A new connection; blocks for `CONNECT_S` at most per address of the host."""
        connection = self._open(
            autocommit=True,  # the transactions are ours to begin and end
            prepare_threshold=None,
            cursor_factory=self._psycopg.RawCursor,
        )
        return Link(connection, self._psycopg)

    def engine(self) -> Engine:
        """For what is done once, by the toolkit itself."""
        connect = partial(self._open, prepare_threshold=None)
        return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)

    def _open(self, **options: Any) -> Any:
        secret = {"password": self._password} if self._password is not None else {}
        try:
            return self._psycopg.connect(
                self._url,
                connect_timeout=CONNECT_S,
                application_name="tilltap",
                client_encoding="utf8",
                tcp_user_timeout=UNACKNOWLEDGED_MS,
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=2,
                **secret,
                **options,
            )
        except self._psycopg.Error as error:
            said = str(error)
            raise Unreachable(next((m for words, m in _MISTAKES.items() if words in said), "")) from None


def _dialect() -> Dialect:
    """How statements are written for it; loaded only by a till that has one."""
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

    dialect: Dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    return dialect


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise StartError(
            "ledger: PostgreSQL needs the psycopg package (pip install 'tilltap[postgres]')"
        ) from None
    return psycopg


class Link:
    """One connection, used by the store thread; only `cut` may be called from another."""

    def __init__(self, connection: psycopg.Connection[Any], driver: Any) -> None:
        self._connection = connection
        self.cursor: Any = connection.cursor()
        self.errors = driver
        # Its own descriptor, so that `cut` can never hit a number that the system has given to another file.
        self._wire = socket.socket(fileno=os.dup(connection.fileno()))

    def begin(self, till: str | None, *, durable: bool = True) -> tuple[float, str | None]:
        """Begins; `(seconds of the server's clock, holder of the till's name)` in the same round trip.

        `till` None: the tables may not be there yet.
        """
        name = None if till is None else self.errors.sql.Literal(till).as_string(self._connection)
        holder = "NULL" if name is None else f"(SELECT holder FROM till WHERE name = {name})"  # noqa: S608 - quoted
        # A server set to wait for its standby's replay is left to; anything weaker than a flush is not.
        commit = (
            "CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END"
            if durable
            else "'off'"
        )
        self.cursor.execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"  # noqa: S608 - nothing in it is from outside
            f"SELECT extract(epoch FROM clock_timestamp())::float8, {holder},"
            f" set_config('synchronous_commit', {commit}, true),"
            f" set_config('lock_timeout', '{LOCK_MS}', true),"
            f" set_config('statement_timeout', '{STATEMENT_MS}', true),"
            f" set_config('idle_in_transaction_session_timeout', '{IDLE_MS}', true)"
        )
        self.cursor.nextset()
        now, held_by, *_ = self.cursor.fetchone()
        return float(now), held_by

    def begin_to_look(self) -> float:
        """Begins to read only, everything as of one moment; seconds of the server's clock."""
        self.cursor.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"  # noqa: S608 - nothing in it is from outside
            "SELECT extract(epoch FROM clock_timestamp())::float8,"
            f" set_config('statement_timeout', '{STATEMENT_MS}', true),"
            f" set_config('idle_in_transaction_session_timeout', '{IDLE_MS}', true)"
        )
        self.cursor.nextset()
        return float(self.cursor.fetchone()[0])

    def number(self) -> int | None:
        """The transaction's number, by which its fate can be asked; None while it has written nothing."""
        self.cursor.execute("SELECT txid_current_if_assigned()")
        found: int | None = self.cursor.fetchone()[0]
        return found

    def commit(self) -> None:
        self.cursor.execute("COMMIT")

    def rollback(self) -> None:
        """As far as the connection still can: the server rolls back by itself when it is gone."""
        with suppress(self.errors.Error):
            self.cursor.execute("ROLLBACK")

    def fate(self, number: int) -> str | None:
        """`committed`, `aborted`, `in progress`; None: so long ago that the server has forgotten."""
        self.cursor.execute("SELECT txid_status($1::bigint)", [number])
        found: str | None = self.cursor.fetchone()[0]
        return found

    def is_lost(self, error: Exception) -> bool:
        """Whether the connection is of no use any more."""
        if self._connection.closed or self._connection.broken:
            return True
        state = getattr(error, "sqlstate", None)
        return state is None or state in _LOST or state.startswith(_LOST_CLASSES)

    def cut(self) -> None:
        """Ends whatever the store thread waits for; from any thread."""
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._wire.close()
        with suppress(self.errors.Error):
            self._connection.close()


# Two tills may meet on an empty database: one makes the tables, the other waits for it.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('tilltap schema', 0))"
_GUARD = (
    """CREATE OR REPLACE FUNCTION entry_is_final() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'ledger entries are never changed'; END$$""",
    """CREATE OR REPLACE TRIGGER entry_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION entry_is_final()""",
)


def make_tables(link: Link, dialect: Dialect) -> None:
    """Tables and guards in the transaction under way, if this database has none yet."""
    run = link.cursor.execute
    run("SELECT to_regclass('entry') IS NOT NULL")
    if link.cursor.fetchone()[0]:
        return
    run(_ONE_AT_A_TIME)
    run("SELECT to_regclass('entry') IS NOT NULL")
    if link.cursor.fetchone()[0]:
        return
    for statement in _schema(dialect):
        run(statement)


def _schema(dialect: Dialect) -> Sequence[str]:
    made = []
    for table in tables.metadata.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        for index in indexes:  # said here, since saying it in the table loads this dialect in every till
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]
        made += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    return [*made, *_GUARD]
