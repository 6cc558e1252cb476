"""`make bench`: what tilltap costs, each figure beside the least that must be paid anyway, in one run.

Figures are medians; what counts is the ratio, since both sides ran on the same machine at the same time.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import ledger
from rigs.daemon import Logs
from tilltap.config.load import load
from tilltap.ledger import book
from tilltap.loyalty.provider import PassState
from tilltap.sandbox.service import NewPass, Pass, Service
from tilltap.stores import open_file
from tilltap.till import customers
from tilltap.till.shapes import Shop
from tilltap_drivers.pcsc.virtual import VPCD

HERE = Path(__file__).parent
CUSTOMERS = 120  # each taps once: the same one again within 2 s would be folded
TAP_EVERY_S = 0.15  # a queue of people, not a burst: the daemon also asks the service about each
IN_A_ROW, WARM_UP = 600, 100  # a daemon runs for weeks: its first hundred sales are not the figure
NOW_AND_THEN = 120
LOG_PAGES = 1100  # SQLite's log is written from its beginning again after 1000
SALE_EVERY_S = 0.15  # the pass of the last sale is up to date when the next one closes, and caches are cold
STARTS = 7

CONFIG = """
[till]
name = "bench"
[program.earn]
spend = "10.00"
[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 5
discount = "5.00"
[loyalty]
url = "{url}"
api_key_file = "key"
[[reader]]
name = "counter"
port = "{port}"
[pos]
socket = "{folder}/pos.sock"
[ledger]
url = "sqlite:///ledger.db"
"""

LIBRARIES = "anyio, httpx, pydantic, serial, sqlalchemy, structlog, typer"


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".", prefix=".bench-"))).resolve()
        url = stack.enter_context(sandbox())
        master, slave = pty.openpty()
        tty.setraw(slave)
        config = folder / "bench.toml"
        config.write_text(CONFIG.format(url=url, port=os.ttyname(slave), folder=folder))
        (folder / "key").touch(0o600)
        (folder / "key").write_text("bench-key\n")
        meet_all(config)
        line("figure", "tilltap", "least", "ratio", "target")
        measure_start(config, folder)
        with daemon(config, folder) as process:
            measure_taps(folder, master)
            close_and_commit(folder, WARM_UP)
            ours, least = close_and_commit(folder, IN_A_ROW)
            report("sale.close, against one raw commit", ours, least, "2.5")
            report(
                "  against one into a log of full size", *close_and_commit(folder, IN_A_ROW, grown=True), ""
            )
            report("the same, a sale every 150 ms", *close_and_commit(folder, NOW_AND_THEN, SALE_EVERY_S), "")
            rss = resident_mb(process.pid)
            line("resident memory (MB)", f"{rss:.0f}", "", "", "<= 80")
    measure_ledger()
    measure_presentations()


def line(*cells: str) -> None:
    print("{:<38}{:>10}{:>10}{:>8}{:>9}".format(*cells), flush=True)


def report(what: str, ours: list[float], least: list[float], target: str) -> None:
    a, b = median(ours) * 1000, median(least) * 1000
    line(f"{what} (ms)", f"{a:.2f}", f"{b:.2f}", f"{a / b:.2f}", f"<= {target}" if target else "")


@contextmanager
def sandbox() -> Iterator[str]:
    """The loyalty service, in a process of its own: its work must not be measured as ours."""
    passes = [option for n in range(CUSTOMERS) for option in ("--pass", f"cust-{n}")]
    command = [sys.executable, "-m", "tilltap", "sandbox", "--port", "0", *passes]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def known() -> list[Pass]:
    """The sandbox's passes: ids are derived from the ext id."""
    return Service((NewPass(f"cust-{n}") for n in range(CUSTOMERS)), clock=time.time).passes()


def meet_all(config: Path) -> None:
    """Every customer is known to the ledger: what is measured is a regular's tap."""
    settings = load(config)
    store, _ = open_file(settings)
    shop = Shop(
        settings.till, settings.program, store.run_now(lambda tx: book.enter_program(tx, settings.program))
    )
    for item in known():
        state = PassState(item.id, item.ext_id, item.nfc, "active", item.balance)
        store.run_now(lambda tx, state=state: customers.meet(tx, shop, state.pass_id, state))
    store.close()


@contextmanager
def daemon(config: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    log = (folder / "daemon.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "tilltap", "run", "--config", str(config)], stderr=log)
    try:
        connect(folder / "pos.sock").close()
        yield process
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def connect(path: Path) -> socket.socket:
    until = time.monotonic() + 20
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.002)
        else:
            return sock


def measure_start(config: Path, folder: Path) -> None:
    ours, least = [], []
    for _ in range(STARTS):
        began = time.perf_counter()
        with daemon(config, folder):
            ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {LIBRARIES}"], check=True)
        least.append(time.perf_counter() - began)
    report("start-up, against importing the same", ours, least, "2")


def measure_taps(folder: Path, master: int) -> None:
    watcher = connect(folder / "pos.sock").makefile("rwb")
    watcher.write(b'{"jsonrpc":"2.0","id":1,"method":"watch"}\n')
    watcher.flush()
    while "result" not in (said := json.loads(watcher.readline())):
        pass
    while any(reader["state"] != "up" for reader in said["result"]["readers"]):
        said = {"result": {"readers": [json.loads(watcher.readline())["params"]]}}
    relay_master, relay_slave = pty.openpty()
    tty.setraw(relay_slave)
    path = folder / "relay.sock"
    relay = subprocess.Popen([sys.executable, str(HERE / "relay.py"), os.ttyname(relay_slave), str(path)])
    lines = connect(path).makefile("rb")
    time.sleep(0.5)
    ours, least = [], []
    for item in known():
        frame = f"\x02A11\x1f08E9460F\x1f{item.nfc}\x03\n".encode()
        ours.append(timed(lambda frame=frame: os.write(master, frame), lambda: until_tap(watcher)))
        time.sleep(TAP_EVERY_S / 2)
        least.append(timed(lambda frame=frame: os.write(relay_master, frame), lines.readline))
        time.sleep(TAP_EVERY_S / 2)
    relay.kill()
    relay.wait()
    report("tap to event, against a bare relay", ours, least, "10")


def until_tap(watcher: object) -> None:
    while json.loads(watcher.readline())["method"] != "tap":  # type: ignore[attr-defined]
        pass


def timed(start: Callable[[], object], end: Callable[[], object]) -> float:
    began = time.perf_counter()
    start()
    end()
    return time.perf_counter() - began


def close_and_commit(
    folder: Path, sales: int, every: float = 0.0, *, grown: bool = False
) -> tuple[list[float], list[float]]:
    """Seconds of a sale and of a raw commit, in turn. In a row the daemon's work on the passes goes on
    meanwhile. `grown`: the raw file's log is written from its beginning again, as the daemon's is after its
    first hundred sales: a flush of a file that grows takes longer.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name, closing(raw_commits(Path(name))) as raw:
        for n in range(LOG_PAGES if grown else 0):
            raw.execute("INSERT INTO t VALUES (?)", (n,))
        pos = connect(folder / "pos.sock").makefile("rwb")
        ours, least = [], []
        for n in range(sales):
            params = {"sale_id": f"{Path(name).name}-{n}", "total": "20.00", "value": f"cust-{n % CUSTOMERS}"}
            call = {"jsonrpc": "2.0", "id": n, "method": "sale.close", "params": params}
            body = json.dumps(call).encode() + b"\n"
            began = time.perf_counter()
            pos.write(body)
            pos.flush()
            answer = pos.readline()
            ours.append(time.perf_counter() - began)
            assert json.loads(answer)["result"]["earned"] == 2, answer
            began = time.perf_counter()
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("INSERT INTO t VALUES (?)", (n,))
            raw.execute("COMMIT")
            least.append(time.perf_counter() - began)
            time.sleep(every)
    return ours, least


def raw_commits(folder: Path) -> sqlite3.Connection:
    """The least that one durable fact costs: a table of one column on the same disk."""
    raw = sqlite3.connect(folder / "raw.db", isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("CREATE TABLE t (a)")
    return raw


def measure_ledger() -> None:
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as name:
        folder = Path(name).resolve()
        logs = Logs(folder)
        ours, least, one_row = ledger.one_till(logs, folder)
        line(
            "sales a second, against raw commits",
            f"{ours:.0f}",
            f"{least:.0f}",
            f"{ours / least:.2f}",
            ">= 0.5",
        )
        line("  raw commits of a single row", "", f"{one_row:.0f}", f"{ours / one_row:.2f}", "")
        one, four = ledger.several_tills(logs)
        ours, least = four.per_second, one.per_second
        line(
            "sales a second, 4 tills against 1",
            f"{ours:.0f}",
            f"{least:.0f}",
            f"{ours / least:.2f}",
            ">= 1.5",
        )
        ours, least = four.cpu_ms, one.cpu_ms
        line("CPU of such a sale (ms)", f"{ours:.2f}", f"{least:.2f}", f"{ours / least:.2f}", "<= 1")
        report("commits at 5 M entries, against 5 k", *ledger.full_ledger(folder), "1.2")


def measure_presentations() -> None:
    """Phones at a PC/SC reader, against the same APDUs in a bare pyscard loop; the target is the difference."""
    if not VPCD.exists() or shutil.which("pcscd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        line("phones at a PC/SC reader", "not run", "", "", "")
        print("  (they need pcscd and vsmartcard-vpcd)")
        return
    from bench import pcsc

    for figure in pcsc.measure():
        ours, least = median(figure.ours) * 1000, median(figure.least) * 1000
        target = "" if figure.target is None else f"<= +{figure.target:.0f}"
        line(f"{figure.what} (ms)", f"{ours:.2f}", f"{least:.2f}", f"{ours / least:.2f}", target)


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
