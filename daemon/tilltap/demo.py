"""The worked example with no hardware: a real daemon between a simulated reader, a sandbox and a POS.

Everything the example promises is checked as it happens; `play` answers whether all of it came true.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilltap.client import Event, Till
from tilltap.demo_readers import READERS, Counter
from tilltap.errors import StartError
from tilltap.sandbox.faults import MENU
from tilltap.sandbox.server import SandboxServer

Json = dict[str, Any]

# The demo's parts start in half a second each on a small machine; a slow one may take ten times that.
START_S = 15.0
# From the close of a sale to the new balance on the phone; two requests to this very machine.
PHONE_S = 15.0
# The same phone within 2 s is the same tap (contract 3.3): a second one waits this long.
PHONE_AWAY_S = 2.2

PROGRAM = """
[program]
name = "PassEntry Coffee"
currency = "GBP"
[program.earn]
spend = "10.00"
points = 1
[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 5
discount = "5.00"
[program.pass]
reward_field = "reward"
"""

CONFIG = """
[till]
name = "demo"
store = "demo"
[loyalty]
url = "{url}"
api_key_file = "demo.key"
settle = 2
{reader}
[pos]
socket = "{folder}/pos.sock"
[ledger]
url = "sqlite:///ledger.db"
"""


@dataclass
class Checks:
    """What was expected and what came."""

    wrong: list[str] = field(default_factory=list)

    def expect(self, what: str, wanted: object, got: object) -> None:
        if wanted != got:
            self.wrong.append(f"{what}: expected {wanted!r}, got {got!r}")


class Stage:
    """The running parts, as the story needs them."""

    def __init__(self, sandbox: SandboxServer, counter: Counter, socket: str) -> None:
        self.sandbox = sandbox
        self.pos = Till(socket)
        self._counter = counter
        self._events: queue.Queue[Event] = queue.Queue()
        threading.Thread(target=self._listen, args=(Till(socket),), daemon=True).start()
        self.wait(lambda e: e.method == "snapshot", START_S)

    def _listen(self, watcher: Till) -> None:
        for event in watcher.watch():
            self._events.put(event)

    def wait(self, fits: Callable[[Event], bool], seconds: float) -> Event:
        """The next event that fits; TimeoutError when none comes."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if fits(event):
                return event
        raise TimeoutError

    def tap(self, customer: str) -> None:
        """The customer holds the phone to the reader."""
        self._counter.tap(customer, self.sandbox.service.find(customer).nfc)

    def phone(self, customer: str) -> tuple[int, str, str | None]:
        """Points, reward text and newest notification that the phone shows."""
        shown = self.sandbox.service.find(customer)
        texts = [n.text for n in shown.notifications if n.shown]
        newest = max(shown.notifications, key=lambda n: n.at).text if texts else None
        return shown.balance, shown.fields.get("reward", ""), newest


@contextmanager
def stage(program: str, fault: str | None, reader: str = "vtap") -> Iterator[Stage]:
    """Sandbox, reader (one of `demo_readers.READERS`) and daemon, started and ended together."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tilltap-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        sandbox = stack.enter_context(SandboxServer())
        if fault:
            sandbox.faults.arm(MENU[fault], until_off=True)
        counter = stack.enter_context(READERS[reader](folder))
        config = folder / "tilltap.toml"
        config.write_text(program + CONFIG.format(url=sandbox.url, folder=folder, reader=counter.config))
        key = folder / "demo.key"
        key.touch(0o600)
        key.write_text("demo-key-of-no-value\n")
        log = stack.enter_context((folder / "daemon.log").open("w"))
        environment = {**os.environ, **counter.environment}
        daemon = _start(stack, ["run", "--config", str(config)], stderr=log, env=environment)
        _await_path(daemon, folder / "pos.sock", folder)
        scene = Stage(sandbox, counter, str(folder / "pos.sock"))
        _await_reader(scene)
        yield scene


def _start(stack: ExitStack, arguments: list[str], **streams: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "tilltap", *arguments], stdout=subprocess.DEVNULL, text=True, **streams
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_path(process: subprocess.Popen[str], path: Path, folder: Path) -> None:
    until = time.monotonic() + START_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > until:
            said = (folder / "daemon.log").read_text().strip().splitlines()[-5:]
            raise StartError("the demo could not start:", *said)
        time.sleep(0.02)


def _await_reader(scene: Stage) -> None:
    until = time.monotonic() + START_S
    while not all(r["state"] == "up" for r in scene.pos.status()["readers"]):
        if time.monotonic() > until:
            raise StartError("the demo could not start: the simulated reader does not come up")
        time.sleep(0.05)


@dataclass(frozen=True)
class Act:
    """One sale of the story and everything it must show."""

    title: str
    customer: str
    total: str
    before: int
    due: str
    earned: int
    after: int
    message: str
    reward_text: str
    redeem: bool = False


STORY = (
    Act(
        title="Anna is new. She buys for £20.00.",
        customer="anna",
        total="20.00",
        before=0,
        due="20.00",
        earned=2,
        after=2,
        message="Thank you for your order. You've earned 2 points!",
        reward_text="",
    ),
    Act(
        title="Ben has 4 points. He buys for £10.00.",
        customer="ben",
        total="10.00",
        before=4,
        due="10.00",
        earned=1,
        after=5,
        message="Congratulations! You've got £5 off on your next order!",
        reward_text="£5 off your next order",
    ),
    Act(
        title="Ben comes back and buys for £8.00.",
        customer="ben",
        total="8.00",
        before=5,
        due="3.00",
        earned=0,
        after=0,
        message="You've used your £5 off discount!",
        reward_text="",
        redeem=True,
    ),
)
PROMPT = "Would you like to get £5 off on this order?"


class Teller:
    """Prints the three sides of a step: till, phone, socket."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def title(self, text: str) -> None:
        self._write(f"\n{text}")

    def till(self, text: str) -> None:
        self._write(f"  till    {text}")

    def phone(self, text: str) -> None:
        self._write(f"  phone   {text}")

    def call(self, method: str, result: Json, *names: str) -> None:
        shown = {name: result[name] for name in names}
        self._write(f"  socket  {method} -> {json.dumps(shown, ensure_ascii=False)}")


def play(scene: Stage, write: Callable[[str], None], between: Callable[[], None] = lambda: None) -> list[str]:
    """The whole story; what went wrong, empty if nothing did."""
    checks, teller = Checks(), Teller(write)
    last_tap: dict[str, float] = {}
    for number, act in enumerate(STORY, 1):
        between()
        time.sleep(max(0.0, last_tap.get(act.customer, 0.0) + PHONE_AWAY_S - time.monotonic()))
        try:
            _act(scene, act, f"sale-{number}", checks, teller)
        except TimeoutError:
            checks.wrong.append(f"{act.title} Nothing more happened within {PHONE_S:.0f} s.")
            break
        last_tap[act.customer] = time.monotonic()
    return checks.wrong


def _act(scene: Stage, act: Act, sale_id: str, checks: Checks, teller: Teller) -> None:
    teller.title(act.title)
    scene.pos.sale_open(sale_id, act.total)
    scene.tap(act.customer)
    sale = scene.wait(
        lambda e: e.method == "sale" and e.params["sale_id"] == sale_id and bool(e.params["customer"]),
        PHONE_S,
    ).params
    teller.till(f"{act.customer} tapped: {sale['balance']} points")
    checks.expect(f"{sale_id} balance before", act.before, sale["balance"])
    if act.redeem:
        sale = _redeem(scene, sale_id, sale, checks, teller)
    done = scene.pos.sale_close(sale_id, total=act.total, paid=sale["due"])
    teller.call("sale.close", done, "due", "earned", "balance_after")
    teller.till(f"£{done['total']} becomes £{done['due']}" if act.redeem else f"£{done['due']} to pay")
    for what, wanted in (
        ("due", act.due),
        ("earned", act.earned),
        ("balance_after", act.after),
        ("message", act.message),
    ):
        checks.expect(f"{sale_id} {what}", wanted, done[what])
    scene.wait(lambda e: e.method == "pass" and e.params["customer"]["ext_id"] == act.customer, PHONE_S)
    _look_at_phone(scene, act, sale_id, checks, teller)


def _redeem(scene: Stage, sale_id: str, sale: Json, checks: Checks, teller: Teller) -> Json:
    prompts = [offer["prompt"] for offer in sale["offers"]]
    checks.expect(f"{sale_id} prompts", [PROMPT], prompts)
    for offer in sale["offers"][:1]:
        teller.till(f"{offer['prompt']}  [yes]")
        sale = scene.pos.sale_accept(sale_id, offer["reward"])
        teller.call("sale.accept", sale, "discount", "due", "reserved")
    return sale


def _look_at_phone(scene: Stage, act: Act, sale_id: str, checks: Checks, teller: Teller) -> None:
    """The reward on the face follows the balance within a request; the phone is looked at until it does."""
    until = time.monotonic() + PHONE_S / 5
    while scene.phone(act.customer) != (act.after, act.reward_text, act.message):
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    points, reward, message = scene.phone(act.customer)
    teller.phone(f"{message}")
    teller.phone(f"{points} points" + (f", {reward}" if reward else ""))
    checks.expect(f"{sale_id} points on the phone", act.after, points)
    checks.expect(f"{sale_id} reward on the phone", act.reward_text, reward)
    checks.expect(f"{sale_id} notification", act.message, message)
