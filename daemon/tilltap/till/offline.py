"""Selling while the shared ledger is out of reach: closes and taps are kept in the spool, and entered later.

What is answered here is what the till knows by itself; what the ledger makes of it is told by an event.
Entering is `sales.close` under the same key, so it may be repeated at any point (exactly-once.md, P9).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import anyio
import structlog

from tilltap import crash
from tilltap.caller import caller
from tilltap.errors import CallError, ParamError
from tilltap.events import Event
from tilltap.ledger import book, mirror_book, spool_book
from tilltap.ledger.book import Sale, Tap
from tilltap.ledger.engine import Tx
from tilltap.ledger.shared import SharedStore, away
from tilltap.ledger.spool_book import Spooled
from tilltap.log import places
from tilltap.model import Program, TapStatus, Who
from tilltap.passes import canonical
from tilltap.rules.redeem import Account
from tilltap.rules.settle import Order, settle
from tilltap.till import customers, sales, taps
from tilltap.till.sales import Found
from tilltap.till.shapes import Json, Shop, shape_of

log = structlog.get_logger("tilltap.till")

# The ledger is back, but busy: entering goes on after this.
PAUSE_S = 0.5
_NOBODY = {"pass_id": None, "ext_id": None}


@dataclass(frozen=True, slots=True)
class Close:
    """A `sale.close` as it was called; amounts in minor units."""

    sale_id: str
    total: int | None
    eligible: int | None
    paid: int | None
    who: Who | None

    def body(self) -> Json:
        who = self.who or Who()
        return {
            "total": self.total,
            "eligible": self.eligible,
            "paid": self.paid,
            "tap_id": who.tap_id,
            "value": who.value,
            "nobody": self.who == Who(),
        }


class Offline:
    """One per till on a shared ledger. `closes` and `taps` are what the spool holds."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._closes: dict[str, Spooled] = {}
        self._taps: dict[str, Spooled] = {}
        self._open: dict[str, Json] = {}  # this till's open sales as they were last announced
        self._one = anyio.Lock()
        self._wake = anyio.Event()

    async def load(self) -> None:
        """What an earlier run could not enter."""
        for item in await self._store.run_local(spool_book.everything):
            self._keep(item)

    def _keep(self, item: Spooled) -> None:
        (self._closes if item.kind == "close" else self._taps)[item.key] = item

    def kick(self) -> None:
        self._wake.set()

    @property
    def waiting(self) -> bool:
        """Whether there are closes that the ledger does not know yet."""
        return any(item.parked is None for item in self._closes.values())

    def parked(self) -> list[Json]:
        """Closes that the ledger refused, for `mirror.list`."""
        return [
            {
                "customer": None,
                "balance": None,
                "shown": None,
                "parked": item.parked,
                "reason": f"sale {item.key}, closed at {item.at} without the ledger: {item.parked}",
                "age_s": None,
                "sale_id": item.key,
            }
            for item in self._closes.values()
            if item.parked is not None
        ]

    def open_sales(self) -> list[Json]:
        return list(self._open.values())

    def follow(self, events: list[Event]) -> None:
        """Remembers open sales, so that one can be closed at its price without the ledger."""
        for event in events:
            if event.method == "sale":
                self.remember(event.params)

    def remember(self, shape: Json) -> None:
        """A sale of this till as it is now."""
        self._open.pop(shape["sale_id"], None)
        if shape["state"] == "open":
            self._open[shape["sale_id"]] = {k: v for k, v in shape.items() if k not in ("seq", "at", "till")}

    # -- without the ledger -----------------------------------------------------------------------------

    def known(self, sale_id: str) -> Json | None:
        """The answer to a sale that is closed here and nowhere else."""
        item = self._closes.get(sale_id)
        return None if item is None else item.shape

    async def close(self, shop: Shop, call: Close) -> Json:
        """Durable in the spool; `ledger-down` if only the ledger could say what is to be paid."""
        async with self._one:
            item = self._closes.get(call.sale_id)
            if item is not None:
                _must_agree(item, self._resolved(call), shop.program)
                return item.shape
            resolved = self._resolved(call)
            shape = _closed(resolved, shop, self._open.get(call.sale_id))
            body = resolved.body() | {"uid": caller()}

            def keep(tx: Tx) -> Spooled:
                tx.emit("sale", shape)
                return spool_book.add(tx, "close", call.sale_id, body | {"steady": tx.now}, shape)

            self._keep(await self._store.run_local(keep))
            self._open.pop(call.sale_id, None)
            log.info("sale spooled", sale_id=call.sale_id)
        self.kick()
        return shape

    def _resolved(self, call: Close) -> Close:
        """A tap of this time is only known here: its value is what counts."""
        tap = self._taps.get(call.who.tap_id) if call.who and call.who.tap_id else None
        if tap is None:
            return call
        who = Who(value=tap.body["value"])
        return Close(call.sale_id, call.total, call.eligible, call.paid, who)

    async def tap(self, reader: str, source: str, value: str) -> None:
        """An `offline` tap that attaches to nothing by itself: the POS may name it."""
        tap_id = secrets.token_hex(8)
        fields: Json = {
            "tap_id": tap_id,
            "reader": reader,
            "source": source,
            "status": "offline",
            "customer": _NOBODY,
            "balance": None,
            "rewards": [],
            "sale_id": None,
            "stale": False,
        }

        def keep(tx: Tx) -> Spooled:
            tx.emit("tap", fields)
            return spool_book.add(tx, "tap", tap_id, {"value": value}, fields)

        self._keep(await self._store.run_local(keep))
        self.kick()

    async def tap_failed(self, reader: str, source: str, status: TapStatus, reason: str) -> None:
        fields: Json = {
            "tap_id": secrets.token_hex(8),
            "reader": reader,
            "source": source,
            "status": status,
            "customer": None,
            "balance": None,
            "rewards": [],
            "sale_id": None,
            "stale": False,
            "reason": reason,
        }
        await self._store.run_local(lambda tx: tx.emit("tap", fields))

    # -- the ledger is back -----------------------------------------------------------------------------

    async def run(self, shop_of: Any, entered: Any) -> None:
        """Enters what waits, in order, whenever the ledger is in reach. `shop_of()`: the rules of now."""
        while True:
            self._wake = anyio.Event()
            if self._store.up and await self.enter_all(shop_of()):
                entered()
            if self._store.up and self.waiting:
                await anyio.sleep(PAUSE_S)
            else:
                await self._wake.wait()

    async def enter_all(self, shop: Shop) -> bool:
        """True if anything was entered. Stops at what must be tried again."""
        done = False
        items = [*self._closes.values(), *self._taps.values()]
        for item in sorted((i for i in items if i.parked is None), key=lambda i: i.id):
            try:
                await self._enter(shop, item)
                done = True
            except CallError as error:
                if error.retry:
                    return done
                await self._park(item, f"{error.code}: {error.message}")
            except ParamError as error:
                await self._park(item, error.message)
            except Exception as error:
                # One entry that hits a fault of ours must not keep the others out of the ledger.
                log.error("spooled entry failed", error=type(error).__name__, at=places(error))  # noqa: TRY400
                await self._park(item, "a fault of tilltap (see the log)")
        return done

    async def _enter(self, shop: Shop, item: Spooled) -> None:
        enter = _enter_close if item.kind == "close" else _enter_tap
        now = self._store.clock.steady()
        late = max(0.0, now - item.body.get("steady", now))
        await self._store.run(lambda tx: enter(tx, shop, item, late))
        crash.point("P9")
        await self._store.run_local(lambda tx: spool_book.drop(tx, item.id))
        held = self._closes if item.kind == "close" else self._taps
        held.pop(item.key, None)

    async def _park(self, item: Spooled, reason: str) -> None:
        log.warning("spooled entry parked", kind=item.kind, reason=reason)
        await self._mark(item, reason)

    async def retry(self) -> None:
        """Parked entries get another chance."""
        for item in [*self._closes.values(), *self._taps.values()]:
            if item.parked is not None:
                await self._mark(item, None)
        self.kick()

    async def _mark(self, item: Spooled, reason: str | None) -> None:
        await self._store.run_local(lambda tx: spool_book.park(tx, item.id, reason))
        self._keep(Spooled(item.id, item.kind, item.key, item.at, item.body, item.shape, reason))


