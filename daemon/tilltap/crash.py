"""Named places where tests kill or freeze the daemon (exactly-once.md section 8); inert otherwise.

`TILLTAP_CRASH_AT=P1` kills it with SIGKILL at the first passing of P1, `P1:3` at the third; `P4:1:stop`
freezes it there with SIGSTOP, as a suspended machine would. Several, separated by commas, come one by one.

P0   a transaction with events before its commit    P6   the outcome of a write is recorded
P1   after it, before the POS is answered           P7   a balance is read, but not judged yet
P2   a reservation is committed, not yet told       P8   a turn's outcome finds its lease lost
P3   the intent to write is committed, not a        P9   a spooled sale is in the ledger, and still in the
     byte is out                                         spool
P4   a write is out, no byte of a reply is in       P10  new rules are in the ledger, and not yet in use
P5   the reply is read, and not recorded

Only transactions with events, of which a POS is told, pass P0 and P1. Power loss (P11) and a restored ledger
(P12) happen to files, not at a place in the program.
"""

from __future__ import annotations

import os
import signal
from typing import NamedTuple


class _Stop(NamedTuple):
    name: str
    passing: int
    signal: signal.Signals


def _parse(text: str) -> list[_Stop]:
    stops = []
    for item in filter(None, text.split(",")):
        name, passing, action = (*item.split(":"), "", "")[:3]
        stops.append(_Stop(name, int(passing or 1), signal.SIGSTOP if action == "stop" else signal.SIGKILL))
    return stops


_stops = _parse(os.environ.get("TILLTAP_CRASH_AT", ""))
_passed = 0


def point(name: str) -> None:
    """The place `name` is passed."""
    global _passed
    if not _stops or _stops[0].name != name:
        return
    _passed += 1
    if _passed == _stops[0].passing:
        _passed = 0
        os.kill(os.getpid(), _stops.pop(0).signal)
