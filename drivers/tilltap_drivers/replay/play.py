"""What a tape gives; pure: the time is the tape's own."""

from __future__ import annotations

from collections.abc import Iterator

from tilltap_drivers.contract import PassRead
from tilltap_drivers.replay.golden import Tap
from tilltap_drivers.replay.tape import Tape
from tilltap_drivers.vtap.frames import Framer


def play(tape: Tape) -> Iterator[tuple[float, list[Tap]]]:
    """(seconds to wait, what then comes out), in order.

    Bytes of a port go through the same framer as those of a live reader. APDUs cannot: each answer was made
    for one reader's random numbers, and what it holds is not on the tape. Their outcomes are.
    """
    if tape.form == "apdus":
        for wait, tap in tape.told():
            yield wait, [tap]
        return
    framer, at = Framer(tape.spec), 0.0
    for wait, data in tape.sent():
        at += wait
        yield wait, [event for event in framer.feed(data, at) if isinstance(event, PassRead)]
