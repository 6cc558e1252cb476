"""An honest loyalty service in memory, behind the daemon's `Provider`: it does what its script says, and tells.

What a request does to the pass and what the till hears of it are two things: `Fault` says both. Everything that
was applied is in `journal`, in the order of application; every request whose text may have been shown is in `texts`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from tilltap.loyalty.provider import Answer, Outcome, PassState
from tilltap.model import Notification


@dataclass(frozen=True)
class Fault:
    """`applied`: seconds after arrival at which the request takes effect, each; none: it never does.

    `after`: seconds until the till hears `outcome`; None: as long as it was ready to wait.
    """

    outcome: Outcome
    applied: tuple[float, ...] = ()
    after: float | None = 0.05
    retry_after: float | None = None


FINE = Fault(Outcome.DONE, (0.0,))
LOST_BEFORE = Fault(Outcome.UNKNOWN, (), after=None)
APPLIED_BUT_LOST = Fault(Outcome.UNKNOWN, (0.0,))
LATE = Fault(Outcome.UNKNOWN, (40.0,), after=None)
VERY_LATE = Fault(Outcome.UNKNOWN, (110.0,), after=None)
TWICE = Fault(Outcome.DONE, (0.0, 0.02))
SECOND_COPY_LATE = Fault(Outcome.DONE, (0.0, 60.0))
LIMITED = Fault(Outcome.LIMITED, retry_after=7.0)
REFUSED = Fault(Outcome.REFUSED)
GONE = Fault(Outcome.GONE)
KEY_REFUSED = Fault(Outcome.KEY_REFUSED)
NOT_SENT = Fault(Outcome.NOT_SENT)


@dataclass
class Wallet:
    pass_id: str
    points: int
    ext_id: str | None = None
    nfc: str | None = None
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Applied:
    """`points` None: a field was written; `text`: what the phone was shown with it."""

    at: float
    pass_id: str
    points: int | None
    text: str | None = None
    field: tuple[str, str] | None = None


@dataclass
class Service:
    """`down` makes every call end in that fault. `writes` and `reads` are the scripts for the next calls."""

    passes: dict[str, Wallet] = field(default_factory=dict)
    down: Fault | None = None
    writes: deque[Fault] = field(default_factory=deque)
    reads: deque[Fault] = field(default_factory=deque)
    fields: deque[Fault] = field(default_factory=deque)
    journal: list[Applied] = field(default_factory=list)
    requests: list[tuple[float, str, str]] = field(default_factory=list)  # at, kind, key
    texts: list[tuple[str, str]] = field(
        default_factory=list
    )  # pass id, text: as they arrived, also if refused
    notification: Notification = "delivered"
    lists: bool = True  # whether `list_passes` gets to the end

    def add(
        self, pass_id: str, points: int = 0, *, ext_id: str | None = None, nfc: str | None = None
    ) -> Wallet:
        wallet = self.passes[pass_id] = Wallet(pass_id, points, ext_id, nfc)
        return wallet

    def foreign(self, pass_id: str, points: int) -> None:
        """Somebody else sets the balance."""
        self.passes[pass_id].points = points

    def shown(self, pass_id: str) -> list[str]:
        """Texts the customer's phone showed."""
        return [a.text for a in self.journal if a.pass_id == pass_id and a.text]

    def written(self, pass_id: str) -> list[int]:
        return [a.points for a in self.journal if a.pass_id == pass_id and a.points is not None]

    def count(self, kind: str) -> int:
        return sum(1 for _at, what, _key in self.requests if what == kind)

    def _find(self, key: str) -> Wallet | None:
        known = (w for w in self.passes.values() if key in (w.pass_id, w.ext_id))
        return next(known, None)

    async def _ends(self, fault: Fault, deadline: float) -> Answer:
        await asyncio.sleep(deadline if fault.after is None else min(fault.after, deadline))
        return Answer(fault.outcome, reason=f"scripted {fault.outcome}", retry_after=fault.retry_after)

    def _note(self, kind: str, key: str) -> None:
        self.requests.append((asyncio.get_running_loop().time(), kind, key))

    # -- Provider ---------------------------------------------------------------------------------------

    async def read(self, key: str, *, deadline: float, urgent: bool = False) -> Answer:
        self._note("read", key)
        fault = self.down or (self.reads.popleft() if self.reads else FINE)
        answer = await self._ends(fault, deadline)
        if fault.outcome is not Outcome.DONE:
            return answer
        wallet = self._find(key)
        if wallet is None:
            return Answer(Outcome.GONE, reason="no such pass")
        return Answer(Outcome.DONE, _state(wallet))

    async def write_points(
        self, pass_id: str, points: int, message: str | None, *, deadline: float
    ) -> Answer:
        self._note("write", pass_id)
        fault = self.down or (self.writes.popleft() if self.writes else FINE)
        if message is not None and fault.outcome in (Outcome.DONE, Outcome.UNKNOWN):
            self.texts.append((pass_id, message))
        return await self._write(fault, Applied(0, pass_id, points, message), deadline)

    async def write_field(self, pass_id: str, key: str, text: str, *, plain: bool, deadline: float) -> Answer:
        self._note("field", pass_id)
        fault = self.down or (self.fields.popleft() if self.fields else FINE)
        return await self._write(fault, Applied(0, pass_id, None, None, (key, text)), deadline)

    async def _write(self, fault: Fault, change: Applied, deadline: float) -> Answer:
        wallet = self.passes.get(change.pass_id)
        if wallet is None and fault.outcome is Outcome.DONE:
            fault = GONE
        if wallet is not None:
            for after in fault.applied:
                if after:
                    asyncio.get_running_loop().call_later(after, self._apply, wallet, change)
                else:
                    self._apply(wallet, change)
        answer = await self._ends(fault, deadline)
        if answer.outcome is not Outcome.DONE or wallet is None:
            return answer
        said: Notification = self.notification if change.text else "none"
        return replace(answer, state=_state(wallet), notification=said)

    def _apply(self, wallet: Wallet, change: Applied) -> None:
        self.journal.append(replace(change, at=asyncio.get_running_loop().time()))
        if change.points is not None:
            wallet.points = change.points
        if change.field is not None:
            wallet.fields[change.field[0]] = change.field[1]

    async def list_passes(
        self, *, created_after: str | None = None
    ) -> AsyncIterator[Answer | list[PassState]]:
        self._note("list", created_after or "")
        if self.down is not None:
            yield await self._ends(self.down, 30.0)
            return
        await asyncio.sleep(0.05)
        yield [replace(_state(w), points=None) for w in self.passes.values()]
        if not self.lists:
            yield Answer(Outcome.UNKNOWN, reason="the listing broke off")

    def set_key(self, key: str | None) -> None:
        pass

    async def aclose(self) -> None:
        pass


def _state(wallet: Wallet) -> PassState:
    return PassState(
        wallet.pass_id,
        wallet.ext_id,
        wallet.nfc,
        "active",
        wallet.points,
        dict(wallet.fields),
        plain_fields=False,
    )
