"""Tapes for tests: where they are, what they must give, and how to play one into a real pty.

A tape's golden events stand beside it: `X.tape`, `X.events`. One JSON line per tap that must come out, in
order: `value` (or `value_hex` if it is not UTF-8), `source`, `kind`, `index`, `slot`, `uid`, as in PassRead.
All values of a tape differ, so no daemon may fold any two of them.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tilltap_drivers.contract import PassRead
from tilltap_drivers.replay.tape import Tape, parse_tape

TAPES = Path(__file__).parent.parent / "tapes"

# Seconds a full pty may stay full: a reader that stopped reading must fail the test, not hang it.
STALL = 10.0


def load(name: str) -> Tape:
    path = TAPES / f"{name}.tape"
    return parse_tape(path.read_text(encoding="utf-8"), str(path))


def golden(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TAPES / f"{name}.events").read_text(encoding="utf-8").splitlines()]


def as_golden(tap: PassRead) -> dict[str, Any]:
    try:
        value = {"value": tap.value.decode()}
    except UnicodeDecodeError:
        value = {"value_hex": tap.value.hex()}
    return {
        **value,
        "source": tap.source,
        "kind": tap.kind,
        "index": tap.index,
        "slot": tap.slot,
        "uid": tap.uid,
    }


def pieces(tape: Tape, size: int | None = None) -> Iterator[tuple[float, bytes]]:
    """What the reader sent, as recorded or cut into pieces of `size` bytes."""
    for wait, data in tape.sent():
        for at in range(0, len(data), size or len(data)):
            yield (wait if at == 0 else 0.0), data[at : at + (size or len(data))]


def play(tape: Tape, master_fd: int, *, speed: float = 1.0, size: int | None = None) -> None:
    """Write a tape's bytes to the master end of a pty, in its time or `speed` times faster; blocks."""
    for wait, data in pieces(tape, size):
        if wait:
            time.sleep(wait / speed)
        left = data
        while left:
            if not select.select([], [master_fd], [], STALL)[1]:
                raise TimeoutError(f"nobody read the pty for {STALL} s")
            left = left[os.write(master_fd, left) :]
