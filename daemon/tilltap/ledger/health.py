"""Is the ledger whole? Reads only, from one moment, while its daemons go on."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tilltap.errors import StartError
from tilltap.ledger.backup import findings, is_there, open_to_read
from tilltap.ledger.faults import told_in_one_line
from tilltap.ledger.postgres import Server, Unreachable
from tilltap.ledger.upgrade import recorded, refuse_newer

# Enough to see what is wrong; a file that is badly damaged has thousands.
MOST_FINDINGS = 5

_FIGURES = {
    "entries": "SELECT count(*) FROM entry",
    "customers": "SELECT count(*) FROM customer WHERE same_as IS NULL",
    "open_sales": "SELECT count(*) FROM sale WHERE state = 'open'",
    "unanswered": "SELECT count(*) FROM sale WHERE state <> 'open' AND offline = 1",
    "waiting": "SELECT count(*) FROM mirror WHERE dirty = 1 AND parked IS NULL",
    "parked": "SELECT count(*) FROM mirror WHERE parked IS NOT NULL",
    "foreign": "SELECT coalesce(sum(foreign_seen), 0) FROM mirror",
}
# The balances that are not the sum of their entries. What a customer earned before it turned out to be
# another counts there (`same_as`), and its own balance is nothing.
_DRIFTED = """
WITH RECURSIVE who (id, top) AS (
    SELECT id, id FROM customer WHERE same_as IS NULL
    UNION ALL
    SELECT c.id, who.top FROM customer c JOIN who ON c.same_as = who.id
), earned (id, points) AS (
    SELECT who.top, sum(e.points)
    FROM (SELECT customer_id, sum(points) AS points FROM entry GROUP BY customer_id) e
    JOIN who ON who.id = e.customer_id
    GROUP BY who.top
)
SELECT c.id, c.points, coalesce(earned.points, 0)
FROM customer c LEFT JOIN earned ON earned.id = c.id
WHERE c.points <> coalesce(earned.points, 0)
ORDER BY c.id
"""
_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}
_ONE_MOMENT = {"sqlite": "BEGIN", "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"}


_SPOOLED = """
SELECT count(*), coalesce(sum(kind = 'close'), 0), min(at), (SELECT count(parked) FROM spooled)
FROM spooled WHERE parked IS NULL
"""


@dataclass(frozen=True, slots=True)
class Spool:
    """What this till keeps until it is entered in the shared ledger: `spooled` in all, of which
    `spooled_sales` are closed sales, the oldest of `spooled_since`; `spool_parked` more were refused.
    """

    spooled: int = 0
    spooled_sales: int = 0
    spooled_since: str | None = None
    spool_parked: int = 0


@dataclass(slots=True)
class Health:
    """`restored`: when it was last put back from a backup. `wrong`: one line per finding; empty: all is well.

    `unanswered` are closed sales whose customer the service has not named yet; `waiting`, `parked`, `foreign`
    are passes, as in `status`. What a `Spool` has is there with a shared ledger only.
    """

    ledger: str
    schema: int
    size: int
    entries: int = 0
    customers: int = 0
    open_sales: int = 0
    unanswered: int = 0
    waiting: int = 0
    parked: int = 0
    foreign: int = 0
    restored: str | None = None
    spooled: int | None = None
    spooled_sales: int | None = None
    spooled_since: str | None = None
    spool_parked: int | None = None
    wrong: list[str] = field(default_factory=list)


def of_file(path: Path) -> Health:
    """StartError if there is none, or it cannot be opened."""
    engine = create_engine("sqlite://", creator=lambda: open_to_read(path), poolclass=NullPool)
    with told_in_one_line(f"ledger {path}"), engine.connect() as connection:
        return _examine(connection, str(path))


def of_server(server: Server, name: str, spool: Path) -> Health:
    """Unreachable; StartError if there is no ledger in it."""
    with server.engine().connect() as connection:
        found = _examine(connection, name)
    for figure, value in asdict(of_spool(spool)).items():
        setattr(found, figure, value)
    return found


def of_spool(path: Path) -> Spool:
    """A till that was never cut off may not have one yet. StartError if it cannot be read."""
    if not is_there(path, "spool"):
        return Spool()
    with told_in_one_line(f"spool {path}"), closing(open_to_read(path, "spool")) as connection:
        return Spool(*connection.execute(_SPOOLED).fetchone())


def _damage(connection: Connection) -> list[str]:
    """What SQLite's own check finds."""
    rows = connection.execute(text(f"PRAGMA integrity_check({MOST_FINDINGS})")).fetchall()
    return [f"the file is damaged: {line}" for line in findings(rows)]


def _examine(connection: Connection, name: str) -> Health:
    kind = connection.dialect.name
    where = f"ledger {name}"
    try:
        connection.execute(text(_ONE_MOMENT[kind]))
        schema = recorded(connection)
        if not schema:
            raise StartError(f"{where}: there is no ledger in it yet (tilltap run makes it)")
        refuse_newer(schema, where)
        found = Health(name, schema, int(connection.execute(text(_SIZE[kind])).scalar() or 0))
        if kind == "sqlite":
            found.wrong += _damage(connection)
        for figure, query in _FIGURES.items():
            setattr(found, figure, int(connection.execute(text(query)).scalar() or 0))
        restored = connection.execute(text("SELECT value FROM meta WHERE key = 'restored'")).scalar()
        found.restored = str(restored).partition(" ")[2] if restored else None
        found.wrong += _drift(connection)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unreachable from None
        raise StartError(f"{where}: {_first_line(error)} ({_remedy(error)})") from None
    return found


def _drift(connection: Connection) -> list[str]:
    rows = connection.execute(text(_DRIFTED)).fetchall()
    said = [f"customer {row[0]}: balance {row[1]}, but its entries add up to {row[2]}" for row in rows]
    more = len(said) - MOST_FINDINGS
    return [*said[:MOST_FINDINGS], *([f"and {more} more customers"] if more > 0 else [])]


def _remedy(error: DBAPIError) -> str:
    """A file is damaged; a server may have other reasons, and says whether it is that (SQLSTATE class XX)."""
    code = getattr(error.orig, "sqlstate", None)
    damaged = code is None or code.startswith("XX")
    return "restore it from a backup" if damaged else "ask whoever runs the server"


def _first_line(error: DBAPIError) -> str:
    return re.split(r"\n", str(error.orig), maxsplit=1)[0]
