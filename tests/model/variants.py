"""The table of the proof: what is built, in every setting it must hold in, and each part left out in turn.

A setting is chosen just large enough: small enough to be searched whole, with the misfortunes that matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from model.explorer import Finding, Model, explore
from model.mirror import Mirror
from model.protocol import Adopt, Desk, Fate, Faults, Protocol, Read, Rightful, Settle, Unknown
from model.shop import Sale, Shop
from model.source import Alone, Script


def passes(*sales: int, tills: int = 1, budget: int = 3, **faults: int) -> Mirror:
    """One pass and a list of sales (refunds are negative)."""
    return Mirror(Script(sales), Faults(**faults), tills=tills, budget=budget)


def till_sales(*sales: Sale, **more: Any) -> Shop:
    return Shop(sales, **more)


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    model: Model


_SEVEN, _OTHER_SEVEN, _EIGHT = Sale(0, 7), Sale(1, 7), Sale(0, 8)
_REWARD, _OTHER_REWARD = Sale(0, 7, reward=True), Sale(1, 7, reward=True)

_ONE = passes(1, 1, unanswered=2, kills=1, copies=1)
_BACK = passes(1, -1, unanswered=1, kills=1, copies=1, stalls=1)
_BACK_TWO = replace(_BACK, tills=2)
_TWO = passes(1, 1, tills=2, unanswered=1, copies=1, stalls=1)
_OTHERS = passes(1, 1, unanswered=1, copies=1, refused=1, others=5)
_LOST_ONLY = passes(1, 1, unanswered=1)
_THREE_SALES = till_sales(_SEVEN, _OTHER_SEVEN, _EIGHT, cuts=1, kills=1, repeats=1)
_TWO_REWARDS = till_sales(_REWARD, _OTHER_REWARD, opening=1, cuts=1, kills=1, repeats=1, waits=1)

# Every one is searched whole in the suite.
SETTINGS = (
    Setting("one till: two sales, lost answers, a kill, a late copy", _ONE),
    Setting(
        "one till: sales and a refund below zero, each misfortune once",
        passes(1, -2, 1, unanswered=1, kills=1, copies=1, refused=1),
    ),
    Setting("one till: a ledger that is locked for a moment", _BACK),
    Setting("one till: a text budget of one", passes(1, 1, 1, unanswered=2, budget=1)),
    Setting("one till, and others change the pass by 5", _OTHERS),
    Setting("one till, killed, and others change the pass by 1", passes(1, 1, kills=1, copies=1, others=1)),
    Setting("two tills: lost answers, a late copy, a locked ledger", _TWO),
    Setting("two tills: a sale and its refund, each misfortune once", _BACK_TWO),
    Setting(
        "two tills, one killed, and others change the pass by 5",
        passes(1, tills=2, unanswered=1, kills=1, copies=1, others=5),
    ),
    Setting("sales: repeated, cut off, killed, the same number at two tills", Alone(_THREE_SALES)),
    Setting("sales: one reward, two tills, a reservation that runs out", Alone(_TWO_REWARDS)),
    Setting(
        "all at once: two tills, a spool, a kill, a repeated close, a lost answer",
        Mirror(till_sales(_SEVEN, _OTHER_SEVEN, cuts=1, kills=1), Faults(unanswered=1), tills=2),
    ),
    Setting(
        "all at once: two tills, one reward, a lost answer, a late copy",
        Mirror(till_sales(_REWARD, _OTHER_REWARD, opening=1), Faults(unanswered=1, copies=1), tills=2),
    ),
)

# Searched by `python -m model.explore --long`.
LONG_SETTINGS = (
    Setting("one till: three sales, two lost answers, a kill", passes(1, 1, 1, unanswered=2, kills=1)),
    Setting("one till: three sales, two lost answers, two copies", passes(1, 1, 1, unanswered=2, copies=2)),
    Setting(
        "one till: two refunds, each misfortune once",
        passes(2, -3, 2, -1, unanswered=1, kills=1, copies=1, refused=1),
    ),
    Setting("one till, and others", passes(1, 1, unanswered=1, kills=1, copies=1, refused=1, others=5)),
    Setting(
        "two tills: two sales, each misfortune once",
        passes(1, 1, tills=2, unanswered=1, kills=1, copies=1, stalls=1, refused=1),
    ),
    Setting("three tills: two sales", passes(1, 1, tills=3, unanswered=1, kills=1, copies=1)),
    Setting("two tills, and others", passes(1, 1, tills=2, unanswered=1, kills=1, copies=1, others=1)),
    Setting(
        "sales: two rewards' worth of points for three",
        Alone(
            till_sales(_REWARD, _OTHER_REWARD, Sale(1, 8, reward=True), opening=2, cuts=1, kills=1, waits=1)
        ),
    ),
    Setting(
        "all at once: two tills, a spool, kills, repeats, lost answers",
        Mirror(
            till_sales(_SEVEN, _OTHER_SEVEN, cuts=1, kills=1, repeats=1),
            Faults(unanswered=1, copies=1),
            tills=2,
        ),
    ),
    Setting(
        "all at once: two tills, one reward, a reservation that runs out",
        Mirror(
            till_sales(_REWARD, _OTHER_REWARD, opening=1, cuts=1, waits=1),
            Faults(unanswered=1, kills=1),
            tills=2,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Variant:
    """`fault`: how it goes wrong, to the word; "" if the rest of the protocol makes good for it."""

    name: str
    model: Model
    fault: str = ""


def _pass(name: str, fault: str, mirror: Mirror, **switches: Any) -> Variant:
    return Variant(name, replace(mirror, protocol=Protocol(**switches)), fault)


def _desk(name: str, fault: str, shop: Shop, **switches: Any) -> Variant:
    return Variant(name, Alone(replace(shop, desk=Desk(**switches))), fault)


_ONE_BEHIND = "the pass shows 1, the ledger says 2"
_ONE_AHEAD = "the pass shows 1, the ledger says 0"
_INVENTED = "a change by others is invented"
_LOST = "a change by others is lost"
_TEXT_TWICE = "a text is sent twice"
_TWICE = "sale 7 counts twice"
_NOT_COUNTED = "sale 7 of till 1 was answered and does not count"
_RESERVED_TWICE = "the same points are reserved for two sales"

VARIANTS = (
    # what is written
    _pass("a difference is written, and again if no answer comes", _INVENTED, _LOST_ONLY,
          absolute=False, unknown=Unknown.FAILED),
    _pass("a difference is written; without an answer the balance is read at once", _INVENTED, _LOST_ONLY,
          absolute=False),
    _pass("a difference is written; without an answer it waits until nothing can arrive", _INVENTED, _ONE,
          absolute=False, patient=True),
    _pass("a balance below zero is written as it is", "the pass shows -1, the ledger says -1",
          passes(1, -2), floor=False),
    # reading back
    _pass("writes are not read back", _ONE_BEHIND, _ONE, settle=Settle.NEVER),
    _pass("only writes without an answer are read back", _ONE_BEHIND, _ONE, settle=Settle.UNKNOWN),
    _pass("writes are read back at once, not when nothing older can arrive", _ONE_BEHIND, _ONE,
          settle_waits=False),
    _pass("a balance asked for before the wait was over counts as read back", _ONE_BEHIND, _ONE,
          settle_by_start=False),
    _pass("after a restart the wait goes on instead of starting anew", _ONE_AHEAD, _BACK,
          restart_waits=False),
    _pass("after a turn that was left unfinished the wait goes on", _ONE_AHEAD, _BACK, take_over_waits=False),
    _pass("when another till takes over, the wait goes on", _ONE_AHEAD,
          replace(_BACK_TWO, faults=Faults(unanswered=1, kills=1)), take_over_waits=False),
    # one writer
    _pass("two tills write one pass without a lease", _INVENTED, _TWO, lease=False),
    _pass("who takes a lease over writes without reading", _LOST,
          passes(1, tills=2, kills=1, others=5), read=Read.NOT_AFTER_TAKE_OVER),
    # the outcome nobody knows
    _pass("no answer is taken for `not applied`", _INVENTED, _ONE, unknown=Unknown.FAILED),
    _pass("what was on its way is forgotten at a restart", _INVENTED, _ONE, remembers_after_restart=False),
    # texts
    _pass("the text is sent again if no answer came", _TEXT_TWICE, _ONE, text=Fate.AGAIN),
    _pass("the text is sent again after a restart", _TEXT_TWICE, _ONE, text=Fate.AGAIN_AFTER_RESTART),
    _pass("the next text does not wait for an unknown outcome", "a text rides on a repeated write", _ONE,
          text_waits=False),
    _pass("a text that may have been shown does not count", "more texts than the budget allows",
          passes(1, 1, unanswered=1, budget=1), text=Fate.UNCOUNTED),
    # changes by others
    _pass("the balance is written without reading it first", _LOST, _OTHERS, read=Read.TO_SETTLE),
    _pass("the balance is read, and others' changes are not looked for", _LOST, _OTHERS,
          rightful=Rightful.ANY),
    _pass("only the confirmed balance is taken for our own", _INVENTED, _ONE, rightful=Rightful.CONFIRMED),
    _pass("a balance sent is forgotten while it can still arrive", _INVENTED, _ONE, prunes_dead_only=False),
    _pass("a tap enters a change it saw, without the lease", _INVENTED, passes(1, tills=2, others=5),
          adopt=Adopt.UNLEASED),
    _pass("the balance in which a change was seen is not written down",
          "a change by others is entered twice", _OTHERS, adopt=Adopt.FORGETFUL),
    # sales
    _desk("entries have no name", _TWICE, till_sales(_SEVEN, kills=1), named=""),
    _desk("an entry's name leaves the sale out", "sale 8 of till 1 was answered and does not count",
          till_sales(_SEVEN, _EIGHT), named="till"),
    _desk("an entry's name leaves the till out", "sale 7 of till 2 was answered and does not count",
          till_sales(_SEVEN, _OTHER_SEVEN), named="sale"),
    _desk("looking for the sale and entering it are two transactions", _TWICE, till_sales(_SEVEN, kills=1, cuts=1),
          one_transaction=False),
    _desk("a close is answered before it is durable", _NOT_COUNTED, till_sales(_SEVEN, kills=1),
          answers_after_commit=False),
    _desk("the spool is kept in memory", _NOT_COUNTED, till_sales(_SEVEN, kills=1, cuts=1),
          spool_durable=False),
    _desk("a sale is struck off the spool before it is entered", _NOT_COUNTED,
          till_sales(_SEVEN, kills=1, cuts=1), spool_forgets_after_entry=False),
    # rewards
    _desk("accepted rewards reserve nothing", _RESERVED_TWICE, _TWO_REWARDS, reserves=False),
    _desk("looking for free points and reserving them are two transactions", _RESERVED_TWICE, _TWO_REWARDS,
          reserves_in_one=False),
    _desk("a close after the reservation ran out does not spend", "the discount of sale 7 was given and not entered",
          _TWO_REWARDS, late_close_spends=False),
)  # fmt: skip

# Left out without harm, in these settings: the other parts make good for them.
SPARE = (
    _pass("what the pass held before the first write is not taken for our own", "", _ONE,
          rightful=Rightful.NO_BASE),
    _pass("no answer is taken for `applied`; the reading back repairs it, later", "", _ONE,
          unknown=Unknown.APPLIED),
    _pass("only writes without an answer are read back, and the network repeats nothing", "",
          passes(1, 1, unanswered=2, kills=1), settle=Settle.UNKNOWN),
    _pass("a difference is written, one till, patient, and the network repeats nothing", "",
          passes(1, 1, unanswered=2, kills=1), absolute=False, patient=True),
)  # fmt: skip

# What no protocol can do at a service without conditional writes: shown, not hidden.
BEYOND = (
    _pass("a till is frozen, while it writes, for longer than its lease", _INVENTED,
          passes(1, -1, tills=2, freezes=1)),
)  # fmt: skip


@cache
def finding(model: Model) -> Finding:
    """Searched once a process: the tests and the table ask for the same."""
    return explore(model)


# Between these lines of docs/exactly-once.md stands what `table` says.
TABLE_BEGINS, TABLE_ENDS = "<!-- variants -->\n", "<!-- /variants -->\n"


def table() -> str:
    """The weakened variants as the page shows them."""
    lines = ["| left out or changed | what can happen then | steps |", "| --- | --- | --- |"]
    for variant in (*VARIANTS, *BEYOND, *SPARE):
        found = finding(variant.model)
        what = f"{found.fault} | {len(found.story)}" if found.fault else "nothing, in this setting | "
        lines.append(f"| {variant.name} | {what} |")
    return "\n".join(lines) + "\n"
