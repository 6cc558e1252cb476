"""Every released schema becomes ours, once; a step that fails changes nothing; nothing newer is touched."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from rigs.clock import BACKEND
from rigs.postgres import Postgres
from rigs.schemas import RELEASED, dump, dump_server, restore, restore_server, shape
from rigs.till import House
from tilltap.config.load import load
from tilltap.config.settings import Settings
from tilltap.errors import StartError
from tilltap.ledger import tables, upgrade
from tilltap.ledger.engine import create, sqlite_engine
from tilltap.ledger.postgres import Server, make_tables
from tilltap.ledger.spool_book import open_spool
from tilltap.stores import open_file, open_shared

CONFIG = """
[program.earn]
spend = "10.00"
points = 1
[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 5
discount = "5.00"
[loyalty]
[till]
name = "till-1"
[ledger]
url = "{ledger}"
{spool}
[[reader]]
driver = "vtap"
port = "vtap"
"""

# A release that does not exist, to have a step to take.
STEP = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{number}", {before}

def upgrade():
    op.add_column("sale", sa.Column("peer", sa.BigInteger, nullable=False, server_default="7"))
    op.create_index("sale_peer", "sale", ["peer"])
    {more}
"""

KILL = "import os; os.kill(os.getpid(), 9)"


@pytest.fixture
def anyio_backend() -> Any:
    return BACKEND


@pytest.fixture(params=RELEASED)
def released(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def file(tmp_path: Path, released: int) -> Path:
    """A till's own ledger of a released schema, with a day in it."""
    path = tmp_path / "ledger.sqlite"
    restore(path, str(released))
    return path


@pytest.fixture
def url(postgres: Postgres, released: int) -> str:
    """The same on a server."""
    url = postgres.database()
    restore_server(postgres, url, str(released))
    return url


def settings(folder: Path, ledger: str) -> Settings:
    config = folder / "tilltap.toml"
    spool = 'spool = "spool.db"' if ledger.startswith("postgresql") else ""
    config.write_text(CONFIG.format(ledger=ledger, spool=spool))
    return load(config)


def open_and_close(path: Path) -> None:
    store, _clock = open_file(settings(path.parent, f"sqlite:///{path.name}"))
    store.close()


def next_release(monkeypatch: pytest.MonkeyPatch, folder: Path, more: str = "pass") -> None:
    """As if the release after ours were installed."""
    ours = tables.SCHEMA
    steps = folder / "steps"
    steps.mkdir(exist_ok=True)
    for path in upgrade.STEPS.glob("schema_*.py"):
        (steps / path.name).write_text(path.read_text())
    before = "None" if ours == 1 else f'"{ours}"'
    (steps / f"schema_{ours + 1}.py").write_text(STEP.format(number=ours + 1, before=before, more=more))
    monkeypatch.setattr(upgrade, "STEPS", steps)
    monkeypatch.setattr(tables, "SCHEMA", ours + 1)
    monkeypatch.setattr(tables, "OLDEST_SHARED", ours)


# -- a till's own file ----------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine, lock = sqlite_engine(tmp_path / "new.sqlite")
    create(engine)
    yield engine
    engine.dispose()
    lock.release()


HOW = "raise tables.SCHEMA with a step in ledger/migrations; before the first release: tests/rigs/make_schema.py"


def test_every_schema_is_kept_and_shared_with_the_one_before() -> None:
    assert list(range(1, tables.SCHEMA + 1)) == RELEASED, HOW
    assert max(1, tables.SCHEMA - 1) == tables.OLDEST_SHARED


def test_a_ledger_of_a_tilltap_in_the_making_is_refused(tmp_path: Path) -> None:
    open_and_close(tmp_path / "ledger.sqlite")
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute("ALTER TABLE refund DROP COLUMN uid")
    with pytest.raises(StartError, match=r"never released, without refund\.uid \(begin a new ledger"):
        open_and_close(tmp_path / "ledger.sqlite")


def test_a_server_of_a_tilltap_in_the_making_is_refused(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.database()

    def begin() -> None:
        store, _clock = open_shared(settings(tmp_path, url), lambda _tx, _first: None)
        try:
            store.begin(10)
        finally:
            store.close()

    begin()
    postgres.admin("ALTER TABLE refund DROP COLUMN uid", url.split("/")[3].partition("?")[0])
    with pytest.raises(StartError, match=r"never released, without refund\.uid"):
        begin()


def test_a_new_ledger_is_what_released_ones_become(file: Path, engine: Engine) -> None:
    open_and_close(file)
    old, lock = sqlite_engine(file)
    with old.begin() as one, engine.begin() as other:
        assert shape(one) == shape(other), HOW
    old.dispose()
    lock.release()


def test_a_new_spool_is_what_was_released(tmp_path: Path, released: int) -> None:
    restore(tmp_path / "old.db", f"{released}.spool")
    shapes = []
    for name in ("old.db", "new.db"):
        engine, lock = open_spool(tmp_path / name)
        with engine.begin() as connection:
            shapes.append(shape(connection))
        engine.dispose()
        lock.release()
    assert shapes[0] == shapes[1], "nothing upgrades a spool: it must stay as it is (see spool_book.py)"


def test_it_is_copied_and_upgraded_once(
    file: Path, released: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(file)
    next_release(monkeypatch, tmp_path)
    for _ in range(2):
        open_and_close(file)
    copies = list(tmp_path.glob("*.bak"))
    assert [c.name.rpartition("-")[0] for c in copies] == [f"ledger.sqlite.schema-{released}"]
    assert stat.S_IMODE(copies[0].stat().st_mode) == 0o600
    assert dump(copies[0]).replace("INSERT INTO \"meta\" VALUES('copied','1');\n", "") == before
    assert not list(tmp_path.glob("*.bak?*")), "something is left beside the copy"
    after = dump(file)
    assert f"INSERT INTO \"meta\" VALUES('schema','{tables.SCHEMA}');" in after
    assert "peer BIGINT DEFAULT '7' NOT NULL" in after
    assert "CREATE INDEX sale_peer" in after
    entries = [line for line in before.splitlines() if 'INTO "entry"' in line]
    assert entries
    assert [line for line in after.splitlines() if 'INTO "entry"' in line] == entries


@pytest.mark.parametrize("more", ["raise ValueError('no such thing')", "op.drop_table('nobody')"])
def test_a_step_that_fails_changes_nothing(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    before = dump(file)
    next_release(monkeypatch, tmp_path, more)
    for _ in range(2):
        with pytest.raises(StartError) as caught:
            open_and_close(file)
        assert len(caught.value.lines) == len(str(caught.value).splitlines()) == 1
        assert str(file) in str(caught.value)
        assert ("no such thing" if "raise" in more else "no such table: nobody") in str(caught.value)
    assert dump(file) == before
    assert not list(tmp_path.glob("*.bak*")), "a daemon that is started again and again fills the disk"


def test_a_kill_in_the_middle_of_a_step_changes_nothing(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(file)
    config = settings(tmp_path, f"sqlite:///{file.name}").file
    next_release(monkeypatch, tmp_path, KILL)
    code = (
        "from pathlib import Path; from tilltap.config.load import load;"
        "from tilltap.ledger import tables, upgrade; from tilltap.stores import open_file;"
        f"tables.SCHEMA = {tables.SCHEMA}; upgrade.STEPS = Path({str(upgrade.STEPS)!r});"
        f"open_file(load({config!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert dump(file) == before
    for step in upgrade.STEPS.iterdir():
        step.write_text(step.read_text().replace(KILL, "pass"))
    open_and_close(file)
    assert "CREATE INDEX sale_peer" in dump(file)


def test_no_room_for_the_copy_leaves_the_ledger_alone(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(file)
    next_release(monkeypatch, tmp_path)
    monkeypatch.setattr(upgrade, "free_name", lambda _path, _schema: Path("/dev/full/ledger.bak"))
    with pytest.raises(StartError, match=r"^backup /dev/full/ledger\.bak: .+ \(.+\)$"):
        open_and_close(file)
    assert dump(file) == before


def test_a_newer_one_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    restore(path, "1")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("UPDATE meta SET value = '99' WHERE key = 'schema'; DROP TABLE wish")
    before = dump(path)
    with pytest.raises(StartError, match="written by a newer tilltap"):
        open_and_close(path)
    assert dump(path) == before


def test_a_ledger_of_our_own_needs_no_alembic(file: Path) -> None:
    open_and_close(file)
    code = (
        "import sys; from tilltap.config.load import load; from tilltap.stores import open_file;"
        f"open_file(load({str(file.with_name('tilltap.toml'))!r}))[0].close();"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# -- a ledger on a server -------------------------------------------------------------------------------------


def test_a_new_one_on_a_server_is_what_released_ones_become(url: str, postgres: Postgres) -> None:
    upgrade.upgrade_server(Server(url))
    new = Server(postgres.database())
    link = new.connect()
    link.begin(None)
    make_tables(link, new.dialect)
    link.commit()
    link.close()
    shapes = []
    for server in (Server(url), new):
        with server.engine().begin() as connection:
            shapes.append(shape(connection))
    assert shapes[0] == shapes[1], HOW


def test_a_server_is_upgraded_once_and_by_hand(
    url: str, released: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_release(monkeypatch, tmp_path)
    before = [line for line in dump_server(url).splitlines() if "public.till " not in line]
    store, _clock = open_shared(settings(tmp_path, url), lambda _tx, _first: None)
    store.begin(10)
    assert store.up, "a release runs on the schema before its own"
    store.close()
    assert [line for line in dump_server(url).splitlines() if "public.till " not in line] == before
    assert [upgrade.upgrade_server(Server(url)) for _ in range(2)] == [released, tables.SCHEMA]
    assert "peer bigint DEFAULT '7'::bigint NOT NULL" in dump_server(url)


def test_a_server_too_old_is_refused_with_the_remedy(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SCHEMA", tables.SCHEMA + 2)
    monkeypatch.setattr(tables, "OLDEST_SHARED", tables.SCHEMA - 1)
    store, _clock = open_shared(settings(tmp_path, url), lambda _tx, _first: None)
    with pytest.raises(StartError, match="run tilltap ledger upgrade"):
        store.begin(10)
    store.close()


def test_a_step_that_fails_changes_nothing_on_a_server(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump_server(url)
    next_release(monkeypatch, tmp_path, "op.drop_table('nobody')")
    with pytest.raises(StartError, match=r'^ledger: .*table "nobody" does not exist.*'):
        upgrade.upgrade_server(Server(url))
    assert dump_server(url) == before


def test_a_till_in_the_way_of_a_step_is_waited_for_and_then_left_alone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump_server(url)
    next_release(monkeypatch, tmp_path)
    link = Server(url).connect()
    link.begin(None)
    link.cursor.execute("SELECT count(*) FROM sale")
    with pytest.raises(StartError, match=r"lock timeout \(it is as it was: try again in a moment\)$"):
        upgrade.upgrade_server(Server(url))
    link.rollback()
    link.close()
    assert dump_server(url) == before


# -- and then it sells ----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("shared", [False, True], ids=["sqlite", "postgresql"])
async def test_an_upgraded_ledger_goes_on_where_it_was(
    shared: bool,
    released: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    next_release(monkeypatch, tmp_path)
    if shared:
        house = House(tmp_path)
        url = request.getfixturevalue("url")
        upgrade.upgrade_server(Server(url))
        house.share(url)
    else:
        open_and_close(request.getfixturevalue("file"))
        house = House(tmp_path)
    house.time.loop = asyncio.get_running_loop()  # type: ignore[assignment]
    house.service.add("pass-ana", 22, ext_id="ana")
    house.service.add("pass-ben", 0, ext_id="ben")
    house.service.add("later-known", 5, ext_id="never-seen")
    assert (await house.call("sale.close", sale_id="1", total="10.00", value="ana"))["earned"] == 0, (
        "refunded"
    )
    assert await house.refused("sale.close", sale_id="1", total="11.00") == "key-reused"
    assert (await house.call("sale.get", sale_id="5"))["state"] == "open"
    await house.call("sale.refund", sale_id="2", refund_id="r2")
    assert (await house.call("sale.close", sale_id="6", total="10.00", value="ana"))["balance_after"] == 25
    await house.sync(130)
    assert {p.pass_id: p.points for p in house.service.passes.values()} == {
        "pass-ana": 25,
        "pass-ben": 12,
        "later-known": 8,
    }
    assert json.loads(json.dumps(await house.call("sale.get", sale_id="3")))["offline"] is False
    house.stop()
    assert house.store.wrong == []
