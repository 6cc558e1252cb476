from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tilltap.sandbox.limits import WINDOW, RateLimit


@given(st.lists(st.floats(0, 0.4), max_size=80), st.integers(1, 12))
def test_no_second_ever_passes_more_than_the_limit(gaps: list[float], per_window: int) -> None:
    now = 1000.0
    limit = RateLimit(lambda: now, per_window)
    passed: list[float] = []
    for gap in gaps:
        now += gap
        allowance = limit.ask("GET /x")
        if allowance.retry_after is None:
            passed.append(now)
        else:
            assert 0 < allowance.retry_after <= WINDOW
        assert len([at for at in passed if now - WINDOW < at]) <= per_window


def test_waiting_as_told_is_enough_and_endpoints_do_not_share() -> None:
    now = 1000.0
    limit = RateLimit(lambda: now, 2)
    for gap in (0.0, 0.25):
        now += gap
        assert limit.ask("PATCH /x").retry_after is None
    wait = limit.ask("PATCH /x").retry_after
    assert wait == 0.75
    assert limit.ask("GET /x").retry_after is None
    now += wait + 0.001
    assert limit.ask("PATCH /x").retry_after is None


def test_a_clock_set_back_locks_nobody_out() -> None:
    now = 1000.0
    limit = RateLimit(lambda: now, 1)
    limit.ask("GET /x")
    now -= 3600
    assert limit.ask("GET /x").retry_after is None
