"""The example of the contract, on the wire and as the demo, with exactly its texts and numbers."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from rigs.daemon import ANNA, BEN, START, Process, Shop, wait_until
from tilltap.sandbox.server import DEFAULT_PASSES
from tilltap.sandbox.service import Service

EARNED = "Thank you for your order. You've earned 2 points!"
REACHED = "Congratulations! You've got £5 off on your next order!"
REDEEMED = "You've used your £5 off discount!"


def tapped_sale(shop: Shop, sale_id: str, total: str, customer: str) -> dict:
    """Opens the sale, lets the customer tap, and answers the sale that the POS was shown."""
    shop.ask("sale.open", sale_id=sale_id, total=total)
    mark = shop.events.mark()
    shop.tap(customer)
    event = shop.events.wait(
        lambda e: e.method == "sale" and e.params["sale_id"] == sale_id and bool(e.params["customer"]),
        after=mark,
    )
    return {k: v for k, v in event.params.items() if k not in ("seq", "at", "till")}


def phone(shop: Shop, customer: str) -> tuple[int, str, list[str]]:
    shown = shop.sandbox.service.find(customer)
    return shown.balance, shown.fields["reward"], [n.text for n in shown.notifications if n.shown]


def test_on_the_wire(shop: Shop) -> None:
    ben = {"pass_id": shop.sandbox.service.find(BEN).id, "ext_id": BEN}

    sale = tapped_sale(shop, "1001", "20.00", ANNA)
    assert (sale["balance"], sale["earned"], sale["balance_after"], sale["offers"]) == (0, 2, 2, [])
    done = shop.ask("sale.close", sale_id="1001", total="20.00", paid="20.00")
    assert (done["state"], done["due"], done["paid"]) == ("closed", "20.00", "20.00")
    assert (done["message"], done["receipt"]) == (EARNED, "2 points earned. Balance: 2")

    sale = tapped_sale(shop, "1002", "10.00", BEN)
    assert (sale["balance"], sale["earned"], sale["balance_after"], sale["offers"]) == (4, 1, 5, [])
    assert shop.ask("sale.close", sale_id="1002")["message"] == REACHED
    wait_until(lambda: phone(shop, BEN) == (5, "£5 off your next order", [REACHED]), 10, "Ben's reward shown")

    # Ben's phone has to be away for two seconds before it counts again; his pass id is as good.
    offer = {
        "reward": "five-off",
        "title": "£5 off",
        "discount": "5.00",
        "prompt": "Would you like to get £5 off on this order?",
    }
    sale = shop.ask("sale.open", sale_id="1004", total="8.00", value=ben["pass_id"])
    assert sale["offers"] == [{**offer, "state": "offered"}]
    sale = shop.ask("sale.accept", sale_id="1004", reward="five-off")
    assert isinstance(sale.pop("why"), str)
    assert sale == {
        "sale_id": "1004",
        "state": "open",
        "total": "8.00",
        "eligible": "8.00",
        "discount": "5.00",
        "due": "3.00",
        "paid": None,
        "currency": "GBP",
        "customer": ben,
        "balance": 5,
        "reserved": 5,
        "earned": 0,
        "balance_after": 0,
        "offers": [{**offer, "state": "accepted"}],
        "message": REDEEMED,
        "receipt": None,
        "offline": False,
    }
    done = shop.ask("sale.close", sale_id="1004", total="8", paid="3.00")
    assert (done["balance"], done["balance_after"], done["earned"]) == (0, 0, 0)
    assert (done["message"], done["receipt"]) == (REDEEMED, "0 points earned. Balance: 0")
    shop.settled()
    assert phone(shop, ANNA) == (2, "", [EARNED])
    assert phone(shop, BEN) == (0, "", [REACHED, REDEEMED])
    assert shop.entries(BEN) == [("earn", "1002", 1), ("redeem", "1004", -5)]


RULES = """
[program]
name = "PassEntry Coffee"
[program.earn]
spend = "{spend}"
[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 5
discount = "5.00"
[program.pass]
[program.messages]
earned = "{earned}"
"""
RIGHT = "Thank you for your order. You've earned {earned} {points}!"


@pytest.fixture(scope="module")
def demos(logs, tmp_path_factory):
    """Every run of the demo, side by side: each waits most of its time for a phone to be taken away."""
    folder = tmp_path_factory.mktemp("programs")
    for name, rules in {
        "right": RULES.format(spend="10.00", earned=RIGHT),
        "wrong-rule": RULES.format(spend="5.00", earned=RIGHT),
        "wrong-message": RULES.format(spend="10.00", earned="Thanks, you've earned {earned} {points}!"),
    }.items():
        (folder / name).write_text(rules, encoding="utf-8")
    runs = {
        "auto": [],
        "right": ["--program", str(folder / "right")],
        "wrong-rule": ["--program", str(folder / "wrong-rule")],
        "wrong-message": ["--program", str(folder / "wrong-message")],
        "lying-service": ["--fault", "wrong-balance"],
        "lost-answers": ["--fault", "apply-then-drop"],
    }
    home = tempfile.mkdtemp(prefix="tt-")
    started = {
        name: Process(
            logs, f"demo-{name}", "demo", "--auto", *options, stdout=subprocess.PIPE, env={"TMPDIR": home}
        )
        for name, options in runs.items()
    }
    # A demo takes its daemon's log away with it: kept by a second name.
    found = wait_until(lambda: _as_many(Path(home).glob("*/daemon.log"), len(runs)), START, "the demos' logs")
    for log in found:
        os.link(log, logs.new("demo-daemon"))
    yield started
    for process in started.values():
        process.end()
    shutil.rmtree(home)


def _as_many(paths, count):
    found = list(paths)
    return found if len(found) == count else []


@pytest.mark.parametrize(
    ("name", "code", "complains"),
    [
        ("auto", 0, ""),
        ("right", 0, ""),
        ("lost-answers", 0, ""),
        ("wrong-rule", 1, "sale-1 earned: expected 2, got 4"),
        ("wrong-message", 1, "sale-1 message: expected"),
        ("lying-service", 1, "sale-1 balance before: expected 0, got 1"),
    ],
)
def test_demo_exits_0_only_if_all_was_right(demos, name, code, complains):
    out, _ = demos[name].popen.communicate(timeout=60)
    assert demos[name].popen.returncode == code, demos[name].said()
    assert ("Every balance and message was right." in out) == (code == 0)
    assert any(complains in line for line in demos[name].said()) == bool(complains)


def test_the_daemons_of_the_demo_name_nobody(demos, logs):
    for process in demos.values():
        process.ended(60)
    passes = Service(DEFAULT_PASSES, clock=time.time).passes()
    secrets = ["demo-key-of-no-value", *(v for p in passes for v in (p.id, p.nfc, p.ext_id))]
    kept = sorted(logs.folder.glob("*-demo-daemon.log"))
    assert len(kept) == len(demos)
    for log in kept:
        text = log.read_text()
        assert '"status": "identified"' in text
        assert [s for s in secrets if re.search(rf"\b{re.escape(s)}\b", text)] == []
