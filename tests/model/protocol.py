"""The protocol as a set of switches: as built, and every way of leaving a part of it out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Settle(Enum):
    """Which writes are read back once nothing older can still arrive."""

    EVERY = auto()
    UNKNOWN = auto()
    NEVER = auto()


class Rightful(Enum):
    """Which balances, found on the pass, are taken for our own."""

    ALL = auto()  # confirmed, everything sent since the pass was last found settled, and what it held before
    NO_BASE = auto()
    CONFIRMED = auto()
    ANY = auto()  # changes by others are not looked for


class Adopt(Enum):
    """How a change by others is entered."""

    ONCE = auto()  # with the balance it was seen in, in one transaction, by the holder of the lease
    FORGETFUL = auto()  # the balance it was seen in is not written down
    UNLEASED = auto()  # a tap that sees it enters it at once


class Unknown(Enum):
    """What becomes of a write without a readable answer."""

    REMEMBERED = auto()
    FAILED = auto()  # taken for not applied
    APPLIED = auto()  # taken for applied


class Fate(Enum):
    """What becomes of a text whose request had no readable answer."""

    MAYBE = auto()  # it may have been shown: never sent again, and it counts
    AGAIN = auto()  # planned again
    AGAIN_AFTER_RESTART = auto()
    UNCOUNTED = auto()  # not sent again, but the budget does not know of it


class Read(Enum):
    """When the pass is read before a write."""

    ALWAYS = auto()
    TO_SETTLE = auto()  # only to read a write back, or after an unknown outcome
    NOT_AFTER_TAKE_OVER = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a pass is brought up to date (daemon/tilltap/mirror.py). The defaults are what is built."""

    absolute: bool = True  # the balance itself is written, not a difference
    read: Read = Read.ALWAYS
    lease: bool = True
    rightful: Rightful = Rightful.ALL
    adopt: Adopt = Adopt.ONCE
    unknown: Unknown = Unknown.REMEMBERED
    remembers_after_restart: bool = True  # a write that was on its way at a kill is an unknown one
    settle: Settle = Settle.EVERY
    settle_waits: bool = True  # until nothing older can arrive
    settle_by_start: bool = True  # the wait must be over when the balance is asked for, not when it comes
    restart_waits: bool = True  # the wait starts anew at a restart
    take_over_waits: bool = True  # ... and when a lease ended that was not given back
    prunes_dead_only: bool = True  # a sent balance is forgotten early only if it cannot arrive any more
    patient: bool = False  # nothing is written while an outcome is unknown
    text: Fate = Fate.MAYBE
    text_waits: bool = True  # while an outcome is unknown, no text
    floor: bool = True  # a pass shows no less than nothing


@dataclass(frozen=True, slots=True)
class Desk:
    """How sales reach the ledger (daemon/tilltap/till/sales.py, and the spool). Defaults are what is built."""

    named: str = "till and sale"  # what an entry's unique name is made of; "" for none
    answers_after_commit: bool = True
    one_transaction: bool = True  # looking whether a sale is entered, and entering it
    spool_forgets_after_entry: bool = True
    spool_durable: bool = True
    reserves: bool = True
    reserves_in_one: bool = True  # looking at the free points, and taking them
    late_close_spends: bool = True  # a discount given after the reservation ran out is still entered


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each misfortune may happen in one story."""

    unanswered: int = 0  # a write whose answer is lost or late; the write itself may still arrive, or not
    copies: int = 0  # the network delivers a request a second time, later
    refused: int = 0  # a write that certainly did not arrive
    kills: int = 0  # kill -9 of a till
    stalls: int = 0  # a till that cannot write the ledger for a moment and leaves its turn unfinished
    freezes: int = 0  # a till that is frozen, while it writes, for longer than its lease lasts
    others: int = 0  # the change somebody else makes to the pass, in points; 0 for none
