"""A program at a socket that is no tilltap, or one that fails in the middle of an answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

Manner = Callable[[socket.socket, dict[str, Any]], object]


class Rude:
    """Listens at `path` and treats each connection by the next of `manners`: they get the socket and the call."""

    def __init__(self, path: Path, *manners: Manner) -> None:
        self.calls: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run, args=(manners,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _run(self, manners: tuple[Manner, ...]) -> None:
        for manner in manners:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as lines:
                self.calls.append(line := lines.readline())
                manner(connection, json.loads(line))


def always(body: str) -> Manner:
    """To every call on the connection the same: `body`, with the call's own id in place of `ID`."""

    def manner(connection: socket.socket, call: dict[str, Any]) -> None:
        line = b"?"
        while line:
            connection.sendall(body.replace("ID", str(call["id"])).encode() + b"\n")
            line = connection.recv(4096)  # the next call, whole: the client has only one under way
            call = json.loads(line or "{}")

    return manner
