from collections.abc import Iterable

import pytest

from model.explorer import Step, TooManyStatesError, explore


class Counter:
    """Counts up to `top`; `trap` is a state without a way out, `bad` one that is wrong."""

    def __init__(self, top: int, *, bad: int = -1, trap: int = -1, bad_at_rest: bool = False) -> None:
        self.top, self.bad, self.trap, self.bad_at_rest = top, bad, trap, bad_at_rest

    def start(self) -> int:
        return 0

    def steps(self, state: int) -> Iterable[Step]:
        if state != self.trap:
            yield Step("one", min(self.top, state + 1))
            yield Step("two", min(self.top, state + 2))
        else:
            yield Step("luck", self.top, fault=True)

    def broken(self, state: int) -> str:
        return "bad" if state == self.bad else ""

    def at_rest(self, state: int) -> bool:
        return state == self.top

    def wrong(self, state: int) -> str:
        return "wrong at rest" if self.bad_at_rest else ""


def test_a_model_that_holds_is_visited_whole() -> None:
    found = explore(Counter(10))
    assert (found.holds, found.states, found.resting, found.story) == (True, 11, 1, ())


def test_a_counterexample_is_a_shortest_one() -> None:
    found = explore(Counter(10, bad=5))
    assert found.fault == "bad"
    assert sorted(found.story) == ["one", "two", "two"]


def test_a_state_at_rest_is_judged_as_such() -> None:
    found = explore(Counter(4, bad_at_rest=True))
    assert (found.fault, found.story) == ("wrong at rest", ("two", "two"))


def test_a_way_out_that_needs_a_fault_is_none() -> None:
    found = explore(Counter(10, trap=3))
    assert found.fault == "it never comes to rest"
    assert sorted(found.story) == ["one", "two"]


def test_a_model_larger_than_meant_is_refused() -> None:
    with pytest.raises(TooManyStatesError):
        explore(Counter(10), limit=5)
