"""No log line holds a secret, a pass value or a customer's id (contract section 4, promise 6).

The check over everything that a whole session has logged is the end of the `logs` fixture; here it is seen to
find what it looks for, and a till that has every reason to complain is seen to complain without names.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rigs.daemon import BEN, KEY, Logs, Shop, wait_until
from rigs.sandbox import WRITE_POINTS
from tilltap.sandbox.service import NewPass

ZOE = "zz-secret-Zoë £7"


@pytest.mark.parametrize(
    "line",
    [
        f"customer {ZOE} tapped",
        json.dumps({"ext_id": ZOE}),
        f"KeyError: {ZOE!a}",
        f"authorization: Bearer {KEY}",
    ],
    ids=["plain", "json", "traceback", "key"],
)
def test_the_search_finds_what_it_looks_for(tmp_path: Path, line: str) -> None:
    logs = Logs(tmp_path)
    logs.secrets.add(ZOE)
    logs.new("clean").write_text("all is well\n")
    assert logs.leaks() == []
    logs.new("run").write_text(f"all is well\n{line}\n", encoding="utf-8")
    assert [leak.partition(":")[0] for leak in logs.leaks()] == ["0002-run.log"]


def test_a_till_in_every_trouble_names_nobody(open_shop) -> None:
    shop: Shop = open_shop(NewPass(BEN, 4), NewPass(ZOE, 7, "zz-secret-nfc-0815"))
    shop.start()
    shop.ready()
    shop.tap(ZOE)
    shop.events.wait(lambda e: e.method == "tap")
    for value in ("zz-secret-unknown-4711", "zz-secret-cust-ben/../x?y=z#%", "zz-secret-\x07bell"):
        shop.logs.secrets.add(value)
        mark = shop.events.mark()
        shop.tap_value(value)
        shop.events.wait(lambda e: e.method == "tap", after=mark)
        with shop.pos() as pos:
            pos.call("customer.find", value=value)
            pos.call("sale.close", sale_id="zz-secret-sale", total="1.00", value=value)
            pos.send(f'{{"value": "{value}", broken\n'.encode())
            pos.read()
    shop.sandbox.fault("422", endpoint=WRITE_POINTS)
    shop.ask("sale.close", sale_id="refused", total="10.00", value=ZOE)
    wait_until(lambda: shop.ask("status")["mirror"]["parked"] == 1, 20, "a parked pass")
    shop.ask("customer.find", value=BEN)
    shop.sandbox.foreign(BEN, 9)
    shop.ask("customer.find", value=BEN)
    wait_until(lambda: shop.ask("status")["mirror"]["foreign"] == 1, 20, "a foreign change noticed")
    shop.sandbox.fault("401", endpoint=WRITE_POINTS)
    shop.ask("sale.close", sale_id="unpaid", total="10.00", value=BEN)
    wait_until(lambda: not shop.sandbox.faults.armed(), 20, "the key refused")
    assert shop.stop() == 0
    said = shop.daemon.said()
    told = [json.loads(line) for line in said]  # one JSON object a line, nothing else
    for event in ("tap", "pass parked", "balance changed by others"):
        assert any(line["event"] == event for line in told), (event, said)
    assert any(str(line.get("pass_id", "")).startswith("h:") for line in told)
    assert shop.logs.leaks() == []
