"""The store on a real server: what two tills may not do to each other, and what a lost connection may not do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rigs.postgres import Postgres
from tilltap.clock import SystemClock
from tilltap.errors import CallError, StartError
from tilltap.ledger import book, mirror_book, push_book, tills
from tilltap.ledger.engine import Tx
from tilltap.ledger.postgres import Link, Server, Unreachable
from tilltap.ledger.shared import WITHIN_S, SharedStore
from tilltap.ledger.spool_book import open_spool
from tilltap.loyalty.budget import LIMIT, SPAN, Budget, NotGranted, grant
from tilltap.stores import shared_rate
from tilltap.till import customers

Open = Callable[..., SharedStore]


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Iterator[Open]:
    """`opened("till-2")`: a store that has joined, closed after the test."""
    with ExitStack() as stack:

        def make(till: str = "till-1", *, begin: bool = True, spool: str = "") -> SharedStore:
            store = SharedStore(
                Server(url),
                open_spool(tmp_path / f"{spool or till}.db"),
                till,
                SystemClock(),
                host="test",
                join=lambda _tx, _first: None,
            )
            stack.callback(store.close)
            if begin:
                store.begin(10)
            return store

        yield make


def customer(tx: Tx) -> int:
    return book.add_customer(tx, pass_id="p1", ext_id=None, value=None).id


def admin(postgres: Postgres, url: str, statement: str) -> list[Any]:
    return postgres.admin(statement, url.split("/")[3].partition("?")[0])


def at_once(*work: Callable[[], Any]) -> list[Any]:
    gate, found = threading.Barrier(len(work)), [None] * len(work)

    def one(place: int) -> None:
        gate.wait()
        try:
            found[place] = work[place]()
        except Exception as error:
            found[place] = error

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# -- two tills ------------------------------------------------------------------------------------------------


def test_two_tills_meet_on_an_empty_database(opened: Open) -> None:
    stores = [opened(f"till-{n}", begin=False) for n in range(3)]
    assert at_once(*(lambda store=store: store.begin(20) for store in stores)) == [None] * 3
    for store in stores:
        for _ in range(200):
            if store.up:
                break
            time.sleep(0.05)
        assert store.up


def test_no_update_is_lost(opened: Open) -> None:
    one, two = opened("till-1"), opened("till-2")
    known = one.run_now(customer)

    def sell(store: SharedStore) -> None:
        def work(tx: Tx, n: int) -> None:
            book.lock(tx, known)
            before = book.customer(tx, known).points
            book.enter(tx, known, "earn", 1, till=store.till, ref=str(n), why=f"after {before}")

        for n in range(60):
            store.run_now(lambda tx, n=n: work(tx, n))

    assert at_once(lambda: sell(one), lambda: sell(two)) == [None, None]
    assert one.run_now(lambda tx: book.customer(tx, known)).points == 120
    seen = {row.why for row in two.run_now(lambda tx: book.history(tx, known, 1000))}
    assert len(seen) == 120, "two sales have seen the same balance"


def test_one_value_is_one_stranger(opened: Open) -> None:
    stores = opened("till-1"), opened("till-2"), opened("till-3")
    for n in range(15):
        ids = at_once(
            *(lambda s=s, n=n: s.run_now(lambda tx: customers.stranger(tx, f"v{n}")).id for s in stores)
        )
        assert len(set(ids)) == 1


def test_entries_are_final(opened: Open, postgres: Postgres, url: str) -> None:
    store = opened()
    known = store.run_now(customer)
    store.run_now(lambda tx: book.enter(tx, known, "earn", 1, till="till-1", ref="1", why=""))
    for statement in ("UPDATE entry SET points = 2", "DELETE FROM entry", "TRUNCATE entry"):
        with pytest.raises(psycopg.errors.RaiseException, match="never changed"):
            admin(postgres, url, statement)


def test_money_and_points_have_64_bits(opened: Open) -> None:
    store = opened()
    known = store.run_now(customer)
    for n in range(2):
        store.run_now(
            lambda tx, n=n: book.enter(
                tx, known, "earn", 3_000_000_000, till="t", ref=str(n), why="", carried=10**11
            )
        )
    found = store.run_now(lambda tx: book.customer(tx, known))
    assert (found.points, found.carried) == (6_000_000_000, 2 * 10**11)


def test_a_lease_keeps_other_tills_out_and_runs_out(opened: Open, postgres: Postgres, url: str) -> None:
    one, two = opened("till-1"), opened("till-2")

    def claim(store: SharedStore, lease_s: float = 30.0) -> Any:
        return store.run_now(lambda tx: mirror_book.claim(tx, store.till, lease_s, 120.0))

    def owe(tx: Tx) -> int:
        known = customer(tx)
        mirror_book.owe(tx, known)
        sale = book.Sale("till-1", "1", "closed", 1000, 1, 0, tx.now, closed=tx.now, earned=1)
        push_book.plan(tx, known, sale, kind="earned", reward="")
        return known

    known = one.run_now(owe)
    assert claim(two) is None, "the till that wants it has it first"
    held = claim(one)
    assert held.customer_id == known
    assert claim(one) is None
    (push,) = one.run_now(lambda tx: push_book.planned(tx, known))

    def send(tx: Tx) -> None:
        mirror_book.add_send(tx, known, 5, 4)
        push_book.send(tx, [push.id], "sending")
        row = mirror_book.get(tx, known)
        row.settle = tx.now + 60.0
        mirror_book.save(tx, row)

    one.run_now(send)
    two.run_now(lambda tx: mirror_book.recover(tx, "till-2", 120.0))
    assert [s.outcome for s in two.run_now(lambda tx: mirror_book.sends(tx, known))] == ["open"]

    admin(postgres, url, "UPDATE mirror SET lease_until = 1; UPDATE wish SET at = 1")
    taken = claim(two)
    row = two.run_now(lambda tx: mirror_book.get(tx, known))
    assert mirror_book.holds(row, taken)
    assert not mirror_book.holds(row, held), "who comes late may not record"
    assert [s.outcome for s in two.run_now(lambda tx: mirror_book.sends(tx, known))] == ["unknown"]
    now = two.run_now(lambda tx: tx.now)
    assert row.settle == pytest.approx(now + 120.0, abs=5), "what it sent may live as long as if sent now"
    assert admin(postgres, url, "SELECT state FROM push") == [("maybe",)]

    one.run_now(lambda tx: mirror_book.recover(tx, "till-1", 5.0))
    again = one.run_now(lambda tx: mirror_book.get(tx, known))
    assert (again.settle, again.lease_until) == (row.settle, row.lease_until), "it is another till's to judge"


def test_the_rate_limit_is_one_for_all_tills(opened: Open) -> None:
    stores = [opened(f"till-{n}") for n in range(3)]
    granted: list[float] = []

    def judge(used: str, now: float) -> tuple[str, tuple[float, float]]:
        new, delay = grant(used, now, urgent=True)
        return new, (now, delay)

    def ask(store: SharedStore) -> None:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            at, delay = store.run_now(lambda tx: tills.change_rate(tx, "GET /x", judge))
            if not delay:
                granted.append(at)

    assert at_once(*(lambda s=s: ask(s) for s in stores)) == [None] * 3
    granted.sort()
    assert len(granted) >= 2 * LIMIT, "room was left unused"
    assert all(later - first >= SPAN for first, later in zip(granted, granted[LIMIT:], strict=False))


@pytest.mark.anyio
async def test_nobody_at_the_till_waits_for_the_shared_rate(opened: Open, postgres: Postgres) -> None:
    store = opened()
    budget = Budget(shared_rate(store))
    await budget.wait("GET /x", urgent=True, deadline=1.0)
    store.up = False
    began = time.monotonic()
    await budget.wait("GET /x", urgent=True, deadline=1.0)
    assert time.monotonic() - began < 0.5
    with pytest.raises(NotGranted):
        await budget.wait("GET /x", urgent=False, deadline=0.5)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# -- the name -------------------------------------------------------------------------------------------------


def test_a_name_is_held_by_one(opened: Open, postgres: Postgres, url: str) -> None:
    one = opened("till-1")
    twin = opened("till-1", spool="twin", begin=False)
    with pytest.raises(StartError, match="already runs as till"):
        twin.begin(10)
    admin(postgres, url, "UPDATE till SET until = 1")  # it has slept through its time
    third = opened("till-1", spool="third")
    assert third.up
    with pytest.raises(CallError):
        one.run_now(lambda tx: book.put_meta(tx, "written by", "the sleeper"))
    assert isinstance(one.failed, StartError)
    assert third.run_now(lambda tx: book.meta(tx, "written by")) is None


def test_the_same_spool_is_the_same_till(opened: Open) -> None:
    one = opened("till-1")
    assert one.run_now(lambda tx: tills.take_name(tx, "till-1", one.holder, "test")) is None
    assert one.run_now(lambda tx: tills.take_name(tx, "till-1", "another", "elsewhere")).host == "test"
    one.run_now(lambda tx: tills.leave_name(tx, "till-1", one.holder))
    assert one.run_now(lambda tx: tills.take_name(tx, "till-1", "another", "elsewhere")) is None


# -- lost connections -----------------------------------------------------------------------------------------


def lose(monkeypatch: pytest.MonkeyPatch, *, committed: bool) -> None:
    """The next commit's answer is lost, with or without the commit."""
    real = Link.commit

    def commit(link: Link) -> None:
        monkeypatch.setattr(Link, "commit", real)
        if committed:
            real(link)
        link.cut()
        real(link)

    monkeypatch.setattr(Link, "commit", commit)


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_without_an_answer_is_made_once(
    opened: Open, monkeypatch: pytest.MonkeyPatch, committed: bool, postgres: Postgres, url: str
) -> None:
    store = opened()
    known = store.run_now(customer)
    runs = []

    def work(tx: Tx) -> int:
        runs.append(tx.now)
        ref = str(book.count_entries(tx, "till-1", "1", "earn"))
        book.enter(tx, known, "earn", 1, till="till-1", ref="1", seq=int(ref), why="")
        tx.emit("sale", {"sale_id": "1"})
        return len(runs)

    lose(monkeypatch, committed=committed)
    assert store.run_now(work) == len(runs) == (1 if committed else 2)
    assert store.run_now(lambda tx: book.customer(tx, known)).points == 1
    told = [e for e in store.run_now(lambda tx: book.events(tx, "till-1", 0, 100)) if e[1] == "sale"]
    # Whoever watches has not heard of the first number: what was committed is said again under another.
    assert len(told) == (2 if committed else 1)
    assert store.last_seq == max(seq for seq, _method, _params in told)


