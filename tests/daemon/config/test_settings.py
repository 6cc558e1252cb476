from __future__ import annotations

import dataclasses
from datetime import time
from pathlib import Path
from typing import get_args

import pytest

from tilltap.config.load import parse
from tilltap.config.model import READERS, CardKind, GoogleObject, Pn532Baud
from tilltap.config.settings import (
    AppleSettings,
    GoogleSettings,
    LedgerSettings,
    LoyaltySettings,
    PosSettings,
    WalletSettings,
)
from tilltap.config.translate import fields
from tilltap.model import Currency, Earn, Messages, PassFace, Program, Reward
from tilltap_drivers.nfc.wallet import CARDS, OBJECT_TYPES
from tilltap_drivers.pcsc.settings import PcscSettings
from tilltap_drivers.pn532.settings import SPEEDS, Pn532Settings
from tilltap_drivers.registry import DRIVERS
from tilltap_drivers.replay.settings import ReplaySettings
from tilltap_drivers.vtap.settings import VtapSettings

SMALLEST = """
[program.earn]
spend = "10.00"
[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 5
discount = "5.00"
[loyalty]
[[reader]]
port = "/dev/ttyACM0"
"""


def settings(text, base_dir="/etc/tilltap"):
    return parse(text, file="shop.toml", base_dir=Path(base_dir), hostname="host-7")


def test_every_default():
    found = settings(SMALLEST)
    assert (found.till, found.store, found.day_starts) == ("host-7", "", time(0, 0))
    assert found.program == Program(
        name="Loyalty",
        currency=Currency("GBP"),
        earn=Earn(spend=1000),
        rewards=(Reward("five-off", "£5 off", cost=5, discount=500),),
    )
    assert found.loyalty == LoyaltySettings(
        "passentry", "https://api.passentry.com", "passentry.key", ca_file=None, settle=120
    )
    assert found.readers == (VtapSettings("vtap", "/dev/ttyACM0"),)
    assert found.pos == PosSettings(Path("/run/tilltap/pos.sock"))
    assert found.ledger == LedgerSettings(
        "sqlite:////var/lib/tilltap/ledger.db", Path("/var/lib/tilltap/ledger.db")
    )
    assert (found.base_dir, found.file) == (Path("/etc/tilltap"), "shop.toml")


def test_everything_written():
    found = settings("""
[till]
name = "till-1"
store = "soho"
day_starts = "04:30"
[program]
name = "Ten"
currency = "KWD"
point = "stamp"
points = "stamps"
[program.earn]
spend = "1.500"
points = 3
remainder = "carry"
visit = 2
minimum = "0.25"
[[program.reward]]
id = "free"
title = "a coffee"
cost = 10
discount = "2"
offer = "automatic"
on_redeem = "keep"
minimum = "1"
[program.messages]
earned = "{earned} {points} at {store}"
reached = ""
redeemed = "Enjoy {reward}"
prompt = "{reward}?"
receipt = "{balance}"
[program.pass]
reward_field = "offer"
reward_text = "{reward} waits"
no_reward_text = "soon"
[loyalty]
provider = "sandbox"
url = "http://localhost:1/"
api_key_file = "keys/training.key"
ca_file = "../ca.pem"
settle = 5
[[reader]]
driver = "replay"
tape = "monday.tape"
loop = true
speed = 2
[pos]
socket = "training.sock"
[ledger]
url = "sqlite:///training.db"
""")
    assert (found.till, found.store, found.day_starts) == ("till-1", "soho", time(4, 30))
    assert found.program == Program(
        name="Ten",
        currency=Currency("KWD"),
        earn=Earn(spend=1500, points=3, carry=True, visit=2, minimum=250),
        rewards=(
            Reward(
                "free", "a coffee", cost=10, discount=2000, automatic=True, on_redeem="keep", minimum=1000
            ),
        ),
        point="stamp",
        points="stamps",
        messages=Messages("{earned} {points} at {store}", "", "Enjoy {reward}", "{reward}?", "{balance}"),
        face=PassFace("offer", "{reward} waits", "soon"),
        store="soho",
        training=True,
    )
    assert found.loyalty == LoyaltySettings(
        "sandbox", "http://localhost:1", "keys/training.key", ca_file=Path("/etc/ca.pem"), settle=5
    )
    assert found.readers == (ReplaySettings("replay", "/etc/tilltap/monday.tape", loop=True, speed=2.0),)
    assert found.pos.socket == Path("/etc/tilltap/training.sock")
    assert found.ledger == LedgerSettings(
        "sqlite:////etc/tilltap/training.db", Path("/etc/tilltap/training.db")
    )


def test_the_sandbox_needs_no_key_and_is_on_this_machine():
    found = settings('[program.earn]\nvisit = 1\n[loyalty]\nprovider = "sandbox"\n')
    assert found.loyalty == LoyaltySettings("sandbox", "http://127.0.0.1:7447", None, None, 120)
    assert found.program.training


