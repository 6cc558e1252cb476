"""A shop for tests: the real daemon as a process of its own, a sandbox service, a pty reader, POS connections.

with Shop(logs, NewPass("zz-secret-cust-17", 4)) as shop:
    shop.start(crash_at="P1:3")
    shop.tap("zz-secret-cust-17")
    shop.events.wait(lambda e: e.method == "tap")
    shop.kill(); shop.start()            # on the same files
    shop.settled()                       # until the service shows the ledger's balances, read back

Nothing here sleeps and hopes: every wait is for a condition, with a deadline that names it when it fails.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from rigs.pos import Pos
from rigs.pty_port import PtyPort
from rigs.sandbox import READ_POINTS, WRITE_POINTS, SandboxRig
from tilltap.client import Event, Till, Unreachable
from tilltap.sandbox.server import DEFAULT_PASSES
from tilltap.sandbox.service import NewPass

T = TypeVar("T")
Json = dict[str, Any]

# A daemon starts in half a second on an idle machine; this is for one that runs four others.
START = 20.0
# From a fault to a pass that is right again: a request's life of 8 s, its repetition, and the read-back.
HEAL = 40.0
# A condition is looked at this often.
LOOK = 0.02

KEY = "zz-secret-api-key-1f6b0c"
# Ids that stand nowhere but in the tests, so that finding one in a log says who let it out.
ANNA, BEN = "zz-secret-cust-anna", "zz-secret-cust-ben"

# The worked example of the contract, with the reward on the face of the pass.
PROGRAM = """
[program]
name = "PassEntry Coffee"
[program.earn]
spend = "10.00"
points = 1
[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 5
discount = "5.00"
[program.pass]
"""

REST = """
[till]
name = "{till}"
store = "soho"
day_starts = "04:30"
[loyalty]
url = "{url}"
api_key_file = "shop.key"
settle = {settle}
{readers}
[pos]
socket = "{socket}"
[ledger]
url = "{ledger}"
{spool}
"""

READER = """
[[reader]]
name = "counter"
driver = "vtap"
port = "vtap"
"""


def wait_until(condition: Callable[[], T], within: float, what: str | Callable[[], str]) -> T:
    """The first true value of `condition`; AssertionError saying `what` after `within` seconds."""
    until = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > until:
            raise AssertionError(
                f"after {within:.0f} s still not: {what if isinstance(what, str) else what()}"
            )
        time.sleep(LOOK)
    return value


@dataclass
class Logs:
    """Standard error of every process of a test session in one folder, and what must not be in it."""

    folder: Path
    secrets: set[str] = field(default_factory=lambda: {KEY})
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new(self, name: str) -> Path:
        with self._lock:
            self._number += 1
            return self.folder / f"{self._number:04}-{name}.log"

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.log"))

    def leaks(self) -> list[str]:
        """`file: secret` for each secret found, as it stands, as in JSON, or as in a Python literal."""
        forms = {s: {s.encode(), json.dumps(s)[1:-1].encode(), ascii(s)[1:-1].encode()} for s in self.secrets}
        found = []
        for path in self.files():
            text = path.read_bytes()
            found += [f"{path.name}: {s}" for s, ways in forms.items() if any(w in text for w in ways)]
        return found


class Process:
    """One `tilltap ...` with its standard error in the session's folder."""

    def __init__(
        self, logs: Logs, name: str, *arguments: str, env: dict[str, str] | None = None, **streams: Any
    ):
        self.log = logs.new(name)
        self._reading: threading.Thread | None = None
        with self.log.open("wb") as stderr:
            self.popen: subprocess.Popen[str] = subprocess.Popen(
                [sys.executable, "-m", "tilltap", *arguments],
                stderr=stderr,
                text=True,
                env={**os.environ, **(env or {})},
                **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **streams},
            )

    @property
    def exit_code(self) -> int | None:
        return self.popen.poll()

    def said(self) -> list[str]:
        return self.log.read_text().splitlines()

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def ended(self, within: float = START) -> int:
        """Its exit code, once it has one."""
        try:
            return self.popen.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within:.0f} s: {self.said()[-5:]}") from None

    def end(self) -> None:
        """However it is now, it is gone afterwards."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        if self._reading:
            self._reading.join()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def lines(self) -> queue.Queue[str]:
        """Its standard output (a pipe), line by line as it comes."""
        found: queue.Queue[str] = queue.Queue()

        def read() -> None:
            assert self.popen.stdout is not None
            for line in self.popen.stdout:
                found.put(line.rstrip("\n"))

        self._reading = threading.Thread(target=read, daemon=True)
        self._reading.start()
        return found


def run_cli(logs: Logs, *arguments: str, within: float = START, **streams: Any) -> tuple[int, str, list[str]]:
    """A command to its end: exit code, standard output, lines of standard error."""
    process = Process(logs, arguments[0], *arguments, stdout=subprocess.PIPE, **streams)
    try:
        out, _ = process.popen.communicate(timeout=within)
        return process.popen.returncode, out, process.said()
    finally:
        process.end()


class Watcher:
    """Everything one `watch` has brought, on a thread; resumes by `seq` as the client does."""

    def __init__(self, socket: str, after: int | None = None) -> None:
        self.events: list[Event] = []
        self._came = threading.Condition()
        self._till = Till(socket, patience=START)
        self._after = after
        threading.Thread(target=self._listen, daemon=True).start()
        self.wait(lambda e: e.method == "snapshot", START)

    def _listen(self) -> None:
        try:
            for event in self._till.watch(self._after):
                with self._came:
                    self.events.append(event)
                    self._came.notify_all()
        except (Unreachable, OSError):  # the shop has closed
            return

    def mark(self) -> int:
        """A place in what has come, for `wait`."""
        return len(self.events)

    def wait(self, fits: Callable[[Event], bool], within: float = START, *, after: int = 0) -> Event:
        """The first event since the mark `after` that fits, come or still to come."""
        until, at = time.monotonic() + within, after
        with self._came:
            while True:
                for event in self.events[at:]:
                    if fits(event):
                        return event
                at = len(self.events)
                left = until - time.monotonic()
                if left <= 0 or not self._came.wait(left):
                    raise AssertionError(
                        f"no such event within {within:.1f} s; came: "
                        + "; ".join(f"{e.method} {e.params}" for e in self.events[after:][-8:])
                    )

    def of(self, method: str, **fields: Any) -> list[Event]:
        """What came under this method with these fields."""
        return [e for e in list(self.events) if e.method == method and fields.items() <= e.params.items()]


class Shop:
    """One folder with a configuration, a ledger and a socket; one sandbox; a daemon that comes and goes."""

    def __init__(
        self,
        logs: Logs,
        *passes: NewPass,
        program: str = PROGRAM,
        settle: int = 1,
        readers: str = READER,
        ledger: str = "sqlite:///ledger.db",
        till: str = "till-1",
        beside: Shop | None = None,
    ) -> None:
        """`beside`: another till of the same chain, whose loyalty service this one uses too."""
        self.logs = logs
        # A socket's path has at most 107 bytes, which a test's own folder may already have.
        self.folder = Path(tempfile.mkdtemp(prefix="tt-"))
        self.socket = self.folder / "pos.sock"
        self.config = self.folder / "tilltap.toml"
        self.sandbox = (
            beside.sandbox if beside else SandboxRig(passes or DEFAULT_PASSES, rate_limit=False, key=KEY)
        )
        self._own_sandbox, self.till_name = beside is None, till
        self.settle = settle
        self.readers, self.ledger = readers, ledger
        self.reader = PtyPort(self.folder / "vtap")
        self.daemon: Process | None = None
        self.env: dict[str, str] = {}  # the daemon's, besides this process's
        self._events: Watcher | None = None
        key = self.folder / "shop.key"
        key.touch(0o600)
        key.write_text(KEY + "\n")
        self.configure(program)
        for item in self.sandbox.service.passes():
            logs.secrets |= {item.id, item.nfc, *([item.ext_id] if passes and item.ext_id else [])}

    def configure(self, program: str = PROGRAM, **changes: str) -> None:
        """Writes the file anew; the running daemon notices only when told."""
        fills = {
            "url": self.sandbox.url,
            "settle": str(self.settle),
            "readers": self.readers,
            "socket": str(self.socket),
            "ledger": self.ledger,
            "till": self.till_name,
            "spool": "" if self.ledger.startswith("sqlite") else 'spool = "spool.db"',
        }
        self.config.write_text(program + REST.format(**{**fills, **changes}), encoding="utf-8")

    def __enter__(self) -> Self:
        if self._own_sandbox:
            self.sandbox.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.daemon:
            self.daemon.end()
        if self._own_sandbox:
            self.sandbox.__exit__(None, None, None)
        self.reader.unplug()
        shutil.rmtree(self.folder, ignore_errors=True)

    # The daemon's life

    def launch(self, *, crash_at: str = "") -> Process:
        """Starts it without waiting for anything."""
        env = {**self.env, "TILLTAP_CRASH_AT": crash_at}
        self.daemon = Process(self.logs, "run", "run", "--config", str(self.config), env=env)
        return self.daemon

    def start(self, *, crash_at: str = "") -> Process:
        """Starts it and waits until it answers."""
        daemon = self.launch(crash_at=crash_at)
        wait_until(lambda: daemon.exit_code is not None or self._answers(), START, "a daemon that answers")
        if daemon.exit_code is not None and not crash_at:
            raise AssertionError(f"the daemon ended with {daemon.exit_code}: {daemon.said()[-5:]}")
        return daemon

    def _answers(self) -> bool:
        try:
            with Pos(self.socket) as pos:
                return "result" in pos.call("hello", client="rig")
        except (OSError, EOFError):
            return False

    @property
    def running(self) -> bool:
        return self.daemon is not None and self.daemon.exit_code is None

    def kill(self) -> None:
        assert self.daemon is not None
        self.daemon.signal(signal.SIGKILL)
        assert self.daemon.ended() == -signal.SIGKILL

    def stop(self) -> int:
        assert self.daemon is not None
        self.daemon.signal(signal.SIGTERM)
        return self.daemon.ended()

    def reload(self) -> None:
        assert self.daemon is not None
        self.daemon.signal(signal.SIGHUP)

    # What a till does

    def pos(self) -> Pos:
        return Pos(self.socket)

    def till(self, patience: float = START) -> Till:
        return Till(str(self.socket), patience=patience)

    def ask(self, method: str, /, **params: Any) -> Any:
        """One call on a connection of its own."""
        with self.pos() as pos:
            return pos.result(method, **params)

    @property
    def events(self) -> Watcher:
        """A watcher from the first time it is asked for."""
        if self._events is None:
            self._events = Watcher(str(self.socket))
        return self._events

    def ready(self) -> None:
        """Until every reader is up; from here on `events` has everything."""
        assert self.events.events

        def readers() -> list[Json]:
            return list(self.ask("status")["readers"])

        wait_until(
            lambda: all(r["state"] == "up" for r in readers()),
            START,
            lambda: f"readers up: {readers()}, the daemon said {self.daemon and self.daemon.said()[-5:]}",
        )

    def tap(self, customer: str, *, kind: str = "A") -> None:
        """The customer (an ext id or pass id) holds the phone to the reader."""
        self.tap_value(self.sandbox.service.find(customer).nfc, kind=kind)

    def tap_value(self, value: str, *, kind: str = "A") -> None:
        self.reader.write(f"\x02{kind}11\x1f08A1B2C3\x1f{value}\x03\n".encode())

    # What must be true in the end

    def settled(self, within: float = HEAL) -> None:
        """Until nothing waits and every pass written since was read back after the last life of a request.

        A daemon that dies meanwhile (a crash point) is started again.
        """

        def quiet() -> bool:
            if not self.running:
                self.start()
            try:
                mirror = self.ask("status")["mirror"]
            except (OSError, EOFError):
                return False
            return mirror["waiting"] == 0 and mirror["parked"] == 0 and self._read_back()

        wait_until(quiet, within, lambda: f"settled: {self._unsettled()}")

    def _read_back(self) -> bool:
        """Whether each pass that was written has been read, without a fault, a settle time later."""
        written: dict[str, float] = {}
        for entry in self.sandbox.service.journal():
            if entry.kind != "request":
                continue
            pass_id = self._pass_id(entry.data["key"])
            if entry.data["endpoint"] == WRITE_POINTS:
                written[pass_id] = entry.at
            elif entry.data["endpoint"] == READ_POINTS and not entry.data["fault"]:
                at = written.get(pass_id)
                # The daemon counts from when it decided to write, a little before the request arrived.
                if at is not None and entry.at >= at + self.settle - 0.3:
                    del written[pass_id]
        return not written

    def _pass_id(self, key: str) -> str:
        return self.sandbox.service.find(key).id if key else ""

    def _unsettled(self) -> str:
        tail = [(e.kind, dict(e.data)) for e in self.sandbox.service.newest(8)]
        return f"{self.ask('status')['mirror']}, {self.ask('mirror.list')}, {tail}"

    def balance(self, customer: str) -> int:
        """The ledger's."""
        return int(self.ask("customer.find", value=customer)["balance"])

    def entries(self, customer: str) -> list[tuple[str, str, int]]:
        """(kind, ref, points) of the customer's ledger entries that sales made, oldest first."""
        found = self.ask("customer.history", value=customer, limit=1000)["entries"]
        kept = [(e["kind"], e["ref"], e["points"]) for e in found if e["kind"] not in ("opening", "foreign")]
        return kept[::-1]

    def texts_asked(self, customer: str) -> list[str]:
        """The text of every request that carried one and was not certainly refused."""
        sent = []
        for entry in self.sandbox.service.journal():
            body = entry.data.get("body") if entry.kind == "request" else None
            if isinstance(body, dict) and body.get("message"):
                is_his = self._pass_id(entry.data["key"]) == self.sandbox.service.find(customer).id
                if is_his and entry.data["fault"] not in CERTAINLY_REFUSED:
                    sent.append(str(body["message"]))
        return sent


# Answers after which nothing was applied for certain: the same text may be asked for again.
CERTAINLY_REFUSED = frozenset({"401", "404", "422", "429"})


@contextmanager
def simulator(logs: Logs, link: Path) -> Iterator[Process]:
    """`tilltap simulate vtap` with its standard input open to `type_line`."""
    process = Process(logs, "simulate", "simulate", "vtap", "--link", str(link), stdin=subprocess.PIPE)
    try:
        wait_until(link.exists, START, f"a simulated reader at {link}")
        yield process
        if process.exit_code is None:
            # In order: a link left behind would lead a daemon to the next pty of the same number.
            process.signal(signal.SIGTERM)
            process.ended()
    finally:
        process.end()


def type_line(process: Process, line: str) -> None:
    assert process.popen.stdin is not None
    print(line, file=process.popen.stdin, flush=True)
