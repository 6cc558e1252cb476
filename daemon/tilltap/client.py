"""A POS developer's client of the socket; standard library only, blocking, one thread at a time.

    with Till("/run/tilltap/pos.sock") as till:
        till.sale_open("2026-11-21/1004", "8.00")
        ...
        sale = till.sale_close("2026-11-21/1004", "8.00", paid="3.00")

A call whose connection is lost is made again, word for word: the protocol promises that this changes nothing
(contract 3.1, "identity and repetition"). Shapes of results and events are in docs/pos-protocol.md.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self, TypeVar

DEFAULT_SOCKET = "/run/tilltap/pos.sock"  # the default of pos.socket
ANSWER = 3.0  # seconds for one answer: the till promises 2, the rest is for a busy machine
PATIENCE = 6.0  # seconds to go on repeating a call: a restart of the daemon takes less
PAUSE = 0.2  # seconds between two attempts
READ_SIZE = 64 * 1024

Json = dict[str, Any]
Amount = str | Decimal
_T = TypeVar("_T")


class TillError(Exception):
    """Anything that kept a call from its result; the text is one sentence."""


class Unreachable(TillError):
    """Nobody answers at the socket. Sell without; keep a `sale.close` and repeat it."""


class Refused(TillError):
    """The till understood and said no. `code`: see docs/pos-protocol.md; `retry`: the same call may work."""

    def __init__(self, message: str, code: str, *, retry: bool) -> None:
        super().__init__(message)
        self.code = code
        self.retry = retry


class BadCall(TillError):
    """The call itself is wrong: JSON-RPC `code`, and the parameter in `field` where one is at fault."""

    def __init__(self, message: str, code: int, field: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `method` as in the protocol, or `snapshot` with the answer of `watch`."""

    method: str
    params: Json

    @property
    def seq(self) -> int:
        return int(self.params["seq"])


class _Foreign(ConnectionError):
    """Somebody answers, and is no tilltap."""

    def __init__(self) -> None:
        super().__init__("something other than tilltap answers there")


class _Line:
    """One connection: lines out, lines in."""

    def __init__(self, path: str, timeout: float) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._rest = b""
        self._last_id = 0
        try:
            self._sock.settimeout(timeout)
            self._sock.connect(path)
        except BaseException:
            self._sock.close()
            raise

    def close(self) -> None:
        self._sock.close()

    def ask(self, method: str, params: Json, timeout: float) -> Any:
        """The result; OSError if the connection is lost or nothing comes in time."""
        self._last_id += 1
        call = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        self._sock.settimeout(timeout)
        self._sock.sendall(json.dumps(call, separators=(",", ":")).encode() + b"\n")
        deadline = monotonic() + timeout
        while True:
            reply = self.read(deadline)
            if "method" in reply:
                continue
            if "error" in reply and reply["id"] in (None, self._last_id):
                raise _said_no(reply["error"])
            if reply["id"] == self._last_id:
                return reply["result"]

    def event(self) -> Event:
        """The next one of a stream, whenever it comes."""
        said = self.read()
        if "method" not in said:
            raise _Foreign
        return Event(said["method"], said["params"])

    def read(self, deadline: float | None = None) -> Json:
        """The next line, whenever it comes without a `deadline`; ConnectionError at the end."""
        while b"\n" not in self._rest:
            self._sock.settimeout(None if deadline is None else _left(deadline))
            chunk = self._sock.recv(READ_SIZE)
            if not chunk:
                raise ConnectionResetError("the daemon closed the connection")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return _message(line)


def _left(deadline: float) -> float:
    """Seconds until then; TimeoutError if it has passed, however much is still coming."""
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _message(line: bytes) -> Json:
    """An event, or an answer: a result, which is an object or a list in this protocol, or an error."""
    try:
        said: Json = json.loads(line)
    except (ValueError, RecursionError):
        raise _Foreign from None
    match said:
        case (
            {"method": str(), "params": {"seq": int()}}
            | {"id": _, "error": {"code": int(), "message": str()}}
            | {"id": _, "result": dict() | list()}
        ):
            return said
    raise _Foreign


def _snapshot(result: Any) -> Json:
    match result:
        case {"seq": int(), "gap": bool()}:
            found: Json = result
            return found
    raise _Foreign


def _said_no(error: Json) -> TillError:
    data = error.get("data")
    data = data if isinstance(data, dict) else {}
    message = " ".join(error["message"].split())  # one line, whoever says it
    if "code" in data:
        return Refused(message, data["code"], retry=bool(data.get("retry")))
    return BadCall(message, error["code"], data.get("field"))


