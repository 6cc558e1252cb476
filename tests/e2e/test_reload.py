"""SIGHUP: rules and readers change under way, and nothing else does (contract section 2, last paragraphs)."""

from __future__ import annotations

import pytest

from rigs.daemon import ANNA, BEN, PROGRAM, READER, Shop
from rigs.pty_port import PtyPort

GENEROUS = PROGRAM.replace("points = 1", "points = 3").replace(
    "[program.pass]", '[program.pass]\n[program.messages]\nearned = "Three a tenner: {earned} {points}!"'
)


def reloaded(shop: Shop) -> dict:
    """The `program` event that the reload brings."""
    mark = shop.events.mark()
    shop.reload()
    return shop.events.wait(lambda e: e.method == "program", after=mark).params


def test_changed_rules_hold_for_what_begins_from_now_on(shop: Shop) -> None:
    shop.ask("sale.open", sale_id="before", total="20.00", value=ANNA)
    shop.ask("sale.close", sale_id="closed", total="20.00", value=BEN)
    old = shop.ask("hello", client="t")
    shop.configure(GENEROUS)
    told = reloaded(shop)
    assert set(told["changed"]) == {"program.earn.points", "program.messages.earned"}
    assert "refused" not in told
    assert isinstance(told["version"], int)
    assert shop.ask("hello", client="t")["program"] == old["program"]

    kept = shop.ask("sale.close", sale_id="before")
    assert (kept["earned"], kept["message"]) == (2, "Thank you for your order. You've earned 2 points!")
    new = shop.ask("sale.close", sale_id="after", total="20.00", value=BEN)
    assert (new["earned"], new["message"]) == (6, "Three a tenner: 6 points!")
    # A refund takes back what its sale's rules gave: one of two points, then three of six.
    assert shop.ask("sale.refund", sale_id="closed", refund_id="r1", amount="10.00")["earned"] == 1
    assert shop.ask("sale.refund", sale_id="after", refund_id="r2", amount="10.00")["earned"] == 3
    assert (shop.balance(ANNA), shop.balance(BEN)) == (2, 4 + 1 + 3)
    shop.settled()
    assert (shop.sandbox.balance(ANNA), shop.sandbox.balance(BEN)) == (2, 8)


def test_rules_of_open_sales_outlive_a_restart(shop: Shop) -> None:
    shop.ask("sale.open", sale_id="before", total="20.00", value=ANNA)
    shop.configure(GENEROUS)
    assert shop.stop() == 0
    shop.start()
    assert shop.ask("sale.close", sale_id="before")["earned"] == 2
    assert shop.ask("sale.close", sale_id="after", total="20.00", value=ANNA)["earned"] == 6


@pytest.mark.parametrize(
    ("program", "changes", "names"),
    [
        (PROGRAM.replace("points = 1", 'points = "many"\nspent = "1"'), {}, ["points", "spent"]),
        (GENEROUS.replace("{earned}", "{earnt}"), {}, ["earnt"]),
        (GENEROUS, {"settle": "7"}, ["loyalty.settle", "restart needed"]),
        (GENEROUS, {"socket": "elsewhere.sock"}, ["pos.socket", "restart needed"]),
        (GENEROUS, {"ledger": "sqlite:///other.db"}, ["ledger.url", "restart needed"]),
        (
            GENEROUS.replace("[program]", '[program]\ncurrency = "EUR"'),
            {},
            ["program.currency", "restart needed"],
        ),
    ],
    ids=["mistakes", "placeholder", "settle", "socket", "ledger", "currency"],
)
def test_a_file_that_cannot_be_taken_up_is_refused_whole(shop: Shop, program, changes, names) -> None:
    shop.configure(program, **changes)
    told = reloaded(shop)
    assert "changed" not in told
    for name in names:
        assert any(name in line for line in told["refused"]), told["refused"]
    assert all(line.startswith(f"{shop.config}:") for line in told["refused"])
    assert any("reload refused" in line for line in shop.daemon.said())
    # The old rules go on, and a right file is still taken up.
    assert shop.ask("sale.close", sale_id="s", total="20.00", value=ANNA)["earned"] == 2
    shop.configure(GENEROUS)
    assert "changed" in reloaded(shop)


def test_only_a_reader_whose_settings_changed_starts_again(open_shop) -> None:
    second = '[[reader]]\nname = "second"\nport = "vtap2"\n'
    shop = open_shop(readers=READER + second)
    with PtyPort(shop.folder / "vtap2"), PtyPort(shop.folder / "vtap3"):
        shop.start()
        shop.ready()
        mark = shop.events.mark()
        shop.readers = READER + second.replace("vtap2", "vtap3")
        shop.configure()
        shop.reload()
        shop.events.wait(
            lambda e: e.method == "reader" and (e.params["reader"], e.params["state"]) == ("second", "up"),
            after=mark,
        )
        # Away with it altogether: what is left goes on without a word.
        shop.readers = READER
        shop.configure(GENEROUS)
        reloaded(shop)
        assert [r["reader"] for r in shop.ask("status")["readers"]] == ["counter"]
        said = [e.params["reader"] for e in shop.events.events[mark:] if e.method == "reader"]
        assert set(said) == {"second"}
        shop.tap_value("zz-secret-value-after-reload")
        shop.events.wait(lambda e: e.method == "tap" and e.params["reader"] == "counter")
