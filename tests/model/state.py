"""What there is to know at one instant: the ledger's side, the service's side, the tills, the luck left."""

from __future__ import annotations

from collections.abc import Hashable
from enum import IntEnum
from typing import NamedTuple


class Phase(IntEnum):
    """What a till does with the pass."""

    IDLE = 0
    READ = 1  # has read the balance, has not judged it
    SENT = 2  # has committed its intent and sent; nothing arrived yet
    ANSWERED = 3  # the service has applied it; the answer is on its way back, or not yet recorded
    LEFT = 4  # could not finish its turn; the lease has not run out
    KILLED = 5  # ... because it is dead
    DOWN = 6  # dead, and its lease has run out
    PEEKED = 7  # (weakened variant only) a tap has read the balance without the lease


HOLDING = frozenset({Phase.READ, Phase.SENT, Phase.ANSWERED, Phase.LEFT, Phase.KILLED})

ACTING = frozenset({Phase.READ, Phase.SENT, Phase.ANSWERED, Phase.PEEKED})


class Turn(NamedTuple):
    """`row`: its place among `sends`; `text`: which text rides along, -1 for none; `merged`: those it speaks for
    too.
    """

    phase: Phase = Phase.IDLE
    seen: int = 0
    others: bool = False  # what was seen includes the change by others
    due: bool = False  # the settle clock had rung when the read began
    value: int = 0
    text: int = -1
    merged: tuple[int, ...] = ()
    row: int = -1
    old: int = 0  # so many of the first `sends` could not arrive any more when this one was planned
    lapsed: bool = False  # its lease has run out and was not given back


IDLE = Turn()


class Send(NamedTuple):
    """A row of `mirror_send`. `base`: what the pass held when it was sent."""

    value: int
    base: int
    applied: bool = False


class Request(NamedTuple):
    """A write nobody waits for any more, which may still arrive.

    `counted`: the settle clock was started after it was given up, so it cannot outlive that clock.
    """

    value: int
    row: int
    counted: bool


class Text(IntEnum):
    PLANNED = 0
    SENDING = 1
    SPENT = 2  # sent, or maybe
    SILENT = 3  # merged into another one, or the budget was used up


class Clock(IntEnum):
    OFF = 0
    RUNNING = 1
    RUNG = 2


class Others(IntEnum):
    """What became of the change that somebody else makes to the pass."""

    NONE = 0
    STANDS = 1
    GONE = 2  # a write of ours landed on it


class Luck(NamedTuple):
    """Misfortunes left (protocol.Faults says what they are)."""

    unanswered: int
    copies: int
    refused: int
    kills: int
    stalls: int
    freezes: int


class State(NamedTuple):
    # the ledger
    source: Hashable
    points: int
    texts: tuple[tuple[Text, bool], ...]  # (state, was handed to the network)
    confirmed: int
    dirty: bool
    clock: Clock
    unreturned: bool  # the last lease ended without being given back
    sends: tuple[Send, ...]
    adopted: int
    # the service and the way to it
    balance: int
    others: Others
    others_clean: bool  # the change was made while the pass was settled and nothing was under way
    wire: tuple[Request, ...]
    # the tills
    tills: tuple[Turn, ...]
    luck: Luck
    breach: str


def unlucky(state: State, kind: str) -> State:
    luck = state.luck
    return state._replace(luck=luck._replace(**{kind: getattr(luck, kind) - 1}))


def without(state: State, index: int) -> State:
    """The state while a till acts; `joined` brings it back."""
    return state._replace(tills=state.tills[:index] + state.tills[index + 1 :])


def joined(state: State, turn: Turn) -> State:
    """Tills are alike: which is which does not matter, so they are kept in order."""
    return state._replace(tills=tuple(sorted((*state.tills, turn))))


def sent_away(state: State, value: int, row: int) -> State:
    """Somebody stopped waiting for a request that may still arrive."""
    return state._replace(wire=tuple(sorted((*state.wire, Request(value, row, False)))))


def start_clock(state: State) -> State:
    """The settle clock starts now: it outlives every request given up before."""
    wire = tuple(sorted(r._replace(counted=True) for r in state.wire))
    return state._replace(clock=Clock.RUNNING, wire=wire)


def drop_sends(state: State, gone: range) -> State:
    """Forgets rows of `sends`; whoever pointed at them points at nothing."""

    def moved(row: int) -> int:
        return -1 if row in gone or row < 0 else row - (len(gone) if row >= gone.stop else 0)

    return state._replace(
        sends=tuple(s for i, s in enumerate(state.sends) if i not in gone),
        wire=tuple(sorted(r._replace(row=moved(r.row)) for r in state.wire)),
        tills=tuple(sorted(t._replace(row=moved(t.row), old=max(0, t.old - len(gone))) for t in state.tills)),
    )


def set_text(state: State, index: int, text: Text, *, handed: bool = False) -> State:
    """`handed`: to the network, which must not happen twice to one text."""
    if index < 0:
        return state
    texts = [*state.texts]
    was_handed = texts[index][1]
    texts[index] = (text, was_handed or handed)
    state = state._replace(texts=tuple(texts))
    return state._replace(breach="a text is sent twice") if handed and was_handed else state


def add_entry(state: State, points: int, *, text: bool) -> State:
    texts = (*state.texts, (Text.PLANNED, False)) if text else state.texts
    return state._replace(points=state.points + points, texts=texts, dirty=True)
