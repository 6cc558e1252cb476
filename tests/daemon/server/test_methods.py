"""The table of calls: what passes, what is refused and with which field, and what reaches the desk."""

import os
import re
from datetime import date
from pathlib import Path

import anyio
import pytest

from rigs.desk import MemoryDesk
from tilltap.errors import CallError, ParamError
from tilltap.model import Currency, Peer, Who
from tilltap.server import jsonrpc, methods
from tilltap.server.methods import METHODS, check, permit

POUNDS = Currency("GBP")
OWNER = Peer(os.geteuid(), 1, "test")


def field_of(method, **params):
    with pytest.raises(ParamError) as caught:
        check(METHODS[method], params, POUNDS)
    assert caught.value.message.startswith(f"{caught.value.field}: ")
    return caught.value.field


def asked(method, /, peer=OWNER, **params):
    """What the desk is asked when the call is made."""

    async def run():
        desk = MemoryDesk()
        desk.faults = {name: CallError("offline", "stop here") for name in METHODS}
        entry = METHODS[method]
        with pytest.raises(CallError, match="stop here"):
            await entry.run(desk, check(entry, params, desk.currency), peer)
        return desk.calls

    return anyio.run(run)


@pytest.mark.parametrize(
    ("method", "params", "args"),
    [
        ("hello", {"client": "pos", "protocol": 1, "token": "t"}, ()),
        ("status", {}, ()),
        ("sale.open", {"sale_id": "1", "total": "8"}, ("1", 800, None, None)),
        (
            "sale.open",
            {"sale_id": "1", "total": "8.00", "eligible": "7.5", "tap_id": "t"},
            ("1", 800, 750, Who("t")),
        ),
        ("sale.open", {"sale_id": "1", "total": "0", "value": "v"}, ("1", 0, None, Who(None, "v"))),
        (
            "sale.open",
            {"sale_id": "1", "total": "8", "eligible": None, "tap_id": None, "value": None},
            ("1", 800, None, None),
        ),
        (
            "sale.open",
            {"sale_id": "1", "total": "8", "tap_id": "t", "value": None},
            ("1", 800, None, Who("t")),
        ),
        ("sale.update", {"sale_id": "1", "total": "8"}, ("1", 800, None)),
        ("sale.attach", {"sale_id": "1", "value": "v"}, ("1", Who(None, "v"))),
        ("sale.attach", {"sale_id": "1", "tap_id": "t"}, ("1", Who("t"))),
        ("sale.attach", {"sale_id": "1", "value": None}, ("1", Who())),
        ("sale.attach", {"sale_id": "1", "value": None, "tap_id": None}, ("1", Who())),
        ("sale.accept", {"sale_id": "1", "reward": "five-off"}, ("1", "five-off")),
        ("sale.decline", {"sale_id": "1", "reward": "five-off"}, ("1", "five-off")),
        ("sale.close", {"sale_id": "1"}, ("1", None, None, None, None)),
        (
            "sale.close",
            {"sale_id": "1", "total": "8", "eligible": "8", "paid": "3", "value": "v"},
            ("1", 800, 800, 300, Who(None, "v")),
        ),
        ("sale.cancel", {"sale_id": "1"}, ("1",)),
        ("sale.refund", {"sale_id": "1", "refund_id": "r"}, ("1", "r", None, None)),
        (
            "sale.refund",
            {"sale_id": "1", "refund_id": "r", "till": "till-2", "amount": "0.01"},
            ("1", "r", "till-2", 1),
        ),
        ("sale.get", {"sale_id": "1", "till": "till-2"}, ("1", "till-2")),
        ("customer.find", {"value": "v"}, ("v",)),
        ("customer.history", {"value": "v"}, ("v", 50)),
        ("customer.history", {"value": "v", "limit": 1000}, ("v", 1000)),
        (
            "customer.adjust",
            {"value": "v", "points": -3, "reason": "typing mistake", "request_id": "q"},
            ("v", -3, "typing mistake", "q", OWNER),
        ),
        ("mirror.list", {}, ()),
        ("mirror.retry", {}, (None,)),
        ("mirror.retry", {"value": "v"}, ("v",)),
        ("report", {}, (None, None)),
        ("report", {"day": "2024-02-29", "till": "till-2"}, (date(2024, 2, 29), "till-2")),
    ],
)
def test_every_call_reaches_the_desk_with_what_was_given(method, params, args):
    assert asked(method, **params) == [(method, args)]


