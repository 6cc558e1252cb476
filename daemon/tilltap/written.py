"""JSON as tilltap writes it, on the socket and into the ledger."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, Self

# Made once: `json.dumps` with options makes an encoder per call. A NaN would be a fault of ours.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Written(dict[str, Any]):
    """An object that is written down once, though the ledger, watchers and the caller are all told; so nobody
    changes it.
    """

    @cached_property
    def text(self) -> str:
        return _ENCODER.encode(self)

    def behind(self, head: dict[str, Any]) -> Self:
        """The same with `head` before it; neither is empty."""
        whole = type(self)(head | self)
        whole.text = f"{_ENCODER.encode(head)[:-1]},{self.text[1:]}"
        return whole


def written(value: Any) -> str:
    if isinstance(value, Written):
        return value.text
    # Most ids of calls are numbers; an encoder's way to one takes as long as the reply's.
    return str(value) if type(value) is int else _ENCODER.encode(value)
