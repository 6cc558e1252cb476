"""A thread that blocks, seen from an event loop that never may."""

from __future__ import annotations

import os
import threading
import time

import anyio
import pytest

from tilltap_drivers.io.worker import LET_GO, MOST_WAITING, Stopped, Worker

pytestmark = pytest.mark.anyio


def nothing() -> None:
    pass


async def test_items_come_in_order_and_then_the_error() -> None:
    def work(put):
        for number in range(3):
            put(number)
        raise ValueError("the end")

    worker = Worker("w", work, nothing)
    worker.start()
    assert [await worker.get() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the end"):
        await worker.get()
    assert await worker.close()


async def test_work_that_returns_has_stopped() -> None:
    worker = Worker("w", lambda put: put("last"), nothing)
    worker.start()
    assert await worker.get() == "last"
    with pytest.raises(Stopped):
        await worker.get()
    await worker.close()


async def test_the_loop_goes_on_while_the_thread_blocks() -> None:
    go = threading.Event()
    worker = Worker("w", lambda put: (go.wait(), put("x")), go.set)
    worker.start()
    with anyio.move_on_after(0.1) as waiting:
        await worker.get()
    assert waiting.cancelled_caught
    go.set()
    with anyio.fail_after(1):
        assert await worker.get() == "x"
    await worker.close()


async def test_close_interrupts_again_until_the_thread_has_noticed() -> None:
    """The first interrupt comes before the thread blocks, and is lost."""
    called, blocks = threading.Event(), threading.Event()
    ended = []

    def work(put):
        called.wait(1)
        blocks.wait(5)
        ended.append(True)

    def interrupt():
        (blocks if called.is_set() else called).set()

    worker = Worker("w", work, interrupt)
    worker.start()
    began = time.monotonic()
    assert await worker.close()
    assert time.monotonic() - began < LET_GO
    assert ended


async def test_a_thread_that_cannot_be_interrupted_is_left_and_finds_itself_stopped() -> None:
    go, seen = threading.Event(), []

    def work(put):
        go.wait(5)
        try:
            put("too late")
        except Stopped as stopped:
            seen.append(stopped)
            raise

    worker = Worker("w", work, nothing)
    worker.start()
    began = time.monotonic()
    assert not await worker.close()
    assert LET_GO <= time.monotonic() - began < LET_GO + 0.3
    go.set()
    with anyio.fail_after(1):
        while not seen:  # noqa: ASYNC110 -- it ends on its own time
            await anyio.sleep(0.01)


async def test_close_in_a_cancelled_scope_still_waits_for_the_thread() -> None:
    go, ended = threading.Event(), []
    worker = Worker("w", lambda put: (go.wait(5), ended.append(True)), go.set)
    worker.start()
    async with anyio.create_task_group() as group:

        async def run() -> None:
            try:
                await worker.get()
            finally:
                assert await worker.close()

        group.start_soon(run)
        await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    assert ended


async def test_a_consumer_that_stops_taking_stops_the_thread_and_close_frees_it() -> None:
    made = []

    def work(put):
        for number in range(10 * MOST_WAITING):
            put(number)
            made.append(number)

    worker = Worker("w", work, nothing)
    worker.start()
    await anyio.sleep(0.2)
    assert len(made) == MOST_WAITING
    assert await worker.get() == 0
    await anyio.sleep(0.1)
    assert len(made) == MOST_WAITING + 1
    assert await worker.close()


async def test_many_workers_leave_no_thread_and_no_descriptor() -> None:
    async def one() -> None:
        go = threading.Event()
        worker = Worker("w", lambda put: (put(1), go.wait(5)), go.set)
        worker.start()
        await worker.get()
        await worker.close()

    await one()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(50):
        await one()
    await anyio.sleep(0.1)
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) <= before
