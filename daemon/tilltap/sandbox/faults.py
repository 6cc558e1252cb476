"""The menu of faults and the switchboard that says which request meets which. Pure.

A fault has two halves: what happens to the change (never, once, twice, late, once more later) and how the
answer reaches the caller (whole, altered, cut, never). Every way in which a service, a proxy or a cable can
lie to a till is a pair of them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Apply = Literal["never", "once", "twice", "late", "again-late"]
Reply = Literal[
    "whole",
    "drop",
    "reset",
    "abort",
    "half-json",
    "slow",
    "drip",
    "hang",
    "status",
    "redirect",
    "html",
    "plain-text",
    "alter",
]

# What `endpoint` may say besides one exact name: a method, or a part of the service.
GROUPS: Mapping[str, str] = {
    "all": "every request",
    "reads": "every GET",
    "writes": "every PATCH and POST",
    "loyalty": "reading and writing a balance",
}
MAX_SECONDS = 3600.0  # longest delay a fault may be given; a typo should not outlive the training session
MAX_COUNT = 10_000
MAX_ARMED = 100  # queue of switched-on faults; a script that arms in a loop is told so


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the menu. `seconds`: the default of its delay, None if it has none."""

    name: str
    why: str
    apply: Apply = "never"
    reply: Reply = "whole"
    endpoint: str = "all"
    status: int = 0
    seconds: float | None = None
    until_off: bool = False  # lasts until switched off unless a count is given
    group: str = ""  # heading on the trainer's page


_WRITES = "writes"
_LOYALTY = "loyalty"
_SECOND_COPY = "All goes well; later a second copy of the request is carried out."

_GROUPED: Mapping[str, tuple[Fault, ...]] = {
    "Out of reach": (
        Fault(
            "down",
            "The service cannot be reached: every connection is dropped.",
            reply="abort",
            until_off=True,
        ),
        Fault("drop-before", "The connection closes before anything was done.", reply="drop"),
        Fault("hang", "The request is taken and never answered; nothing is done.", reply="hang"),
        Fault(
            "slow",
            "The change is made at once, the answer comes some seconds later.",
            "once",
            "slow",
            seconds=3.0,
        ),
        Fault(
            "slow-drip", "The answer trickles in byte by byte over some seconds.", "once", "drip", seconds=3.0
        ),
    ),
    "Lost, late or twice": (
        Fault("apply-then-drop", "The change is made, but the answer is lost.", "once", "drop", _WRITES),
        Fault(
            "apply-late",
            "The answer is lost; the change is made later.",
            "late",
            "drop",
            _WRITES,
            seconds=5.0,
        ),
        Fault(
            "apply-twice", "The request arrives twice and is carried out twice.", "twice", "whole", _WRITES
        ),
        Fault("late-second-copy", _SECOND_COPY, "again-late", "whole", _WRITES, seconds=5.0),
        Fault(
            "500-after-apply", "The change is made, but the answer says 500.", "once", "status", _WRITES, 500
        ),
        Fault("reset-mid-body", "The connection breaks in the middle of the answer.", "once", "reset"),
    ),
    "Refused": (
        Fault(
            "429",
            "Too many requests: come back in a fraction of a second.",
            reply="status",
            status=429,
            seconds=0.35,
        ),
        Fault("401", "The API key is refused.", reply="status", status=401),
        Fault("404", "The pass is said not to exist.", reply="status", status=404),
        Fault("422", "The request is said to make no sense.", reply="status", status=422),
        Fault("500", "The service answers 500 and does nothing.", reply="status", status=500),
        Fault("502", "A proxy answers 502; the service saw nothing.", reply="status", status=502),
        Fault("503", "The service is overloaded and answers 503.", reply="status", status=503),
        Fault("504", "A proxy gave up waiting and answers 504.", reply="status", status=504),
        Fault("redirect", "The answer points to another address; nothing is done.", reply="redirect"),
    ),
    "Odd answers": (
        Fault("truncate-json", "The answer arrives with its text cut in half.", "once", "half-json"),
        Fault("html-body", "The change is made, but a proxy answers with a web page.", "once", "html"),
        Fault("wrong-content-type", "The answer is right but claims to be plain text.", "once", "plain-text"),
        Fault("balance-string", 'The balance comes as text: "4".', "once", "alter", _LOYALTY),
        Fault("balance-float", "The balance comes with a decimal point: 4.0.", "once", "alter", _LOYALTY),
        Fault("balance-missing", "The answer has no balance.", "once", "alter", _LOYALTY),
        Fault("wrong-balance", "The answer tells a balance that is one too high.", "once", "alter", _LOYALTY),
        Fault(
            "no-notification-status", "The answer is silent about the text it sent.", "once", "alter", _WRITES
        ),
    ),
}
MENU: Mapping[str, Fault] = {
    fault.name: replace(fault, group=group) for group, faults in _GROUPED.items() for fault in faults
}


