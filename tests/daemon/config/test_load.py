"""Whatever is in a file, it gives settings or every mistake on a line of its own, and nothing else."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tilltap.config.files import NoSuchFileError
from tilltap.config.load import load, parse
from tilltap.config.mistakes import ConfigError
from tilltap.config.settings import AppleSettings, GoogleSettings
from tilltap.model import Currency, Earn, Messages, Reward
from tilltap_drivers.pcsc.settings import PcscSettings
from tilltap_drivers.replay.settings import ReplaySettings
from tilltap_drivers.vtap.settings import VtapSettings

# How long an example takes says nothing on a machine that runs other tests beside it.
UNHURRIED = hypothesis_settings(deadline=None)

BASE = Path("/etc/tilltap")

EARN = '[program.earn]\nspend = "10.00"\n'
REWARD = '[[program.reward]]\nid = "a"\ntitle = "£5 off"\ncost = 5\ndiscount = "5.00"\n'
LOYALTY = "[loyalty]\n"
READER = '[[reader]]\nport = "/dev/ttyACM0"\n'
# A good file below whatever a case puts on top of it.
GOOD = EARN + LOYALTY


def settings(text):
    return parse(text, file="shop.toml", base_dir=BASE, hostname="host")


def mistakes(text):
    with pytest.raises(ConfigError) as caught:
        settings(text)
    assert caught.value.exit_code == 3
    return caught.value.lines


def program(keys):
    return f"[program]\n{keys}\n{GOOD}"


def earn(keys):
    return f"{LOYALTY}[program.earn]\n{keys}\n"


def reward(keys):
    return f"{GOOD}[[program.reward]]\n{keys}\n"


def messages(keys, title="£5 off", provider="passentry"):
    """The keys begin on line 11."""
    return (
        f'[program.earn]\nvisit = 1\n[loyalty]\nprovider = "{provider}"\n[[program.reward]]\n'
        f'id = "a"\ntitle = "{title}"\ncost = 5\ndiscount = "5.00"\n[program.messages]\n{keys}\n'
    )


def loyalty(keys):
    return f"{EARN}[loyalty]\n{keys}\n"


def reader(keys):
    return f"{GOOD}[[reader]]\n{keys}\n"


def wallet(keys):
    return f"{GOOD}[wallet.apple]\n{keys}\n"


def pcsc(keys):
    """The keys begin on line 10."""
    return wallet(f'pass_type_id = "x"\nkeys = ["a"]\n[[reader]]\ndriver = "pcsc"\nmatch = "ACR"\n{keys}')


def server(where):
    return f'{GOOD}[ledger]\nurl = "postgresql://{where}"\n'


def google(keys):
    return f'{GOOD}[wallet.google]\nkey = "google.pem"\n{keys}\n'


FIVE = """[program]
currency = "pounds"

[program.earn]
spend = 10.00

