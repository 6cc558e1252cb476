from __future__ import annotations

from pathlib import Path

import pytest

from tilltap.config.diff import Changes, diff
from tilltap.config.load import parse

OLD = """\
[till]
name = "till-1"
[program]
name = "Coffee"
[program.earn]
spend = "10.00"
[[program.reward]]
id = "a"
title = "£5 off"
cost = 5
discount = "5.00"
[loyalty]
settle = 60
[[reader]]
name = "counter"
port = "/dev/a"
[[reader]]
name = "desk"
port = "/dev/b"
[pos]
socket = "/run/x.sock"
"""
RESTART = "restart needed (a reload changes the programme and readers only; the old value goes on)"


def settings(text, base_dir="/etc"):
    return parse(text, file="shop.toml", base_dir=Path(base_dir), hostname="host")


@pytest.mark.parametrize(
    ("edits", "changes"),
    [
        ([], Changes()),
        # said in another way
        ([("[loyalty]", '[loyalty]\nurl = "https://api.passentry.com/"\nprovider = "passentry"')], Changes()),
        ([('"10.00"', '"10"')], Changes()),
        ([("/run/x.sock", "../run/x.sock")], Changes()),
        ([("[pos]", "# [pos] below\n\n[pos]")], Changes()),
        # the programme
        ([('"10.00"', '"8.00"')], Changes(program=("program.earn.spend",))),
        (
            [('"Coffee"', '"Tea"'), ("cost = 5", "cost = 6")],
            Changes(program=("program.name", "program.reward[1].cost")),
        ),
        (
            [("[loyalty]", '[program.messages]\nearned = "Thank you!"\n[loyalty]')],
            Changes(program=("program.messages.earned",)),
        ),
        # readers
        ([('"/dev/b"', '"/dev/c"')], Changes(readers=("desk",))),
        ([('"desk"', '"door"')], Changes(readers=("desk", "door"))),
        ([('"/dev/a"', '"/dev/a"\nbaud = 9600')], Changes()),
        (
            [('name = "counter"\nport = "/dev/a"\n[[reader]]\nname = "desk"\nport = "/dev/b"', "port='/x'")],
            Changes(readers=("counter", "desk", "vtap")),
        ),
        # elsewhere
        ([('"till-1"', '"till-2"')], Changes(refused=(f"shop.toml:2: till.name: {RESTART}",))),
        ([('[till]\nname = "till-1"\n', "")], Changes(refused=(f"shop.toml:1: till.name: {RESTART}",))),
        (
            [("[loyalty]\nsettle = 60", '[loyalty]\napi_key_file = "b.key"\nsettle = 61')],
            Changes(
                refused=(
                    f"shop.toml:13: loyalty.api_key_file: {RESTART}",
                    f"shop.toml:14: loyalty.settle: {RESTART}",
                )
            ),
        ),
        (
            [('"Coffee"', '"Coffee"\ncurrency = "EUR"')],
            Changes(refused=(f"shop.toml:5: program.currency: {RESTART}",)),
        ),
        (
            [('"10.00"', '"8.00"'), ("/run/x.sock", "/run/y.sock")],
            Changes(program=("program.earn.spend",), refused=(f"shop.toml:21: pos.socket: {RESTART}",)),
        ),
    ],
)
def test_changes(edits, changes):
    new = OLD
    for before, after in edits:
        assert before in new
        new = new.replace(before, after)
    assert diff(settings(OLD), settings(new)) == changes
