"""What the daemon asks of a loyalty service, whoever runs it: values in, one `Answer` out.

A provider never raises for anything the service or the network does: every call ends in exactly one
`Outcome`, because what the mirror does next hangs on that class alone (reference passentry.md section 9).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from tilltap.model import Notification


class Outcome(StrEnum):
    """Classes of passentry.md section 9; `DONE` is "applied" for a write and "read" for a read."""

    DONE = "done"
    NOT_SENT = "not-sent"  # no byte left the till (DNS, refused, TLS): certainly not applied
    GONE = "gone"  # 404: the service does not know this pass
    REFUSED = "refused"  # 400, 403, 422: will not be applied, repeating is useless
    KEY_REFUSED = "key-refused"  # 401 (and 403 without a body of theirs): stop all writes
    LIMITED = "limited"  # 429: not applied, ask again after `retry_after`
    UNKNOWN = "unknown"  # anything else: it may have been applied, or may yet be


@dataclass(frozen=True, slots=True)
class PassState:
    """A pass as the service tells it. `points` None: a readable answer without a usable balance."""

    pass_id: str
    ext_id: str | None = None
    nfc: str | None = None
    status: str = "unknown"  # issued | active | removed | deactivated | unknown
    points: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)  # passContent: template key -> text
    plain_fields: bool = False  # passContent values are bare strings, not {"value": ...} (passentry A5)


@dataclass(frozen=True, slots=True)
class Answer:
    """How one call ended. `reason` is a short sentence for people, free of keys and pass values."""

    outcome: Outcome
    state: PassState | None = None
    notification: Notification = "none"
    reason: str = ""
    retry_after: float | None = None  # seconds, with LIMITED


def about(pass_id: str, answer: Answer) -> Answer:
    """`answer` to a read of that pass by its id; one that is about another pass tells nothing."""
    if answer.state is None or answer.state.pass_id == pass_id:
        return answer
    return Answer(Outcome.UNKNOWN, reason="the answer is about another pass")


class Provider(Protocol):
    """One loyalty service. `deadline` is in seconds for the whole call, waiting for the rate budget included.

    `urgent` calls (somebody stands at the till) go before the rest in the rate budget.
    """

    async def read(self, key: str, *, deadline: float, urgent: bool = False) -> Answer:
        """The pass known under `key` (pass id or ext id) with its balance."""
        ...

    async def write_points(
        self, pass_id: str, points: int, message: str | None, *, deadline: float
    ) -> Answer:
        """Set the balance to `points` (absolute), with at most one push text of 5-350 characters."""
        ...

    async def write_field(self, pass_id: str, key: str, text: str, *, plain: bool, deadline: float) -> Answer:
        """Set one template field on the face of the pass, silently."""
        ...

    def list_passes(self, *, created_after: str | None = None) -> AsyncIterator[Answer | list[PassState]]:
        """Pages of passes; a page that fails yields its `Answer` and ends the listing."""
        ...

    def set_key(self, key: str | None) -> None:
        """Use another API key from now on; ValueError for one that no header can carry."""
        ...

    async def aclose(self) -> None: ...
