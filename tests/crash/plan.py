"""What `make crash` plays: every crash point, in every story that passes it, with every fault on every endpoint."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from rigs.sandbox import READ_POINTS, WRITE_PASS, WRITE_POINTS
from tilltap.sandbox.faults import GROUPS, MENU, matches

# The endpoints that the mirror uses for every pass.
ENDPOINTS = (READ_POINTS, WRITE_POINTS, WRITE_PASS)
# What each story passes. P11 (power) and P12 (a backup) are no places in the program: see the ledger's tests.
MIRROR = ("P0", "P1", "P3", "P4", "P5", "P6", "P7")
STORIES = {
    "earn": MIRROR,
    "redeem": (*MIRROR, "P2"),
    "refund": MIRROR,
    "late": MIRROR,
    "offline": MIRROR,
    "reload": ("P10",),
    "freeze": ("P8",),  # two tills on PostgreSQL: one is frozen, the other takes its lease
    "spool": ("P9",),  # PostgreSQL away and back
}
SHARED = ("freeze", "spool")
# A transaction that a POS is told of is passed some times in each story, a turn of the mirror twice at least.
OFTEN = ("P0", "P1")
SEED = 20261121


@dataclass(frozen=True, slots=True)
class Case:
    """`count`: killed at this passing of `point`."""

    point: str
    story: str
    fault: str
    endpoint: str
    count: int

    def __str__(self) -> str:
        verb, _, path = self.endpoint.partition(" ")
        return f"{self.point}:{self.count} {self.story} {self.fault} {verb} {path.split('/')[1]}"


def meetings() -> list[tuple[str, str]]:
    """(fault, endpoint): every fault of the sandbox's menu on every endpoint it can happen to."""
    return [
        (fault.name, endpoint)
        for fault in MENU.values()
        for endpoint in ENDPOINTS
        if matches(fault.endpoint, endpoint) or fault.endpoint not in GROUPS
    ]


def matrix(seed: int = SEED) -> Iterator[Case]:
    """All of it; the passing at which a point kills is drawn."""
    rng = random.Random(seed)
    for story, points in STORIES.items():
        for point in points:
            for fault, endpoint in meetings():
                most = 4 if point in OFTEN else 2 if point in (*MIRROR, "P9") else 1
                yield Case(point, story, fault, endpoint, rng.randint(1, most))


def sample(size: int, cases: Iterable[Case], seed: int = SEED) -> list[Case]:
    """`size` of the cases, drawn so that every point of every story occurs as soon as all of them fit in."""
    rng = random.Random(seed)
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.point, case.story), []).append(case)
    order = list(groups.values())
    rng.shuffle(order)
    for group in order:
        rng.shuffle(group)
    rounds = zip_longest(*order)
    return [case for cases in rounds for case in cases if case is not None][:size]