def test_every_call_of_the_contract_is_served_and_documented():
    documented = set(re.findall(r"^### `([a-z.]+)`", Path("docs/pos-protocol.md").read_text(), re.MULTILINE))
    assert documented == METHODS.keys()


@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("hello", {}, "client"),
        ("hello", {"client": ""}, "client"),
        ("hello", {"client": "x", "protocol": "1"}, "protocol"),
        ("hello", {"client": "x", "protocol": True}, "protocol"),
        ("hello", {"client": "x", "token": 3}, "token"),
        ("watch", {"after": -1}, "after"),
        ("watch", {"after": 1.0}, "after"),
        ("watch", {"after": "1"}, "after"),
        ("watch", {"since": 1}, "since"),
        ("status", {"x": 1}, "x"),
        ("sale.open", {"total": "8"}, "sale_id"),
        ("sale.open", {"sale_id": "1"}, "total"),
        ("sale.open", {"sale_id": "1", "total": None}, "total"),
        ("sale.open", {"sale_id": None, "total": "8"}, "sale_id"),
        ("sale.open", {"sale_id": 1, "total": "8"}, "sale_id"),
        ("sale.open", {"sale_id": "1", "total": "8", "totl": "8"}, "totl"),
        ("sale.open", {"sale_id": "1", "total": "8", "eligible": 8}, "eligible"),
        ("sale.attach", {"sale_id": "1"}, "value"),
        ("sale.attach", {"sale_id": "1", "tap_id": None}, "value"),
        ("sale.attach", {"sale_id": "1", "tap_id": "t", "value": "v"}, "value"),
        ("sale.attach", {"sale_id": "1", "tap_id": "t", "value": None}, "value"),
        ("sale.accept", {"sale_id": "1"}, "reward"),
        ("sale.accept", {"sale_id": "1", "reward": 5}, "reward"),
        ("sale.close", {"sale_id": "1", "paid": 8.0}, "paid"),
        ("sale.close", {"sale_id": "1", "tap_id": ["t"]}, "tap_id"),
        ("sale.refund", {"sale_id": "1"}, "refund_id"),
        ("sale.refund", {"sale_id": "1", "refund_id": "r", "till": 1}, "till"),
        ("customer.history", {"value": "v", "limit": 0}, "limit"),
        ("customer.history", {"value": "v", "limit": 1001}, "limit"),
        ("customer.history", {"value": "v", "limit": True}, "limit"),
    ],
)
def test_a_bad_parameter_is_named(method, params, field):
    if field == "value" and method == "sale.attach":

        async def run():
            with pytest.raises(ParamError) as caught:
                await METHODS[method].run(MemoryDesk(), check(METHODS[method], params, POUNDS), OWNER)
            return caught.value.field

        assert anyio.run(run) == field
    else:
        assert field_of(method, **params) == field


@pytest.mark.parametrize("params", [[], ["1", "8"], None, "x", 3, True])
def test_params_are_an_object(params):
    with pytest.raises(ParamError) as caught:
        check(METHODS["status"], params, POUNDS)
    assert caught.value.field == "params"


AMOUNTS = ["8", "8.0", "8.00", "0", "0.00", "000000008", "999999999.99"]
NO_AMOUNTS = ["", " 8", "8 ", "8.", ".8", "8.000", "-8", "+8", "8,00", "1e2", "1234567890", "٨", "8\n", "x"]


@pytest.mark.parametrize("amount", AMOUNTS)
def test_amounts_are_decimal_strings(amount):
    assert check(METHODS["sale.update"], {"sale_id": "1", "total": amount}, POUNDS)["total"] == round(
        float(amount) * 100
    )


@pytest.mark.parametrize("amount", [*NO_AMOUNTS, 8, 8.0, 0, True, [], {"minor": 800}])
def test_anything_else_is_no_amount(amount):
    assert field_of("sale.update", sale_id="1", total=amount) == "total"


@pytest.mark.parametrize(("code", "amount", "minor"), [("JPY", "800", 800), ("KWD", "1.005", 1005)])
def test_amounts_have_the_decimals_of_the_currency(code, amount, minor):
    params = {"sale_id": "1", "total": amount}
    assert check(METHODS["sale.update"], params, Currency(code))["total"] == minor
    with pytest.raises(ParamError):
        check(METHODS["sale.update"], params | {"total": amount + ".0001"}, Currency(code))


