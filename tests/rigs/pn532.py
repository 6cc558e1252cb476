"""A board's field, emptied so that the driver has seen it."""

from __future__ import annotations

import time

from tilltap_drivers.nfc.visits import BLINK
from tilltap_drivers.pn532.simulator import Pn532Simulator

# Seconds for a few polls; the rest is for slow machines.
POLLS_WITHIN = 10.0


def take_away(board: Pn532Simulator) -> None:
    """Removes what is in the field until the driver has missed it for so long that the next is another one."""
    board.remove()
    time.sleep(1.1 * BLINK)
    seen, until = board.chip.polls, time.monotonic() + POLLS_WITHIN
    while board.chip.polls < seen + 2:
        assert time.monotonic() < until, "the driver has stopped polling"
        time.sleep(0.005)
