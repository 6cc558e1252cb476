from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap.model import Earn
from tilltap.rules.earn import Earned, counted, earn

POUNDS = st.integers(0, 100_000)


@pytest.mark.parametrize(
    ("rule", "paid", "points"),
    [
        # each full 10.00 is a point, a part of one is nothing
        (Earn(1000), 0, 0),
        (Earn(1000), 999, 0),
        (Earn(1000), 1000, 1),
        (Earn(1000), 1999, 1),
        (Earn(1000), 2000, 2),
        (Earn(1000, points=3), 2500, 6),
        (Earn(1), 999_999_999, 999_999_999),
        # a visit: alone, added to spend, from its minimum on, and only when something was paid
        (Earn(None, visit=1), 1, 1),
        (Earn(None, visit=1), 0, 0),
        (Earn(None, visit=2, minimum=500), 499, 0),
        (Earn(None, visit=2, minimum=500), 500, 2),
        (Earn(1000, visit=1), 2000, 3),
        (Earn(1000, visit=1, minimum=2500), 2000, 2),
        (Earn(1000, visit=1), 300, 1),
    ],
)
def test_a_first_sale_earns(rule, paid, points):
    assert earn(rule, paid, 0).points == points


@pytest.mark.parametrize(
    ("carried", "paid", "expected"),
    [
        (0, 1999, Earned(1, 1, 0, 999)),
        (999, 1, Earned(1, 1, 0, 0)),
        (999, 1001, Earned(2, 2, 0, 0)),
        (300, 300, Earned(0, 0, 0, 600)),
        (300, 0, Earned(0, 0, 0, 300)),
        # after a refund of an earlier sale: the missing spend delays the next point
        (-400, 1000, Earned(0, 0, 0, 600)),
        (-400, 300, Earned(0, 0, 0, -100)),
        (-400, 1400, Earned(1, 1, 0, 0)),
    ],
)
def test_carry_goes_on_with_the_running_spend(carried, paid, expected):
    assert earn(Earn(1000, carry=True), paid, carried) == expected


def test_drop_leaves_what_was_carried_under_older_rules_alone():
    assert earn(Earn(1000), 2999, 450) == Earned(2, 2, 0, 450)


@pytest.mark.parametrize(
    ("paid", "eligible", "total", "base"),
    [
        (2000, 2000, 2000, 2000),
        (2000, 1000, 2000, 1000),
        (300, 800, 800, 300),
        (300, 400, 800, 150),
        (300, 0, 800, 0),
        (0, 0, 0, 0),
        (100, 100, 300, 33),
        (0, 800, 800, 0),
    ],
)
def test_points_are_earned_on_the_eligible_share(paid, eligible, total, base):
    assert counted(paid, eligible, total) == base


@given(total=st.integers(1, 100_000), eligible=POUNDS, paid=POUNDS)
def test_the_share_never_exceeds_what_was_paid_and_grows_with_it(total, eligible, paid):
    eligible = min(eligible, total)
    assert 0 <= counted(paid, eligible, total) <= paid
    assert counted(paid, eligible, total) <= counted(paid + 1, eligible, total)
    assert counted(paid, total, total) == paid


@given(sales=st.lists(POUNDS, max_size=12), spend=st.integers(1, 5000))
def test_carrying_earns_in_many_sales_what_one_sale_would(sales, spend):
    """The running spend is what counts: how it is cut into sales does not matter."""
    rule, carried, points = Earn(spend, carry=True), 0, 0
    for paid in sales:
        done = earn(rule, paid, carried)
        carried, points = done.remainder, points + done.points
        assert 0 <= carried < spend
    assert points == sum(sales) // spend
    assert points * spend + carried == sum(sales)


@given(sales=st.lists(POUNDS, max_size=12), spend=st.integers(1, 5000), carry=st.booleans())
def test_no_sale_takes_points_away(sales, spend, carry):
    rule, carried = Earn(spend, carry=carry, visit=1), -700
    for paid in sales:
        done = earn(rule, paid, carried)
        carried = done.remainder
        assert done.points >= 0
        assert done.points == done.steps + done.visit


RULES = st.builds(
    Earn,
    spend=st.one_of(st.none(), st.integers(1, 3000)),
    points=st.integers(1, 5),
    carry=st.booleans(),
    visit=st.integers(0, 3),
    minimum=st.integers(0, 3000),
)


@given(
    rule=RULES,
    paid=POUNDS,
    share=st.integers(0, 100),
    carried=st.integers(-3000, 3000),
    parts=st.lists(st.integers(0, 5000), max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_any_order_of_partial_refunds_ends_at_the_same_number(rule, paid, share, carried, parts, order):
    """By difference: each refund enters (what is earned on the rest) - (what was earned before it)."""
    total = max(paid, 1)
    eligible = total * share // 100
    parts = [p for p in parts if p][:8]
    while sum(parts) > paid:
        parts.pop()

    def refunded(sizes: list[int]) -> tuple[int, int]:
        was, left = earn(rule, counted(paid, eligible, total), carried), paid
        points, remainder = was.points, was.remainder
        for size in sizes:
            before = earn(rule, counted(left, eligible, total), carried)
            left -= size
            now = earn(rule, counted(left, eligible, total), carried)
            points += now.points - before.points
            remainder += now.remainder - before.remainder
        return points, remainder

    shuffled = parts[:]
    order.shuffle(shuffled)
    assert refunded(parts) == refunded(shuffled)
    rest = paid - sum(parts)
    assert refunded([*parts, rest]) == (0, carried)
