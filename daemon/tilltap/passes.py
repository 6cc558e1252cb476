"""The text a pass carries: from reader bytes to a value the ledger and the service can be asked by. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Contract section 3: a pass value is 1-256 printable characters.
MAX_VALUE = 256

# A pass id is a UUID or 40 hex digits (passentry.md section 1); services compare both without regard to case.
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{40}")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """`reason` for the tap event: what is wrong with the text, without the text."""

    reason: str


def canonical(value: str) -> str:
    """Pass ids in lower case; ext ids and custom values as they are (passentry.md section 8, rule 7)."""
    return value.lower() if _ID.fullmatch(value) else value


def parse(raw: bytes) -> str | Unreadable:
    """The value of a pass, canonical; readers send UTF-8 (vtap.md 3.5)."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return Unreadable("malformed: not UTF-8 text")
    if not text:
        return Unreadable("malformed: empty")
    if len(text) > MAX_VALUE:
        return Unreadable(f"malformed: longer than {MAX_VALUE} characters")
    if not text.isprintable():
        return Unreadable("malformed: unprintable characters")
    return canonical(text)
