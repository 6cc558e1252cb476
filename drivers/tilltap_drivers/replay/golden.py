"""Outcomes of presentations as JSON: a line of an `.events` file, and of a `read` line on a tape."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

from tilltap_drivers.contract import PassRead, ReadFailure, Source

Tap = PassRead | ReadFailure

_Status = Literal["no-pass", "unreadable", "locked"]
_PASS = {"source", "kind", "index", "slot", "uid"}
_FAILURE = {"status", "reason", "source"}


def to_json(tap: Tap) -> str:
    """One line of ASCII. A value that is not UTF-8 stands as `value_hex`."""
    if isinstance(tap, ReadFailure):
        return json.dumps({"status": tap.status, "reason": tap.reason, "source": tap.source})
    try:
        value = {"value": tap.value.decode()}
    except UnicodeDecodeError:
        value = {"value_hex": tap.value.hex()}
    about = {"source": tap.source, "kind": tap.kind, "index": tap.index, "slot": tap.slot, "uid": tap.uid}
    return json.dumps({**value, **about})


def from_json(text: str) -> Tap:
    """The outcome that `to_json` wrote; ValueError for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("what was read is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("what was read is not a JSON object")  # noqa: TRY004 - a mistake in a file, not in a call
    try:
        return _failure(found) if "status" in found else _pass(found)
    except (TypeError, KeyError, AttributeError):
        raise ValueError("what was read lacks a field, or has one too many or of another kind") from None


def _failure(found: dict[str, Any]) -> ReadFailure:
    if found.keys() != _FAILURE or not isinstance(found["reason"], str):
        raise KeyError
    if found["status"] not in get_args(_Status):
        raise ValueError(f"unknown status (one of: {', '.join(get_args(_Status))})")
    return ReadFailure(found["status"], found["reason"], _source(found))


def _pass(found: dict[str, Any]) -> PassRead:
    value = bytes.fromhex(found["value_hex"]) if "value_hex" in found else found["value"].encode()
    if found.keys() - {"value", "value_hex"} != _PASS or len(found) != len(_PASS) + 1:
        raise KeyError
    index, slot = found["index"], found["slot"]
    if not all(number is None or type(number) is int for number in (index, slot)):
        raise TypeError
    if not all(isinstance(found[key], str) for key in ("kind", "uid")):
        raise TypeError
    return PassRead(value, _source(found), found["kind"], index, slot, found["uid"])


def _source(found: dict[str, Any]) -> Source:
    if found["source"] not in get_args(Source):
        raise ValueError(f"unknown source (one of: {', '.join(get_args(Source))})")
    source: Source = found["source"]
    return source
