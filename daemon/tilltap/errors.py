"""Errors a cashier, a store manager, a POS developer or an operator can do something about."""

from __future__ import annotations

from typing import Literal

Code = Literal[
    "unknown-sale",
    "sale-not-open",
    "sale-not-closed",
    "key-reused",
    "no-customer",
    "unknown-pass",
    "unknown-tap",
    "reward-unavailable",
    "offline",
    "ledger-down",
    "refund-too-large",
    "balance-too-low",
    "unauthorised",
    "unsupported-protocol",
    "overloaded",
]

# Nothing was recorded and the same call may succeed later (contract 3.4, `data.retry`).
RETRYABLE: frozenset[Code] = frozenset({"offline", "ledger-down", "overloaded"})


class CallError(Exception):
    """A POS call that was understood and refused: `code` is stable, `message` is for a cashier's eyes.

    Source: contract 3.4.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message

    @property
    def retry(self) -> bool:
        return self.code in RETRYABLE


class ParamError(Exception):
    """A parameter of a POS call is missing or malformed (JSON-RPC -32602); `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class StartError(Exception):
    """The daemon or a command cannot start. One line: what, where, remedy. Exit code 3 by default."""

    exit_code = 3

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
