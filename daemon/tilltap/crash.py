"""Named places where tests kill the daemon with SIGKILL (exactly-once.md section 8); inert otherwise.

`TILLTAP_CRASH_AT=P1` dies at the first passing of P1, `P1:3` at the third.
"""

from __future__ import annotations

import os
import signal

_name, _, _count = os.environ.get("TILLTAP_CRASH_AT", "").partition(":")
_left = int(_count or 1)


def point(name: str) -> None:
    """P0 before a ledger commit, P1 after it; P3 intent committed, P5 reply read, P6 outcome recorded, P7 a
    balance read but not judged. Only transactions with events, of which a POS is told, pass P0 and P1.
    """
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
