"""Daemons that start in a tenth of the time: forked from a process that has imported everything already.

What is forked is `tilltap run` from its command line on, with a process id, sockets, files and an end of its own.

with Nursery() as nursery:
    daemon = nursery.launch(["run", "--config", "shop.toml"], {"TILLTAP_CRASH_AT": "P1"}, Path("log"))
    daemon.ended(20)                     # -9
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# A fork and its answer take milliseconds; this is for a machine that runs everything at once.
START = 20.0


class Warm:
    """One forked daemon, with the face of `rigs.daemon.Process`."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.pid = 0
        self.exit_code: int | None = None
        self.born, self._ended = threading.Event(), threading.Event()

    def died(self, code: int) -> None:
        self.exit_code = code
        self._ended.set()

    def said(self) -> list[str]:
        return self.log.read_text().splitlines()

    def signal(self, number: int) -> None:
        if self.exit_code is None:
            os.kill(self.pid, number)

    def ended(self, within: float = START) -> int:
        assert self._ended.wait(within), f"still running after {within:.0f} s: {self.said()[-5:]}"
        assert self.exit_code is not None
        return self.exit_code

    def end(self) -> None:
        self.signal(signal.SIGKILL)
        self.ended()

    def stopped(self) -> bool:
        """Frozen by a SIGSTOP."""
        with suppress(FileNotFoundError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False


class Nursery:
    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._one = threading.Lock()
        self._next: Warm | None = None
        self._alive: dict[int, Warm] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(START)
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "born" in said:
                assert self._next is not None
                self._next.pid = said["born"]
                self._alive[said["born"]] = self._next
                self._next.born.set()
            else:
                self._alive.pop(said["pid"]).died(said["code"])

    def launch(self, arguments: list[str], env: dict[str, str], log: Path) -> Warm:
        with self._one:
            assert self._process.stdin is not None
            self._next = daemon = Warm(log)
            call = {"arguments": arguments, "env": env, "log": str(log)}
            self._process.stdin.write(json.dumps(call) + "\n")
            self._process.stdin.flush()
            assert daemon.born.wait(START), "no daemon is born"
            return daemon


# -- the parent of the daemons -------------------------------------------------------------------------------


def _serve() -> None:
    _load()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    looking = selectors.DefaultSelector()
    looking.register(0, selectors.EVENT_READ)
    looking.register(wake, selectors.EVENT_READ)
    asked = b""
    children: set[int] = set()
    while True:
        for key, _ in looking.select():
            if key.fd == wake:
                os.read(wake, 4096)
                _bury(children)
                continue
            chunk = os.read(0, 65536)
            if not chunk:
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                return
            *lines, asked = (asked + chunk).split(b"\n")
            for line in lines:
                children.add(_bear(json.loads(line)))


def _load() -> None:
    """All that a daemon loads in its first moments."""
    import sqlite3  # noqa: F401

    import anyio._backends._asyncio  # noqa: F401
    import httpcore  # noqa: F401
    import psycopg  # noqa: F401

    from tilltap import app, cli, crash  # noqa: F401
    from tilltap.ledger.postgres import _dialect
    from tilltap.loyalty import passentry  # noqa: F401

    _dialect()
    gc.collect()
    gc.freeze()


def _say(what: dict[str, int]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _bury(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        _say({"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _bear(call: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        _say({"born": pid})
        return pid
    code = 1
    try:
        _become(call)
        from tilltap import cli

        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _become(call: dict[str, Any]) -> None:
    """As if started by itself: no signals, pipes or settings of the parent's."""
    from tilltap import crash

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(call["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd, of in ((0, nothing), (1, nothing), (2, log)):
        os.dup2(of, fd)
    os.closerange(3, 256)
    os.environ.update(call["env"])
    sys.argv = ["tilltap", *call["arguments"]]
    crash._stops = crash._parse(os.environ.get("TILLTAP_CRASH_AT", ""))


if __name__ == "__main__":
    _serve()
