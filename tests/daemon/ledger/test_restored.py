"""A ledger put back from a backup: the service's balances stand, no text is sent twice, it is said."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rigs import service
from rigs.clock import BACKEND
from rigs.postgres import Postgres
from rigs.schemas import dump_server
from rigs.till import House, make_template
from tilltap.errors import StartError
from tilltap.ledger.backup import copy_to, open_to_read
from tilltap.ledger.engine import sqlite_engine

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return BACKEND


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path, durable=False)
    house.time.loop = asyncio.get_running_loop()  # type: ignore[assignment]
    house.service.add("pass-ana", 4, ext_id="ana")
    yield house
    house.stop()


def as_files(house: House) -> Path:
    """What somebody copies while no daemon runs."""
    copy = house.path.with_name("copy")
    house.stop()
    shutil.copy(house.path, copy)
    house.start()
    return copy


def as_command(house: House) -> Path:
    return copy_to(house.path, house.path.with_name("copy"))


def put_back(house: House, copy: Path, *, elsewhere: bool = False) -> list[str]:
    """What the log says when the daemon is started on it; `elsewhere`: on a new machine."""
    house.stop()
    copy.replace(house.path)
    if elsewhere:
        house.path.with_name(house.path.name + ".lock").unlink()
    with capture_logs() as logs:
        house.start()
    return [line["event"] for line in logs]


async def sell(house: House, sale_id: str, total: str) -> None:
    await house.call("sale.close", sale_id=sale_id, total=total, value="ana")


@pytest.mark.parametrize(
    ("backup", "elsewhere"), [(as_files, False), (as_command, False), (as_command, True)]
)
async def test_balances_are_taken_over_without_anybody_tapping(house: House, backup, elsewhere: bool) -> None:
    await sell(house, "1", "10.00")
    await house.sync(130)
    copy = backup(house)
    await sell(house, "2", "30.00")
    await house.sync(130)
    texts, seq = list(house.service.texts), house.store.last_seq
    assert put_back(house, copy, elsewhere=elsewhere) == ["ledger put back from a backup"]
    if not elsewhere:
        assert house.store.last_seq == seq, "a number is given out again"
    await house.sync(130)
    assert house.service.passes["pass-ana"].points == await house.points("ana") == 8
    assert await house.entries("ana") == [("opening", 4), ("earn", 1), ("foreign", 3)]
    assert house.service.texts == texts
    assert (await house.call("status"))["mirror"]["foreign"] == 1
    assert put_back(house, as_files(house)) == [], "nothing has happened since"


@pytest.mark.parametrize("backup", [as_files, as_command])
async def test_a_text_that_waited_when_the_backup_was_made_is_not_sent_twice(house: House, backup) -> None:
    await sell(house, "0", "10.00")
    await house.sync(130)
    house.service.down = service.NOT_SENT
    await sell(house, "1", "10.00")
    copy = backup(house)
    house.service.down = None
    await house.sync(130)
    texts = list(house.service.texts)
    assert len(texts) == 2
    assert put_back(house, copy)
    await house.sync(130)
    assert house.service.texts == texts


async def test_a_copy_beside_the_newest_sales_of_another_ledger_is_refused(house: House) -> None:
    """SQLite would take them for the copy's own."""
    await sell(house, "1", "10.00")
    copy = as_command(house)
    await sell(house, "2", "10.00")
    newest = house.path.with_name(house.path.name + "-wal")
    kept = newest.read_bytes()  # as a kill leaves it
    house.stop()
    copy.replace(house.path)
    newest.write_bytes(kept)
    before = house.path.read_bytes()
    with pytest.raises(StartError, match="belongs to the file it replaces"):
        sqlite_engine(house.path)
    with pytest.raises(StartError, match="belongs to the file it replaces"):
        open_to_read(house.path)
    assert (house.path.read_bytes(), newest.read_bytes()) == (before, kept)
    newest.unlink()
    house.start()
    assert await house.points("ana") == 5


async def test_another_ledger_at_the_same_place_is_no_backup(house: House) -> None:
    await sell(house, "1", "10.00")
    house.stop()
    house.path.unlink()
    another = make_template(house.path.parent)
    another.replace(house.path)
    with capture_logs() as logs:
        house.start()
    assert logs == []
    assert house.store.last_seq == 0


async def test_a_kill_and_a_new_start_is_none(house: House) -> None:
    await sell(house, "1", "10.00")
    with capture_logs() as logs:
        house.restart()
        house.restart()
    assert logs == []


@pytest.mark.parametrize("wait", [0, 130], ids=["at once", "later"])
async def test_a_sale_that_was_lost_counts_again_when_it_is_closed_again(house: House, wait: int) -> None:
    """docs/ledger.md says so: its points came back with the balance, and nothing tells the two apart."""
    await sell(house, "1", "10.00")
    await house.sync(130)
    copy = as_command(house)
    await sell(house, "2", "10.00")
    await house.sync(130)
    put_back(house, copy)
    await house.sync(wait)
    await sell(house, "2", "10.00")
    await house.sync(130)
    assert house.service.passes["pass-ana"].points == await house.points("ana") == 7
    assert sorted(await house.entries("ana")) == [("earn", 1), ("earn", 1), ("foreign", 1), ("opening", 4)]


def put_server_back(house: House, postgres: Postgres, url: str, backup: str) -> list[str]:
    house.stop()
    database = url.split("/")[3].partition("?")[0]
    for statement in (f"DROP DATABASE {database} WITH (FORCE)", f"CREATE DATABASE {database}"):
        postgres.admin(statement)
    postgres.admin(backup, database)
    with capture_logs() as logs:
        house.start()
    return [line["event"] for line in logs]


async def test_a_server_put_back_is_noticed_by_its_tills(tmp_path: Path, postgres: Postgres) -> None:
    house = House(tmp_path)
    house.time.loop = asyncio.get_running_loop()  # type: ignore[assignment]
    house.service.add("pass-ana", 4, ext_id="ana")
    url = postgres.database()
    house.share(url)
    await sell(house, "1", "10.00")
    await house.sync(130)
    backup = dump_server(url)
    await sell(house, "2", "30.00")
    await house.sync(130)
    await house.store.renew()
    seq = house.store.last_seq
    assert "ledger put back from a backup" in put_server_back(house, postgres, url, backup)
    assert house.store.last_seq == seq
    await house.sync(130)
    assert house.service.passes["pass-ana"].points == await house.points("ana") == 8
    assert await house.entries("ana") == [("opening", 4), ("earn", 1), ("foreign", 3)]

    # And again from a backup of the restored one, which says itself that it was put back.
    house.service.down = service.NOT_SENT
    await sell(house, "3", "10.00")
    await house.store.renew()
    backup = dump_server(url)
    house.service.down = None
    await house.sync(130)
    await sell(house, "4", "10.00")
    await house.sync(130)
    await house.store.renew()
    texts = list(house.service.texts)
    assert "ledger put back from a backup" in put_server_back(house, postgres, url, backup)
    await house.sync(130)
    assert house.service.texts == texts
    house.stop()
