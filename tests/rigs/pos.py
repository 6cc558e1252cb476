"""POS programs of every sort on a real socket: well-behaved, half-sending, silent, and rude."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE = 10.0  # seconds before a test says that the daemon did not answer


class Pos:
    """A bare line client: what it sends is exactly what it was given."""

    def __init__(self, path: Path | str, *, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.connect(str(path))
        except OSError:
            self.sock.close()
            raise
        self._rest = b""
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_until_closed(self, data: bytes) -> None:
        """Again and again, never reading, until the daemon has had enough."""
        with suppress(BrokenPipeError, ConnectionResetError):
            while True:
                self.sock.sendall(data)

    def end_of_input(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def write(self, method: str, request_id: int | str | None = None, /, **params: Any) -> None:
        """One call; without an id a notification."""
        self.send(call_line(method, request_id, **params))

    def read(self) -> dict[str, Any]:
        """The next line; EOFError if there is none any more."""
        while b"\n" not in self._rest:
            chunk = self.sock.recv(1 << 16)
            if not chunk:
                raise EOFError(f"closed after {self._rest!r}")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        reply: dict[str, Any] = json.loads(line.decode())
        return reply

    def read_all(self) -> list[dict[str, Any]]:
        """Every line until the daemon closes."""
        lines = []
        while True:
            try:
                lines.append(self.read())
            except EOFError:
                return lines

    def call(self, method: str, /, **params: Any) -> dict[str, Any]:
        """The whole reply to a call; events on the way are skipped."""
        self._last_id += 1
        self.write(method, self._last_id, **params)
        return next(r for r in iter(self.read, None) if r.get("id") == self._last_id)

    def result(self, method: str, /, **params: Any) -> Any:
        reply = self.call(method, **params)
        assert "result" in reply, reply
        return reply["result"]

    def error(self, method: str, /, **params: Any) -> dict[str, Any]:
        reply = self.call(method, **params)
        assert "error" in reply, reply
        return dict(reply["error"])

    def idle(self, seconds: float = 0.1) -> bool:
        """Nothing comes for a while."""
        if b"\n" in self._rest:
            return False
        self.sock.settimeout(seconds)
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)


def call_line(method: str, request_id: int | str | None = None, /, **params: Any) -> bytes:
    call = {"jsonrpc": "2.0", "method": method, "params": params}
    if request_id is not None:
        call["id"] = request_id
    return json.dumps(call).encode() + b"\n"


def by_id(replies: Iterable[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {r["id"]: r for r in replies if "id" in r}