def test_a_table_for_the_face_of_the_pass_is_enough_to_use_it():
    assert settings(SMALLEST).program.face.field == ""
    assert settings(SMALLEST + "[program.pass]\n").program.face == PassFace("reward")


def test_nameless_readers_get_names_of_their_own():
    readers = "".join(
        f"[[reader]]\nport = '/dev/{n}'\n{name}" for n, name in enumerate(["", "name = 'vtap-2'\n", "", ""])
    )
    found = settings("[program.earn]\nvisit = 1\n[loyalty]\n" + readers)
    assert [(r.name, r.port) for r in found.readers] == [
        ("vtap", "/dev/0"),
        ("vtap-2", "/dev/1"),
        ("vtap-3", "/dev/2"),
        ("vtap-4", "/dev/3"),
    ]


def test_a_port_may_be_a_pattern_but_its_folder_is_none():
    text = SMALLEST.replace("/dev/ttyACM0", "vtap*")
    assert settings(text, "/srv/a").readers[0].port == "/srv/a/vtap*"
    assert settings(text, "/srv/[a]").readers[0].port == "/srv/[[]a]/vtap*"


@pytest.mark.parametrize("driver", READERS)
def test_a_reader_s_keys_are_its_driver_s_settings(driver):
    """The registry knows the drivers, the model describes their keys: they must not part."""
    options = {field.name: field for field in dataclasses.fields(DRIVERS[driver].settings)}
    keys = fields(READERS[driver])
    assert set(keys) - {"driver"} == set(options)
    for name, option in options.items():
        if option.default is not dataclasses.MISSING:
            default = keys[name].default
            assert (tuple(default) if isinstance(default, list) else default) == option.default, name


def test_the_kinds_of_card_and_pass_are_those_the_drivers_know():
    assert get_args(CardKind) == CARDS
    assert get_args(Pn532Baud) == SPEEDS
    assert get_args(GoogleObject) == tuple(OBJECT_TYPES)


def test_a_wallet_and_a_reader_that_needs_it():
    found = settings(
        SMALLEST
        + """
[wallet.apple]
pass_type_id = "pass.com.example.coffee"
keys = ["apple-1.pem", "/keys/apple-2.der"]
window = 300
[wallet.google]
collector_id = "0020180608"
key = ["new.pem", "google.pem"]
key_version = [7, 6]
objects = ["generic", "loyalty"]
[[reader]]
driver = "pcsc"
match = "ACR1252"
cards = ["uid"]
ecp = "commands"
ecp_code = 3500
ecp_commands = ["E0 00 00 20 01 45"]
"""
    )
    assert found.wallet == WalletSettings(
        AppleSettings(("pass.com.example.coffee",), ("apple-1.pem", "/keys/apple-2.der"), 300),
        GoogleSettings(20180608, ((7, "new.pem"), (6, "google.pem")), ("generic", "loyalty")),
    )
    assert found.readers[-1] == PcscSettings(
        "pcsc", "ACR1252", ("uid",), "commands", 3500, None, (b"\xe0\x00\x00\x20\x01\x45",)
    )
    assert settings(SMALLEST).wallet == WalletSettings()


def test_a_pn532_is_a_serial_device_with_the_wallet_of_plain_readers():
    found = settings(
        SMALLEST
        + """
[[reader]]
driver = "pn532"
port = "ttys/pn*"
cards = ["ndef"]
[[reader]]
name = "window"
driver = "pn532"
port = "/dev/ttyS1"
baud = 57600
cards = ["uid"]
"""
    )
    first, second = found.readers[-2:]
    assert first == Pn532Settings("pn532", str(found.base_dir / "ttys/pn*"), 115200, ("ndef",))
    assert second == Pn532Settings("window", "/dev/ttyS1", 57600, ("uid",))


def test_every_driver_can_be_configured():
    assert set(READERS) == set(DRIVERS)


def test_settings_are_frozen_and_compare_by_what_they_say():
    found = settings(SMALLEST)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.till = "x"
    assert found == settings("# a comment moves every line\n" + SMALLEST)
    assert found != settings(SMALLEST.replace("cost = 5", "cost = 6"))


def test_a_shared_ledger():
    found = settings(
        SMALLEST
        + """
[ledger]
url = "postgresql://tilltap@ledger.lan,ledger2.lan/loyalty?sslmode=verify-full"
password_file = "ledger.password"
spool = "spool.db"
"""
    )
    assert found.ledger == LedgerSettings(
        "postgresql://tilltap@ledger.lan,ledger2.lan/loyalty?sslmode=verify-full",
        None,
        "ledger.password",
        Path("/etc/tilltap/spool.db"),
    )
