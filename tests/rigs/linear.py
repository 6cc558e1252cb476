"""Was there one order? Checks what several tills were told about one pass against a pass that does one thing at a
time (linearizability, after Wing and Gong): a call takes effect at some instant between its begin and its end.

A call without an answer (its till was killed, the ledger was away) may take effect at any time after its begin.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True)
class Op(Generic[S]):
    """`step(state)` gives the state after it, or None if what was answered cannot have been answered there."""

    begin: float
    end: float
    step: Callable[[S], S | None]
    what: str = ""


def order(operations: Sequence[Op[S]], start: S) -> list[Op[S]] | None:
    """An order in which everything that was answered is true, or None if there is none.

    Depth first over (what is done, state); calls of a few tills overlap little, so few branches are met.
    """
    ops = sorted(operations, key=lambda op: op.begin)
    # What is done is kept as (everything before `low`, and some after it): a history of thousands stays small.
    stack: list[tuple[int, frozenset[int], S, tuple[int, tuple] | None]] = [(0, frozenset(), start, None)]  # type: ignore[type-arg]
    marks: set[tuple[int, frozenset[int], S]] = set()
    while stack:
        low, done, state, path = stack.pop()
        while low in done:
            done, low = done - {low}, low + 1
        if low == len(ops):
            return _unwind(ops, path)
        if (low, done, state) in marks:
            continue
        marks.add((low, done, state))
        # Nobody may go first who began after somebody else, not yet done, had ended.
        first_end = inf
        candidates = []
        for i in range(low, len(ops)):
            if ops[i].begin > first_end:
                break
            if i not in done:
                candidates.append(i)
                first_end = min(first_end, ops[i].end)
        for i in reversed(candidates):
            after = ops[i].step(state)
            if after is not None:
                stack.append((low, done | {i}, after, (i, path)))  # type: ignore[arg-type]
    return None


def _unwind(ops: Sequence[Op[S]], path: tuple | None) -> list[Op[S]]:  # type: ignore[type-arg]
    found = []
    while path is not None:
        i, path = path
        found.append(ops[i])
    return found[::-1]
