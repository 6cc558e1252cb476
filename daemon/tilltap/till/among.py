"""A till among others on a shared ledger: as `Till`, and it sells on while the ledger is out of reach."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time

import structlog

from tilltap.clock import Clock
from tilltap.days import MIDNIGHT
from tilltap.errors import CallError
from tilltap.ledger import book
from tilltap.ledger.engine import Tx
from tilltap.ledger.shared import SharedStore, away
from tilltap.loyalty.health import Watched
from tilltap.model import Program, TapStatus, Who
from tilltap.till import news
from tilltap.till.desk import Till
from tilltap.till.offline import Close, Offline
from tilltap.till.shapes import Json, Shop, sale_shape

log = structlog.get_logger("tilltap.till")


class TillAmongOthers(Till):
    store: SharedStore

    def __init__(
        self, store: SharedStore, provider: Watched, shop: Shop, clock: Clock, *, day_starts: time = MIDNIGHT
    ) -> None:
        super().__init__(store, provider, shop, clock, day_starts=day_starts)
        self.offline = Offline(store)
        store.hub.on_publish = self.offline.follow
        store.on_change = self._reach_changed

    def join(self, tx: Tx) -> None:
        """In the first transaction of a connection: the rules of now, and this till's open sales."""
        self.shop = Shop(self.shop.till, self.shop.program, book.enter_program(tx, self.shop.program))
        for sale in book.open_sales(tx, self.shop.till):
            self.offline.remember(sale_shape(tx, sale))

    async def enter_spool(self) -> None:
        """Until cancelled: what was closed without the ledger is entered when it is back."""
        await self.offline.run(lambda: self.shop, self.kick_mirror)

    async def hear_news(self) -> None:
        """Says what other tills did to this till's sales and taps since the last time."""
        await self._run(lambda tx: news.hear(tx, self.shop))

    def _reach_changed(self) -> None:
        self.offline.kick()
        self.kick_mirror()

    # -- readers ----------------------------------------------------------------------------------------

    async def tap(self, reader: str, source: str, value: str, is_new: Callable[[int], bool]) -> int | None:
        try:
            return await super().tap(reader, source, value, is_new)
        except CallError as error:
            _must_be_away(error)
        await self.offline.tap(reader, source, value)
        log.info("tap", reader=reader, source=source, status="offline", value=value)
        return None

    async def tap_failed(self, reader: str, source: str, status: TapStatus, reason: str) -> None:
        try:
            await super().tap_failed(reader, source, status, reason)
        except CallError as error:
            _must_be_away(error)
            await self.offline.tap_failed(reader, source, status, reason)

    # -- calls ------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        state = super().state
        return "degraded" if state in ("ready", "starting") and not self.store.up else state

    async def snapshot(self) -> Json:
        """Without the ledger: what was last said of the open sales."""
        try:
            return await super().snapshot()
        except CallError as error:
            _must_be_away(error)
        return {
            "seq": self.hub.last_seq,
            "state": self.state,
            "readers": list(self.readers.values()),
            "sales": self.offline.open_sales(),
        }

    async def oldest_event(self) -> int:
        try:
            return await super().oldest_event()
        except CallError as error:
            _must_be_away(error)
        return self.hub.oldest + 1

    async def status(self) -> Json:
        status = await super().status()
        status["mirror"]["parked"] += len(self.offline.parked())
        return status

    async def sale_close(
        self, sale_id: str, total: int | None, eligible: int | None, paid: int | None, who: Who | None
    ) -> Json:
        call = Close(sale_id, total, eligible, paid, who)
        if await self._spooled(sale_id) is not None:
            return await self.offline.close(self.shop, call)
        try:
            return await super().sale_close(sale_id, total, eligible, paid, who)
        except CallError as error:
            _must_be_away(error)
        return await self.offline.close(self.shop, call)

    async def sale_get(self, sale_id: str, till: str | None) -> Json:
        if till in (None, self.shop.till) and (shape := await self._spooled(sale_id)) is not None:
            return shape
        return await super().sale_get(sale_id, till)

    async def sale_open(self, sale_id: str, total: int, eligible: int | None, who: Who | None) -> Json:
        await self._must_be_open(sale_id)
        return await super().sale_open(sale_id, total, eligible, who)

    async def sale_update(self, sale_id: str, total: int, eligible: int | None) -> Json:
        await self._must_be_open(sale_id)
        return await super().sale_update(sale_id, total, eligible)

    async def sale_accept(self, sale_id: str, reward: str) -> Json:
        await self._must_be_open(sale_id)
        return await super().sale_accept(sale_id, reward)

    async def sale_decline(self, sale_id: str, reward: str) -> Json:
        await self._must_be_open(sale_id)
        return await super().sale_decline(sale_id, reward)

    async def sale_cancel(self, sale_id: str) -> Json:
        await self._must_be_open(sale_id)
        return await super().sale_cancel(sale_id)

    async def sale_attach(self, sale_id: str, who: Who) -> Json:
        await self._must_be_entered(sale_id)
        return await super().sale_attach(sale_id, who)

    async def sale_refund(self, sale_id: str, refund_id: str, till: str | None, amount: int | None) -> Json:
        if till in (None, self.shop.till):
            await self._must_be_entered(sale_id)
        return await super().sale_refund(sale_id, refund_id, till, amount)

    async def mirror_list(self) -> list[Json]:
        return [*self.offline.parked(), *await super().mirror_list()]

    async def mirror_retry(self, value: str | None) -> list[Json]:
        if value is None:
            await self.offline.retry()
        return await super().mirror_retry(value)

    def _refused_closes(self) -> int:
        return len(self.offline.parked())

    async def _spooled(self, sale_id: str) -> Json | None:
        """The answer to a sale that only the spool knows; one that can be entered now is entered first."""
        if self.offline.known(sale_id) is not None and self.store.up:
            await self.offline.enter_all(self.shop)
        return self.offline.known(sale_id)

    async def _must_be_open(self, sale_id: str) -> None:
        if await self._spooled(sale_id) is not None:
            raise CallError("sale-not-open", "This sale is already closed.")

    async def _must_be_entered(self, sale_id: str) -> None:
        if await self._spooled(sale_id) is not None:
            raise away()

    # -- care -------------------------------------------------------------------------------------------

    async def tidy(self) -> None:
        """Not before the spool is entered: an open sale there may be a closed one here."""
        if not self.offline.waiting:
            await super().tidy()

    async def set_program(self, program: Program, changed: list[str]) -> None:
        """Without the ledger there is no version to give them: they are refused until it is back."""
        try:
            await super().set_program(program, changed)
        except CallError as error:
            _must_be_away(error)
            line = "program: the ledger is out of reach (reload again when it is back; the old rules go on)"
            await self.refuse_program([line])
            raise

    async def _say(self, method: str, fields: Json) -> None:
        try:
            await super()._say(method, fields)
        except CallError as error:
            _must_be_away(error)
            await self.store.run_local(lambda tx: tx.emit(method, fields))


def _must_be_away(error: CallError) -> None:
    """Any other refusal stands."""
    if error.code != "ledger-down":
        raise error
