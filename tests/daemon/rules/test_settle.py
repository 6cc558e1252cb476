from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap.model import Currency, Earn, Messages, Program, Reward
from tilltap.rules.redeem import Account
from tilltap.rules.settle import Order, settle

FIVE_OFF = Reward("five-off", "£5 off", cost=5, discount=500)
COFFEE = Program("PassEntry Coffee", Currency("GBP"), Earn(1000), (FIVE_OFF,), store="soho")
REDEEM = Order(800, 800, None, FIVE_OFF, 5)

EARNED_2 = "Thank you for your order. You've earned 2 points!"
REACHED = "Congratulations! You've got £5 off on your next order!"
REDEEMED = "You've used your £5 off discount!"


@pytest.mark.parametrize(
    ("order", "balance", "figures", "message"),
    [
        # discount, due, paid, earned, taken, balance after: the worked example first
        (Order(2000, 2000), 0, (0, 2000, 2000, 2, 0, 2), EARNED_2),
        (Order(1000, 1000), 4, (0, 1000, 1000, 1, 0, 5), REACHED),
        (REDEEM, 5, (500, 300, 300, 0, 5, 0), REDEEMED),
        # a reset never eats its own sale's points
        (Order(2500, 2500, None, FIVE_OFF, 7), 7, (500, 2000, 2000, 2, 7, 2), REDEEMED),
        # the discount is cut to the total, the full cost is spent
        (Order(450, 450, None, FIVE_OFF, 5), 5, (450, 0, 0, 0, 5, 0), REDEEMED),
        # more paid than due: the discount was not given
        (replace(REDEEM, paid=800), 5, (0, 800, 800, 0, 0, 5), None),
        (replace(REDEEM, paid=301), 5, (0, 800, 301, 0, 0, 5), None),
        (
            Order(1800, 1800, 1800, FIVE_OFF, 5),
            5,
            (0, 1800, 1800, 1, 0, 6),
            "Thank you for your order. You've earned 1 point!",
        ),
        # less paid than due: points for what was paid
        (replace(REDEEM, paid=200), 5, (500, 300, 200, 0, 5, 0), REDEEMED),
        (
            Order(2000, 2000, 1000),
            0,
            (0, 2000, 1000, 1, 0, 1),
            "Thank you for your order. You've earned 1 point!",
        ),
        # a share that earns
        (Order(4000, 2000), 0, (0, 4000, 4000, 2, 0, 2), EARNED_2),
        (Order(900, 900), 4, (0, 900, 900, 0, 0, 4), None),
        (Order(0, 0), 4, (0, 0, 0, 0, 0, 4), None),
        # reached only once, and not by a sale that earns nothing
        (Order(2000, 2000), 5, (0, 2000, 2000, 2, 0, 7), EARNED_2),
        (Order(900, 900), 5, (0, 900, 900, 0, 0, 5), None),
    ],
)
def test_closing(order, balance, figures, message):
    done = settle(COFFEE, order, Account(balance))
    assert (done.discount, done.due, done.paid, done.earned.points, done.taken, done.balance_after) == figures
    assert done.message == message


def test_nobodys_sale_earns_nothing_and_says_nothing():
    done = settle(COFFEE, Order(2000, 2000), None)
    assert (done.earned.points, done.balance_after, done.message, done.receipt) == (0, None, None, None)
    assert done.due == 2000


def test_an_unknown_balance_prints_as_a_dash_and_promises_no_reward():
    done = settle(COFFEE, Order(90_000, 90_000), Account(0), known=False)
    assert done.earned.points == 90
    assert done.balance_after is None
    assert done.message == "Thank you for your order. You've earned 90 points!"
    assert done.receipt == "90 points earned. Balance: –"


def test_points_held_by_other_sales_do_not_hide_that_a_reward_was_reached():
    assert settle(COFFEE, Order(1000, 1000), Account(4, held=4)).message == REACHED


@pytest.mark.parametrize(
    ("total", "balance", "template", "message"),
    [
        (1000, 0, "{earned} {points}", "1 point"),
        (1000, 0, "{balance} at {store}", "1 at soho"),
        (1000, 0, "", None),
        (1000, 1, "You have {balance} {points} at {store}.", "You have 2 points at soho."),
        (2000, -1, "You have {balance} {points}.", "You have 1 point."),
        (1000, 1, "{earned} {points}, in all {balance} {points}, {reward}", "1 point, in all 2 points, "),
        (2000, -1, "{balance} {points}, of which new: {earned} {points}", "1 point, of which new: 2 points"),
        (1000, 1, "More {points}! You have {balance}.", "More point! You have 2."),
    ],
)
def test_words_follow_the_number_before_them(total, balance, template, message):
    program = replace(COFFEE, messages=Messages(earned=template))
    assert settle(program, Order(total, total), Account(balance)).message == message


