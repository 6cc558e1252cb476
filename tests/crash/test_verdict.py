"""What a run is compared with must find what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crash.verdict import Evidence, judge

SALE = {
    "state": "closed",
    "total": "20.00",
    "discount": "0.00",
    "due": "20.00",
    "paid": "20.00",
    "earned": 2,
    "message": "Thank you!",
    "offline": False,
}
EARN, SOLD = ("till-1", "s1", "earn", 0), ("till-1", "s1")
RIGHT = Evidence(
    entries={EARN: 2},
    foreign=0,
    start=4,
    points=6,
    shown=6,
    texts=["Thank you!"],
    pushes=1,
    answers={SOLD: SALE},
    now={SOLD: SALE},
)


def test_what_is_right_is_right() -> None:
    assert judge({EARN: 2}, RIGHT).right


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("lost", {"entries": {}, "points": 4, "shown": 4}),
        ("lost", {"now": {}}),
        ("double", {"entries": {EARN: 2, ("till-1", "s1", "earn", 1): 2}, "points": 8, "shown": 8}),
        ("wrong", {"entries": {EARN: 1}, "points": 5, "shown": 5}),
        ("wrong", {"points": 7, "shown": 7}),
        ("wrong", {"shown": 4}),
        ("wrong", {"points": 5, "shown": 5, "foreign": -1}),
        ("wrong", {"now": {SOLD: {**SALE, "earned": 3}}}),
        ("texts", {"texts": ["Thank you!", "Thank you!"], "pushes": 2}),
        ("texts", {"texts": ["Thank you!", "Congratulations!"]}),
    ],
)
def test_it_finds_what_is_wrong(what: str, change: dict) -> None:
    verdict = judge({EARN: 2}, replace(RIGHT, **change))
    assert getattr(verdict, what) == 1, verdict


def test_points_that_a_lying_service_told_of_are_its_own() -> None:
    lied = replace(RIGHT, foreign=1, points=7, shown=7)
    assert judge({EARN: 2}, lied, liar=True).right
    assert judge({EARN: 2}, lied).wrong == 1
