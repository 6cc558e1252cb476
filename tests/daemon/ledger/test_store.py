"""Transactions, on the loop and in the thread: each is whole or not at all, and events keep their order."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilltap.clock import SystemClock
from tilltap.errors import CallError
from tilltap.ledger import book, store
from tilltap.ledger.engine import Tx, create, sqlite_engine
from tilltap.ledger.store import TOGETHER, Store

pytestmark = pytest.mark.anyio


class Held:
    """A store whose thread waits until everything is queued that is to be flushed together."""

    def __init__(self, folder: Path) -> None:
        engine, lock = sqlite_engine(folder / "ledger.db")
        create(engine)
        self.store = Store(engine, "till-1", SystemClock(), lock)
        self.store.run_now(lambda tx: book.put_meta(tx, "warm", "up"))  # the disk is known from here on
        self.published: list[int] = []
        self.store.hub.on_publish = lambda events: self.published.extend(e.seq for e in events)
        self.flushes = 0
        self._gate = threading.Event()

    async def together(self, *work) -> list:
        self._gate.clear()

        def wait(connection) -> tuple[None, list]:
            self._gate.wait(10)
            connection.connection.driver_connection.set_trace_callback(self._count)
            return None, []

        first = self.store._submit(wait)
        waiting = [asyncio.ensure_future(self.store.run(fn)) for fn in work]
        await asyncio.sleep(0)
        self._gate.set()
        await first
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0)
        return ended

    def _count(self, statement: str) -> None:
        self.flushes += statement == "COMMIT"

    def kept(self) -> tuple[set[str], list[int]]:
        """Who wrote, and the numbers of the events recorded."""
        with sqlite3.connect(self.store._engine.url.database) as raw:
            names = {key for (key,) in raw.execute("SELECT key FROM meta WHERE key LIKE 'work-%'")}
            return names, [n for (n,) in raw.execute("SELECT seq FROM event ORDER BY seq")]


def work(name: str, *, events: int = 0, tell: bool = False, fail: bool = False):
    def fn(tx: Tx) -> str:
        book.put_meta(tx, f"work-{name}", "done")
        for n in range(events):
            tx.emit("reader", {"reader": name})
            if tell and n == 0:
                tx.tell_now()
        if fail:
            raise CallError("offline", "refused")
        return name

    return fn


@pytest.fixture
def held(tmp_path):
    held = Held(tmp_path)
    yield held
    held.store.close()


async def test_those_that_wait_share_a_flush(held):
    assert await held.together(*(work(str(n), events=1) for n in range(TOGETHER))) == [
        str(n) for n in range(TOGETHER)
    ]
    assert held.flushes == 1
    assert held.published == list(range(1, TOGETHER + 1))


async def test_a_refusal_takes_nobody_else_with_it(held):
    one, two, three = await held.together(work("1"), work("2", events=1, fail=True), work("3", events=1))
    assert (one, three) == ("1", "3")
    assert isinstance(two, CallError)
    assert held.kept() == ({"work-1", "work-3"}, [1])


async def test_a_broken_rule_takes_nobody_else_with_it(held):
    def twice(tx: Tx) -> None:
        for _ in range(2):
            book.enter(tx, 1, "earn", 1, till="till-1", ref="sale", why="")

    one, two, three = await held.together(work("1"), twice, work("3"))
    assert (one, three) == ("1", "3")
    assert isinstance(two, sqlite3.IntegrityError)
    assert held.kept()[0] == {"work-1", "work-3"}


async def test_a_broken_disk_takes_all_with_it_and_says_so(held):
    def broken(_tx: Tx) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    failed = []
    held.store.on_failure = lambda: failed.append(True)
    ended = await held.together(work("1", events=1), broken, work("3"))
    assert [e.code for e in ended] == ["ledger-down"] * 3
    assert (held.kept(), held.published, failed) == ((set(), []), [], [True])


A_CELL = "UPDATE meta SET value = CAST(x'ff' AS TEXT)"
# SQLite reads the names of its tables again, and quotes the one that it cannot understand.
A_NAME = """
PRAGMA writable_schema = ON;
PRAGMA schema_version = 99;
UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT), sql = 'CREATE TABLE' WHERE name = 'entry'
"""


@pytest.mark.parametrize("damage", [A_CELL, A_NAME], ids=["a cell", "a name"])
async def test_what_is_no_text_any_more_is_damage(held, damage):
    await held.store.run(work("1"))
    with closing(sqlite3.connect(held.store._engine.url.database)) as raw:
        raw.executescript(damage)

    def read(tx: Tx) -> None:
        book.meta(tx, "work-1")

    failed = []
    held.store.on_failure = lambda: failed.append(True)
    alone = await asyncio.gather(held.store.run(read), held.store.look(read), return_exceptions=True)
    assert [e.code for e in (*alone, *await held.together(read, read))] == ["ledger-down"] * 4
    assert failed == [True, True]


Pieces = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.booleans()).map(
        lambda t: {"events": t[0], "tell": t[1], "fail": t[2]}
    ),
    min_size=1,
    max_size=TOGETHER + 3,
)


@settings(max_examples=60, deadline=None)
@given(Pieces, Pieces)
def test_events_are_published_once_and_in_order_whatever_fails(first, second):
    """A number that was told before its transaction failed is not given again (contract 3: order by `seq`)."""

    async def play(held: Held) -> None:
        right, told = set(), []
        for round_, pieces in enumerate((first, second)):
            names = [f"{round_}-{n}" for n in range(len(pieces))]
            ended = await held.together(*(work(n, **p) for n, p in zip(names, pieces, strict=True)))
            for name, piece, end in zip(names, pieces, ended, strict=True):
                assert isinstance(end, CallError) == piece["fail"]
                right |= set() if piece["fail"] else {f"work-{name}"}
                told += [name] * (0 if piece["fail"] else piece["events"])
        names, recorded = held.kept()
        assert names == right
        assert len(recorded) == len(told)
        assert set(recorded) <= set(held.published)
        assert held.published == sorted(set(held.published))
        assert held.store.last_seq == (held.published[-1] if held.published else 0)

    with tempfile.TemporaryDirectory() as folder:
        held = Held(Path(folder))
        try:
            asyncio.run(play(held))
        finally:
            held.store.close()


async def test_who_waits_long_to_look_is_turned_away(held, monkeypatch):
    monkeypatch.setattr(store, "LOOK_TURN_S", 0.05)
    begun, gate = threading.Event(), threading.Event()

    def read(_tx: Tx) -> str:
        begun.set()
        assert gate.wait(10)
        return "read"

    first = asyncio.create_task(held.store.look(read))
    await asyncio.to_thread(begun.wait, 10)
    with pytest.raises(CallError) as refused:
        await held.store.look(read)
    assert (refused.value.code, refused.value.retry) == ("overloaded", True)
    gate.set()
    assert [await first, await held.store.look(read)] == ["read", "read"]


# -- on the loop ----------------------------------------------------------------------------------------


def where(tx: Tx) -> bool:
    """Writes, and says whether it is the loop that does (tests run theirs in the main thread)."""
    book.put_meta(tx, "where", tx.at)
    return threading.current_thread() is threading.main_thread()


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """On a disk that is as quick as the test says: `setattr(store, "QUICK_S", …)`."""
    monkeypatch.setattr(store, "QUICK_S", 10.0)
    held = Held(tmp_path)
    yield held
    held.store.close()


async def test_who_is_alone_waits_for_no_turn_of_the_loop(quick):
    alone = quick.store.run(work("1"), at_once=True)
    with pytest.raises(StopIteration) as end:
        alone.send(None)
    assert (end.value.value, quick.kept()[0]) == ("1", {"work-1"})


async def test_watchers_are_told_before_the_caller(quick):
    told = []
    quick.store.hub.start(0)

    async def watch() -> None:
        await quick.store.hub.wait(0)
        told.append("watcher")

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await quick.store.run(work("1", events=1), at_once=True)
    told.append("caller")
    await watching
    assert told == ["watcher", "caller"]


async def test_the_others_of_a_turn_share_a_flush(quick):
    quick.store._connection.connection.driver_connection.set_trace_callback(quick._count)

    async def crowd() -> int:
        before = quick.flushes
        asked = [quick.store.run(work(str(n), events=1), at_once=True) for n in range(TOGETHER + 2)]
        assert await asyncio.gather(*asked) == [str(n) for n in range(TOGETHER + 2)]
        return quick.flushes - before

    assert await crowd() == 3  # the first; as many as may be kept waiting; the last
    assert quick.published == list(range(1, TOGETHER + 3))


async def test_in_a_crowd_nobody_flushes_alone(quick):
    quick.store._connection.connection.driver_connection.set_trace_callback(quick._count)
    for flushes in (2, 3, 4):
        again = [quick.store.run(work(str(n)), at_once=True) for n in range(5)]
        await asyncio.gather(*again)
        assert quick.flushes == flushes


async def test_a_slow_disk_is_the_threads_until_it_is_quick_again(quick, monkeypatch):
    async def one() -> bool:
        await asyncio.sleep(0)
        return await quick.store.run(where, at_once=True)

    assert [await one(), await one()] == [True, True]
    monkeypatch.setattr(store, "QUICK_S", 0.0)
    assert [await one(), await one(), await one()] == [True, False, False]
    monkeypatch.setattr(store, "QUICK_S", 10.0)
    await quick.store.run(lambda tx: book.meta(tx, "where"))  # says nothing of the disk
    assert [await one(), await one()] == [False, True]


async def test_what_a_turn_has_left_when_the_disk_turns_slow_is_the_threads(quick, monkeypatch):
    monkeypatch.setattr(store, "TOGETHER", 2)

    def slower(tx: Tx) -> bool:
        monkeypatch.setattr(store, "QUICK_S", 0.0)
        return where(tx)

    asked = [quick.store.run(fn, at_once=True) for fn in (where, where, slower, where, where, where)]
    assert await asyncio.gather(*asked) == [True, True, True, False, False, False]


async def test_nothing_runs_on_the_loop_while_the_thread_is_at_work(quick):
    begun, gate = threading.Event(), threading.Event()

    def slow(_tx: Tx) -> None:
        begun.set()
        assert gate.wait(10)

    first = asyncio.create_task(quick.store.run(slow))
    await asyncio.to_thread(begun.wait, 10)
    second = asyncio.create_task(quick.store.run(where, at_once=True))
    await asyncio.sleep(0.02)
    assert not second.done()
    gate.set()
    assert [await first, await second] == [None, False]


async def test_what_the_thread_did_is_published_before_the_loop_goes_on(quick):
    behind = threading.Event()
    first = asyncio.create_task(quick.store.run(work("1", events=1)))
    await asyncio.sleep(0)
    quick.store._queue.put(lambda _connection: behind.set())
    assert behind.wait(10)  # the loop stands still meanwhile: it has not heard of the first yet
    await quick.store.run(work("2", events=1), at_once=True)
    await first
    assert quick.published == [1, 2]


@pytest.mark.parametrize("crowd", [0, 2])
@pytest.mark.parametrize("many", [1, 5])
async def test_a_file_that_somebody_holds_is_waited_for_in_the_thread(quick, monkeypatch, many, crowd):
    monkeypatch.setattr(store, "TOGETHER", 2)
    await asyncio.gather(*(quick.store.run(where, at_once=True) for _ in range(crowd)))
    with closing(sqlite3.connect(quick.store._engine.url.database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        asked = [asyncio.create_task(quick.store.run(where, at_once=True)) for _ in range(many)]
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() - began < 0.5, "the loop goes on"
        assert not any(task.done() for task in asked)
        other.rollback()
    assert await asyncio.gather(*asked) == [False] * many


async def test_what_cannot_wait_is_told_before_its_flush(quick):
    """A tap; contract section 3 gives it 0.1 s."""
    heard = threading.Event()
    quick.store.hub.on_publish = lambda events: events and heard.set()

    def tap(tx: Tx) -> bool:
        tx.emit("tap", {})
        tx.tell_now()
        return heard.wait(10)

    assert await quick.store.run(tap)


async def test_a_file_that_is_held_too_long_is_out_of_reach(quick, monkeypatch):
    monkeypatch.setattr(store, "BUSY_TIMEOUT_MS", 50)
    failed = []
    quick.store.on_failure = lambda: failed.append(True)
    with closing(sqlite3.connect(quick.store._engine.url.database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CallError) as refused:
            await quick.store.run(where, at_once=True)
    assert (refused.value.code, failed) == ("ledger-down", []), "it passes: the daemon goes on"
    assert await quick.store.run(where) is False


async def test_who_goes_before_the_end_of_the_turn_leaves_his_transaction(quick):
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
    first = asyncio.ensure_future(quick.store.run(work("1"), at_once=True))
    second = asyncio.ensure_future(quick.store.run(work("2"), at_once=True))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await asyncio.sleep(0)
    assert (quick.kept()[0], faults) == ({"work-1", "work-2"}, [])


def test_what_waits_when_the_store_is_closed_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "QUICK_S", 10.0)
    held = Held(tmp_path)
    loop = asyncio.new_event_loop()
    calls = [loop.create_task(held.store.run(work(str(n)), at_once=True)) for n in range(TOGETHER + 5)]
    loop.call_soon(loop.stop)
    loop.run_forever()  # one turn, of which the end is missing
    for call in calls:
        call.cancel()
    held.store.close()
    assert held.kept()[0] == {f"work-{n}" for n in range(TOGETHER + 5)}
    loop.run_until_complete(asyncio.gather(*calls, return_exceptions=True))
    loop.close()


def test_what_is_the_threads_is_done_though_nobody_can_be_told(tmp_path):
    held = Held(tmp_path)
    gate = threading.Event()

    async def ask() -> None:
        held.store._queue.put(lambda _connection: gate.wait(10))
        waiting = [asyncio.ensure_future(held.store.run(work(str(n)))) for n in range(2 * TOGETHER)]
        await asyncio.sleep(0)
        assert not any(call.done() for call in waiting)

    asyncio.run(ask())  # cancels them, and closes the loop
    gate.set()
    held.store.close()
    assert held.kept()[0] == {f"work-{n}" for n in range(2 * TOGETHER)}


Asked = st.lists(
    st.fixed_dictionaries(
        {
            "events": st.integers(0, 2),
            "tell": st.booleans(),
            "fail": st.booleans(),
            "at_once": st.booleans(),
            "turns": st.sampled_from([0, 0, 0, 1, 2, 200]),  # of the loop until the next one is asked for
        }
    ),
    min_size=1,
    max_size=20,
)


# More in one turn than are flushed at its end, and one more asked for before the rest of them.
OVERTAKING = [
    {"events": 1, "tell": False, "fail": False, "at_once": True, "turns": turns}
    for turns in (2, 2, 0, 0, 0, 0, 1, 2)
]


@settings(max_examples=150, deadline=None)
@example(OVERTAKING, 10.0)
@given(Asked, st.sampled_from([0.0, 0.0004, 10.0]))
def test_loop_and_thread_keep_one_order(asked, quick):
    """Whoever asks first is executed first, by one of the two at a time; events come in the order of numbers."""
    order: list[int] = []
    user = threading.Lock()

    def numbered(n: int, fn):
        def alone(tx: Tx):
            assert user.acquire(blocking=False)
            try:
                order.append(n)
                return fn(tx)
            finally:
                user.release()

        return alone

    async def play(held: Held) -> None:
        calls = []
        for n, item in enumerate(asked):
            fn = work(str(n), events=item["events"], tell=item["tell"], fail=item["fail"])
            calls.append(asyncio.ensure_future(held.store.run(numbered(n, fn), at_once=item["at_once"])))
            for _ in range(item["turns"]):
                await asyncio.sleep(0)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(end, CallError) for end in ended] == [item["fail"] for item in asked]
        assert order == list(range(len(asked)))
        names, recorded = held.kept()
        assert names == {f"work-{n}" for n, item in enumerate(asked) if not item["fail"]}
        told = sum(item["events"] for item in asked if not item["fail"])
        assert len(recorded) == told
        assert set(recorded) <= set(held.published)
        assert held.published == sorted(set(held.published))
        assert held.store.last_seq == (held.published[-1] if held.published else 0)
        patch.setattr(store, "QUICK_S", 10.0)
        await held.store.run(where)
        assert await held.store.run(where, at_once=True)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "QUICK_S", quick)
        patch.setattr(store, "TOGETHER", 3)
        held = Held(Path(folder))
        try:
            asyncio.run(play(held))
        finally:
            held.store.close()