@dataclass(frozen=True, slots=True)
class Armed:
    """A switched-on fault. `left` None: until switched off. `seconds`: its delay."""

    number: int
    fault: Fault
    endpoint: str
    left: int | None
    seconds: float


def matches(pattern: str, endpoint: str) -> bool:
    """Whether an endpoint such as `PATCH /loyalty/{id}` is meant by `pattern` (a group or an exact name)."""
    method, _, path = endpoint.partition(" ")
    match pattern:
        case "all":
            return True
        case "reads":
            return method == "GET"
        case "writes":
            return method != "GET"
        case "loyalty":
            return path.startswith("/loyalty")
    return pattern == endpoint


class Switchboard:
    """Switched-on faults in order; a request meets the first that means its endpoint. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Armed] = []
        self._number = 0

    def arm(
        self,
        fault: Fault,
        *,
        endpoint: str | None = None,
        count: int | None = None,
        until_off: bool | None = None,
        seconds: float | None = None,
    ) -> Armed:
        """Switch on for `count` requests (default one, or until switched off where the menu says so)."""
        lasting = until_off if until_off is not None else (fault.until_off and count is None)
        delay = seconds if seconds is not None else fault.seconds or 0.0
        with self._lock:
            if len(self._armed) >= MAX_ARMED:
                raise ValueError(f"{MAX_ARMED} faults are switched on; switch some off first")
            self._number += 1
            armed = Armed(
                self._number, fault, endpoint or fault.endpoint, None if lasting else count or 1, delay
            )
            self._armed.append(armed)
        return armed

    def take(self, endpoint: str) -> Armed | None:
        """The fault that this request meets, counted down."""
        with self._lock:
            for i, armed in enumerate(self._armed):
                if matches(armed.endpoint, endpoint):
                    self._count_down(i)
                    return armed
        return None

    def clear(self, number: int | None = None) -> None:
        """Switch off one (by its number), or all."""
        with self._lock:
            self._armed = [] if number is None else [a for a in self._armed if a.number != number]

    def armed(self) -> list[Armed]:
        with self._lock:
            return list(self._armed)

    def _count_down(self, i: int) -> None:
        armed = self._armed[i]
        if armed.left == 1:
            del self._armed[i]
        elif armed.left is not None:
            self._armed[i] = replace(armed, left=armed.left - 1)


def alter(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """The answer `document` as the altering fault `name` tells it; as it is if there is nothing to alter."""
    meta = document.get("meta", {})
    if name == "no-notification-status":
        return {**document, "meta": {k: v for k, v in meta.items() if k != "notifications"}}
    if "loyalty" not in meta:
        return document
    balance = meta["loyalty"]["balance"]
    told: dict[str, dict[str, Any]] = {
        "balance-string": {"balance": str(balance)},
        "balance-float": {"balance": float(balance)},
        "balance-missing": {},
        "wrong-balance": {"balance": balance + 1},
    }
    return {**document, "meta": {**meta, "loyalty": told[name]}}