def test_a_killed_connection_is_made_again_within_the_call(opened: Open, postgres: Postgres) -> None:
    store = opened()
    for _ in range(5):
        postgres.end_connections()
        assert store.run_now(lambda tx: book.meta(tx, "nothing")) is None


def test_another_till_in_the_way_is_waited_for(opened: Open, url: str) -> None:
    store = opened()
    known = store.run_now(customer)
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM customer FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(CallError) as caught:
            store.run_now(lambda tx: book.lock(tx, known))
        assert caught.value.code == "ledger-down"
        assert time.monotonic() - began < 2
    store.run_now(lambda tx: book.lock(tx, known))


@pytest.mark.anyio
async def test_a_server_that_hangs_is_left_in_time(opened: Open) -> None:
    store = opened()
    statement = "SELECT pg_sleep(5)"

    def hang(tx: Tx) -> None:
        tx._cursor.execute("SET LOCAL statement_timeout = 0")
        tx._cursor.execute(statement)

    began = time.monotonic()
    with pytest.raises(CallError):
        await store.run(hang)
    assert time.monotonic() - began < 1.6
    assert await store.run_local(lambda _tx: 7) == 7
    assert time.monotonic() - began < 1.8, "the thread was not freed"
    for _ in range(100):
        if store.up:
            break
        await asyncio.sleep(0.05)
    assert await store.run(lambda _tx: 8) == 8


