"""NFC value -> pass for values the service cannot be asked by: a local index of `GET /passes`.

passentry.md section 4: the NFC value may be custom text, and no filter by it is documented.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import anyio
import structlog

from tilltap.clock import Clock, rfc3339
from tilltap.errors import CallError
from tilltap.ledger import book
from tilltap.ledger.engine import Tx
from tilltap.ledger.store import Store
from tilltap.loyalty.provider import Answer, Outcome, PassState, Provider
from tilltap.passes import canonical

log = structlog.get_logger()

# New passes since the last listing, with this much to spare for clocks that disagree.
OVERLAP = timedelta(days=1)
# A pass made a moment ago is found at its first tap; a value nobody knows must not list the passes each time.
AGAIN_S = 5.0
# A custom value can also be given to an old pass, which no increment shows.
WHOLE_AGAIN_S = 6 * 3600.0
# Of tills on one ledger, one lists for all: two hundred would use up the rate they share. One that is not
# heard of for so long died over it: a page may be waited for while a 429 lasts (a minute), and then again.
LISTING_S = 180.0
# Until when whose listing is good, by the ledger's time: "until till", and no till once it got to the end.
LISTED_BY = "listed-by"
# Rows of a page in one transaction: on a server 20 ms away all 100, one after the other, would take too long.
ROWS = 20


class Directory:
    """One refresh at a time; whoever needs it waits for the one under way."""

    def __init__(self, store: Store, provider: Provider, clock: Clock) -> None:
        self._store = store
        self._provider = provider
        self._clock = clock
        self._lock = anyio.Lock()
        self._done: float | None = None  # steady time of the last complete listing in this run

    async def refresh(self, *, whole: bool = False) -> bool:
        """True if the service listed its passes to the end."""
        started, wall = self._clock.steady(), self._clock.wall()
        mark = None if whole else await self._store.run(lambda tx: book.meta(tx, "listed"))
        if mark is not None and mark > rfc3339(wall):
            mark = None  # of a clock that was ahead, and has been put right since
        async for page in self._provider.list_passes(created_after=mark):
            if isinstance(page, Answer):
                log.info("passes not listed", reason=page.reason)
                if page.outcome is Outcome.REFUSED:
                    self._done = started  # nor will they ever be: what the service knows by itself has to do
                return False
            for n in range(0, len(page), ROWS):
                await self._store.run(lambda tx, rows=page[n : n + ROWS]: _keep(tx, rows))  # type: ignore[misc]
            if whole and self._store.shared:
                await self._store.run(lambda tx: _hold_turn(tx, LISTING_S, tx.till))
        await self._store.run(lambda tx: book.put_meta(tx, "listed", rfc3339(wall - OVERLAP)))
        self._done = started
        return True

    async def find(self, value: str, deadline: float) -> tuple[str | None, bool]:
        """The pass id behind `value`, asking the service for new passes once if the index has none.

        The second value is False while "none" cannot be said: the service has not listed its passes to the
        end since `value` was asked for.
        """
        found = await self._store.run(lambda tx: book.indexed(tx, value))
        if found is not None:
            return found, True
        asked = self._clock.steady()
        with anyio.move_on_after(deadline):
            async with self._lock:
                stale = self._done is None or self._done < asked - AGAIN_S
                if stale and not (self._store.shared and await self._store.run(_others_list)):
                    await self.refresh()
        found = await self._store.run(lambda tx: book.indexed(tx, value))
        listed = self._done is not None and self._done >= asked - AGAIN_S
        return found, found is not None or listed

    async def keep_fresh(self) -> None:
        """The whole list at start and now and then; a service that does not answer is asked again later."""
        pause = 1.0
        while True:
            try:
                left = await self.list_if_due()
            except CallError:  # the ledger is out of reach
                left = None
            pause = min(pause * 2, 60.0) if left is None else left
            await anyio.sleep(pause)

    async def list_if_due(self) -> float | None:
        """Seconds until it may be due again; None: the service did not list its passes to the end."""
        if not self._store.shared:
            return await self._list()
        if (left := await self._store.run(_take_turn)) > 0:
            return left
        again = None
        try:
            again = await self._list()
        finally:
            with anyio.CancelScope(shield=True), suppress(CallError):
                await self._store.run(lambda tx: _hold_turn(tx, again or 0.0))
        return again

    async def _list(self) -> float | None:
        async with self._lock:
            return WHOLE_AGAIN_S if await self.refresh(whole=True) else None


def _turn(tx: Tx) -> tuple[float, str]:
    """Seconds that somebody's listing is good for, and the till that is still at it."""
    until, _, till = (book.meta(tx, LISTED_BY) or "0").partition(" ")
    return float(until) - tx.now, till


def _take_turn(tx: Tx) -> float:
    """Seconds that another till's listing is good for; 0: it is this one's turn."""
    book.lock_names(tx, [LISTED_BY])
    left, till = _turn(tx)
    # Ours: we ended in the middle of it. Beyond the longest: of a clock that was ahead, and is right now.
    if 0 < left <= WHOLE_AGAIN_S and till != tx.till:
        return left
    _hold_turn(tx, LISTING_S, tx.till)
    return 0.0


def _hold_turn(tx: Tx, seconds: float, till: str = "") -> None:
    book.put_meta(tx, LISTED_BY, f"{tx.now + seconds!r} {till}")


def _others_list(tx: Tx) -> bool:
    """For the first time: until they are done there is nothing to go on from."""
    left, till = _turn(tx)
    return left > 0 and till not in ("", tx.till) and book.meta(tx, "listed") is None


def _keep(tx: Tx, rows: list[PassState]) -> None:
    for item in rows:
        # Nearly all are there already, and a row written again is a page to flush.
        if item.nfc and book.indexed(tx, value := canonical(item.nfc)) != item.pass_id:
            book.put_index(tx, value, item.pass_id)
