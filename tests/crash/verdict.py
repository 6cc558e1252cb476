"""Compares the ledger's file, the service and the push log with what the POS was told. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Fact = tuple[str, str, str, int]  # till, sale, kind, number of that kind

# What of a sale stays as it was answered, whatever comes later.
FROZEN = ("state", "total", "discount", "due", "paid", "earned", "message")


@dataclass(frozen=True)
class Evidence:
    """`entries` and `points`, the customer's balance kept beside them, are read from the ledger; `foreign` is
    what it took for changes by others. `texts` were asked for at the service, by `pushes` texts that the ledger
    knows of. `answers` and `now`: each sale as the POS was last told, and as `sale.get` tells it.
    """

    entries: Mapping[Fact, int]
    foreign: int
    start: int
    points: int
    shown: int
    texts: Sequence[str]
    pushes: int
    answers: Mapping[tuple[str, str], Json]
    now: Mapping[tuple[str, str], Json]


@dataclass
class Verdict:
    lost: int = 0
    double: int = 0
    wrong: int = 0
    texts: int = 0
    why: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return not (self.lost or self.double or self.wrong or self.texts)


def judge(expected: Mapping[Fact, int], found: Evidence, *, liar: bool = False) -> Verdict:
    """`liar`: the service has told a wrong balance when it was asked for one; that may be taken for a change."""
    verdict = Verdict()
    for fact, points in expected.items():
        if fact not in found.entries:
            verdict.lost += 1
            verdict.why.append(f"lost: {fact} {points}")
        elif found.entries[fact] != points:
            _wrong(verdict, f"{fact} is {found.entries[fact]}, not {points}")
    for fact in found.entries.keys() - expected.keys():
        verdict.double += 1
        verdict.why.append(f"double: {fact} {found.entries[fact]}")
    if found.foreign and not liar:
        _wrong(verdict, f"points taken for somebody else's: {found.foreign}")
    total = found.start + sum(found.entries.values()) + found.foreign
    if found.points != total:
        _wrong(verdict, f"the balance is {found.points}, its entries sum up to {total}")
    if found.shown != max(0, found.points):
        _wrong(verdict, f"the pass shows {found.shown}, the ledger says {found.points}")
    _sales(verdict, found)
    again = sum(count - 1 for count in Counter(found.texts).values())
    unknown = max(0, len(found.texts) - found.pushes)
    if again or unknown:
        verdict.texts = max(again, unknown)
        verdict.why.append(f"texts {list(found.texts)} for {found.pushes} that the ledger knows")
    return verdict


def _sales(verdict: Verdict, found: Evidence) -> None:
    for sale, answer in found.answers.items():
        now = found.now.get(sale)
        if now is None:
            verdict.lost += 1
            verdict.why.append(f"lost: {sale} was answered and is not known")
            continue
        # What was answered without the service's word is settled by it.
        for key in FROZEN if not answer["offline"] else ("state", "total", "due", "paid", "earned"):
            if now[key] != answer[key]:
                _wrong(verdict, f"{sale} {key} was {answer[key]!r}, is {now[key]!r}")


def _wrong(verdict: Verdict, why: str) -> None:
    verdict.wrong += 1
    verdict.why.append(why)
