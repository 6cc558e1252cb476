"""Which schema a ledger has, and the steps from an older one to ours.

`meta.schema` is the only record of it. A ledger of our own schema costs a look at that row; Alembic, which
brings the steps and their order, is imported only when there is one to make.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog
from sqlalchemy import Connection, Engine, literal_column, select, text
from sqlalchemy.exc import DBAPIError

from tilltap.errors import StartError
from tilltap.ledger import tables
from tilltap.ledger.backup import copy_to, free_name
from tilltap.ledger.engine import Sql, Tx
from tilltap.ledger.faults import told_in_one_line
from tilltap.ledger.postgres import AGAIN, Server

log = structlog.get_logger("tilltap.ledger")

STEPS = Path(__file__).parent / "migrations"

_RECORDED = text("SELECT value FROM meta WHERE key = 'schema'")
_RECORD = text("UPDATE meta SET value = :schema WHERE key = 'schema'")
# The tills make their tables under this too: see postgres.make_tables.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('tilltap schema', 0))")
# A table that is changed is locked; behind a till that will not let go of it, all others would queue up.
_NO_QUEUE = text("SET LOCAL lock_timeout = '2s'")


def refuse_newer(found: int, where: str) -> None:
    if found > tables.SCHEMA:
        raise StartError(f"{where}: written by a newer tilltap (schema {found}); install that version")


def judge_shared(found: int, where: str) -> None:
    """StartError for the schema of a ledger that this release cannot share with others."""
    refuse_newer(found, where)
    if found < tables.OLDEST_SHARED:
        raise StartError(
            f"{where}: its schema {found} is too old for this tilltap, which needs {tables.OLDEST_SHARED}"
            " (run tilltap ledger upgrade)"
        )
    if found < tables.SCHEMA:
        remedy = "when all tills have this tilltap: tilltap ledger upgrade"
        log.info("ledger of the release before", schema=found, remedy=remedy)


_THERE = {
    "sqlite": Sql(
        select(literal_column("m.name"), literal_column("c.name"))
        .select_from(text("sqlite_master m, pragma_table_info(m.name) c"))
        .where(text("m.type = 'table'"))
    ),
    "postgresql": Sql(
        select(literal_column("table_name"), literal_column("column_name"))
        .select_from(text("information_schema.columns"))
        .where(text("table_schema = current_schema()"))
    ),
}


def judge_tables(tx: Tx, where: str) -> None:
    """StartError for a ledger with our schema's number but not its columns: of a tilltap in the making."""
    there = {tuple(row) for row in tx.all(_THERE[tx.dialect])}
    for table in tables.metadata.sorted_tables:
        for column in table.columns:
            if (table.name, column.name) not in there:
                raise StartError(
                    f"{where}: of a tilltap that was never released, without {table.name}.{column.name}"
                    " (begin a new ledger: balances are taken over from the service)"
                )


def upgrade_file(engine: Engine, path: Path) -> tuple[int, Path | None]:
    """Brings a SQLite ledger, whose lock we hold, to our schema: `(the one it had, the copy made before)`.

    All or nothing; `(0, None)` for a file without a ledger yet. StartError if it cannot be had.
    """
    where = f"ledger {path}"
    if not path.stat().st_size:
        return 0, None
    with told_in_one_line(where):
        with engine.begin() as connection:
            found = recorded(connection)
        if not found or found == tables.SCHEMA:
            return found, None
        refuse_newer(found, where)
        kept = copy_to(path, free_name(path, f".schema-{found}-"))
        try:
            with engine.begin() as connection:
                _take_steps(connection, found, where)
        except BaseException:
            kept.unlink()  # the ledger is as it was; a daemon started again and again must not fill the disk
            raise
    log.info("ledger upgraded", schema=tables.SCHEMA, was=found, copy=str(kept))
    return found, kept


def upgrade_server(server: Server) -> int:
    """Brings the ledger of several tills to our schema; the one it had, 0 without a ledger yet.

    Tills may be running: they wait, or sell into their spools for a moment. Unreachable, StartError.
    """
    engine = server.engine()
    try:
        with engine.begin() as connection:
            connection.execute(_ONE_AT_A_TIME)
            connection.execute(_NO_QUEUE)
            found = recorded(connection)
            if found and found != tables.SCHEMA:
                refuse_newer(found, "ledger")
                _take_steps(connection, found, "ledger")
    except DBAPIError as error:
        raise StartError(f"ledger: {_first_line(error.orig)} (see the server's log)") from None
    finally:
        engine.dispose()
    return found


def recorded(connection: Connection) -> int:
    """0: no ledger in it yet."""
    if not connection.dialect.has_table(connection, "meta"):
        return 0
    found = connection.execute(_RECORDED).scalar() or "0"
    if not found.isdecimal():
        raise StartError("ledger: its schema is recorded as no number (restore it from a backup)")
    return int(found)


def _take_steps(connection: Connection, found: int, where: str) -> None:
    """Inside the caller's transaction, which a StartError undoes."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    try:
        with Operations.context(MigrationContext.configure(connection)):
            for step in _steps(found):
                step()
        connection.execute(_RECORD, {"schema": str(tables.SCHEMA)})
    except Exception as error:  # whatever a step meets, the ledger stays whole and a person gets one line
        cause = error.orig if isinstance(error, DBAPIError) else error
        in_the_way = getattr(cause, "sqlstate", None) in AGAIN
        remedy = "try again in a moment" if in_the_way else "go back to the tilltap before, and report this"
        raise StartError(
            f"{where}: cannot be brought from schema {found} to {tables.SCHEMA}: {_first_line(cause)}"
            f" (it is as it was: {remedy})"
        ) from error


def _steps(found: int) -> list[Callable[[], None]]:
    """What leads from schema `found` to ours, in order."""
    from alembic.script import ScriptDirectory

    scripts = {int(s.revision): s for s in ScriptDirectory(STEPS, version_locations=[STEPS]).walk_revisions()}
    return [scripts[number].module.upgrade for number in range(found + 1, tables.SCHEMA + 1)]


def _first_line(error: BaseException | None) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
