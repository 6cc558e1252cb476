"""Backups made, put back, and a till renamed, by the commands of docs/ledger.md on the real daemon."""

from __future__ import annotations

import json

import pytest

from rigs.daemon import ANNA, BEN, Logs, Shop, run_cli


@pytest.fixture
def ledger(logs: Logs):
    """`ledger(shop, "status")`: what a command on its ledger prints."""

    def ledger(shop: Shop, *arguments: str, code: int = 0) -> str:
        ended, out, err = run_cli(logs, "ledger", *arguments, "--config", str(shop.config))
        assert ended == code, (out, err)
        return out

    return ledger


def put_back(shop: Shop, copy: str) -> None:
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (shop.folder / name).unlink(missing_ok=True)
    (shop.folder / copy).rename(shop.folder / "ledger.db")


def written(shop: Shop) -> int:
    journal = shop.sandbox.service.journal()
    return sum(e.kind == "request" and e.data["endpoint"].startswith("PATCH") for e in journal)


def foreign(shop: Shop) -> int:
    return shop.ask("status")["mirror"]["foreign"]


@pytest.mark.parametrize("stop", [Shop.stop, Shop.kill], ids=["stopped", "killed"])
def test_yesterdays_ledger_takes_the_services_balances_over(shop: Shop, ledger, stop) -> None:
    shop.ask("sale.close", sale_id="1", total="10.00", value=BEN)
    ledger(shop, "backup", "--to", str(shop.folder / "copy"))
    shop.ask("sale.open", sale_id="2", total="8.00", value=BEN)
    shop.ask("sale.accept", sale_id="2", reward="five-off")
    shop.ask("sale.close", sale_id="2")
    shop.ask("sale.close", sale_id="3", total="20.00", value=ANNA)
    shop.settled()
    balances = shop.sandbox.balance(BEN), shop.sandbox.balance(ANNA)
    texts = shop.texts_asked(BEN), shop.texts_asked(ANNA)
    writes = written(shop)
    assert balances == (0, 2)
    seq = shop.ask("watch")["seq"]
    stop(shop)

    put_back(shop, "copy")
    mark = shop.events.mark()
    daemon = shop.start()
    shop.ready()
    shop.events.wait(lambda e: e.method == "snapshot" or e.params.get("state") == "up", after=mark)
    mark = shop.events.mark()
    shop.tap(BEN)
    shop.events.wait(lambda e: e.method == "tap" and e.params["balance"] == 0, after=mark)
    shop.settled()
    assert (shop.balance(BEN), shop.balance(ANNA)) == balances
    assert (shop.sandbox.balance(BEN), shop.sandbox.balance(ANNA)) == balances
    assert (shop.texts_asked(BEN), shop.texts_asked(ANNA)) == texts, "a text was sent again"
    assert written(shop) == writes, "a balance was written over the service's"
    assert foreign(shop) == 1, "BEN's change; ANNA was new since and is met again"
    assert shop.ask("watch")["seq"] > seq or stop is Shop.kill
    assert sum("ledger put back from a backup" in line for line in daemon.said()) == 1
    found = json.loads(ledger(shop, "status", "--json"))
    assert (found["wrong"], found["foreign"]) == ([], 1)
    assert found["restored"]

    # It goes on selling, and a new start is none from a backup.
    shop.ask("sale.close", sale_id="4", total="10.00", value=BEN)
    shop.settled()
    assert shop.sandbox.balance(BEN) == shop.balance(BEN) == 1
    shop.stop()
    daemon = shop.start()
    assert not any("put back" in line for line in daemon.said())


def test_a_renamed_till_finds_its_sales(shop: Shop, ledger) -> None:
    shop.ask("sale.close", sale_id="1", total="10.00", value=BEN)
    shop.ask("sale.open", sale_id="2", total="8.00", value=BEN)
    shop.ask("sale.accept", sale_id="2", reward="five-off")
    shop.ask("customer.adjust", value=BEN, points=2, reason="a gift", request_id="a")
    shop.settled()
    closed = shop.ask("sale.get", sale_id="1")
    seq = shop.ask("watch")["seq"]
    ledger(shop, "rename-till", "front", code=1)
    shop.stop()
    assert "now set [till] name" in ledger(shop, "rename-till", "front")
    daemon = shop.launch()
    assert daemon.ended() == 3
    assert "tilltap ledger rename-till" in daemon.said()[0]

    shop.configure(till="front")
    shop.start()
    assert shop.ask("sale.get", sale_id="1") == closed
    assert shop.ask("sale.close", sale_id="1", total="10.00", value=BEN) == closed
    assert shop.ask("customer.adjust", value=BEN, points=2, reason="a gift", request_id="a")["balance"] == 7
    assert shop.ask("sale.close", sale_id="2")["discount"] == "5.00"
    shop.ask("sale.refund", sale_id="1", refund_id="r", till="front")
    again = shop.ask("watch", after=seq)
    assert (again["gap"], again["seq"] > seq) == (False, True)
    shop.settled()
    assert shop.sandbox.balance(BEN) == shop.balance(BEN) == 5 + 2 - 5 - 1
