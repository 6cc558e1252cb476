"""`tilltap ledger ...` on ledgers with a day in them, a file's and a server's."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from rigs.postgres import Postgres, binary
from rigs.schemas import RELEASED, dump, dump_server, restore, restore_server
from tilltap import cli
from tilltap.cli.ledger import lines
from tilltap.config.load import load
from tilltap.config.settings import Settings
from tilltap.errors import StartError
from tilltap.ledger import health, tables
from tilltap.ledger.engine import LedgerLock
from tilltap.ledger.health import Health
from tilltap.ledger.postgres import Server
from tilltap.stores import open_file, open_shared, spool_of

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
name = "{till}"
[ledger]
url = "{ledger}"
[[reader]]
driver = "vtap"
port = "vtap"
"""
NEWEST = str(RELEASED[-1])

Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("status")`: exit code, lines of standard output, lines of standard error."""
    monkeypatch.setenv("TILLTAP_CONFIG", str(tmp_path / "tilltap.toml"))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr(sys, "argv", ["tilltap", "ledger", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out.splitlines(), err.splitlines()

    return run


def configure(folder: Path, ledger: str, till: str = "till-1") -> None:
    (folder / "tilltap.toml").write_text(CONFIG.format(ledger=ledger, till=till))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    restore(path, NEWEST)
    configure(tmp_path, "sqlite:///ledger.db")
    return path


@pytest.fixture
def url(tmp_path: Path, postgres: Postgres) -> str:
    url = postgres.database()
    restore_server(postgres, url, NEWEST)
    configure(tmp_path, url)
    return url


def change(path: Path, statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)


# -- status ---------------------------------------------------------------------------------------------------

A_DAY = {
    "schema": tables.SCHEMA,
    "entries": 9,
    "customers": 3,
    "open_sales": 1,
    "unanswered": 1,
    "waiting": 2,
    "parked": 0,
    "foreign": 1,
    "restored": None,
    "wrong": [],
}


def test_status_of_a_file_changes_nothing(file: Path, run: Run) -> None:
    before = file.read_bytes()
    lock = LedgerLock(file)  # as the daemon that runs
    code, out, err = run("status", "--json")
    assert (code, err, len(out)) == (0, [], 1)
    found = json.loads(out[0])
    assert {k: found[k] for k in A_DAY} == A_DAY
    assert (found["ledger"], found["spooled"], found["size"] > 50_000) == (str(file), None, True)
    code, out, _ = run("status")
    assert (code, out[-1]) == (0, "check    fine: every balance is the sum of its entries")
    lock.release()
    assert file.read_bytes() == before


def test_status_of_a_server_and_this_tills_spool(url: str, run: Run, tmp_path: Path) -> None:
    before = dump_server(url)
    assert json.loads(run("status", "--json")[1][0])["spooled"] == 0
    (tmp_path / "tilltap.toml").write_text(
        CONFIG.format(ledger=url, till="till-1").replace("[[reader]]", 'spool = "spool.db"\n[[reader]]')
    )
    restore(tmp_path / "spool.db", f"{NEWEST}.spool")
    code, out, err = run("status", "--json")
    assert (code, err) == (0, [])
    found = json.loads(out[0])
    assert {k: found[k] for k in A_DAY} == A_DAY
    assert (found["ledger"], found["spooled"], found["spool_parked"]) == (url, 1, 0)
    assert dump_server(url) == before


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "SELECT pg_terminate_backend(pg_backend_pid())::int",
            "ledger: the server does not answer (check [ledger] url, the network and the server)",
        ),
        ("SELECT count(*) FROM no_such", 'relation "no_such" does not exist (ask whoever runs the server)'),
    ],
    ids=["lost in the middle", "not understood"],
)
def test_status_of_a_server_that_fails_in_the_middle(
    run: Run, monkeypatch: pytest.MonkeyPatch, query: str, said: str
) -> None:
    """Nothing is to be restored for it."""
    monkeypatch.setitem(health._FIGURES, "foreign", query)
    code, _, err = run("status")
    assert (code, len(err)) == (3, 1)
    assert err[0].endswith(said)


def test_a_balance_that_its_entries_do_not_add_up_to_is_wrong(file: Path, run: Run) -> None:
    change(file, "UPDATE customer SET points = points + 1 WHERE id = 2")
    code, out, _ = run("status")
    assert code == 1
    assert out[-1] == "wrong    customer 2: balance 1, but its entries add up to 0"


def test_what_was_earned_before_two_customers_turned_out_to_be_one_counts(file: Path, run: Run) -> None:
    change(
        file,
        "UPDATE customer SET same_as = 2, points = 0 WHERE id = 3; UPDATE customer SET points = 3 WHERE id = 2",
    )
    assert run("status")[0] == 0


@pytest.mark.parametrize("how", ["an index", "all but the first page", "cut"])
def test_a_damaged_file_is_wrong(file: Path, run: Run, how: str) -> None:
    spoil(file, how)
    code, out, err = run("status")
    assert code in (1, 3)
    assert any("damaged" in line or "malformed" in line for line in (*out, *err))
    for command in ("backup", "upgrade"):
        code, out, err = run(command)
        assert (code, out, len(err)) == (3, [], 1)
        assert err[0].startswith(f"ledger {file}: ")
        assert "it is damaged" in err[0]
    assert not list(file.parent.glob("*.bak*"))


@pytest.mark.parametrize("how", ["all but the first page", "cut"])
def test_a_daemon_does_not_start_on_a_damaged_file(file: Path, run: Run, how: str) -> None:
    spoil(file, how)
    with pytest.raises(StartError, match="restore a backup"):
        open_file(load(file.parent / "tilltap.toml"))


def spoil(file: Path, how: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        (index,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_entry_1'"
        ).fetchone()
    whole = file.read_bytes()
    match how:
        case "an index":  # of the entries' names
            at = (index - 1) * page + 200
            spoilt = whole[:at] + os.urandom(page - 200) + whole[index * page :]
        case "all but the first page":
            spoilt = whole[:page] + os.urandom(len(whole) - page)
        case _:
            spoilt = whole[: len(whole) // 2]
    file.write_bytes(spoilt)


@pytest.mark.parametrize(
    ("command", "expected"),
    [("status", 3), ("backup", 3), ("upgrade", 0), ("rename-till front", 3)],
)
def test_an_empty_file_is_no_ledger_yet(file: Path, run: Run, command: str, expected: int) -> None:
    file.write_bytes(b"")
    code, out, err = run(*command.split())
    assert (code, len(out + err)) == (expected, 1)
    assert f"{file}: " in (out + err)[0]
    assert "no ledger in it yet (tilltap run makes it)" in (out + err)[0]
    assert file.read_bytes() == b""
    assert not list(file.parent.glob("*.bak*"))


@pytest.mark.parametrize("command", [("status",), ("backup",), ("upgrade",), ("rename-till", "front")])
@pytest.mark.parametrize("beside", ["ledger.db-wal", "ledger.db.lock", "ledger.db.20261121T220000Z.bak"])
def test_an_empty_file_beside_what_a_ledger_leaves_is_a_loss(
    file: Path, run: Run, command: tuple[str, ...], beside: str
) -> None:
    file.write_bytes(b"")
    (file.parent / beside).write_bytes(b"what was written")
    code, out, err = run(*command)
    assert (code, out, len(err)) == (3, [], 1)
    assert (
        f"it is empty, but {beside} beside it is of one with sales in it (put a backup in its place" in err[0]
    )
    assert (file.read_bytes(), (file.parent / beside).read_bytes()) == (b"", b"what was written")


@pytest.mark.parametrize("command", ["status", "backup", "upgrade"])
@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda p: p.unlink(), "no such file"),
        (lambda p: p.write_bytes(b"not a ledger at all" * 100), "not a database"),
    ],
    ids=["missing", "something else"],
)
def test_no_ledger_is_one_line_and_exit_3(file: Path, run: Run, command: str, break_it, says: str) -> None:
    break_it(file)
    code, out, err = run(command)
    assert (code, out, len(err)) == (3, [], 1)
    assert says in err[0]
    assert str(file) in err[0]


@pytest.mark.parametrize("command", [("status",), ("upgrade",), ("rename-till", "front")])
@pytest.mark.parametrize(
    ("schema", "says"), [("99", "written by a newer tilltap (schema 99)"), ("abc", "recorded as no number")]
)
def test_a_schema_that_is_not_ours_is_refused(
    file: Path, run: Run, command: tuple[str, ...], schema: str, says: str
) -> None:
    change(file, f"UPDATE meta SET value = '{schema}' WHERE key = 'schema'")
    before = dump(file)
    code, out, err = run(*command)
    assert (code, out, len(err)) == (3, [], 1)
    assert says in err[0]
    assert dump(file) == before


def test_a_server_that_does_not_answer_is_one_line(run: Run, tmp_path: Path) -> None:
    configure(tmp_path, "postgresql://tilltap@127.0.0.1:1/shop")
    for command in (["upgrade"], ["rename-till", "front"]):
        code, out, err = run(*command)
        assert (code, out, len(err)) == (3, [], 1)
        assert "does not answer" in err[0]


TAP = "INSERT INTO spooled VALUES (2, 'tap', 't1', '2026-11-21T09:59:00.000Z', '{}', '{}', NULL)"
REFUSED = "INSERT INTO spooled VALUES (3, 'close', '9', '2026-11-20T12:00:00.000Z', '{}', '{}', 'why')"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (None, "0 waiting, 0 parked"),
        ("", "1 waiting since 2026-11-21T10:00:00.000Z (closed sales: 1), 0 parked"),
        (f"{TAP};{REFUSED}", "2 waiting since 2026-11-21T09:59:00.000Z (closed sales: 1), 1 parked"),
    ],
)
def test_the_spool_is_told_also_while_the_server_does_not_answer(
    run: Run, tmp_path: Path, more: str | None, says: str
) -> None:
    configure(tmp_path, url := "postgresql://tilltap@127.0.0.1:1/shop")
    spool = spool_of(load(tmp_path / "tilltap.toml"))
    if more is not None:
        restore(spool, f"{NEWEST}.spool")
        change(spool, more)
    code, out, err = run("status")
    assert (code, out) == (3, [f"spool  {says}"])
    assert err == ["ledger: the server does not answer (check [ledger] url, the network and the server)"]
    code, out, _ = run("status", "--json")
    found = json.loads(out[0])
    assert (code, found["ledger"]) == (3, url)
    assert says.startswith(f"{found['spooled']} waiting")
    assert says.endswith(f"{found['spool_parked']} parked")


def test_neither_the_server_nor_the_spool_can_be_asked(run: Run, tmp_path: Path) -> None:
    configure(tmp_path, "postgresql://tilltap@127.0.0.1:1/shop")
    spool = spool_of(load(tmp_path / "tilltap.toml"))
    spool.write_bytes(b"not a spool at all" * 100)
    code, out, err = run("status")
    assert (code, out, len(err)) == (3, [], 2)
    assert "does not answer" in err[0]
    assert err[1].startswith(f"spool {spool}: ")


COMMANDS = [("status",), ("backup",), ("upgrade",), ("rename-till", "front")]


def refused_by_all(run: Run, file: Path, says: str) -> None:
    """Also by the daemon when it starts; nothing is made of the file, or written into it."""
    before = file.read_bytes() if file.is_file() else None
    for command in COMMANDS:
        code, out, err = run(*command)
        assert (code, out, len(err)) == (3, [], 1), command
        assert says in err[0]
    with pytest.raises(StartError, match=re.escape(says)) as refused:
        open_file(load(file.parent / "tilltap.toml"))
    assert len(str(refused.value).splitlines()) == 1
    assert (file.read_bytes() if file.is_file() else None) == before


@pytest.mark.parametrize("left", [None, b"S", b"SQLite for"], ids=["none", "a byte", "ten bytes"])
def test_a_ledger_that_is_gone_is_not_begun_anew(file: Path, run: Run, left: bytes | None) -> None:
    file.with_name("ledger.db.lock").write_bytes(b"0123456789abcdef 7 0.0\n")
    file.unlink()
    if left:
        file.write_bytes(left)
    refused_by_all(
        run, file, "put a backup in its place; to begin anew, move all" if not left else "it is damaged"
    )


def test_another_programs_database_is_left_alone(file: Path, run: Run) -> None:
    file.unlink()
    change(file, "CREATE TABLE meta (a); CREATE TABLE theirs (b)")
    refused_by_all(run, file, "it is a database of another program (name another file in [ledger] url)")


def test_a_folder_is_no_ledger(file: Path, run: Run) -> None:
    file.unlink()
    file.mkdir()
    for command in COMMANDS:
        assert run(*command)[2] == [f"ledger {file}: not a file (name the database file in [ledger])"]


UNSEEN = "x" * 300  # as in a folder closed to whoever asks, but also for root: looking for it is an error


@pytest.mark.parametrize("command", COMMANDS)
def test_a_ledger_that_one_may_not_look_for_is_one_line(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    configure(tmp_path, f"sqlite:///{UNSEEN}")
    code, out, err = run(*command)
    assert (code, out, len(err)) == (3, [], 1)
    assert err[0].startswith(f"ledger {tmp_path / UNSEEN}: File name too long (")


def test_a_spool_that_one_may_not_look_for_is_one_line(url: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "tilltap.toml").write_text(
        CONFIG.format(ledger=url, till="till-1").replace("[[reader]]", f'spool = "{UNSEEN}"\n[[reader]]')
    )
    for command in (["status"], ["rename-till", "front"]):
        code, out, err = run(*command)
        assert (code, out, len(err)) == (3, [], 1)
        assert err[0].startswith(f"spool {tmp_path / UNSEEN}: File name too long (run this as")


def test_words_of_sqlite_that_are_no_text_are_one_line(file: Path, run: Run) -> None:
    """It quotes the damaged page that holds the names of its tables."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "PRAGMA writable_schema=ON;"
            "UPDATE sqlite_master SET sql = CAST(x'435245415445205441424c4520ff28' AS TEXT) WHERE name = 'entry'"
        )
    before = file.read_bytes()
    for command in COMMANDS:
        code, out, err = run(*command)
        assert (code, out, len(err)) == (3, [], 1), command
        assert "restore" in err[0]
    with pytest.raises(StartError, match="restore a backup"):
        open_file(load(file.parent / "tilltap.toml"))
    assert file.read_bytes()[100:] == before[100:]


# -- backup ---------------------------------------------------------------------------------------------------


def test_backup_makes_one_new_file_a_day_or_a_minute(file: Path, run: Run, tmp_path: Path) -> None:
    lock = LedgerLock(file)
    code, out, _ = run("backup")
    copy = Path(out[0].partition(": ")[0])
    assert code == 0
    assert (copy.parent, copy.name.startswith("ledger.db.2")) == (tmp_path, True)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert dump(copy).replace("INSERT INTO \"meta\" VALUES('copied','1');\n", "") == dump(file)
    (tmp_path / "stick").mkdir()
    for _ in range(3):  # within one second
        assert run("backup", "--to", str(tmp_path / "stick"))[0] == 0
    assert run("backup", "--to", str(tmp_path / "mine"))[0] == 0
    assert len(list((tmp_path / "stick").iterdir())) == 3
    lock.release()


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("mine", "File exists"),
        ("ledger.db", "File exists"),
        ("none/mine", "No such file or directory"),
        ("mine/mine", "Not a directory"),
        (UNSEEN, "File name too long"),
    ],
)
def test_where_no_new_file_can_be_is_wrong_usage(
    file: Path, run: Run, tmp_path: Path, to: str, says: str
) -> None:
    (tmp_path / "mine").write_bytes(b"theirs")
    before = file.read_bytes()
    target = tmp_path / to
    assert run("backup", "--to", str(target)) == (
        2,
        [],
        [f"backup {target}: {says} (name a new file in a folder of your own)"],
    )
    assert ((tmp_path / "mine").read_bytes(), file.read_bytes()) == (b"theirs", before)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("to", ["", " "])
def test_backup_to_nothing_is_wrong_usage(file: Path, run: Run, to: str) -> None:
    code, out, err = run("backup", "--to", to)
    assert (code, out, len(err)) == (2, [], 1)
    assert "--to" in err[0]
    assert "is empty (name a new file or a folder, or leave --to out)" in err[0]
    assert not list(file.parent.glob("*.bak"))


def test_backup_is_of_one_moment_while_somebody_sells(file: Path, run: Run, tmp_path: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as selling:
        selling.executescript("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE; UPDATE customer SET points = 99")
        assert run("backup", "--to", str(tmp_path / "mine"))[0] == 0
        selling.execute("COMMIT")
    with closing(sqlite3.connect(tmp_path / "mine")) as copy:
        assert copy.execute("SELECT points FROM customer ORDER BY id").fetchall() == [(24,), (0,), (3,)]
    with closing(sqlite3.connect(file)) as left:
        assert left.execute("SELECT max(points) FROM customer").fetchone() == (99,)


def test_a_servers_backup_is_a_command_that_works(url: str, run: Run, tmp_path: Path) -> None:
    code, out, err = run("backup", "--to", str(tmp_path / "copy.dump"))
    assert (code, len(out), len(err)) == (1, 1, 1)
    program, *arguments = shlex.split(out[0])
    subprocess.run([binary(program), *arguments], check=True)
    listed = subprocess.run(
        [binary("pg_restore"), "--list", str(tmp_path / "copy.dump")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "TABLE DATA public entry" in listed.stdout


# -- upgrade --------------------------------------------------------------------------------------------------


def test_upgrade_of_what_is_up_to_date(file: Path, run: Run, tmp_path: Path, postgres: Postgres) -> None:
    before = dump(file)
    for _ in range(2):
        assert run("upgrade") == (0, [f"{file}: schema {tables.SCHEMA}, nothing to do"], [])
    assert dump(file) == before
    assert not list(tmp_path.glob("*.bak"))
    url = postgres.database()
    configure(tmp_path, url)
    assert run("upgrade") == (0, [f"{url}: no ledger in it yet (tilltap run makes it)"], [])
    restore_server(postgres, url, NEWEST)
    assert run("upgrade") == (0, [f"{url}: schema {tables.SCHEMA}, nothing to do"], [])


@pytest.mark.parametrize(
    ("command", "exit_code", "says"),
    [
        (("upgrade",), 3, "another tilltap is running on it"),
        (("rename-till", "front"), 1, "its till is running on it (stop its daemon first)"),
    ],
)
def test_not_under_a_running_daemon(
    file: Path, run: Run, command: tuple[str, ...], exit_code: int, says: str
) -> None:
    lock = LedgerLock(file)
    code, out, err = run(*command)
    lock.release()
    assert (code, out, len(err)) == (exit_code, [], 1)
    assert f"ledger {file}: {says}" in err[0]


# -- rename-till ----------------------------------------------------------------------------------------------


def places(connection: sa.Connection, name: str) -> list[str]:
    """Where a till's name stands; what an event said then is history."""
    found = []
    for table in tables.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, sa.Text):
                count = connection.execute(sa.select(sa.func.count()).where(column == name)).scalar()
                found += [str(column)] * bool(count)
    return found


def rows(connection: sa.Connection) -> dict[str, int]:
    return {
        table.name: int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0)
        for table in tables.metadata.sorted_tables
        if table.name != "meta"
    }


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_till_takes_all_it_ever_did_along(
    kind: str, run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        engine = sa.create_engine(f"sqlite:///{request.getfixturevalue('file')}", poolclass=sa.NullPool)
    else:
        url = request.getfixturevalue("url")
        engine = Server(url).engine()
    with engine.begin() as connection:
        had, count = places(connection, "till-1"), rows(connection)
    assert "entry.till" in had
    code, out, err = run("rename-till", "front")
    assert (code, err) == (0, [])
    assert out == [
        '"till-1" is now "front": 5 sales are its own as before',
        f'{tmp_path / "tilltap.toml"}: now set [till] name = "front"',
    ]
    with engine.begin() as connection:
        assert places(connection, "till-1") == []
        assert set(places(connection, "front")) == {*had, "meta.value"}
        assert rows(connection) == count
    for statement in ("UPDATE entry SET points = 0", "DELETE FROM entry"):
        with pytest.raises(sa.exc.DBAPIError, match="never changed"), engine.begin() as connection:
            connection.execute(sa.text(statement))
    configure(tmp_path, *([url] if kind == "postgresql" else ["sqlite:///ledger.db"]), till="front")
    again = run("rename-till", "till-1", "front")
    assert again == (0, ['"till-1" is now "front": had that name already'], [])
    assert run("status")[0] == 0


def test_its_spool_goes_along(url: str, run: Run, tmp_path: Path) -> None:
    def spool() -> Path:
        return spool_of(load(tmp_path / "tilltap.toml"))

    restore(spool(), f"{NEWEST}.spool")
    assert run("rename-till", "till-1", "front")[0] == 0
    assert not spool().exists()
    configure(tmp_path, url, till="front")
    assert owner(spool()) == "front"
    assert json.loads(run("status", "--json")[1][0])["spooled"] == 1


def test_a_spool_that_the_configuration_names_changes_its_owner(url: str, run: Run, tmp_path: Path) -> None:
    """Under another name its closes would be entered once more."""
    spool = tmp_path / "spool.db"

    def be(till: str) -> Settings:
        named = CONFIG.format(ledger=url, till=till).replace("[[reader]]", 'spool = "spool.db"\n[[reader]]')
        (tmp_path / "tilltap.toml").write_text(named)
        return load(tmp_path / "tilltap.toml")

    def run_as(till: str) -> None:
        store, _ = open_shared(be(till), lambda _tx, _first: None)
        store.begin(10)
        store.close()

    run_as("till-1")
    with pytest.raises(StartError, match="it belongs to till till-1, the configuration says front"):
        run_as("front")
    be("till-1")
    assert run("rename-till", "till-1", "front")[0] == 0
    assert owner(spool) == "front"
    with pytest.raises(StartError, match="it belongs to till front"):
        run_as("till-1")
    run_as("front")


def owner(spool: Path) -> str:
    with closing(sqlite3.connect(spool)) as raw:
        return raw.execute("SELECT value FROM meta WHERE key = 'till'").fetchone()[0]


@pytest.mark.parametrize(
    ("names", "code", "says"),
    [
        (("till-1", "till-2"), 1, '"till-2" is or was another till'),
        (("till-9", "till-1"), 1, 'it knows no till "till-9"'),
        (("till-2", "till-3"), 1, 'the configuration is of till "till-1"'),
        (("till-1", ""), 2, "NEW"),
        (("till-1", "a", "b"), 2, "[OLD] NEW"),
        ((), 2, "[OLD] NEW"),
    ],
)
def test_a_name_is_refused(url: str, run: Run, names: tuple[str, ...], code: int, says: str) -> None:
    before = dump_server(url)
    ended, out, err = run("rename-till", *names)
    assert (ended, out, len(err)) == (code, [], 1)
    assert says in err[0]
    assert dump_server(url) == before


def test_a_running_till_keeps_its_name(url: str, run: Run, postgres: Postgres) -> None:
    database = url.split("/")[3].partition("?")[0]
    postgres.admin(
        "UPDATE till SET until = extract(epoch FROM now()) + 15, host = 'pc7' WHERE name = 'till-1'",
        database,
    )
    code, out, err = run("rename-till", "front")
    assert (code, out, len(err)) == (1, [], 1)
    assert '"till-1" is running on pc7' in err[0]


# -- docs/ledger.md -------------------------------------------------------------------------------------------

DOCUMENT = (Path(__file__).parents[3] / "docs" / "ledger.md").read_text()


def test_the_document_shows_what_is_printed(run: Run) -> None:
    printed = lines(Health("/var/lib/tilltap/ledger.db", 1, 41_900_000, 180_233, 5120, 2, 1, 1, 0, 3))
    assert "\n".join(printed) in DOCUMENT
    quoted = re.findall(r"(?:\$ |`)tilltap ledger ([\w-]+)([^`\n]*)", DOCUMENT)
    assert {command for command, _ in quoted} == {"status", "backup", "upgrade", "rename-till"}
    for command, arguments in quoted:
        help_text = "\n".join(run(command, "--help")[1])
        assert all(option in help_text for option in re.findall(r"--[a-z-]+", arguments)), (
            command,
            arguments,
        )
