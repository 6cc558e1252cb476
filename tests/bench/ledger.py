"""What the ledger costs: sales a second against raw commits, four tills against one, a full ledger against one
just begun.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from rigs.daemon import Logs, Shop
from rigs.postgres import Postgres
from tilltap.config.load import load
from tilltap.ledger import book, mirror_book
from tilltap.ledger.engine import Sql, Tx
from tilltap.ledger.store import Store
from tilltap.sandbox.service import NewPass
from tilltap.stores import open_file
from tilltap.till import sales
from tilltap.till.sales import Found
from tilltap.till.shapes import Shop as Rules

SALES = 2000
ROUNDS = 5
# Calls under way at a time on one connection: the contract lets a client have them, and a bridge of several
# tills to one daemon does.
IN_FLIGHT = 8
TILLS = 4
TURNS = 4  # of one till and of four: what the machine does meanwhile falls on both
PASSES = 40  # per till
SMALL, LARGE = 5_000, 5_000_000
PER_CUSTOMER = 50  # entries
COMMITS = 400
LEASE_S = SETTLE_S = 60.0


@dataclass(frozen=True)
class Rate:
    per_second: float
    cpu_ms: float  # of the daemons, and of the server if there is one, per sale


def close_many(path: Path, passes: list[str], count: int, name: str, in_flight: int = IN_FLIGHT) -> None:
    """`count` sales of the regulars `passes`, `in_flight` of them under way at any time."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        lines = sock.makefile("rb")

        def send(n: int) -> None:
            params = {"sale_id": f"{name}-{n}", "total": "20.00", "value": passes[n % len(passes)]}
            call = {"jsonrpc": "2.0", "id": n, "method": "sale.close", "params": params}
            sock.sendall(json.dumps(call).encode() + b"\n")

        for n in range(in_flight):
            send(n)
        for n in range(in_flight, count + in_flight):
            answer = json.loads(lines.readline())
            assert answer["result"]["earned"] == 2, answer
            if n < count:
                send(n)


def one_till(logs: Logs, folder: Path) -> tuple[float, float, float]:
    """A second: sales through the socket, the same sales' statements in raw commits, raw commits of one row; of
    several rounds the median each, since one is a second long and the machine is not ours alone.
    """
    names = [f"regular-{n}" for n in range(PASSES)]
    one_row = [[("INSERT INTO meta (key, value) VALUES (?, 'x')", [f"bench-{n}"])] for n in range(SALES)]
    recorded = _recorded(folder)
    rounds = []
    with Shop(logs, *(NewPass(name, 0) for name in names), readers="") as shop:
        shop.start()
        close_many(shop.socket, names, PASSES, "warm")
        for n in range(ROUNDS):
            began = time.perf_counter()
            close_many(shop.socket, names, SALES, f"counted-{n}")
            ours = SALES / (time.perf_counter() - began)
            same = _commits(folder / f"same-{n}.db", *recorded)
            rounds.append((ours, same, _commits(folder / f"one-{n}.db", [], one_row)))
        shop.stop()
    ours, same, single = map(median, zip(*rounds, strict=True))
    return ours, same, single


Statements = list[tuple[str, Sequence[Any]]]


def _recorded(folder: Path) -> tuple[list[Statements], list[Statements]]:
    """What making a ledger's customers, and what `SALES` closes, say to the driver, by transaction."""
    spoken: list[Statements] = []
    plain = Sql.run

    def listening(self: Sql, cursor: Any, dialect: Any, values: Any) -> Any:
        made = self._compiled.get(dialect.name) or self._compile(dialect)
        spoken[-1].append((made.text, made.values(values)))
        return plain(self, cursor, dialect, values)

    def say(store: Store, fn: Callable[[Tx], Any]) -> Any:
        spoken.append([])
        return store.run_now(fn)

    store, rules = _open(folder / "recorded.db")
    try:
        Sql.run = listening  # type: ignore[method-assign]
        people = [
            say(store, lambda tx, n=n: book.add_customer(tx, pass_id=f"p{n}", ext_id=None, value=None).id)
            for n in range(PASSES)
        ]
        for n in range(SALES):
            who = Found(people[n % PASSES])
            say(store, lambda tx, n=n, who=who: sales.close(tx, rules, f"s{n}", 2000, None, None, who))
    finally:
        Sql.run = plain  # type: ignore[method-assign]
        store.close()
    return spoken[:PASSES], spoken[PASSES:]


