from __future__ import annotations

import math
import time
from fractions import Fraction

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap.loyalty.budget import KEPT_FREE, LIMIT, SPAN, Budget, NotGranted, Window, hold_seconds


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.booleans(), st.integers(0, 3000)), max_size=80),
)
def test_never_more_than_the_limit_in_any_second(calls: list[tuple[int, bool, int]]) -> None:
    """Exact arithmetic (milliseconds as fractions): a caller that waits as told never goes over."""
    window, now, granted = Window(span=Fraction(1)), Fraction(0), []  # type: ignore[arg-type]
    for gap, urgent, hold in calls:
        now += Fraction(gap, 1000)
        if hold > 2500:
            window.hold(now + Fraction(hold - 2500, 1000))  # type: ignore[arg-type]
        delay = window.earliest(now, urgent=urgent)  # type: ignore[arg-type]
        assert 0 <= delay <= 1
        now += Fraction(delay)
        assert window.earliest(now, urgent=urgent) == 0  # type: ignore[arg-type]
        window.take(now)  # type: ignore[arg-type]
        granted.append((now, urgent))
    for start, _ in granted:
        inside = [urgent for at, urgent in granted if start <= at < start + 1]
        assert len(inside) <= LIMIT
        last_plain = max((n for n, urgent in enumerate(inside) if not urgent), default=-1)
        assert last_plain < LIMIT - KEPT_FREE, "an ordinary call took room that is kept for urgent ones"


@given(st.lists(st.floats(0, 0.4), min_size=1, max_size=60), st.floats(0, 1e6))
def test_rounding_lets_nobody_in_early(gaps: list[float], start: float) -> None:
    window, now, granted = Window(), start, []
    for gap in gaps:
        now += gap
        while delay := window.earliest(now, urgent=True):
            now = max(now + delay, math.nextafter(now, math.inf))
        window.take(now)
        granted.append(now)
    for first, tenth in zip(granted, granted[LIMIT:], strict=False):
        assert tenth >= first + SPAN


def test_a_call_that_may_go_now_waits_exactly_nothing() -> None:
    window = Window()
    for _ in range(LIMIT - KEPT_FREE):
        assert window.earliest(10.0) == 0
        window.take(10.0)
    assert window.earliest(10.25) == 0.75
    assert window.earliest(10.25, urgent=True) == 0
    for _ in range(KEPT_FREE):
        window.take(10.25)
    assert window.earliest(10.5, urgent=True) == 0.5
    # After the six have left the window, the three kept ones still fill half of it.
    assert window.earliest(11.0) == 0


def test_the_longer_hold_stands() -> None:
    window = Window()
    window.hold(20.0)
    window.hold(15.0)
    assert window.earliest(12.0, urgent=True) == 8.0
    assert window.held(12.0) == 8.0
    assert window.earliest(20.0) == 0


@pytest.mark.anyio
async def test_waiters_are_spread_over_time_and_none_is_lost() -> None:
    budget, granted, began = Budget(), [], time.monotonic()

    async def call(urgent: bool) -> None:
        await budget.wait("GET /x", urgent=urgent, deadline=10)
        granted.append((time.monotonic() - began, urgent))

    async with anyio.create_task_group() as group:
        for n in range(18):
            group.start_soon(call, n >= 14)
    assert len(granted) == 18
    assert LIMIT - KEPT_FREE <= sum(at < 0.9 for at, _ in granted) <= LIMIT
    assert [at for at, urgent in granted if urgent][-1] < 0.5, "urgent ones did not go first"
    for first, (tenth, _) in zip(granted, granted[LIMIT:], strict=False):
        assert tenth - first[0] > SPAN - 0.02


@pytest.mark.anyio
async def test_what_cannot_be_granted_in_time_is_refused_at_once() -> None:
    budget = Budget()
    for _ in range(LIMIT):
        await budget.wait("GET /x", urgent=True, deadline=1)
    began = time.monotonic()
    with pytest.raises(NotGranted) as full:
        await budget.wait("GET /x", urgent=True, deadline=0.5)
    assert time.monotonic() - began < 0.4
    assert full.value.held == 0
    await budget.wait("PATCH /x", urgent=False, deadline=0.5)  # another endpoint has its own budget


@pytest.mark.anyio
async def test_a_queue_behind_a_waiter_still_keeps_its_deadline() -> None:
    budget = Budget()
    for _ in range(LIMIT - KEPT_FREE):  # all that is open to ordinary calls
        await budget.wait("GET /x", urgent=False, deadline=2)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: budget.wait("GET /x", urgent=False, deadline=5))
        await anyio.sleep(0.05)
        began = time.monotonic()
        with pytest.raises(NotGranted):
            await budget.wait("GET /x", urgent=False, deadline=0.1)
        assert time.monotonic() - began < 0.6


@pytest.mark.anyio
async def test_a_hold_reaches_those_already_waiting() -> None:
    budget = Budget()
    for _ in range(LIMIT):
        await budget.wait("GET /x", urgent=True, deadline=1)
    began = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: budget.wait("GET /x", urgent=True, deadline=5))
        await anyio.sleep(0.05)
        budget.hold("GET /x", 1.5)
    assert time.monotonic() - began >= 1.5
    budget.hold("GET /x", 30)
    with pytest.raises(NotGranted) as full:
        await budget.wait("GET /x", urgent=True, deadline=0.5)
    assert 29 < full.value.held <= 30


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 1.0),
        ({"x-rate-limit-retry-after": "0.25"}, 0.25),
        ({"x-rate-limit-retry-after": " 2 "}, 2.0),
        ({"retry-after": "3"}, 3.0),
        ({"x-rate-limit-retry-after": "0.5", "retry-after": "3"}, 0.5),
        ({"x-rate-limit-retry-after": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1.0),
        ({"retry-after": "-5"}, 1.0),
        ({"retry-after": "nan"}, 1.0),
        ({"retry-after": "inf"}, 1.0),
        ({"retry-after": "1e300"}, 60.0),
        ({"retry-after": "86400"}, 60.0),
        ({"retry-after": "0"}, 0.05),
    ],
)
def test_how_long_a_429_holds(headers: dict[str, str], seconds: float) -> None:
    assert hold_seconds(headers) == seconds
