"""A till in memory behind the `Desk` protocol, and the POS socket served in front of it.

It keeps sales and customers as plainly as possible (no rules, no reservations, no ledger): enough for answers of
the right shape that depend on what was asked, so that a lost, doubled or reordered call shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tilltap.caller import caller
from tilltap.clock import time_to_answer
from tilltap.errors import CallError, ParamError
from tilltap.events import Event, Hub
from tilltap.model import Currency, Peer, Who
from tilltap.server.desk import Json
from tilltap.server.listen import serve


@dataclass
class MemoryDesk:
    """`calls` records what arrived; `gates` holds a method back until set; `faults` makes it raise."""

    currency: Currency = field(default_factory=lambda: Currency("GBP"))
    keep: int = 10_000
    hub: Hub = field(default_factory=lambda: Hub(0))
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    callers: set[int | None] = field(default_factory=set)
    patience: list[float] = field(default_factory=list)  # seconds that each page of old events may take
    gates: dict[str, anyio.Event] = field(default_factory=dict)
    faults: dict[str, Exception] = field(default_factory=dict)
    sales: dict[str, Json] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=lambda: {"cust-17": 5})
    log: list[Event] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    def publish(self, method: str, **params: Any) -> int:
        seq = self.hub.last_seq + 1
        event = Event(seq, method, {"seq": seq, "at": "2026-11-21T10:00:00.123Z", "till": "till-1", **params})
        self.log = [*self.log, event][-self.keep :]
        self.hub.publish([event])
        return seq

    async def _arrived(self, method: str, *args: Any) -> None:
        self.calls.append((method, args))
        self.callers.add(caller())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await anyio.lowlevel.checkpoint()
            if method in self.gates:
                await self.gates[method].wait()
            if method in self.faults:
                raise self.faults[method]
        finally:
            self.running -= 1

    async def hello(self) -> Json:
        await self._arrived("hello")
        program = {"name": "PassEntry Coffee", "point": "point", "points": "points"}
        versions = {"daemon": "tilltap", "version": "0.1.0", "protocol": 1, "oldest_protocol": 1}
        shop = {"till": "till-1", "store": "soho", "currency": "GBP", "program": program}
        return versions | shop | {"state": "ready", "readers": self._readers()}

    async def snapshot(self) -> Json:
        await self._arrived("snapshot")
        open_sales = [dict(s) for s in self.sales.values() if s["state"] == "open"]
        return {"seq": self.hub.last_seq, "state": "ready", "readers": self._readers(), "sales": open_sales}

    async def events(self, after: int, limit: int) -> list[Event]:
        await self._arrived("events", after, limit)
        self.patience.append(time_to_answer())
        return [e for e in self.log if e.seq > after][:limit]

    async def oldest_event(self) -> int:
        return self.log[0].seq if self.log else 0

    async def status(self) -> Json:
        await self._arrived("status")
        mirror = {"waiting": 0, "oldest_age_s": None, "parked": 0, "foreign": 0}
        parts = {"loyalty": {"state": "up", "last_ok": "2026-11-21T09:59:58.000Z"}, "ledger": {"state": "up"}}
        return {"state": "ready", "readers": self._readers(), **parts, "mirror": mirror}

    async def sale_open(self, sale_id: str, total: int, eligible: int | None, who: Who | None) -> Json:
        await self._arrived("sale.open", sale_id, total, eligible, who)
        if sale_id not in self.sales:
            self.sales[sale_id] = {"sale_id": sale_id, "state": "open", "customer": None, "paid": None}
        return self._put(sale_id, total, eligible, who)

    async def sale_update(self, sale_id: str, total: int, eligible: int | None) -> Json:
        await self._arrived("sale.update", sale_id, total, eligible)
        self._open(sale_id)
        return self._put(sale_id, total, eligible, None)

    async def sale_attach(self, sale_id: str, who: Who) -> Json:
        await self._arrived("sale.attach", sale_id, who)
        return self._put(sale_id, None, None, who) if self._open(sale_id) else {}

    async def sale_accept(self, sale_id: str, reward: str) -> Json:
        await self._arrived("sale.accept", sale_id, reward)
        self._open(sale_id)
        raise CallError("reward-unavailable", "This reward is not on offer.")

    async def sale_decline(self, sale_id: str, reward: str) -> Json:
        await self._arrived("sale.decline", sale_id, reward)
        return self._open(sale_id)

    async def sale_close(
        self, sale_id: str, total: int | None, eligible: int | None, paid: int | None, who: Who | None
    ) -> Json:
        await self._arrived("sale.close", sale_id, total, eligible, paid, who)
        if sale_id not in self.sales:
            if total is None:
                raise ParamError("total", "total: needed to close a sale that was not opened")
            self.sales[sale_id] = {"sale_id": sale_id, "state": "open", "customer": None, "paid": None}
        sale = self.sales[sale_id]
        if sale["state"] == "closed":
            if total is not None and self.currency.text(total) != sale["total"]:
                raise CallError("key-reused", "This sale was closed with another total.")
            return dict(sale)
        sale["state"] = "closed"
        changed = self._put(sale_id, total, eligible, who)
        sale["paid"] = changed["paid"] = self.currency.text(paid) if paid is not None else sale["total"]
        return changed

    async def sale_cancel(self, sale_id: str) -> Json:
        await self._arrived("sale.cancel", sale_id)
        self._open(sale_id)["state"] = "cancelled"
        return self._put(sale_id, None, None, None)

    async def sale_refund(self, sale_id: str, refund_id: str, till: str | None, amount: int | None) -> Json:
        await self._arrived("sale.refund", sale_id, refund_id, till, amount)
        if self._sale(sale_id)["state"] != "closed":
            raise CallError("sale-not-closed", "Only a closed sale can be refunded.")
        self.sales[sale_id]["state"] = "refunded"
        return self._put(sale_id, None, None, None)

    async def sale_get(self, sale_id: str, till: str | None) -> Json:
        await self._arrived("sale.get", sale_id, till)
        return dict(self._sale(sale_id))

    async def customer_find(self, value: str) -> Json:
        await self._arrived("customer.find", value)
        return self._customer(value)

    async def customer_history(self, value: str, limit: int) -> Json:
        await self._arrived("customer.history", value, limit)
        return {"customer": self._customer(value)["customer"], "entries": []}

    async def customer_adjust(self, value: str, points: int, reason: str, request_id: str, by: Peer) -> Json:
        await self._arrived("customer.adjust", value, points, reason, request_id, by)
        self._customer(value)
        self.balances[value] += points
        return self._customer(value)

    async def mirror_list(self) -> list[Json]:
        await self._arrived("mirror.list")
        return []

    async def mirror_retry(self, value: str | None) -> list[Json]:
        await self._arrived("mirror.retry", value)
        return []

    async def report(self, day: date | None, till: str | None) -> Json:
        await self._arrived("report", day, till)
        if till not in (None, "till-1"):
            raise ParamError("till", "till: no till of this name was ever on this ledger")
        sold = [s for s in self.sales.values() if s["state"] == "closed"]
        paid = self.currency.text(sum(self.currency.parse(s["paid"]) for s in sold))
        known = sum(s["customer"] is not None for s in sold)
        figures = {
            "sales": {"with_customer": known, "without_customer": len(sold) - known},
            "money": {"total": paid, "discounts": "0.00", "paid": paid, "refunds": 0, "refunded": "0.00"},
            "paid_differences": {"sales": 0, "over": "0.00", "under": "0.00"},
            "rewards": [],
            "points": dict.fromkeys(
                ("earned", "spent", "returned", "taken_back", "adjusted", "changed_by_others", "opening"), 0
            ),
            "below_zero": 0,
            "parked": 0,
        }
        of = day or date(2026, 11, 21)
        times = {"from": f"{of}T00:00:00.000Z", "to": f"{of + timedelta(days=1)}T00:00:00.000Z"}
        return {
            "day": of.isoformat(),
            **times,
            "at": "2026-11-21T10:00:00.123Z",
            "currency": self.currency.code,
            **figures,
            "tills": [{"till": "till-1", **figures}],
            "below_zero_now": [],
        }

    def _readers(self) -> list[Json]:
        return [{"reader": "counter", "state": "up"}]

    def _customer(self, value: str) -> Json:
        if value not in self.balances:
            raise CallError("unknown-pass", "The loyalty service does not know this pass.")
        ids = {"pass_id": f"pass-of-{value}", "ext_id": value}
        return {"customer": ids, "balance": self.balances[value], "reserved": 0, "rewards": []}

    def _sale(self, sale_id: str) -> Json:
        if sale_id not in self.sales:
            raise CallError("unknown-sale", "This till does not know that sale.")
        return self.sales[sale_id]

    def _open(self, sale_id: str) -> Json:
        if self._sale(sale_id)["state"] != "open":
            raise CallError("sale-not-open", "This sale is not open any more.")
        return self.sales[sale_id]

    def _put(self, sale_id: str, total: int | None, eligible: int | None, who: Who | None) -> Json:
        sale = self.sales[sale_id]
        if total is not None:
            sale["total"] = sale["due"] = self.currency.text(total)
            sale["eligible"] = self.currency.text(total if eligible is None else eligible)
        if who is not None:
            sale["customer"] = None if who == Who() else self._customer(who.value or "")["customer"]
        self.publish("sale", **sale)
        return dict(sale)


@dataclass
class Served:
    """A running server: its path, its desk (touch it through `do`), and the way to stop it."""

    path: Path
    desk: MemoryDesk
    portal: BlockingPortal
    stopping: anyio.Event

    def do(self, action: Any, *args: Any) -> Any:
        """Runs `action` in the server's event loop."""
        return self.portal.call(action, *args)

    def publish(self, method: str, **params: Any) -> int:
        return int(self.portal.call(lambda: self.desk.publish(method, **params)))

    def gate(self, method: str) -> anyio.Event:
        """Calls of `method` wait from now on; open with `do(gate.set)`."""
        self.desk.gates[method] = event = self.portal.call(anyio.Event)
        return event

    def stop(self) -> None:
        self.portal.call(self.stopping.set)


@contextmanager
def serving(folder: Path, desk: MemoryDesk | None = None) -> Iterator[Served]:
    """The real server on a real socket in `folder`, in a loop of its own thread; stopped at the end."""
    with start_blocking_portal() as portal:
        stopping = portal.call(anyio.Event)
        desk = desk or portal.call(MemoryDesk)
        path = folder / "pos.sock"

        async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            await serve(desk, path, stopping=stopping, task_status=task_status)

        running, _ = portal.start_task(run)
        try:
            yield Served(path, desk, portal, stopping)
        finally:
            portal.call(stopping.set)
            running.result(10)
