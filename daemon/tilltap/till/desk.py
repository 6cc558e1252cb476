"""The till: what the POS socket asks for and what readers report, in front of the ledger and the service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time
from typing import TypeVar

import structlog

from tilltap import __version__, crash
from tilltap.caller import caller
from tilltap.clock import Clock, rfc3339
from tilltap.days import MIDNIGHT, business_day, span
from tilltap.errors import CallError
from tilltap.events import Event
from tilltap.ledger import book, mirror_book, push_book
from tilltap.ledger.engine import Tx
from tilltap.ledger.store import Store
from tilltap.loyalty.health import Watched
from tilltap.loyalty.provider import Outcome
from tilltap.model import Currency, Peer, Program, TapStatus, Who
from tilltap.passes import canonical
from tilltap.till import customers, refunds, sales, taps
from tilltap.till.directory import Directory
from tilltap.till.report import Asked, report
from tilltap.till.sales import Found
from tilltap.till.shapes import Json, Shop, behind, customer_shape, sale_shape
from tilltap.till.whom import NEW, TAP_GOOD_S, Asking, named

T = TypeVar("T")
log = structlog.get_logger("tilltap.till")

PROTOCOL = 1
# Contract 3.1: an open sale that nobody touches for a day is cancelled.
DAY_S = 24 * 3600
# Contract 3.1: at least the last 10 000 events can be asked for again.
EVENTS_KEPT = 20_000
# A day's texts are counted against the budget; a week's are there when somebody asks what a phone was told.
TEXTS_KEPT_S = 7 * DAY_S
# Passes named by `mirror.list` at once; a till that is further behind has one cause, not thousands.
MIRROR_LIST = 200


class Till:
    """One per daemon. Methods named like calls are those of contract 3.1; `tap` is what readers call.

    `day_starts`: when a business day begins, by the shop's own clock.
    """

    def __init__(
        self, store: Store, provider: Watched, shop: Shop, clock: Clock, *, day_starts: time = MIDNIGHT
    ) -> None:
        self.store = store
        self.hub = store.hub
        self.shop = shop
        self.directory = Directory(store, provider, clock)
        self._asking = Asking(provider, self.directory, clock)
        self.readers: dict[str, Json] = {}
        self.phase = "starting"
        self.kick_mirror: Callable[[], None] = lambda: None
        self.hurry_mirror: Callable[[], None] = lambda: None
        self._provider = provider
        self._clock = clock
        self._day_starts = day_starts

    @property
    def currency(self) -> Currency:
        return self.shop.program.currency

    # -- readers ----------------------------------------------------------------------------------------

    async def tap(self, reader: str, source: str, value: str, is_new: Callable[[int], bool]) -> int | None:
        """A pass was presented. Returns the customer it belongs to, so that repeats can be folded.

        `is_new(customer)` is asked inside the transaction, from the store thread: False for a customer who
        just tapped here with another value of the same pass.
        """
        found = await self._run(lambda tx: self._tap_known(tx, reader, source, value, is_new), kick=True)
        status: TapStatus = "identified"
        if found is None:
            status, found = await self._identify(value)
            await self._run(lambda tx: self._tap_new(tx, reader, source, status, found, is_new), kick=True)
        log.info("tap", reader=reader, source=source, status=status, value=value)
        return found

    async def tap_failed(self, reader: str, source: str, status: TapStatus, reason: str) -> None:
        """Something was presented that names nobody."""
        await self._run(
            lambda tx: taps.record(tx, self.shop, reader=reader, source=source, status=status, reason=reason)
        )

    async def reader_changed(self, reader: str, state: str, remedy: str) -> None:
        fields: Json = {"reader": reader, "state": state} | ({"remedy": remedy} if remedy else {})
        if self.readers.get(reader) != fields:
            self.readers[reader] = fields
            await self._say("reader", fields)

    async def reader_removed(self, reader: str) -> None:
        self.readers.pop(reader, None)

    def _tap_known(
        self, tx: Tx, reader: str, source: str, value: str, is_new: Callable[[int], bool]
    ) -> int | None:
        customer = book.by_value(tx, value)
        if customer is None or not customer.known:
            return None
        book.lock(tx, customer.id)
        customer = book.customer(tx, customer.id)
        if is_new(customer.id):
            taps.record(tx, self.shop, reader=reader, source=source, status="identified", customer=customer)
        return customer.id

    def _tap_new(
        self,
        tx: Tx,
        reader: str,
        source: str,
        status: TapStatus,
        customer_id: int | None,
        is_new: Callable[[int], bool],
    ) -> None:
        book.lock(tx, customer_id)
        customer = book.customer(tx, customer_id) if customer_id is not None else None
        if customer is not None and customer.known:
            status = "identified"
            if not is_new(customer.id):
                return
        taps.record(tx, self.shop, reader=reader, source=source, status=status, customer=customer)

    # -- whom a value means -----------------------------------------------------------------------------

    async def _identify(self, value: str) -> tuple[TapStatus, int | None]:
        """For a value new to the ledger, or one the service has not answered for yet."""
        state, outcome = await self._asking.state_of(value)
        if state is not None:
            customer = await self._run(lambda tx: customers.meet(tx, self.shop, value, state))
            return "identified", customer.id
        if outcome is Outcome.GONE:
            return "unknown-pass", None
        return "offline", (await self._run(lambda tx: customers.stranger(tx, value))).id

    async def _find(self, value: str) -> int:
        """A customer for a call that needs the balance: `unknown-pass` or `offline` if there is none."""
        value = canonical(value)
        customer = await self._run(lambda tx: book.by_value(tx, value))
        if customer is not None and customer.known:
            return customer.id
        state, outcome = await self._asking.state_of(value)
        if state is not None:
            return (await self._run(lambda tx: customers.meet(tx, self.shop, value, state))).id
        if outcome is Outcome.GONE:
            raise CallError("unknown-pass", "The loyalty service does not know this pass.")
        raise CallError("offline", "The loyalty service does not answer. Try again in a moment.")

    async def _with(
        self, who: Who | None, act: Callable[[Tx, Found | None], Json], *, closing: str | None = None
    ) -> Json:
        """`act` with the customer that `who` names: one transaction when the ledger knows the value.

        `closing`: the sale that `act` closes. Otherwise the service is asked whether others changed the
        balance; a close is read back anyway.
        """

        def attempt(tx: Tx) -> Json | None:
            found = named(tx, self.shop, who, closing)
            return None if found is NEW else act(tx, found)

        done = await self._at_once(attempt, kick=True)
        if done is not None:
            return done
        assert who is not None
        assert who.value is not None
        status, customer_id = await self._identify(canonical(who.value))
        if status == "unknown-pass":
            raise CallError("unknown-pass", "The loyalty service does not know this pass.")
        assert customer_id is not None
        return await self._at_once(lambda tx: act(tx, Found(book.customer(tx, customer_id).id)), kick=True)

    # -- calls ------------------------------------------------------------------------------------------

    async def hello(self) -> Json:
        program = self.shop.program
        return {
            "daemon": "tilltap",
            "version": __version__,
            "protocol": PROTOCOL,
            "oldest_protocol": PROTOCOL,
            "till": self.shop.till,
            "store": program.store,
            "currency": program.currency.code,
            "program": {"name": program.name, "point": program.point, "points": program.points},
            "state": self.state,
            "readers": list(self.readers.values()),
        }

    @property
    def state(self) -> str:
        if self.phase != "ready":
            return self.phase
        if self._provider.state is None:
            return "starting"
        well = self._provider.state == "up" and all(r["state"] == "up" for r in self.readers.values())
        return "ready" if well else "degraded"

    async def snapshot(self) -> Json:
        def read(tx: Tx) -> Json:
            return {
                "seq": self.store.last_seq,
                "sales": [sale_shape(tx, sale) for sale in book.open_sales(tx, self.shop.till)],
            }

        seen = await self._run(read)
        return {
            "seq": seen["seq"],
            "state": self.state,
            "readers": list(self.readers.values()),
            "sales": seen["sales"],
        }

    async def events(self, after: int, limit: int) -> list[Event]:
        rows = await self._run(lambda tx: book.events(tx, self.shop.till, after, limit))
        return [Event(seq, method, params) for seq, method, params in rows]

    async def oldest_event(self) -> int:
        return await self._run(lambda tx: book.first_seq(tx, self.shop.till))

    async def status(self) -> Json:
        def read(tx: Tx) -> Json:
            found = mirror_book.counts(tx)
            return {
                "waiting": found.waiting,
                "oldest_age_s": None if found.oldest is None else max(0, int(tx.now - found.oldest)),
                "parked": found.parked,
                "foreign": found.foreign,
            }

        try:
            mirror = await self._run(read)
            ledger = "up"
        except CallError:
            mirror = {"waiting": 0, "oldest_age_s": None, "parked": 0, "foreign": 0}
            ledger = "down"
        last_ok = self._provider.last_ok
        return {
            "state": self.state,
            "readers": list(self.readers.values()),
            "loyalty": {
                "state": self._provider.state or "down",
                "last_ok": rfc3339(last_ok) if last_ok else None,
            },
            "ledger": {"state": ledger},
            "mirror": mirror,
        }

    async def sale_open(self, sale_id: str, total: int, eligible: int | None, who: Who | None) -> Json:
        return await self._with(
            who, lambda tx, found: sales.open_sale(tx, self.shop, sale_id, total, eligible, found)
        )

    async def sale_update(self, sale_id: str, total: int, eligible: int | None) -> Json:
        return await self._at_once(lambda tx: sales.update(tx, self.shop, sale_id, total, eligible))

    async def sale_attach(self, sale_id: str, who: Who) -> Json:
        return await self._with(
            who, lambda tx, found: sales.attach(tx, self.shop, sale_id, found or Found(None))
        )

    async def sale_accept(self, sale_id: str, reward: str) -> Json:
        value = await self._at_once(lambda tx: self._unanswered(tx, sale_id))
        if value is not None:
            await self._find(value)
        sale = await self._at_once(lambda tx: sales.accept(tx, self.shop, sale_id, reward))
        crash.point("P2")
        return sale

    def _unanswered(self, tx: Tx, sale_id: str) -> str | None:
        """The value of the open sale's customer, if the service has not answered for it yet."""
        sale = book.sale(tx, self.shop.till, sale_id)
        if sale is None or not sale.is_open or sale.customer_id is None:
            return None
        customer = book.customer(tx, sale.customer_id)
        return None if customer.known else customer.value

    async def sale_decline(self, sale_id: str, reward: str) -> Json:
        return await self._at_once(lambda tx: sales.decline(tx, self.shop, sale_id, reward))

    async def sale_close(
        self, sale_id: str, total: int | None, eligible: int | None, paid: int | None, who: Who | None
    ) -> Json:
        return await self._with(
            who,
            lambda tx, found: sales.close(tx, self.shop, sale_id, total, eligible, paid, found),
            closing=sale_id,
        )

    async def sale_cancel(self, sale_id: str) -> Json:
        return await self._at_once(lambda tx: sales.cancel(tx, self.shop, sale_id))

    async def sale_refund(self, sale_id: str, refund_id: str, till: str | None, amount: int | None) -> Json:
        return await self._at_once(
            lambda tx: refunds.refund(tx, self.shop, sale_id, refund_id, till, amount), kick=True
        )

    async def sale_get(self, sale_id: str, till: str | None) -> Json:
        return await self._at_once(lambda tx: sales.get(tx, self.shop, sale_id, till))

    async def customer_find(self, value: str) -> Json:
        customer_id = await self._find(value)

        def read(tx: Tx) -> Json:
            mirror_book.look(tx, customer_id, "")
            return customer_shape(tx, self.shop, book.customer(tx, customer_id))

        return await self._at_once(read, kick=True)

    async def customer_history(self, value: str, limit: int) -> Json:
        customer_id = await self._find(value)
        return await self._run(lambda tx: customers.history(tx, self.shop, customer_id, limit))

    async def customer_adjust(self, value: str, points: int, reason: str, request_id: str, by: Peer) -> Json:
        customer_id = await self._find(value)
        why = f"{reason} (by user {by.uid})"
        return await self._run(
            lambda tx: customers.adjust(tx, self.shop, customer_id, points, why, request_id), kick=True
        )

    async def mirror_list(self) -> list[Json]:
        return await self._run(lambda tx: behind(tx, MIRROR_LIST))

    async def mirror_retry(self, value: str | None) -> list[Json]:
        def again(tx: Tx) -> list[Json]:
            if value is None:
                for row in mirror_book.behind(tx, MIRROR_LIST):
                    mirror_book.retry(tx, row.customer_id)
            else:
                customer = book.by_value(tx, canonical(value))
                if customer is None:
                    raise CallError("unknown-pass", "No pass with this value is known here.")
                mirror_book.retry(tx, customer.id)
            return behind(tx, MIRROR_LIST)

        listed = await self._run(again)
        self.hurry_mirror()
        return listed

    async def report(self, day: date | None, till: str | None) -> Json:
        at = self._clock.wall()
        day = business_day(at, self._day_starts) if day is None else day
        asked = Asked(day, *span(day, self._day_starts), till, self.shop.till)
        refused = self._refused_closes()
        return await self.store.look(lambda tx: report(tx, asked, self.currency, at=at, spool_parked=refused))

    def _refused_closes(self) -> int:
        """How many the ledger would not enter."""
        return 0

    # -- care -------------------------------------------------------------------------------------------

    async def tidy(self) -> None:
        """Cancels open sales nobody touched for a day, forgets old taps, events and texts."""

        def work(tx: Tx) -> None:
            for sale in book.stale_sales(tx, self.shop.till, tx.now - DAY_S):
                sales.cancel(tx, self.shop, sale.sale_id, why="untouched for a day")
            book.prune(tx, self.shop.till, keep_events=EVENTS_KEPT, taps_before=tx.now - TAP_GOOD_S)

        await self._run(work)
        await self._run(lambda tx: push_book.forget(tx, self.shop.till, tx.now - TEXTS_KEPT_S))

    async def set_program(self, program: Program, changed: list[str]) -> None:
        """New rules for what begins from now on."""

        def enter(tx: Tx) -> int:
            version = book.enter_program(tx, program)
            tx.emit("program", {"version": version, "changed": changed})
            return version

        version = await self._run(enter)
        self.shop = Shop(self.shop.till, program, version)

    async def refuse_program(self, lines: list[str]) -> None:
        await self._say("program", {"version": self.shop.version, "refused": lines})

    async def say_bye(self) -> None:
        self.phase = "stopping"
        await self._say("bye", {})

    async def _say(self, method: str, fields: Json) -> None:
        """An event of its own."""
        await self._run(lambda tx: tx.emit(method, fields))

    async def _at_once(self, fn: Callable[[Tx], T], *, kick: bool = False) -> T:
        """What a cashier waits for."""
        return await self._run(fn, kick=kick, at_once=True)

    async def _run(self, fn: Callable[[Tx], T], *, kick: bool = False, at_once: bool = False) -> T:
        uid = caller()

        def work(tx: Tx) -> T:
            tx.uid = uid
            return fn(tx)

        result: T = await self.store.run(work, at_once=at_once)
        if kick:
            self.kick_mirror()
        return result
