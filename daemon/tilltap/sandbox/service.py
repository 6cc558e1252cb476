"""The stand-in loyalty service itself: passes, what is done to them, and a journal of both. No I/O.

The journal is the oracle of tests: every request in order of arrival, every applied change in order of
application (a late or repeated copy is one more change), every answer. Points are integers, times Unix
seconds from the injected clock. Methods may be called from any thread; what they return never changes.

Source of the behaviour: PassEntry API v1, with its unknowns resolved the strict way (docs/sandbox.md).
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal

POINTS_FIELD = "points"  # template key that shows the balance; follows it, cannot be written
REWARD_FIELD = "reward"  # template key the daemon's `reward_field` names by default

PUSHES_PER_DAY = 3  # Google shows three notifications per pass in 24 h, PassEntry advises the same for all
DAY = 24 * 3600.0  # seconds of that rolling window
KEPT_NOTIFICATIONS = 50  # a phone's list; older ones fall off so that a soak test does not grow
KEPT_ENTRIES = 100_000  # journal: a day of heavy testing, about 100 MB at worst
MAX_PASSES = 10_000  # a training shop has ten; this keeps a runaway script from eating the memory
MAX_POINTS = 10**9  # beyond any shop; a typo in a foreign edit stays readable on the phone

# Ids are derived from the ext id, so that a trainer finds the same ones after every start.
_NAMESPACE = uuid.UUID("7a9f3c52-6d0b-5c1e-9a43-54494c4c5441")

TEMPLATE_ID = str(uuid.uuid5(_NAMESPACE, "template"))
TEMPLATE_NAME = "tilltap sandbox"

Status = Literal["issued", "active", "removed", "deactivated"]
STATUSES: tuple[Status, ...] = ("issued", "active", "removed", "deactivated")


@dataclass(frozen=True, slots=True)
class NewPass:
    """A pass to be made. `nfc` None: the reader hands out the pass id, as PassEntry does by default."""

    ext_id: str | None
    balance: int = 0
    nfc: str | None = None
    status: Status = "active"


@dataclass(frozen=True, slots=True)
class Notification:
    """A text sent to a pass. `shown` False: only stored there. `request`: `seq` of the one that sent it."""

    at: float
    text: str
    shown: bool
    reason: str
    request: int | None


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass as it is now; `fields` are the template's keys without the points field."""

    id: str
    ext_id: str | None
    nfc: str
    status: Status
    balance: int
    created_at: float
    fields: Mapping[str, str]
    latest_message: str | None = None
    deactivated_at: float | None = None
    notifications: tuple[Notification, ...] = ()
    pushes: tuple[float, ...] = ()  # when the newest PUSHES_PER_DAY texts were shown

    @property
    def name(self) -> str:
        """What people call it: the ext id, else the pass id."""
        return self.ext_id or self.id