def _commits(path: Path, before: list[Statements], counted: list[Statements]) -> float:
    """Durable commits a second, of these statements and nothing else, on a ledger of this kind."""
    _open(path)[0].close()
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA synchronous=FULL")
        cursor = raw.cursor()
        for statement, values in chain.from_iterable(before):
            cursor.execute(statement, values).fetchall()
        began = time.perf_counter()
        for transaction in counted:
            cursor.execute("BEGIN IMMEDIATE")
            for statement, values in transaction:
                cursor.execute(statement, values).fetchall()
            cursor.execute("COMMIT")
        return len(counted) / (time.perf_counter() - began)


def _open(path: Path) -> tuple[Store, Rules]:
    path.with_suffix(".toml").write_text(TOML.format(ledger=path), encoding="utf-8")
    settings = load(path.with_suffix(".toml"))
    store, _ = open_file(settings)
    version = store.run_now(lambda tx: book.enter_program(tx, settings.program))
    return store, Rules(settings.till, settings.program, version)


def several_tills(logs: Logs) -> tuple[Rate, Rate]:
    """One till, and four side by side, on one server, in turn; each till sells one sale after the other."""
    with Postgres(fsync=True) as server, ExitStack() as stack:
        alone = stack.enter_context(_chain(logs, server, "alone", 1))
        among = stack.enter_context(_chain(logs, server, "among", TILLS))
        for turn in range(TURNS):
            alone.sell(f"counted-{turn}")
            among.sell(f"counted-{turn}")
        return alone.rate(), among.rate()


