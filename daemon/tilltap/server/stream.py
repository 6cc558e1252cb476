"""`watch`: a snapshot, then every event after a cursor, once and in order (contract 3.1).

The cursor is all a watcher costs: recent events are lines the hub holds anyway, older ones are read from the
ledger a page at a time.
"""

from __future__ import annotations

import json

from tilltap.server.desk import Desk, Json

PAGE = 200  # events read from the ledger at a time: about 100 kB, under 10 ms of the store thread

_TAP = b'{"jsonrpc":"2.0","method":"tap",'  # how Event.line begins one


class FellBehindError(Exception):
    """Events after the cursor are kept no more: the watcher must ask again and learn of the gap."""


async def opening(desk: Desk, after: int | None) -> tuple[Json, int]:
    """The reply to `watch` and the cursor to stream from.

    `gap` is true when not everything after `after` can be sent: it is older than what is kept (then all that
    is kept follows) or of another ledger, beyond the current `seq` (then only what is new follows).
    """
    snapshot = await desk.snapshot()
    seq: int = snapshot["seq"]
    if after is None or after > seq:
        return {**snapshot, "gap": after is not None}, seq
    oldest = await desk.oldest_event()
    start = max(after, oldest - 1)
    return {**snapshot, "gap": start > after}, start


def as_missed(line: bytes) -> bytes:
    """An event from before the snapshot: a tap among them is `stale`, to be shown but not acted on."""
    if not line.startswith(_TAP):
        return line
    event = json.loads(line)
    event["params"]["stale"] = True
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


async def page(desk: Desk, cursor: int) -> list[tuple[int, bytes]]:
    """Waits for events after `cursor`; at least one `(seq, line)`, oldest first."""
    await desk.hub.wait(cursor)
    recent = desk.hub.since(cursor)
    if recent is not None:
        return recent
    older = await desk.events(cursor, PAGE)
    if not older or (older[0].seq > cursor + 1 and await desk.oldest_event() > cursor + 1):
        raise FellBehindError
    return [(event.seq, event.line()) for event in older]
