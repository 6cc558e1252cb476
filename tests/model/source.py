"""Where the mirror's work comes from: a plain list of sales, or the whole shop (shop.py)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from model.explorer import Step


class Entry(NamedTuple):
    """A row of the ledger: what it does to the balance, and whether the phone is owed a text."""

    points: int
    text: bool = True


class SourceStep(NamedTuple):
    label: str
    state: Hashable
    entries: tuple[Entry, ...] = ()
    fault: bool = False


class Source(Protocol):
    @property
    def opening(self) -> int:
        """The balance at the start."""
        ...

    def start(self) -> Hashable: ...

    def steps(self, state: Any, /) -> Iterable[SourceStep]: ...

    def broken(self, state: Any, /) -> str: ...

    def at_rest(self, state: Any, /) -> bool: ...

    def wrong(self, state: Any, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Script:
    """Sales (with a text) and refunds (negative, silent), one after the other, each at any moment."""

    sales: tuple[int, ...]
    opening: int = 0

    def start(self) -> int:
        return 0

    def steps(self, state: int, /) -> Iterable[SourceStep]:
        if state < len(self.sales):
            points = self.sales[state]
            label = f"sale {points:+d}" if points > 0 else f"refund {points:+d}"
            yield SourceStep(label, state + 1, (Entry(points, points > 0),))

    def broken(self, _state: int, /) -> str:
        return ""

    def at_rest(self, state: int, /) -> bool:
        return state == len(self.sales)

    def wrong(self, _state: int, /) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Alone:
    """A source explored by itself, without the pass."""

    source: Source

    def start(self) -> Hashable:
        return self.source.start()

    def steps(self, state: Any, /) -> Iterable[Step]:
        return (Step(s.label, s.state, s.fault) for s in self.source.steps(state))

    def broken(self, state: Any, /) -> str:
        return self.source.broken(state)

    def at_rest(self, state: Any, /) -> bool:
        return self.source.at_rest(state)

    def wrong(self, state: Any, /) -> str:
        return self.source.wrong(state)