@dataclass
class _Chain:
    """Tills on a ledger of their own, with their own regulars."""

    shops: list[Shop]
    names: list[list[str]]
    server: Postgres
    seconds: float = 0.0
    cpu_s: float = 0.0
    sales: int = 0

    def sell(self, name: str) -> None:
        pids = [shop.daemon.popen.pid for shop in self.shops if shop.daemon]
        cpu, began = _cpu_s(pids, self.server), time.perf_counter()
        _side_by_side(self.shops, self.names, SALES // 4, name)
        self.seconds += time.perf_counter() - began
        self.cpu_s += _cpu_s(pids, self.server) - cpu
        self.sales += SALES // 4 * len(self.shops)

    def rate(self) -> Rate:
        return Rate(self.sales / self.seconds, self.cpu_s / self.sales * 1000)


@contextmanager
def _chain(logs: Logs, server: Postgres, name: str, tills: int) -> Iterator[_Chain]:
    names = [[f"{name}-{till}-{n}" for n in range(PASSES)] for till in range(tills)]
    with ExitStack() as stack:
        options = {"readers": "", "ledger": server.database()}
        first = stack.enter_context(
            Shop(logs, *(NewPass(n, 0) for own in names for n in own), till=f"{name}-0", **options)
        )
        shops = [first] + [
            stack.enter_context(Shop(logs, till=f"{name}-{n}", beside=first, **options))
            for n in range(1, tills)
        ]
        for shop in shops:
            shop.start()
        _side_by_side(shops, names, PASSES, "warm")
        yield _Chain(shops, names, server)


def _side_by_side(shops: list[Shop], names: list[list[str]], count: int, name: str) -> None:
    threads = [
        threading.Thread(target=close_many, args=(shop.socket, own, count, name, 1))
        for shop, own in zip(shops, names, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _cpu_s(pids: list[int], server: Postgres) -> float:
    return sum(map(_cpu_of, [*pids, *server.pids()]))


def _cpu_of(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def full_ledger(folder: Path) -> tuple[list[float], list[float]]:
    """Seconds of a close and of the mirror's turn after it, each a transaction with its flush, on a ledger of
    millions and on one of thousands, in turn.
    """
    with _filled(folder / "large.db", LARGE) as large, _filled(folder / "small.db", SMALL) as small:
        return _in_turn(large, small)


def _turn(tx: Tx) -> None:
    """What the mirror does in the ledger when the service has taken the balance at once."""
    claimed = mirror_book.claim(tx, "bench", LEASE_S, SETTLE_S)
    assert claimed is not None
    claimed.dirty = 0
    mirror_book.save(tx, claimed)
    mirror_book.release(tx, claimed.customer_id)


Close = Callable[[int], None]


def _in_turn(large: Close, small: Close) -> tuple[list[float], list[float]]:
    took: tuple[list[float], list[float]] = [], []
    for n in range(COMMITS):
        for close, into in zip((large, small), took, strict=True):
            began = time.perf_counter()
            close(n)
            into.append(time.perf_counter() - began)
    return took


@contextmanager
def _filled(path: Path, entries: int) -> Iterator[Close]:
    """A ledger of `entries` old sales, each with its entry; what it yields closes a sale of some customer."""
    customers = entries // PER_CUSTOMER
    _open(path)[0].close()
    _fill(path, entries, customers)
    store, rules = _open(path)
    some = random.Random(7)

    def close(n: int) -> None:
        who = Found(some.randrange(customers) + 1)
        store.run_now(lambda tx: sales.close(tx, rules, f"new-{n}", 2000, None, None, who))
        store.run_now(_turn)

    try:
        yield close
    finally:
        store.close()
        path.unlink()


TOML = """
[till]
name = "bench"
[program.earn]
spend = "10.00"
[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 5
discount = "5.00"
[loyalty]
url = "http://127.0.0.1:1"
[[reader]]
name = "counter"
port = "/dev/null"
[ledger]
url = "sqlite:///{ledger}"
"""


def _fill(path: Path, entries: int, customers: int) -> None:
    """By hand and in bulk: what three years of sales leave behind, without living through them."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA synchronous=OFF")
        raw.execute("PRAGMA cache_size=-400000")
        indexes = raw.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''"
        ).fetchall()
        for name, _ in indexes:
            raw.execute(f"DROP INDEX {name}")
        raw.execute("BEGIN")
        numbers = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1) "
        raw.execute(
            "INSERT INTO customer (id, pass_id, points) "
            + numbers
            + "SELECT i + 1, printf('%08x-0000-4000-8000-000000000000', i), 2 * ? FROM n",
            (customers, PER_CUSTOMER),
        )
        raw.execute(
            f"INSERT INTO mirror (customer_id, confirmed) {numbers} SELECT i + 1, ? FROM n",
            (customers, 2 * PER_CUSTOMER),
        )
        for table, columns in ((_ENTRY_COLUMNS, _ENTRY), (_SALE_COLUMNS, _SALE)):
            raw.execute(f"INSERT INTO {table} {numbers} SELECT {columns} FROM n", (entries, customers))
        raw.execute("COMMIT")
        for _, statement in indexes:
            raw.execute(statement)
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_ENTRY_COLUMNS = "entry (till, ref, kind, seq, customer_id, points, carried, at, why)"
_ENTRY = """'bench', printf('old-%08d', i), 'earn', 0, i % ? + 1, 2, 0, '2025-01-01T08:30:00.000Z',
 '20.00 paid: 2 points, one for every 10.00.'"""
_SALE_COLUMNS = """sale (till, sale_id, state, total, customer_id, program, turn, touched, closed, closed_at,
 earned, paid, balance_after, message, receipt, why)"""
_SALE = """'bench', printf('old-%08d', i), 'closed', 2000, i % ? + 1, 1, 0, 0, 0, '2025-01-01T08:30:00.000Z', 2, 2000, 4,
 'Thank you for your order. You have earned 2 points!', '2 points earned. Balance: 4',
 '20.00 paid: 2 points, one for every 10.00.'"""