def _closed(call: Close, shop: Shop, was: Json | None) -> Json:
    """The sale as it is closed, by what the till knows: its rules, and what it last said of an open sale."""
    money = shop.program.currency
    total = call.total
    if total is None:
        if was is None:
            raise away()
        total = money.parse(was["total"])
    eligible = call.eligible
    if eligible is not None and eligible > total:
        raise ParamError("eligible", "eligible must not be more than total")
    if eligible is None and was is not None and was["eligible"] != was["total"]:
        eligible = money.parse(was["eligible"])
    somebody = call.who != Who() if call.who is not None else bool(was and was["customer"])
    accepted = [o for o in was["offers"] if o["state"] == "accepted"] if was and somebody else []
    reward = shop.program.reward(accepted[0]["reward"]) if accepted else None
    sale = Sale(shop.till, call.sale_id, "closed", total, shop.version, 0, 0.0, eligible)
    taken = int(was["reserved"]) if was and reward else 0
    order = Order(total, sale.counted, call.paid, reward, taken)
    done = settle(shop.program, order, Account(0) if somebody else None, known=False)
    sale.paid, sale.discount = done.paid, done.discount
    shape = shape_of(
        sale,
        money,
        None,
        discount=done.discount,
        paid=done.paid,
        reserved=0,
        earned=done.earned.points,
        balance_after=None,
        offers=accepted if done.reward else [],
        message=done.message,
        receipt=done.receipt,
        why=f"{done.why} The ledger is out of reach and is told later.",
        offline=True,
    )
    keep = was is not None and call.who is None
    return {**shape, "customer": (was["customer"] if was and keep else _NOBODY) if somebody else None}