def test_an_unknown_balance_is_of_many():
    program = replace(COFFEE, messages=Messages(receipt="{balance} {points}"))
    assert settle(program, Order(1000, 1000), Account(0), known=False).receipt == "– points"


def test_every_message_of_a_training_till_says_so():
    program = replace(COFFEE, training=True)
    done = settle(program, Order(2000, 2000), Account(0))
    assert done.message == "TRAINING " + EARNED_2
    assert (done.receipt or "").startswith("TRAINING ")
    assert settle(program, REDEEM, Account(5)).message == "TRAINING " + REDEEMED


@pytest.mark.parametrize(
    ("program", "order", "account", "why"),
    [
        (
            COFFEE,
            Order(2000, 2000),
            Account(0),
            "20.00 paid: 2 × 10.00 at 1 point each, so 2 points earned.",
        ),
        (COFFEE, Order(999, 999), Account(0), "9.99 paid: no full 10.00, so 0 points earned."),
        (
            COFFEE,
            REDEEM,
            Account(5),
            "£5 off given (5.00 off, 5 points spent); 3.00 paid: no full 10.00, so 0 points earned.",
        ),
        (
            COFFEE,
            Order(450, 450, None, FIVE_OFF, 5),
            Account(5),
            "£5 off given (4.50 off, 5 points spent); 0.00 paid: no full 10.00, so 0 points earned.",
        ),
        (
            COFFEE,
            replace(REDEEM, paid=800),
            Account(5),
            "£5 off not given because 8.00 was charged instead of 3.00; 8.00 paid: no full 10.00, so 0 points earned.",
        ),
        (
            COFFEE,
            Order(4000, 2000),
            Account(0),
            "40.00 paid (20.00 of it earning points): 2 × 10.00 at 1 point each, so 2 points earned.",
        ),
        (
            replace(COFFEE, earn=Earn(1000, carry=True)),
            Order(700, 700),
            Account(0, carried=450),
            "7.00 paid and 4.50 carried over: 1 × 10.00 at 1 point each, so 1 point earned, 1.50 carried on.",
        ),
        (
            replace(COFFEE, earn=Earn(None, visit=1)),
            Order(700, 700),
            Account(0),
            "7.00 paid: 1 point for the visit, so 1 point earned.",
        ),
        (
            replace(COFFEE, earn=Earn(1000, visit=1, minimum=500)),
            Order(400, 400),
            Account(0),
            "4.00 paid: no full 10.00, no visit point below 5.00, so 0 points earned.",
        ),
        (
            replace(COFFEE, rewards=(replace(FIVE_OFF, on_redeem="keep"),)),
            Order(800, 800, None, replace(FIVE_OFF, on_redeem="keep"), 0),
            Account(5),
            "£5 off given (5.00 off, no points spent); 3.00 paid: no full 10.00, so 0 points earned.",
        ),
        (COFFEE, Order(2000, 2000), None, "No customer, so nothing is earned."),
    ],
)
def test_one_sentence_says_why(program, order, account, why):
    assert settle(program, order, account).why == why


MONEY = st.integers(0, 20_000)


@given(
    total=MONEY,
    eligible=MONEY,
    paid=st.one_of(st.none(), MONEY),
    balance=st.integers(-5, 30),
    discount=st.integers(1, 3000),
    way=st.sampled_from(["reset", "subtract", "keep"]),
    redeeming=st.booleans(),
)
def test_whatever_is_sold_the_figures_add_up(total, eligible, paid, balance, discount, way, redeeming):
    reward = replace(FIVE_OFF, discount=discount, on_redeem=way)
    program = replace(COFFEE, rewards=(reward,))
    taken = {"reset": max(balance, 0), "subtract": 5, "keep": 0}[way]
    order = Order(total, min(eligible, total), paid, reward if redeeming else None, taken if redeeming else 0)
    done = settle(program, order, Account(balance))
    assert 0 <= done.discount <= total
    assert done.due == total - done.discount
    assert done.paid == (done.due if paid is None else paid)
    assert done.balance_after == balance - done.taken + done.earned.points
    assert (done.reward is None) == (not redeeming or done.discount == 0 < paid_over(order))
    assert done.why.endswith(".")
    assert "\n" not in done.why
    if done.message:
        assert done.kind == ("redeemed" if done.reward else done.kind)


def paid_over(order: Order) -> int:
    """How much more was charged than the discounted price."""
    due = order.total - (min(order.reward.discount, order.total) if order.reward else 0)
    return max(0, (order.paid or 0) - due)