[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 0
discount = "5.00"

[program.messages]
earned = "You have {pionts}"

[loyalty]
url = "http://api.passentry.com"
"""
NEEDED = [
    "shop.toml:1: loyalty: is missing (add a [loyalty] table)",
    "shop.toml:1: program.earn: is missing (add a [program.earn] table)",
]
NOT_A_NUMBER = "money is a decimal string, not a number"

CASES = {
    # --- what is needed, and where its absence is reported
    "empty": ("", sorted(NEEDED, reverse=True)),
    "no earn": ('\n[program]\nname = "x"\n[loyalty]\n', ["shop.toml:2: program.earn: is missing (add a [program.earn] table)"]),
    "reward without its keys": (
        reward(""),
        [
            'shop.toml:4: program.reward[1].id: is missing (write id = "five-off")',
            'shop.toml:4: program.reward[1].title: is missing (write title = "£5 off")',
            "shop.toml:4: program.reward[1].cost: is missing (write cost = 5)",
            'shop.toml:4: program.reward[1].discount: is missing (write discount = "5.00")',
        ],
    ),
    "reader without a port": (
        f"{GOOD}{READER}[[reader]]\nbaud = 9600\n[[reader]]\ndriver = 'replay'\n",
        [
            'shop.toml:6: reader[2].port: is missing (write port = "/dev/serial/by-id/usb-*VTAP*")',
            'shop.toml:8: reader[3].tape: is missing (write tape = "monday.tape")',
        ],
    ),
    # --- unknown keys
    "misspelt": (program('curency = "GBP"'), ['shop.toml:2: program.curency: unknown key (did you mean "currency"?)']),
    "misspelt and therefore missing is one mistake": (
        reward('id = "a"\ntitel = "x"\ncost = 5\ndiscount = "5.00"'),
        ['shop.toml:6: program.reward[1].titel: unknown key (did you mean "title"?)'],
    ),
    "misspelt table": (f"{EARN}[loyality]\n", ['shop.toml:3: loyality: unknown key (did you mean "loyalty"?)']),
    "misspelt spend": (earn('spned = "10.00"'), ['shop.toml:3: program.earn.spned: unknown key (did you mean "spend"?)']),
    "in the wrong table": (program("settle = 5"), ["shop.toml:2: program.settle: unknown key (it belongs in [loyalty])"]),
    "of another driver": (
        reader('port = "/dev/x"\nspeed = 2.0'),
        ['shop.toml:6: reader[1].speed: unknown key (it belongs in [[reader]] with driver = "replay")'],
    ),
    "unknown altogether": (f"{GOOD}[pos]\nxyzzy = 1\n", ["shop.toml:5: pos.xyzzy: unknown key (known here: socket, write_group, tcp, token_file)"]),
    "quoted and hostile": (
        f'{GOOD}[pos]\n"a\\nb \\u001b[31m" = 1\n',
        ['shop.toml:5: pos."a\\nb \\x1b[31m": unknown key (known here: socket, write_group, tcp, token_file)'],
    ),
    # --- types are not coerced
    "money as integer": (earn("spend = 10"), [f'shop.toml:3: program.earn.spend: {NOT_A_NUMBER} (write "10.00")']),
    "money as float": (earn("spend = 7.5"), [f'shop.toml:3: program.earn.spend: {NOT_A_NUMBER} (write "7.50")']),
    "money in yen": (f'[program]\ncurrency = "JPY"\n{LOYALTY}[program.earn]\nspend = 100\n', [f'shop.toml:5: program.earn.spend: {NOT_A_NUMBER} (write "100")']),
    "money as nan": (earn("spend = nan"), [f'shop.toml:3: program.earn.spend: {NOT_A_NUMBER} (write "8.00")']),
    "money with a comma": (earn('spend = "10,00"'), ['shop.toml:3: program.earn.spend: "10,00" is not an amount in GBP (an amount is a decimal string such as "8.00")']),
    "money with a sign": (earn('spend = "-1"'), ['shop.toml:3: program.earn.spend: "-1" is not an amount in GBP (an amount is a decimal string such as "8.00")']),
    "money with too many decimals": (earn('spend = "1.001"'), ['shop.toml:3: program.earn.spend: "1.001" is not an amount in GBP (an amount is a decimal string such as "8.00")']),
    "money as truth": (earn("spend = true"), ['shop.toml:3: program.earn.spend: this is not an amount in GBP (an amount is a decimal string such as "8.00")']),
    "nothing is no price": (earn('spend = "0.00"'), ["shop.toml:3: program.earn.spend: must be more than zero (an amount of nothing would count without end)"]),
    "points as text": (earn('spend = "1"\npoints = "2"'), ["shop.toml:4: program.earn.points: must be a whole number (write 2, without quotes)"]),
    "points as words": (earn('spend = "1"\npoints = "two"'), ["shop.toml:4: program.earn.points: must be a whole number (such as 5, without quotes or decimals)"]),
    "points as float": (earn('spend = "1"\npoints = 2.0'), ["shop.toml:4: program.earn.points: must be a whole number (such as 5, without quotes or decimals)"]),
    "points as truth": (earn('spend = "1"\npoints = true'), ["shop.toml:4: program.earn.points: must be a whole number (such as 5, without quotes or decimals)"]),
    "points below zero": (earn('spend = "1"\npoints = -1'), ["shop.toml:4: program.earn.points: must be at least 0 (it is -1)"]),
    "points without end": (earn('spend = "1"\npoints = 0x' + "f" * 5000), ["shop.toml:4: program.earn.points: must be at most 1000000 (it is a number of more than 64 bits)"]),
    "text as number": (program("name = 5"), ['shop.toml:2: program.name: must be text in quotes (write "5")']),
    "text as a long number": (program("name = 0x" + "f" * 5000), ['shop.toml:2: program.name: must be text in quotes (write "a number of more than 64 bits")']),
    "text as date": (program("name = 2026-11-21"), ['shop.toml:2: program.name: must be text in quotes (write it as "...")']),
    "text as nothing": (program('name = ""'), ["shop.toml:2: program.name: is empty (leave the key out for its default, or give it a text)"]),
    "text on two lines": (program('name = "a\\nb"'), ["shop.toml:2: program.name: has unprintable characters or blanks at its ends (use plain text on one line)"]),
    "text too long": (program(f'name = "{"x" * 65}"'), ["shop.toml:2: program.name: is 65 characters long (at most 64)"]),
    "bare text": (reader('port = "/dev/x"\nprefix = 2'), ['shop.toml:6: reader[1].prefix: must be text in quotes (write "2")']),
    "truth as text": (reader('driver = "replay"\ntape = "x"\nloop = "true"'), ["shop.toml:7: reader[1].loop: must be true or false (write true, without quotes)"]),
    "speed as text": (reader('driver = "replay"\ntape = "x"\nspeed = "2"'), ["shop.toml:7: reader[1].speed: must be a number (such as 1.5, without quotes)"]),
    "speed of nothing": (reader('driver = "replay"\ntape = "x"\nspeed = 0'), ["shop.toml:7: reader[1].speed: must be more than 0 (it is 0)"]),
    "speed without end": (reader('driver = "replay"\ntape = "x"\nspeed = inf'), ["shop.toml:7: reader[1].speed: must be a number (such as 1.5)"]),
    "choice": (earn('spend = "1"\nremainder = "cary"'), ['shop.toml:4: program.earn.remainder: must be one of "drop", "carry" (did you mean "carry"?)']),
    "choice far off": (earn('spend = "1"\nremainder = "x"'), ['shop.toml:4: program.earn.remainder: must be one of "drop", "carry" (it is "x")']),
    "choice as number": (reader('port = "/dev/x"\nbaud = 9601'), ["shop.toml:6: reader[1].baud: must be one of 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600 (it is 9601)"]),
    "table as value": (f"till = 1\n{GOOD}", ["shop.toml:1: till: must be a table (write [till] on a line of its own, its keys below)"]),
    "table doubled": (f"{EARN}[[loyalty]]\n", ["shop.toml:3: loyalty: there is only one such table (write [loyalty], with single brackets)"]),
    "array not doubled": (f"{GOOD}[reader]\nport = 'x'\n", ["shop.toml:4: reader: there can be several of these (write [[reader]], with double brackets)"]),
    "array of values": (f"reader = [1]\n{GOOD}", ["shop.toml:1: reader[1]: must be a table (write [[reader]] on a line of its own, its keys below)"]),
    # --- the programme
    "currency in small letters": (program('currency = "gbp"'), ['shop.toml:2: program.currency: must be a three-letter ISO 4217 code (write "GBP")']),
    "currency in words": (
        '[program]\ncurrency = "pounds"\n' + GOOD,
        ['shop.toml:2: program.currency: must be a three-letter ISO 4217 code (three capital letters such as "GBP")'],
    ),
    "amounts have the currency's decimals": (
        '[program]\ncurrency = "JPY"\n' + GOOD,
        ['shop.toml:4: program.earn.spend: "10.00" is not an amount in JPY (an amount is a decimal string such as "8")'],
    ),
    "nothing is earned": (earn(""), ['shop.toml:2: program.earn: nothing would ever be earned (give spend = "10.00" for points by amount, visit = 1 for points by sale, or both)']),
    "nothing is earned by visits": (earn("visit = 0"), ['shop.toml:2: program.earn: nothing would ever be earned (give spend = "10.00" for points by amount, visit = 1 for points by sale, or both)']),
    "free reward": (reward('id = "a"\ntitle = "x"\ncost = 0\ndiscount = "0"'), [
        "shop.toml:7: program.reward[1].cost: must be at least 1 (it is 0)",
        "shop.toml:8: program.reward[1].discount: must be more than zero (an amount of nothing would count without end)",
    ]),
    "reward twice": (GOOD + REWARD + REWARD, ['shop.toml:10: program.reward[2].id: "a" is already taken (number 1 has it; choose another)']),
    "reader twice": (
        reader('name = "x"\nport = "/dev/a"\n[[reader]]\nname = "x"\nport = "/dev/b"'),
        ['shop.toml:8: reader[2].name: "x" is already taken (number 1 has it; choose another)'],
    ),
    "port twice": (
        reader('name = "x"\nport = "/dev/a"\n[[reader]]\nname = "y"\nport = "/dev/a"'),
        ['shop.toml:9: reader[2].port: "/dev/a" is already taken (number 1 has it; choose another)'],
    ),
    "time of day": (f'[till]\nday_starts = "24:00"\n{GOOD}', ['shop.toml:2: till.day_starts: "24:00" is not a time of day (write HH:MM in local time, such as "04:00")']),
    # --- messages
    "placeholder": (messages('earned = "{erned} points"'), ["shop.toml:11: program.messages.earned: unknown placeholder {erned} (did you mean {earned}?)"]),
    "two in one text": (messages('receipt = "{a} }"'), [
        "shop.toml:11: program.messages.receipt: unknown placeholder {a} (known: {earned} {points} {reward} {balance} {store})",
        "shop.toml:11: program.messages.receipt: a single } (write }} for a brace in the text)",
    ]),
    "attribute": (messages('prompt = "{earned.__class__} points"'), ["shop.toml:11: program.messages.prompt: unknown placeholder {earned.__class__} (write {earned}, without anything else in the braces)"]),
    "conversion": (messages('redeemed = "used {reward!r}"'), ["shop.toml:11: program.messages.redeemed: unknown placeholder {reward!r} (write {reward}, without anything else in the braces)"]),
    "face of the pass": (f'{GOOD}[program.pass]\nno_reward_text = "{{x}}"\n', ["shop.toml:5: program.pass.no_reward_text: unknown placeholder {x} (known: {earned} {points} {reward} {balance} {store})"]),
    "too short": (messages('earned = "Hi!!"'), ['shop.toml:11: program.messages.earned: can be as short as 4 characters once filled in (a push has 5 to 350; "" sends nothing)']),
    "only blanks": (messages('earned = "        "'), ['shop.toml:11: program.messages.earned: can be as short as 0 characters once filled in (a push has 5 to 350; "" sends nothing)']),
    "too short once filled in": (messages('reached = "{reward}!!"', title="£5"), ['shop.toml:11: program.messages.reached: can be as short as 4 characters once filled in (a push has 5 to 350; "" sends nothing)']),
    "too long": (messages(f'earned = "{"x" * 351}"'), ['shop.toml:11: program.messages.earned: can be as long as 351 characters once filled in (a push has 5 to 350; "" sends nothing)']),
    "too long once filled in": (messages(f'redeemed = "{"x" * 340}{{reward}}"', title="£5 off your order"), ['shop.toml:11: program.messages.redeemed: can be as long as 357 characters once filled in (a push has 5 to 350; "" sends nothing)']),
    "too long in training": (messages(f'earned = "{"x" * 342}"', provider="sandbox"), ['shop.toml:11: program.messages.earned: can be as long as 351 characters once filled in (a push has 5 to 350; "" sends nothing)']),
    "control characters": (messages('prompt = "a\\u0007b"'), ["shop.toml:11: program.messages.prompt: has unprintable characters (use plain text)"]),
    # --- the service
    "plain http": (loyalty('url = "http://api.passentry.com"'), ["shop.toml:4: loyalty.url: plain http would send the key readable over the network (use https; http only to 127.0.0.1)"]),
    "nearly loopback": (loyalty('url = "http://127.0.0.1.example.com"'), ["shop.toml:4: loyalty.url: plain http would send the key readable over the network (use https; http only to 127.0.0.1)"]),
    "credentials": (loyalty('url = "https://user:secret@api.passentry.com"'), ["shop.toml:4: loyalty.url: must not hold a user name or password (the key belongs in the file that api_key_file names)"]),
    "credentials before loopback": (loyalty('url = "http://127.0.0.1@evil.example"'), ["shop.toml:4: loyalty.url: must not hold a user name or password (the key belongs in the file that api_key_file names)"]),
    "api and all": (loyalty('url = "https://api.passentry.com/api/v1/"'), ["shop.toml:4: loyalty.url: ends in /api/v1 (leave that out, tilltap adds it)"]),
    "query": (loyalty('url = "https://api.passentry.com/?key=1"'), ['shop.toml:4: loyalty.url: must be an address and a path, nothing else (write it like "https://api.passentry.com")']),
    **{
        f"no address: {url}": (loyalty(f"url = '{url}'"), ['shop.toml:4: loyalty.url: is not a web address (write it like "https://api.passentry.com")'])
        for url in ("", "api.passentry.com", "ftp://x", "https://", "https://[::1", "https://x:99999", "https://x:0", "https://a b", "http://127.0.0.1\\x")
    },
    "settle too short": (loyalty("settle = 0"), ["shop.toml:4: loyalty.settle: must be at least 1 (it is 0)"]),
    "settle too long": (loyalty("settle = 3601"), ["shop.toml:4: loyalty.settle: must be at most 3600 (it is 3601)"]),
    "settle as text": (loyalty('settle = "120"'), ["shop.toml:4: loyalty.settle: must be a whole number (write 120, without quotes)"]),
    "home folder": (loyalty('api_key_file = "~/key"'), ["shop.toml:4: loyalty.api_key_file: ~ is not replaced here (write the whole path, or one relative to this file)"]),
    "unknown provider": (loyalty('provider = "passentri"'), ['shop.toml:4: loyalty.provider: must be one of "passentry", "sandbox" (did you mean "passentry"?)']),
    # --- readers
    "unknown driver": (reader('driver = "vtpa"'), ['shop.toml:5: reader[1].driver: there is no driver "vtpa" (did you mean "vtap"?)']),
    "driver as number": (reader("driver = 1"), ["shop.toml:5: reader[1].driver: must be text in quotes (one of: vtap, pcsc, pn532, replay)"]),
    "bad escape": (reader('port = "/dev/x"\nprefix = "%0"'), ["shop.toml:6: reader[1].prefix: '%0' is not % and two hex digits (a percent sign is %25)"]),
    "frame without an end": (reader('port = "/dev/x"\npostfix = ""'), ["shop.toml:6: reader[1].postfix: is empty, so the end of a tap cannot be found (end with a literal such as %03%0A)"]),
    "mode": (reader('port = "/dev/x"\nmode = "fast"'), ['shop.toml:6: reader[1].mode: can only be "active" (it is "fast")']),
    # --- paths
    "socket path": (f'{GOOD}[pos]\nsocket = "/{"x" * 107}"\n', ["shop.toml:5: pos.socket: the socket's whole path has 108 bytes (at most 107 are possible: use a folder nearer the root, such as /run/tilltap)"]),
    "socket path in bytes, from the file's folder": (f'{GOOD}[pos]\nsocket = "{"é" * 48}"\n', ["shop.toml:5: pos.socket: the socket's whole path has 109 bytes (at most 107 are possible: use a folder nearer the root, such as /run/tilltap)"]),
    "nul": (f'{GOOD}[pos]\nsocket = "a\\u0000b"\n', ["shop.toml:5: pos.socket: is not a path (write the path of a file)"]),
    "ledger in memory": (f'{GOOD}[ledger]\nurl = "sqlite:///:memory:"\n', ['shop.toml:5: ledger.url: a ledger in memory would lose points (name a file: "sqlite:////var/lib/tilltap/ledger.db")']),
    **{
        f"no ledger: {url}": (f'{GOOD}[ledger]\nurl = "{url}"\n', ['shop.toml:5: ledger.url: is not the address of a ledger (write it like "sqlite:////var/lib/tilltap/ledger.db")'])
        for url in ("", "sqlite:", "sqlite://", "sqlite:///", "sqlite:////", "mysql://x", "/var/lib/x.db", "sqlite:///x.db?mode=ro")
    },
    # --- wallets
    "wallet without its keys": (wallet('pass_type_id = "x"\n[wallet.google]'), ['shop.toml:4: wallet.apple.keys: is missing (write keys = ["apple-1.pem"])', 'shop.toml:6: wallet.google.collector_id: is missing (write collector_id = "20180608")', 'shop.toml:6: wallet.google.key: is missing (write key = "google.pem")']),
    "wallet of nobody": (f"{GOOD}[wallet]\n", ["shop.toml:4: wallet: names nobody's passes (add a [wallet.apple] or a [wallet.google] table)"]),
    "key that is no list": (wallet('pass_type_id = "x"\nkeys = "a.pem"'), ['shop.toml:6: wallet.apple.keys: must be a list (write ["a.pem"])']),
    "no keys": (wallet('pass_type_id = "x"\nkeys = []'), ["shop.toml:6: wallet.apple.keys: must name at least 1 (it names 0)"]),
    "nine keys": (wallet(f'pass_type_id = "x"\nkeys = {["a"] * 9}'), ["shop.toml:6: wallet.apple.keys: must name at most 8 (it names 9)"]),
    "key of no name": (wallet('pass_type_id = "x"\nkeys = ["a.pem",\n""]'), ["shop.toml:7: wallet.apple.keys[2]: is not a path (write the path of a file)"]),
    "pass type id": (wallet('pass_type_id = ["x", "a b"]\nkeys = ["a"]'), ['shop.toml:5: wallet.apple.pass_type_id: "a b" is not a pass type id (write it like "pass.com.example.coffee")']),
    "pass type id as number": (wallet('pass_type_id = 5\nkeys = ["a"]'), ['shop.toml:5: wallet.apple.pass_type_id: must be text in quotes, or a list of it (write it like "pass.com.example.coffee")']),
    "nine kinds of pass": (wallet(f'pass_type_id = {["x"] * 9}\nkeys = ["a"]'), ["shop.toml:5: wallet.apple.pass_type_id: names 9 kinds of pass (each tap asks for each of them: 1 to 8)"]),
    **{
        f"collector id {number}": (google(f'collector_id = "{number}"'), [f'shop.toml:6: wallet.google.collector_id: "{number}" is not a collector id (a number of 32 bits, usually eight digits)'])
        for number in ("", "0", "4294967296", "-5", "2018 0608", "x")
    },
    "collector id as number": (google("collector_id = 20180608"), ['shop.toml:6: wallet.google.collector_id: must be text in quotes (write "20180608")']),
    "key version": (google('collector_id = "1"\nkey_version = 4294967296'), ["shop.toml:7: wallet.google.key_version: 4294967296 is not a key version (a whole number from 0 to 4294967295)"]),
    "key version as text": (google('collector_id = "1"\nkey_version = ["1"]'), ['shop.toml:7: wallet.google.key_version: "1" is not a key version (a whole number from 0 to 4294967295)']),
    "key version twice": (google('collector_id = "1"\nkey_version = [1, 1]'), ["shop.toml:7: wallet.google.key_version: names a version twice, or none (each key has its own)"]),
    "no key version": (google('collector_id = "1"\nkey_version = []'), ["shop.toml:7: wallet.google.key_version: names a version twice, or none (each key has its own)"]),
    "Google key as number": (f'{GOOD}[wallet.google]\ncollector_id = "1"\nkey = ["a.pem", 5]\n', ['shop.toml:6: wallet.google.key: must be text in quotes (write "5")']),
    "key version without key": (google('collector_id = "1"\nkey_version = [1, 2]'), ["shop.toml:7: wallet.google.key_version: lists 2 for 1 key (give each key its version, in the same order)"]),
    "keys of one version": (f'{GOOD}[wallet.google]\ncollector_id = "1"\nkey = ["a.pem", "b.pem"]\n', ["shop.toml:4: wallet.google.key_version: lists 1 for 2 keys (give each key its version, in the same order)"]),
    "nine Google keys": (f'{GOOD}[wallet.google]\ncollector_id = "1"\nkey = {["a"] * 9}\n', ["shop.toml:6: wallet.google.key: names 9 keys (a tap may try each of them: 1 to 8)"]),
    "window": (wallet('pass_type_id = "x"\nkeys = ["a"]\nwindow = 4'), ["shop.toml:7: wallet.apple.window: must be at least 5 (it is 4)"]),
    "kind of Google pass": (google('collector_id = "1"\nobjects = ["loyality"]'), ['shop.toml:7: wallet.google.objects[1]: must be one of "loyalty", "offer", "gift-card", "private-label", "event-ticket", "flight", "transit", "generic", "generic-private", "customer" (did you mean "loyalty"?)']),
    "pcsc without keys": (reader('driver = "pcsc"\nmatch = "ACR"'), ["shop.toml:5: reader[1].driver: this reader needs the keys of the passes (add [wallet.apple] or [wallet.google])"]),
    "pcsc without match": (reader('driver = "pcsc"\ncards = ["uid"]'), ['shop.toml:4: reader[1].match: is missing (write match = "ACR1252")']),
    "pcsc with another's key": (reader('driver = "pcsc"\nmatch = "ACR"\ncards = ["uid", "nfc"]\nport = "x"'), ['shop.toml:7: reader[1].cards[2]: must be one of "ndef", "uid" (it is "nfc")', 'shop.toml:8: reader[1].port: unknown key (it belongs in [[reader]] with driver = "vtap" or [[reader]] with driver = "pn532")']),
    "unknown way to the polling frame": (pcsc('ecp = "transparant"'), ['shop.toml:10: reader[1].ecp: must be one of "off", "transparent", "acr122u", "flomio", "commands" (did you mean "transparent"?)']),
    "polling frame without Apple's passes": (google('collector_id = "1"\n[[reader]]\ndriver = "pcsc"\nmatch = "ACR"\necp = "acr122u"'), ["shop.toml:10: reader[1].ecp: is for iPhones, and nobody asks them for a pass (add [wallet.apple], or remove it)"]),
    "polling frame of another driver": (reader('port = "/dev/x"\necp = "transparent"'), ['shop.toml:6: reader[1].ecp: unknown key (it belongs in [[reader]] with driver = "pcsc")']),
    "commands that are missing": (pcsc('ecp = "commands"'), ['shop.toml:10: reader[1].ecp: lacks the commands (write ecp_commands = ["E0 00 00 20 01 45"])']),
    "commands that are none": (pcsc('ecp = "commands"\necp_commands = ["E0 0", "", "' + "00" * 262 + '"]'), ['shop.toml:11: reader[1].ecp_commands[1]: "E0 0" is not bytes in hexadecimal (write it like "E0 00 00 20 01 45")', 'shop.toml:11: reader[1].ecp_commands[2]: has 0 bytes (a command has 1 to 261) (write it like "E0 00 00 20 01 45")', 'shop.toml:11: reader[1].ecp_commands[3]: has 262 bytes (a command has 1 to 261) (write it like "E0 00 00 20 01 45")']),
    "keys of another way": (pcsc('ecp = "acr122u"\necp_flags = "10 00"\necp_commands = ["00"]'), ['shop.toml:11: reader[1].ecp_flags: is for ecp = "transparent" only (remove it, or correct ecp)', 'shop.toml:12: reader[1].ecp_commands: is for ecp = "commands" only (remove it, or correct ecp)']),
    "code without a way": (pcsc("ecp_code = 3500"), ['shop.toml:10: reader[1].ecp_code: is for ecp = "transparent" or "acr122u" or "flomio" or "commands" only (remove it, or correct ecp)']),
    "flags and code": (pcsc('ecp = "transparent"\necp_flags = "10"\necp_code = 0'), ['shop.toml:11: reader[1].ecp_flags: has 1 bytes, not 2 (write "10 00" or "00 10", or "" for none)', "shop.toml:12: reader[1].ecp_code: must be at least 1 (it is 0)"]),
    "pn532 without keys": (reader('driver = "pn532"\nport = "/dev/x"'), ["shop.toml:5: reader[1].driver: this reader needs the keys of the passes (add [wallet.apple] or [wallet.google])"]),
    "pn532 at a speed it has not": (reader('driver = "pn532"\nport = "/dev/x"\ncards = ["uid"]\nbaud = 2400'), ["shop.toml:8: reader[1].baud: must be one of 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600 (it is 2400)"]),
    "ledger password": (f'{GOOD}[ledger]\nurl = "postgresql://till:hunter2@ledger.lan/points"\n', ["shop.toml:5: ledger.url: must not hold a password (put it in a file and name that in ledger.password_file)"]),
    "ledger password as parameter": (f'{GOOD}[ledger]\nurl = "postgresql:///points?user=till&password=hunter2"\n', ["shop.toml:5: ledger.url: must not hold a password (put it in a file and name that in ledger.password_file)"]),
    "ledger with a blank": (f'{GOOD}[ledger]\nurl = "postgresql://ledger.lan/loyal points"\n', ["shop.toml:5: ledger.url: has characters that an address cannot hold (percent-encode them, a blank as %20)"]),
    "ledger in SQLAlchemy's words": (f'{GOOD}[ledger]\nurl = "postgresql+psycopg://ledger.lan/points"\n', ['shop.toml:5: ledger.url: is not the address of a ledger (write it like "postgresql://tilltap@ledger.lan/loyalty")']),
    "ledger secret in other words": (server("ledger.lan/points?SSLPassword=hunter2"), ["shop.toml:5: ledger.url: must not hold a password (put it in a file and name that in ledger.password_file)"]),
    "ledger with an unknown option": (server("ledger.lan/points?ssl_mode=require"), ['shop.toml:5: ledger.url: unknown option "ssl_mode" (did you mean "sslmode"?)']),
    "ledger with an option nobody knows": (server("ledger.lan/points?zz%0A=1"), ['shop.toml:5: ledger.url: unknown option "zz\\n" (see the parameters of libpq)']),
    "ledger with an option without a value": (server("ledger.lan/points?sslmode"), ['shop.toml:5: ledger.url: option "sslmode" has no value (write it like sslmode=...)']),
    "ledger with another sslmode": (server("ledger.lan/points?sslmode=verify_full"), ['shop.toml:5: ledger.url: sslmode cannot be "verify_full" (one of disable, allow, prefer, require, verify-ca, verify-full)']),
    **{
        f"ledger at {where}": (server(where), ["shop.toml:5: ledger.url: has a port that is none (a number from 1 to 65535, after the host and a colon)"])
        for where in ("a:0/x", "a,b:65536/x", "a:5432x/x", "[::1]:-1/x", "::1/x", "a/x?port=1,99999")
    },
    **{
        f"ledger password with a slash, {where}": (server(where), ["shop.toml:5: ledger.url: must not hold a password (put it in a file and name that in ledger.password_file)"])
        for where in ("till:Zm9v/c2VjcmV0@ledger.lan/points", "till:123/45@ledger.lan/points", "till:a@b/c@ledger.lan/points", "till:[a/b@ledger.lan/points")
    },
    **{
        f"ledger with a password nobody sees, {where}": (server(where), ["shop.toml:5: ledger.url: has an @ after its ? (write it as %40; a password goes into ledger.password_file)"])
        for where in ("till:123/b?zz@h/x", "till:123/b?sslmode=hunter2@h/x", "till:123/b?hun&ter2@h/x", "till:123/b?a%zz@h/x")
    },
    **{
        f"ledger badly encoded, {where}": (server(where), ["shop.toml:5: ledger.url: has a % that stands for nothing (write a % itself as %25)"])
        for where in ("%zz/x", "a/x%", "a/x?user=5%4", "%zz@a/x", "a/x?application_name=%00", "a/x%ff", "a/x?us%zzer=a")
    },
    **{
        f"ledger with {option}": (server(f"a/x?{option}"), [f'shop.toml:5: ledger.url: option "{option.partition("=")[0]}" is no number (write it like {option.partition("=")[0]}=2)'])
        for option in ("connect_timeout=abc", "connect_timeout=", "keepalives_idle=2s", "tcp_user_timeout=1.5", "keepalives=%31x")
    },
    **{
        f"ledger twice at {where}": (server(where), ["shop.toml:5: ledger.url: names a host twice (name each server once, with its port if that differs)"])
        for where in ("a,a/x", "a,b,A:5432/x", "[::1]:1,[::1]:1/x", "a/x?host=b,b", "%2Frun,/x?host=/run,/run", "a,b/x?hostaddr=10.0.0.1,10.0.0.1")
    },
    "ledger with ports of nobody": (server("a,b/x?port=1,2,3"), ["shop.toml:5: ledger.url: has not as many ports as hosts (write each host with its own, like a.lan:5432,b.lan:5433)"]),
    "ledger at half an address": (server("[::1/x"), ['shop.toml:5: ledger.url: is not the address of a ledger (write it like "postgresql://tilltap@ledger.lan/loyalty")']),
    "spool of a file": (f'{GOOD}[ledger]\nspool = "spool.db"\npassword_file = "x"\n', ["shop.toml:5: ledger.spool: is for a PostgreSQL ledger only (remove it, or correct ledger.url)", "shop.toml:6: ledger.password_file: is for a PostgreSQL ledger only (remove it, or correct ledger.url)"]),
    # --- promised by the contract, not there yet
    "tcp": (f'{GOOD}[pos]\ntcp = "127.0.0.1:7446"\n', ["shop.toml:5: pos.tcp: not available yet (remove it; a later version will bring it)"]),
    "passive": (reader('port = "/dev/x"\nmode = "passive"'), ['shop.toml:6: reader[1].mode: passive mode is not available yet (now: "active")']),
    **{
        name: (loyalty(f'provider = "{name}"'), [f'shop.toml:4: loyalty.provider: provider {name} is not available yet (now: "passentry", or "sandbox" for training)'])
        for name in ("passquare", "passworks", "passmachine")
    },
    # --- the text itself
    "no toml": ("a = 1\nb = \n", ["shop.toml:2: syntax: invalid value (at column 5)"]),
    "key twice": ("[a]\nx = 1\nx = 2\n", ["shop.toml:3: syntax: cannot overwrite a value (at column 6)"]),
    "no end": ('a = 1\nb = """\nx\n', ["shop.toml:3: syntax: unterminated string (the file ends too early)"]),
    "a number without end": ("a = 1" + "0" * 5000, None),
    "nested without end": ("a = " + "[" * 5000, ["shop.toml:1: syntax: nested too deeply (a configuration needs two levels)"]),
    # --- all of them at once
    "five mistakes": (
        FIVE,
        [
            'shop.toml:2: program.currency: must be a three-letter ISO 4217 code (three capital letters such as "GBP")',
            f'shop.toml:5: program.earn.spend: {NOT_A_NUMBER} (write "10.000")',
            "shop.toml:10: program.reward[1].cost: must be at least 1 (it is 0)",
            "shop.toml:14: program.messages.earned: unknown placeholder {pionts} (did you mean {points}?)",
            "shop.toml:17: loyalty.url: plain http would send the key readable over the network (use https; http only to 127.0.0.1)",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_mistakes(case):
    text, expected = CASES[case]
    lines = mistakes(text)
    if expected is None:
        assert len(lines) == 1
        assert lines[0].startswith("shop.toml:1: syntax: ")
    else:
        assert sorted(lines) == sorted(expected)
    numbers = [int(line.split(":")[1]) for line in lines]
    assert numbers == sorted(numbers)


GOOD_FILES = {
    "the least": (GOOD, "program.earn", Earn(spend=1000, points=1)),
    "a reward": (EARN + REWARD + LOYALTY + READER, "program.rewards", (Reward("a", "£5 off", 5, 500),)),
    "a reader": (GOOD + READER, "readers", (VtapSettings("vtap", "/dev/ttyACM0"),)),
    "visits alone": (earn("visit = 1"), "program.earn", Earn(None, visit=1)),
    "no points": (earn('spend = "1"\npoints = 0\nvisit = 0'), "program.earn", Earn(spend=100, points=0)),
    "inline tables": (
        'program = {earn = {visit = 1}}\nloyalty = {url = "http://[::1]:7447"}',
        "loyalty.url", "http://[::1]:7447",
    ),
    "any currency": (program('currency = "XYZ"'), "program.currency", Currency("XYZ")),
    "loopback": (loyalty('url = "http://127.8.9.10:1/base/"'), "loyalty.url", "http://127.8.9.10:1/base"),
    "loopback by name": (loyalty('url = "http://LOCALHOST:65535"'), "loyalty.url", "http://LOCALHOST:65535"),
    "no messages": (
        messages('earned = ""\nreached = ""\nredeemed = ""\nprompt = ""\nreceipt = ""'),
        "program.messages", Messages("", "", "", "", ""),
    ),
    "short for a screen": (messages('prompt = "?"\nreceipt = "{balance}"'), "program.messages.prompt", "?"),
    "a push of 5": (messages('earned = "12345"'), "program.messages.earned", "12345"),
    "a push of 350": (messages(f'reached = "{"é" * 350}"'), "program.messages.reached", "é" * 350),
    "braces": (messages('earned = "{{earned}}"'), "program.messages.earned", "{{earned}}"),
    "a push in training": (
        messages(f'earned = "{"x" * 341}"', provider="sandbox"), "program.messages.earned", "x" * 341,
    ),
    "bare lines": (
        reader('port = "/dev/x"\nprefix = ""\npostfix = "%0D%0A"'),
        "readers", (VtapSettings("vtap", "/dev/x", prefix="", postfix="%0D%0A"),),
    ),
    "a tape": (
        reader('driver = "replay"\ntape = "x"\nspeed = 2'),
        "readers", (ReplaySettings("replay", "/etc/tilltap/x", speed=2.0),),
    ),
    "cards": (
        reader('driver = "pcsc"\nmatch = "ACR"\ncards = ["ndef", "uid"]\necp = "off"'),
        "readers", (PcscSettings("pcsc", "ACR", ("ndef", "uid")),),
    ),
    "Apple's polling frame": (
        pcsc('ecp = "transparent"\necp_flags = ""\necp_code = 1'),
        "readers", (PcscSettings("pcsc", "ACR", ecp="transparent", ecp_flags=b"", ecp_code=1),),
    ),
    "one pass type": (
        wallet('pass_type_id = "pass.x"\nkeys = ["a.pem"]\n[[reader]]\ndriver = "pcsc"\nmatch = "ACR"'),
        "wallet.apple", AppleSettings(("pass.x",), ("a.pem",)),
    ),
    "pass types": (
        wallet('pass_type_id = ["pass.x", "pass.y"]\nkeys = ["a.pem", "/b.der"]'),
        "wallet.apple", AppleSettings(("pass.x", "pass.y"), ("a.pem", "/b.der")),
    ),
    "the largest collector": (
        google('collector_id = "4294967295"\nobjects = ["customer", "loyalty"]\nkey_version = 0'),
        "wallet.google", GoogleSettings(2**32 - 1, ((0, "google.pem"),), ("customer", "loyalty")),
    ),
    **{
        f"a ledger at {where}": (server(where), "ledger.url", f"postgresql://{where}")
        for where in ("/x", "a,b:1/x", "till@[::1]:65535,a:/x?sslmode=verify-ca", "%2Frun%2Fpg:5433/x", "/x?host=/run/pg,/run/pg&port=5433,5434", "a?service=shop&target_session_attrs=read-write", "a:1,a:2/x?connect_timeout=2", "a,a/x?port=1,2", "a,b/x?port=1&user=t%40b", "a/x?user=t@b&application_name=till@1", "a,a/x?hostaddr=10.0.0.1,10.0.0.2")
    },
    "the longest socket": (f'{GOOD}[pos]\nsocket = "/{"x" * 106}"\n', "pos.socket", Path("/" + "x" * 106)),
    "lines as Windows ends them": (GOOD.replace("\n", "\r\n"), "program.earn", Earn(spend=1000, points=1)),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD_FILES)
def test_good_files(case):
    text, where, what = GOOD_FILES[case]
    assert attrgetter(where)(settings(text)) == what


# --- whatever comes in ----------------------------------------------------------------------------------

LINE = re.compile(r"shop\.toml:[1-9][0-9]*: [^ ].*: .+ \(.+\)")
KEYS = """program earn reward reader loyalty till pos ledger messages pass wallet
spend id title cost driver port prefix url currency name earned zz apple google keys match cards"""
WORDS = st.sampled_from(KEYS.split())
LEAVES = st.one_of(
    st.integers(),
    st.booleans(),
    st.text(max_size=8),
    st.floats(),
    st.dates(),
    st.sampled_from(["vtap", "{x}"]),
)


def check_lines(text):
    lines = ["shop.toml:1: none: at all (fine)"]
    try:
        settings(text)
    except ConfigError as error:
        lines = error.lines
    assert lines
    for line in lines:
        assert LINE.fullmatch(line), line
        assert line.isprintable()


@UNHURRIED
@given(st.text())
@example("[[[[")
@example("a = 1979-13-40")
@example("[program]\nearn = 1\n[program.x]\n")
def test_any_text(text):
    check_lines(text)


@UNHURRIED
@given(
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=6)),
        max_leaves=30,
    ).filter(lambda value: isinstance(value, dict))
)
def test_any_toml(value):
    check_lines("\n".join(f"{key} = {toml(inner)}" for key, inner in value.items()))


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08X}" for c in value) + '"'
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else f"{value:f}"
    return str(value)


