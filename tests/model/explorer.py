"""Visits every state a model can get into, and says what is wrong in the first one that is.

A model is small and has no time of its own: whatever may happen next, in whatever order, is a step. The search
is breadth first, so a counterexample is a shortest one. Afterwards every state must have a way to rest that
needs no luck (no further fault): else the protocol can chase its own tail for ever.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class Step(NamedTuple):
    """`label`: what happens, in words. `fault`: it is a misfortune, which need not happen."""

    label: str
    state: Hashable
    fault: bool = False


class Model(Hashable, Protocol):
    def start(self) -> Hashable: ...

    def steps(self, state: Any, /) -> Iterable[Step]: ...

    def broken(self, state: Any, /) -> str:
        """What no state may show, "" if it does not."""
        ...

    def at_rest(self, state: Any, /) -> bool:
        """Nothing is left to do, as far as the tills know, and nothing is on its way."""
        ...

    def wrong(self, state: Any, /) -> str:
        """What a state at rest must not show, "" if it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """`fault` "" if the model holds; else what is wrong and the shortest `story` that leads there."""

    states: int
    resting: int
    fault: str = ""
    story: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.fault


class TooManyStatesError(Exception):
    """The model is larger than the caller meant it to be: nothing was shown."""


def explore(model: Model, *, limit: int = 5_000_000) -> Finding:
    """Every state, or the first wrong one. Raises TooManyStatesError after `limit` states."""
    search = _Search(model, limit)
    return search.run()


class _Search:
    def __init__(self, model: Model, limit: int) -> None:
        self._model = model
        self._limit = limit
        self._numbers: dict[Hashable, int] = {}
        self._states: list[Hashable] = []
        self._came_from = array("q")
        self._label: list[str] = []
        # Edges without a fault, as two columns: how a state gets to rest when nothing more goes wrong.
        self._calm_from, self._calm_to = array("q"), array("q")
        self._resting: list[int] = []

    def run(self) -> Finding:
        self._number(self._model.start(), -1, "")
        done = 0
        while done < len(self._states):
            fault = self._judge(done)
            if fault:
                return self._finding(fault, done)
            for label, state, misfortune in self._model.steps(self._states[done]):
                number = self._number(state, done, label)
                if not misfortune and number != done:
                    self._calm_from.append(done)
                    self._calm_to.append(number)
            done += 1
        stuck = self._stuck()
        if stuck is not None:
            return self._finding("it never comes to rest", stuck)
        return Finding(len(self._states), len(self._resting))

    def _number(self, state: Hashable, parent: int, label: str) -> int:
        known = self._numbers.setdefault(state, len(self._states))
        if known == len(self._states):
            if known >= self._limit:
                raise TooManyStatesError(f"more than {self._limit} states")
            self._states.append(state)
            self._came_from.append(parent)
            self._label.append(label)
        return known

    def _judge(self, number: int) -> str:
        state = self._states[number]
        fault = self._model.broken(state)
        if not fault and self._model.at_rest(state):
            self._resting.append(number)
            fault = self._model.wrong(state)
        return fault

    def _stuck(self) -> int | None:
        """The earliest state from which no way without further faults leads to rest."""
        into: list[list[int]] = [[] for _ in self._states]
        for a, b in zip(self._calm_from, self._calm_to, strict=True):
            into[b].append(a)
        reaches = bytearray(len(self._states))
        todo = list(self._resting)
        for number in todo:
            reaches[number] = 1
        while todo:
            for before in into[todo.pop()]:
                if not reaches[before]:
                    reaches[before] = 1
                    todo.append(before)
        stuck = reaches.find(0)
        return None if stuck < 0 else stuck

    def _finding(self, fault: str, number: int) -> Finding:
        story: list[str] = []
        while number > 0:
            story.append(self._label[number])
            number = self._came_from[number]
        return Finding(len(self._states), len(self._resting), fault, tuple(reversed(story)))
