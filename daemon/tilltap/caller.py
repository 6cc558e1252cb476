"""Whose call is being executed: the ledger keeps who sold, refunded and adjusted."""

from __future__ import annotations

from contextvars import ContextVar

_UID: ContextVar[int | None] = ContextVar("uid", default=None)


def called_by(uid: int | None) -> None:
    """For the call that the current task answers."""
    _UID.set(uid)


def caller() -> int | None:
    """The system user whose program makes the call under way; None for what the daemon does by itself."""
    return _UID.get()