class Till:
    """A till's loyalty service at a Unix socket. Connects at the first call, and again whenever it must.

    `patience`: seconds for which a call is repeated while nobody answers; 0 tries once. Then `Unreachable`.
    """

    def __init__(
        self, path: str = DEFAULT_SOCKET, *, timeout: float = ANSWER, patience: float = PATIENCE
    ) -> None:
        self.path = path
        self.timeout = timeout
        self.patience = patience
        self._line: _Line | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def call(self, method: str, params: Json) -> Any:
        """Any call by its protocol name, repeated after a lost connection or a missing answer."""
        return self._persist(lambda: self._ask(method, params))

    def watch(self, after: int | None = None, *, resume: bool = True) -> Iterator[Event]:
        """A `snapshot`, then events as they come, on a connection of its own; endless.

        `after`: the last `seq` seen, to be sent what came since. When the connection is lost it is taken up
        again there; a new `snapshot` comes only if events were lost (`gap`). With `resume` False the end of
        the connection is `Unreachable`.
        """
        cursor, fresh = after, True
        while True:
            line, snapshot = self._persist(partial(self._ask_to_watch, cursor))
            with closing(line):
                if fresh or snapshot["gap"]:
                    yield Event("snapshot", snapshot)
                fresh = False
                cursor = snapshot["seq"] if cursor is None else min(cursor, snapshot["seq"])
                try:
                    while True:
                        event = line.event()
                        cursor = event.params["seq"]
                        yield event
                except OSError as problem:
                    if not resume:
                        raise self._unreachable(problem) from problem
            sleep(PAUSE)

    def _ask(self, method: str, params: Json) -> Any:
        try:
            self._line = self._line or _Line(self.path, self.timeout)
            return self._line.ask(method, params, self.timeout)
        except TillError:
            raise
        except BaseException:  # lost, late or interrupted: an answer may still come that nobody waits for
            self.close()
            raise

    def _ask_to_watch(self, after: int | None) -> tuple[_Line, Json]:
        line = _Line(self.path, self.timeout)
        try:
            return line, _snapshot(line.ask("watch", {} if after is None else {"after": after}, self.timeout))
        except BaseException:
            line.close()
            raise

    def _persist(self, attempt: Callable[[], _T]) -> _T:
        give_up = monotonic() + self.patience
        while True:
            try:
                return attempt()
            except OSError as problem:
                if monotonic() + PAUSE > give_up:
                    raise self._unreachable(problem) from problem
            sleep(PAUSE)

    def _unreachable(self, problem: OSError) -> Unreachable:
        if isinstance(problem, _Foreign):
            return Unreachable(f"{self.path}: {problem}; see [pos] socket for the daemon's own")
        reason = problem.strerror or str(problem)
        return Unreachable(f"nobody answers at {self.path}: {reason}; is the daemon running?")

    def hello(self, client: str) -> Json:
        return self._call("hello", client=client)

    def status(self) -> Json:
        return self._call("status")

    def sale_open(
        self,
        sale_id: str,
        total: Amount,
        *,
        eligible: Amount | None = None,
        tap_id: str | None = None,
        value: str | None = None,
    ) -> Json:
        return self._call(
            "sale.open", sale_id=sale_id, total=total, eligible=eligible, tap_id=tap_id, value=value
        )

    def sale_update(self, sale_id: str, total: Amount, *, eligible: Amount | None = None) -> Json:
        return self._call("sale.update", sale_id=sale_id, total=total, eligible=eligible)

    def sale_attach(self, sale_id: str, *, tap_id: str | None = None, value: str | None = None) -> Json:
        return self._call("sale.attach", sale_id=sale_id, tap_id=tap_id, value=value)

    def sale_detach(self, sale_id: str) -> Json:
        """`sale.attach` with `"value": null`: takes the customer off."""
        result: Json = self.call("sale.attach", {"sale_id": sale_id, "value": None})
        return result

    def sale_accept(self, sale_id: str, reward: str) -> Json:
        return self._call("sale.accept", sale_id=sale_id, reward=reward)

    def sale_decline(self, sale_id: str, reward: str) -> Json:
        return self._call("sale.decline", sale_id=sale_id, reward=reward)

    def sale_close(
        self,
        sale_id: str,
        total: Amount | None = None,
        *,
        eligible: Amount | None = None,
        paid: Amount | None = None,
        tap_id: str | None = None,
        value: str | None = None,
    ) -> Json:
        return self._call(
            "sale.close",
            sale_id=sale_id,
            total=total,
            eligible=eligible,
            paid=paid,
            tap_id=tap_id,
            value=value,
        )

    def sale_cancel(self, sale_id: str) -> Json:
        return self._call("sale.cancel", sale_id=sale_id)

    def sale_refund(
        self, sale_id: str, refund_id: str, *, till: str | None = None, amount: Amount | None = None
    ) -> Json:
        return self._call("sale.refund", sale_id=sale_id, refund_id=refund_id, till=till, amount=amount)

    def sale_get(self, sale_id: str, *, till: str | None = None) -> Json:
        return self._call("sale.get", sale_id=sale_id, till=till)

    def customer_find(self, value: str) -> Json:
        return self._call("customer.find", value=value)

    def customer_history(self, value: str, *, limit: int | None = None) -> Json:
        return self._call("customer.history", value=value, limit=limit)

    def customer_adjust(self, value: str, points: int, reason: str, request_id: str) -> Json:
        return self._call("customer.adjust", value=value, points=points, reason=reason, request_id=request_id)

    def mirror_list(self) -> list[Json]:
        passes: list[Json] = self.call("mirror.list", {})
        return passes

    def mirror_retry(self, value: str | None = None) -> list[Json]:
        passes: list[Json] = self.call("mirror.retry", {} if value is None else {"value": value})
        return passes

    def report(self, day: str | None = None, *, till: str | None = None) -> Json:
        return self._call("report", day=day, till=till)

    def _call(self, method: str, **given: object) -> Json:
        """Parameters that are None are left out; a Decimal goes as the string it is."""
        params = {k: f"{v:f}" if isinstance(v, Decimal) else v for k, v in given.items() if v is not None}
        result: Json = self.call(method, params)
        return result