@pytest.mark.anyio
@pytest.mark.parametrize("busy", [True, False])
async def test_a_call_given_up_at_its_very_end_does_not_lose_the_ledger(opened: Open, busy: bool) -> None:
    """Its connection is cut when the time is over; it may have come to its own end in that moment."""
    store = opened()

    def last_moment(_tx: Tx) -> None:
        time.sleep(WITHIN_S + 0.1)
        if busy:
            raise psycopg.errors.LockNotAvailable

    link: Any = store._link
    if not busy:  # the commit was answered before the connection was cut
        link.begin, link.number, link.commit = (
            lambda *_, **__: (0.0, store.holder),
            lambda: None,
            lambda: None,
        )
    with pytest.raises(CallError):
        await store.run(last_moment)
    for _ in range(100):
        if store.up:
            break
        await asyncio.sleep(0.05)
    assert await store.run(lambda _tx: 8) == 8


def test_nothing_runs_after_its_caller_was_told_no(opened: Open, postgres: Postgres) -> None:
    """`ledger-down` says that nothing was recorded: what waits behind a hanging call is not done later."""
    store = opened()
    done = []

    async def both() -> None:
        def slow(tx: Tx) -> None:
            tx._cursor.execute("SET LOCAL statement_timeout = 0")
            tx._cursor.execute("SELECT pg_sleep(3)")

        results = await asyncio.gather(store.run(slow), store.run(done.append), return_exceptions=True)
        assert all(isinstance(r, CallError) for r in results)
        await asyncio.sleep(0.3)

    asyncio.run(both())
    assert done == []


