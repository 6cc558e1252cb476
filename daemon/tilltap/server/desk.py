"""What the POS socket needs of the daemon: one method per call of contract 3.1, plain values both ways.

Amounts are already minor units, every string already checked for length and printability; results are the
JSON-ready shapes of contract 3.2. Errors are `CallError` (and `ParamError` for what only the till can judge,
such as `eligible` beyond `total`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tilltap.events import Event, Hub
from tilltap.model import Currency

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a call names: by tap, by value, or (both None) "take the customer off" (`"value": null`)."""

    tap_id: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is on the other end of a connection; `uid` None over TCP. For the log and for `customer.adjust`."""

    uid: int | None = None
    pid: int | None = None
    client: str = ""


class Desk(Protocol):
    currency: Currency
    hub: Hub

    async def hello(self) -> Json: ...
    async def snapshot(self) -> Json:
        """`{seq, state, readers, sales}`; when it returns, `hub` already holds every event up to `seq`."""
        ...

    async def events(self, after: int, limit: int) -> list[Event]:
        """Events after `after`, oldest first, from the ledger."""
        ...

    async def oldest_event(self) -> int:
        """The smallest `seq` still kept, or 0 when nothing was ever published."""
        ...

    async def status(self) -> Json: ...
    async def sale_open(self, sale_id: str, total: int, eligible: int | None, who: Who | None) -> Json: ...
    async def sale_update(self, sale_id: str, total: int, eligible: int | None) -> Json: ...
    async def sale_attach(self, sale_id: str, who: Who) -> Json: ...
    async def sale_accept(self, sale_id: str, reward: str) -> Json: ...
    async def sale_decline(self, sale_id: str, reward: str) -> Json: ...
    async def sale_close(
        self, sale_id: str, total: int | None, eligible: int | None, paid: int | None, who: Who | None
    ) -> Json: ...
    async def sale_cancel(self, sale_id: str) -> Json: ...
    async def sale_refund(
        self, sale_id: str, refund_id: str, till: str | None, amount: int | None
    ) -> Json: ...
    async def sale_get(self, sale_id: str, till: str | None) -> Json: ...
    async def customer_find(self, value: str) -> Json: ...
    async def customer_history(self, value: str, limit: int) -> Json: ...
    async def customer_adjust(
        self, value: str, points: int, reason: str, request_id: str, by: Peer
    ) -> Json: ...
    async def mirror_list(self) -> list[Json]: ...
    async def mirror_retry(self, value: str | None) -> list[Json]: ...