@dataclass(frozen=True, slots=True)
class Change:
    """What a write asks for; None leaves alone. At most one of `delta` and `balance`."""

    delta: int | None = None
    balance: int | None = None
    message: str | None = None
    message_needs_active: bool = False  # loyalty writes drop the text of a pass that is in no wallet
    fields: Mapping[str, str] = field(default_factory=dict)
    nfc: str | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """A change carried out: the pass afterwards, and the notification it sent, if any."""

    state: Pass
    notification: Notification | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal.

    `kind`: `request` (arrived), `applied` (a change took effect), `answer` (what the caller was told; status
    None when the connection was dropped), `created`. `request` is the `seq` of the request behind it, None
    for an edit made in the dashboard by somebody else (a foreign writer).
    """

    seq: int
    at: float
    kind: Literal["request", "applied", "answer", "created"]
    request: int | None
    pass_id: str | None
    data: Mapping[str, Any]


class UnknownPassError(KeyError):
    """No pass with this id or ext id."""


class RefusedError(ValueError):
    """The change makes no sense (a taken ext id, a balance beyond MAX_POINTS); the text says what."""


Clock = Callable[[], float]


class Service:
    """The store. `on_change` is called after every journal entry, from the writer's thread."""

    def __init__(
        self,
        passes: Iterable[NewPass],
        *,
        clock: Clock,
        fields: Iterable[str] = (REWARD_FIELD,),
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock = clock
        self.fields = tuple(fields)
        self.on_change = on_change
        self._initial = tuple(passes)
        self._lock = threading.RLock()
        self._seq = 0
        self.reset()

    def reset(self) -> None:
        """As after the start; `seq` goes on, so that an old cursor into the journal stays valid."""
        with self._lock:
            self._passes: dict[str, Pass] = {}
            self._by_ext: dict[str, str] = {}
            self._journal: deque[Entry] = deque(maxlen=KEPT_ENTRIES)
            for new in self._initial:
                self.create(new)
        self.on_change()

    def passes(self) -> list[Pass]:
        """All passes, in order of creation."""
        with self._lock:
            return list(self._passes.values())

    def find(self, key: str) -> Pass:
        """By pass id (case does not matter) or ext id (exactly); UnknownPassError."""
        with self._lock:
            found = self._passes.get(key.lower()) or self._passes.get(self._by_ext.get(key, ""))
        if found is None:
            raise UnknownPassError(key)
        return found

    def journal(self, after: int = 0) -> list[Entry]:
        """Entries with `seq` greater than `after`, oldest first."""
        with self._lock:
            return [entry for entry in self._journal if entry.seq > after]

    def newest(self, count: int) -> list[Entry]:
        """The last `count` entries, oldest first."""
        with self._lock:
            return list(islice(reversed(self._journal), count))[::-1]

    def applied(self, key: str) -> list[Entry]:
        """The changes of one pass in their true order."""
        pass_id = self.find(key).id
        return [entry for entry in self.journal() if entry.kind == "applied" and entry.pass_id == pass_id]

    def note(
        self,
        kind: Literal["request", "answer"],
        data: Mapping[str, Any],
        *,
        request: int | None = None,
        pass_id: str | None = None,
    ) -> int:
        """Journal a request or an answer; its `seq`."""
        with self._lock:
            seq = self._enter(kind, data, request, pass_id)
        self.on_change()
        return seq

    def create(self, new: NewPass, *, request: int | None = None) -> Pass:
        """Issue a pass; RefusedError if the ext id is taken or the shop is full."""
        with self._lock:
            if len(self._passes) >= MAX_PASSES:
                raise RefusedError(f"the sandbox holds {MAX_PASSES} passes; reset it")
            if new.ext_id is not None and new.ext_id in self._by_ext:
                raise RefusedError("this ext id is taken")
            # A nameless pass is derived from its number, which reset() does not reuse.
            pass_id = str(
                uuid.uuid5(_NAMESPACE, f"pass:{new.ext_id}" if new.ext_id else f"number:{self._seq}")
            )
            state = Pass(
                id=pass_id,
                ext_id=new.ext_id,
                nfc=new.nfc or pass_id,
                status=new.status,
                balance=_points(new.balance),
                created_at=round(self.clock(), 3),  # as told in lists, so that `createdAfter` it is after it
                fields=MappingProxyType(dict.fromkeys(self.fields, "")),
            )
            self._passes[pass_id] = state
            if new.ext_id is not None:
                self._by_ext[new.ext_id] = pass_id
            self._enter("created", {"balance": state.balance}, request, pass_id)
        self.on_change()
        return state

    def apply(
        self, pass_id: str, change: Change, *, request: int | None = None, copy: bool = False
    ) -> Applied:
        """Carry out `change`, at once and whole. `copy`, only journaled: a late or repeated delivery."""
        with self._lock:
            before = self._passes.get(pass_id)
            if before is None:
                raise UnknownPassError(pass_id)
            now = self.clock()
            notification = self._notification(before, change, now, request)
            after = _changed(before, change, notification, now)
            self._passes[pass_id] = after
            data = {
                "balance": [before.balance, after.balance],
                "fields": dict(change.fields),
                "status": change.status,
                "message": notification and notification.text,
                "shown": notification is not None and notification.shown,
                "copy": copy,
            }
            self._enter("applied", data, request, pass_id)
        self.on_change()
        return Applied(after, notification)

    def _notification(
        self, state: Pass, change: Change, now: float, request: int | None
    ) -> Notification | None:
        if change.message is None or (change.message_needs_active and state.status != "active"):
            return None
        newest = state.notifications[-1] if state.notifications else None
        if state.status != "active":
            reason = "the pass is not in a wallet"
        elif newest and request is not None and (newest.request, newest.text) == (request, change.message):
            # A wallet speaks up when a field changes; a second delivery of one request changes none.
            reason = "the pass holds this text already: the same request came again"
        elif len([at for at in state.pushes if at > now - DAY]) >= PUSHES_PER_DAY:
            reason = f"{PUSHES_PER_DAY} notifications in 24 hours are used up"
        else:
            return Notification(
                now, change.message, shown=True, reason="handed to the wallet", request=request
            )
        return Notification(now, change.message, shown=False, reason=reason, request=request)

    def _enter(
        self,
        kind: Literal["request", "applied", "answer", "created"],
        data: Mapping[str, Any],
        request: int | None,
        pass_id: str | None,
    ) -> int:
        self._seq += 1
        self._journal.append(
            Entry(self._seq, self.clock(), kind, request, pass_id, MappingProxyType(dict(data)))
        )
        return self._seq


def _points(value: int) -> int:
    if abs(value) > MAX_POINTS:
        raise RefusedError(f"a balance is at most {MAX_POINTS} points")
    return value


def _changed(state: Pass, change: Change, notification: Notification | None, now: float) -> Pass:
    assert change.delta is None or change.balance is None
    wanted = change.balance if change.balance is not None else state.balance + (change.delta or 0)
    status = change.status or state.status
    after = replace(
        state,
        balance=_points(wanted),
        fields=MappingProxyType({**state.fields, **change.fields}),
        nfc=change.nfc or state.nfc,
        status=status,
        deactivated_at=(state.deactivated_at or now) if status == "deactivated" else None,
    )
    if notification is None:
        return after
    return replace(
        after,
        latest_message=notification.text,
        notifications=(*state.notifications, notification)[-KEPT_NOTIFICATIONS:],
        pushes=(*state.pushes, now)[-PUSHES_PER_DAY:] if notification.shown else state.pushes,
    )