def test_mistakes_have_a_remedy_and_no_secret(postgres: Postgres) -> None:
    with pytest.raises(Unreachable) as caught:
        Server(postgres.url("nowhere"), "zz-secret-password").connect()
    assert caught.value.mistake == "there is no such database or user (create it, or correct ledger.url)"
    with pytest.raises(Unreachable) as caught:
        Server("postgresql://tilltap@127.0.0.1:1/x", "zz-secret-password").connect()
    assert caught.value.mistake == ""


# -- the server's clock is set --------------------------------------------------------------------------------

SETTLE_S = 100.0


def written(tx: Tx) -> int:
    """A pass that was written a moment ago and must be read back after `SETTLE_S`."""
    found = customer(tx)
    mirror_book.met(tx, found, 4)
    mirror_book.add_send(tx, found, 5, 4)
    row = mirror_book.get(tx, found)
    assert row is not None
    row.settle, row.retry = tx.now + SETTLE_S, tx.now + 5
    mirror_book.save(tx, row)
    return found


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_after_a_step_of_the_servers_clock_every_wait_begins_anew(
    opened: Open, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """Otherwise a pass would be read back at once, or an hour too late."""
    one, two = opened("till-1"), opened("till-2")
    for store in (one, two):
        store.on_step = lambda tx: mirror_book.restart_settling(tx, SETTLE_S)
    found = one.run_now(written)
    two.run_now(lambda _tx: None)
    begin = Link.begin

    def later(self: Link, till: str | None, *, durable: bool = True) -> tuple[float, str | None]:
        now, holder = begin(self, till, durable=durable)
        return now + step, holder

    monkeypatch.setattr(Link, "begin", later)

    def look(tx: Tx) -> tuple[float, Any, Any, list[mirror_book.Send]]:
        claimed = mirror_book.claim(tx, "till-2", 30, SETTLE_S)
        return tx.now, claimed, mirror_book.get(tx, found), mirror_book.sends(tx, found)

    now, claimed, row, sends = two.run_now(look)  # the till that did not write it is first to notice
    assert claimed is None, "it was read back before a late request can have arrived"
    assert row.settle == pytest.approx(now + SETTLE_S, abs=1)
    assert row.retry == 0.0
    assert [send.sent for send in sends] == [pytest.approx(now, abs=1)]
    assert two.run_now(look)[2].settle == row.settle, "it was taken for a step once more"


def test_a_slow_answer_of_the_server_is_no_step(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    one = opened()
    steps: list[float] = []
    one.on_step = lambda tx: steps.append(tx.now)
    begin, pauses = Link.begin, iter([0.0, 3.0, 0.0, 0.0])
    clock = one.clock.steady

    def slow(self: Link, till: str | None, *, durable: bool = True) -> tuple[float, str | None]:
        answer = begin(self, till, durable=durable)
        slept[0] += next(pauses)
        return answer

    slept = [0.0]
    monkeypatch.setattr(SystemClock, "steady", lambda self: clock() + slept[0] if self is one.clock else 0.0)
    monkeypatch.setattr(Link, "begin", slow)
    for _ in range(2):
        one.run_now(lambda _tx: None)
    assert steps == []
