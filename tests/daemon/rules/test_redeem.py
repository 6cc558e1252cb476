from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap.model import Currency, Earn, Program, Reward
from tilltap.rules.redeem import Account, affordable, automatic, dearest, offered, reached, taken

RESET = Reward("reset", "Reset", cost=5, discount=500)
SUBTRACT = Reward("subtract", "Subtract", cost=5, discount=500, on_redeem="subtract")
KEEP = Reward("keep", "Keep", cost=5, discount=500, on_redeem="keep")


def program(*rewards: Reward) -> Program:
    return Program("Shop", Currency("GBP"), Earn(1000), rewards)


@pytest.mark.parametrize(
    ("reward", "account", "can", "takes"),
    [
        (RESET, Account(4), False, 4),
        (RESET, Account(5), True, 5),
        (RESET, Account(8), True, 8),
        (RESET, Account(12, held=7), True, 5),
        (RESET, Account(12, held=8), False, 4),
        (SUBTRACT, Account(5), True, 5),
        (SUBTRACT, Account(12), True, 5),
        (SUBTRACT, Account(9, held=5), False, 5),
        (SUBTRACT, Account(10, held=5), True, 5),
        # kept points are good for one use per full cost
        (KEEP, Account(4), False, 0),
        (KEEP, Account(5), True, 0),
        (KEEP, Account(9, uses={"keep": 1}), False, 0),
        (KEEP, Account(10, uses={"keep": 1}), True, 0),
        (KEEP, Account(10, uses={"other": 4}), True, 0),
        # below zero nothing is offered
        (RESET, Account(-3), False, -3),
        (SUBTRACT, Account(-3), False, 5),
        (KEEP, Account(-3), False, 0),
    ],
)
def test_what_points_buy_and_what_it_takes(reward, account, can, takes):
    assert affordable(reward, account) is can
    assert taken(reward, account) == takes


@pytest.mark.parametrize(
    ("minimum", "total", "on_offer"),
    [(0, 1, True), (0, 0, False), (600, 599, False), (600, 600, True)],
)
def test_offered_from_its_minimum_on_and_never_on_nothing(minimum, total, on_offer):
    reward = Reward("r", "R", cost=5, discount=500, minimum=minimum)
    assert offered(reward, Account(5), total) is on_offer


CHEAP = Reward("cheap", "Cheap", cost=3, discount=900, automatic=True, on_redeem="subtract")
DEAR = Reward("dear", "Dear", cost=8, discount=500, automatic=True, on_redeem="subtract", minimum=1000)
ASKED = Reward("asked", "Asked", cost=20, discount=2000)


@pytest.mark.parametrize(
    ("points", "total", "expected"),
    [
        (2, 2000, None),
        (3, 2000, "cheap"),
        (8, 2000, "dear"),
        (8, 999, "cheap"),
        (50, 2000, "dear"),  # the dearest of the automatic ones: others are asked for
        (8, 0, None),
    ],
)
def test_the_dearest_automatic_reward_is_taken(points, total, expected):
    chosen = automatic(program(CHEAP, DEAR, ASKED), Account(points), total)
    assert (chosen.id if chosen else None) == expected


def test_of_equal_costs_the_larger_discount_then_the_first():
    small, large = Reward("s", "S", 5, 100), Reward("l", "L", 5, 200)
    assert dearest([small, large]) == large
    assert dearest([RESET, KEEP]) == RESET
    assert dearest([]) is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Account(4), Account(5), "subtract"),
        (Account(5), Account(6), None),
        (Account(5), Account(10), None),
        (Account(9), Account(21), "asked"),
        (Account(21), Account(4), None),
        (Account(-2), Account(5), "subtract"),
    ],
)
def test_reached_is_the_dearest_that_became_affordable(before, after, expected):
    new = reached(program(SUBTRACT, ASKED), before, after)
    assert (new.id if new else None) == expected


def test_a_kept_reward_is_reached_again_at_the_next_full_cost():
    used = {"keep": 1}
    assert reached(program(KEEP), Account(9, uses=used), Account(10, uses=used)) == KEEP
    assert reached(program(KEEP), Account(8, uses=used), Account(9, uses=used)) is None


@given(
    points=st.integers(-5, 60),
    held=st.integers(0, 60),
    cost=st.integers(1, 20),
    way=st.sampled_from(["reset", "subtract", "keep"]),
)
def test_accepting_what_is_affordable_never_takes_what_others_hold(points, held, cost, way):
    reward, account = Reward("r", "R", cost, 100, on_redeem=way), Account(points, held=held)
    if affordable(reward, account):
        assert taken(reward, account) >= 0
        if way != "keep":
            assert cost <= taken(reward, account) <= account.free