def _must_agree(item: Spooled, call: Close, program: Program) -> None:
    """As for a close that the ledger knows: left out is fine, something else is not."""
    money, shape, now = program.currency.parse, item.shape, call.body()
    said = [
        (call.total, money(shape["total"])),
        (call.eligible, money(shape["eligible"])),
        (call.paid, money(shape["paid"])),
    ]
    other = any(given is not None and given != was for given, was in said)
    for name in ("tap_id", "value"):
        if now[name] is not None and item.body[name] is not None:
            other = other or canonical(now[name]) != canonical(item.body[name])
    if call.who not in (None, Who()) and shape["customer"] is None:
        other = True
    if other:
        raise CallError("key-reused", "This sale number was already closed with other figures.")


def _enter_close(tx: Tx, shop: Shop, item: Spooled, late: float) -> None:
    """`late`: seconds since it was closed. The report counts it on the day it was sold; a phone does not hear
    of it after two hours.
    """
    body = item.body
    tx.at, tx.late = item.at, late
    who: Found | None = None
    if body["value"] is not None:
        who = Found(customers.stranger(tx, canonical(body["value"])).id)
    elif body["tap_id"] is not None:
        tap = book.tap(tx, shop.till, body["tap_id"])
        if tap is None:
            raise CallError("unknown-tap", "The tap is not known.")
        if tap.customer_id is None:
            raise CallError("unknown-pass", "The tap did not name a customer.")
        who = Found(book.customer(tx, tap.customer_id).id, tap.tap_id)
    elif body["nobody"]:
        who = Found(None)
    tx.uid = body.get("uid")
    # A sale that was opened since is this very sale: what was charged is known from the spool.
    total = program_amount(shop, item, "total")
    sales.close(tx, shop, item.key, total, body["eligible"], body["paid"], who)


def program_amount(shop: Shop, item: Spooled, key: str) -> int:
    return shop.program.currency.parse(item.shape[key])


def _enter_tap(tx: Tx, shop: Shop, item: Spooled, _late: float) -> None:
    """The tap gets its place in the ledger; if its customer is known there, it is said again."""
    if book.tap(tx, shop.till, item.key) is not None:
        return
    customer = customers.stranger(tx, canonical(item.body["value"]))
    book.lock(tx, customer.id)
    fields = item.shape
    tap = Tap(
        item.key,
        fields["reader"],
        fields["source"],
        "offline",
        customer.id,
        None,
        None,
        used=1,
        steady=tx.now,
    )
    book.add_tap(tx, shop.till, tap)
    if customer.known:
        taps.say_again(tx, shop, tap, customer, "identified")
        mirror_book.look(tx, customer.id, item.key)