@pytest.mark.parametrize("good", ["1", "x" * 64, "2026-11-21/1004", "ü £ 你好", " "])
def test_ids_are_up_to_64_printable_characters(good):
    assert check(METHODS["sale.cancel"], {"sale_id": good}, POUNDS) == {"sale_id": good}


@pytest.mark.parametrize(
    "bad", ["", "x" * 65, "a\nb", "a\x00", "a\x7f", "\ud800", "\u200b", "\xa0", 1, None, True, []]
)
def test_other_ids_are_refused(bad):
    for method, name, more in (
        ("sale.cancel", "sale_id", {}),
        ("sale.refund", "refund_id", {"sale_id": "1"}),
        ("customer.adjust", "request_id", {"value": "v", "points": 1, "reason": "r"}),
    ):
        assert field_of(method, **{name: bad}, **more) == name


def test_values_are_up_to_256_printable_characters():
    assert check(METHODS["customer.find"], {"value": "é" * 256}, POUNDS)
    for bad in ("", "x" * 257, "a\tb", "\x1f", "\udfff", 17):
        assert field_of("customer.find", value=bad) == "value"
        assert field_of("sale.close", sale_id="1", value=bad) == "value"
        assert field_of("sale.attach", sale_id="1", value=bad) == "value"


ADJUST = {"value": "v", "points": 1, "reason": "r", "request_id": "q"}


@pytest.mark.parametrize("points", [0, 1_000_001, -1_000_001, 1.0, "1", True, None])
def test_points_of_an_adjustment_are_a_whole_number_worth_entering(points):
    assert field_of("customer.adjust", **ADJUST | {"points": points}) == "points"


@pytest.mark.parametrize(
    "day",
    [
        *("", "yesterday", "2026-11-31", "2026-02-29", "20261121", "2026-W47-6", "21.11.2026", "2026-11-21 "),
        *("2026-11-21T00:00:00", "٢٠٢٦-11-21", "0001-01-01", "9999-12-31", 20261121),
    ],
)
def test_a_day_is_one_of_the_calendar(day):
    assert field_of("report", day=day) == "day"


@pytest.mark.parametrize("reason", ["", "x" * 201, "two\nlines", None])
def test_an_adjustment_has_a_reason_of_one_line(reason):
    assert field_of("customer.adjust", **ADJUST | {"reason": reason}) == "reason"


@pytest.mark.parametrize("uid", [None, 4_000_000_000])
def test_only_root_and_the_daemons_user_adjust(uid):
    async def run():
        desk = MemoryDesk()
        with pytest.raises(CallError) as caught:
            await METHODS["customer.adjust"].run(desk, ADJUST, Peer(uid))
        return caught.value.code, desk.calls

    assert anyio.run(run) == ("unauthorised", [])
    assert asked("customer.adjust", peer=Peer(0), **ADJUST)


LOOKS = {"hello", "watch", "status", "sale.get", "customer.find", "customer.history", "mirror.list", "report"}


def test_who_may_only_look_changes_nothing():
    guest = Peer(1000, may_write=False)
    assert {judged(name, OWNER) for name in METHODS} == {"permitted"}
    assert {name for name in METHODS if judged(name, guest) == "permitted"} == LOOKS
    assert {judged(name, guest) for name in METHODS.keys() - LOOKS} == {"unauthorised"}


def judged(name, peer):
    try:
        permit(METHODS[name], peer)
    except CallError as refused:
        return refused.code
    return "permitted"


def test_a_newer_protocol_is_refused():
    async def run():
        with pytest.raises(CallError) as caught:
            await METHODS["hello"].run(MemoryDesk(), {"client": "x", "protocol": 2}, OWNER)
        return caught.value.code

    assert anyio.run(run) == "unsupported-protocol"


@pytest.mark.parametrize("name", ["sale.opne", "reports", "\ud800"])
def test_calls_that_are_not_there(name):
    fault = methods.find(jsonrpc.Request(3, name, {}))
    assert fault == jsonrpc.Fault(jsonrpc.METHOD_NOT_FOUND, "no such method", 3)
