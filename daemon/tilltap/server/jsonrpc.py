"""JSON-RPC 2.0 in lines, without I/O: bytes in, requests and faults out; values in, reply lines out.

Whatever bytes come in, `Lines.feed` and `decode` never raise, and `Lines` holds at most `LINE_LIMIT` bytes of
an unfinished line.

Source: contract section 3; jsonrpc.org/specification for codes and for what a notification is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tilltap.written import written

# Bytes before the "\n": a line of exactly 64 KiB passes, one byte more is too long. Contract section 3.
LINE_LIMIT = 64 * 1024

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
CALL_REFUSED = -32000  # the till's own refusals, told apart by `data.code` (contract 3.4)

Id = str | int | None


@dataclass(frozen=True, slots=True)
class Request:
    """A well-formed call. `params` is whatever was sent, `{}` if nothing was; the method table judges it."""

    id: Id
    method: str
    params: Any
    notification: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that is no request: answered with this JSON-RPC error, `id` null unless it could be read."""

    code: int
    message: str
    id: Id = None

    def line(self) -> bytes:
        return error(self.id, self.code, self.message)


TOO_LONG = Fault(PARSE_ERROR, f"line longer than {LINE_LIMIT} bytes: the connection is closed")


class Lines:
    """Cuts a stream of bytes into lines. After an over-long line it is `overlong` and yields nothing more."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self.overlong = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines completed by `chunk`, without their newlines."""
        if self.overlong:
            return []
        scan, begin, lines = len(self._rest), 0, []
        self._rest += chunk
        while (end := self._rest.find(b"\n", scan)) >= 0 and end - begin <= LINE_LIMIT:
            lines.append(bytes(self._rest[begin:end]))
            begin = scan = end + 1
        del self._rest[:begin]
        if len(self._rest) > LINE_LIMIT:
            self.overlong = True
            self._rest.clear()
        return lines


def decode(line: bytes) -> Request | Fault | None:
    """One line without its newline -> what it asks; None for a blank one."""
    if not line.strip(b" \t\r"):
        return None
    try:
        # Decoded first: json.loads would take bytes for UTF-16 or UTF-32 when they look like it.
        call = _DECODER.decode(line.decode())
    except RecursionError:
        return Fault(PARSE_ERROR, "not JSON this daemon reads: nested too deeply")
    except ValueError as problem:  # bad UTF-8, bad JSON, an integer of thousands of digits
        reason = (
            problem.args[0] if isinstance(problem, _RefusedJsonError) else "expected one JSON object in UTF-8"
        )
        return Fault(PARSE_ERROR, f"not JSON: {reason}")
    return _request(call)


def _request(call: Any) -> Request | Fault:
    if isinstance(call, list):
        return Fault(INVALID_REQUEST, "batches are not served: one object per line")
    if not isinstance(call, dict):
        return Fault(INVALID_REQUEST, "a request is a JSON object")
    request_id = call.get("id")
    if "id" in call and (isinstance(request_id, bool) or not isinstance(request_id, str | int)):
        return Fault(
            INVALID_REQUEST, "id is a string or an integer; leave it out for a call without an answer"
        )
    if call.get("jsonrpc") != "2.0":
        return Fault(INVALID_REQUEST, 'jsonrpc must be "2.0"', request_id)
    method = call.get("method")
    if not isinstance(method, str):
        return Fault(INVALID_REQUEST, "method is a string", request_id)
    return Request(request_id, method, call.get("params", {}), notification="id" not in call)


def result(request_id: Id, value: Any) -> bytes:
    return _line(f'"result":{written(value)}', request_id)


def error(request_id: Id, code: int, message: str, data: dict[str, Any] | None = None) -> bytes:
    problem: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        problem["data"] = data
    return _line(f'"error":{written(problem)}', request_id)


def _line(rest: str, request_id: Id) -> bytes:
    line = f'{{"jsonrpc":"2.0","id":{written(request_id)},{rest}}}\n'
    # A lone surrogate, come in as "\ud800" in an id or a name, goes out the same way.
    return line.encode(errors="backslashreplace")


class _RefusedJsonError(ValueError):
    """JSON to Python, refused here: the text says why."""


def _not_json(constant: str) -> Any:
    raise _RefusedJsonError(f"{constant} is no JSON value")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two `total`s in one call: which one counts would be luck (RFC 8259 section 4)."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RefusedJsonError("a key appears twice in one object")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_constant=_not_json)