# --- files ----------------------------------------------------------------------------------------------


def test_the_file_is_named_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("shop.toml").write_text("[program]\nx = 1\n[loyalty]\n")
    with pytest.raises(ConfigError) as caught:
        load("././shop.toml")
    assert caught.value.lines[0].startswith("././shop.toml:1: program.earn:")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"# ok\n[program]\nname = '\xff'\n", ":3: file: is not UTF-8 text (save it as UTF-8)"),
        (b"#\n" * (64 * 1024 + 1), ":1: file: is larger than 128 KiB (this is not a configuration of tilltap)"),
        (b"# ok\na" + b".a" * 1024 + b" = 1\n", ":2: syntax: a key of many parts (a configuration needs three)"),
        (b"a = \x00\n", ":1: syntax: invalid value (at column 5)"),
    ],
)  # fmt: skip
def test_files_that_are_no_configuration(tmp_path, content, line):
    path = tmp_path / "shop.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.lines == (f"{path}{line}",)


def test_a_folder(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert caught.value.lines == (f"{tmp_path}:1: file: is a directory (name the file in it)",)


@pytest.mark.parametrize("name", ["nowhere.toml", "file/below.toml"])
def test_no_such_file(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(NoSuchFileError) as caught:
        load(tmp_path / name)
    assert caught.value.exit_code == 2
    assert len(caught.value.lines) == 1


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "shop.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(path).program.earn.spend == 1000
