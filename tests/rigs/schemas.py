"""Ledgers of released schemas: kept as SQL, brought back to life, and taken apart for comparison.

N.sql and N.spool.sql are SQLite's, N.pg.sql is PostgreSQL's; `python tests/rigs/make_schema.py` wrote them.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from rigs.postgres import Postgres, binary

FOLDER = Path(__file__).resolve().parents[1] / "daemon" / "ledger" / "schemas"
RELEASED = sorted(int(path.stem) for path in FOLDER.glob("*.sql") if path.stem.isdigit())


def dump(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join([*connection.iterdump(), ""])


def dump_server(url: str) -> str:
    done = subprocess.run(
        [binary("pg_dump"), "--inserts", "--no-owner", "--no-privileges", "--schema=public", url],
        capture_output=True,
        text=True,
        check=True,
    )
    # Without settings of the session, remarks, and what only psql understands: tables and rows are left.
    noise = r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\.*|(CREATE|COMMENT ON) SCHEMA.*)\n"
    return re.sub(r"\n{2,}", "\n", re.sub(noise, "", done.stdout, flags=re.MULTILINE)).lstrip()


def restore(path: Path, name: str) -> None:
    """`name` such as "1" or "1.spool"."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FOLDER / f"{name}.sql").read_text())


def restore_server(server: Postgres, url: str, name: str) -> None:
    server.admin((FOLDER / f"{name}.pg.sql").read_text(), url.split("/")[3].partition("?")[0])


def shape(connection: Connection) -> dict[str, Any]:
    """Tables, columns, keys, indexes and guards, without regard to their order."""
    found: dict[str, Any] = {}
    look = inspect(connection)
    for table in look.get_table_names():
        columns = {c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in look.get_columns(table)}
        indexes = {
            i["name"]: (i["column_names"], i["unique"], {k: str(v) for k, v in i["dialect_options"].items()})
            for i in look.get_indexes(table)
        }
        unique = sorted(u["column_names"] for u in look.get_unique_constraints(table))
        found[table] = columns, look.get_pk_constraint(table)["constrained_columns"], unique, indexes
    guards = _GUARDS[connection.dialect.name]
    return {"tables": found, "guards": sorted(tuple(row) for row in connection.execute(text(guards)))}


_GUARDS = {
    "sqlite": """SELECT name, sql FROM sqlite_master WHERE type = 'trigger'
                 UNION ALL SELECT name, wr || '' FROM pragma_table_list WHERE schema = 'main'""",
    "postgresql": """SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
                     UNION ALL SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace""",
}
