"""Whatever comes in, out comes a value or the typed error; and never another value than the phone's own.

Each case is made from its number alone, so a failure is repeated by that number. The suite runs 5 000 of each
kind, `-m long` 100 000.
"""

import re
import zlib
from random import Random

import pytest

from rigs.taps import APPLE_ID, COLLECTOR, KEYS, NOW, hold, script, tap, wallet
from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.nfc import bundle, keys, ndef, ose, smarttap, tlv, type4, vas, words
from tilltap_drivers.nfc.apdu import APDU_LIMIT, COMMAND_LIMIT
from tilltap_drivers.nfc.errors import NfcError
from tilltap_drivers.nfc.phones import Android, ApplePass, GooglePass, IPhone, NdefTag
from tilltap_drivers.nfc.phones.android import AndroidSettings
from tilltap_drivers.nfc.prepared import prepare
from tilltap_drivers.nfc.wallet import AppleWallet, CardReading, GoogleKey, GoogleWallet, Wallet

SHORT, LONG = 5_000, 100_000
CASES = [
    pytest.param(SHORT, id="short"),
    pytest.param(LONG, id="long", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
]
LONG_FROM = 10**6  # the long form begins behind the short one

TAGS = [
    "50",
    "6f",
    "70",
    "a5",
    "bf0c",
    "61",
    "4f",
    "73",
    "87",
    "c0",
    "c1",
    "c2",
    "c3",
    "df6d",
    "df4d",
    "df62",
]
TAGS += ["df6e", "df6b", "9f21", "9f23", "9f24", "9f27", "9f2a", "9f", "1f81", "00", "ff"]
NAMES = b"ses cpr sig cld dpk nrs srs reb asv i oid n cus cid cpl cut ly of gc mdn T U x".split()
STATUS = [
    0x9000,
    0x9000,
    0x9000,
    0x9001,
    0x9002,
    0x9100,
    0x9102,
    0x9200,
    0x9203,
    0x9300,
    0x9302,
    0x9400,
    0x9406,
]
STATUS += [
    0x9500,
    0x9502,
    0x6A82,
    0x6A83,
    0x6287,
    0x6984,
    0x6340,
    0x6110,
    0x6100,
    0x6C05,
    0x6D00,
    0x0000,
    0xFFFF,
]


def junk(random, most=40):
    return random.randbytes(random.randrange(most))


def some_tlv(random, depth=3):
    out = b""
    for _ in range(random.randrange(4)):
        value = some_tlv(random, depth - 1) if depth and random.random() < 0.6 else junk(random)
        size = len(value) if random.random() < 0.95 else random.randrange(256)
        head = bytes((size,)) if size < 128 else bytes((0x81, size % 256))
        if random.random() < 0.05:
            head = random.choice([b"\x80", b"\x82\x00", b"\x82\xff\xff", b"\x84\xff\xff\xff\xff"])
        out += bytes.fromhex(random.choice(TAGS)) + head + value
    return out


def some_ndef(random, depth=4):
    out = b""
    for _ in range(random.randrange(4)):
        name, known = random.choice(NAMES), random.random() < 0.3
        value = some_ndef(random, depth - 1) if depth and random.random() < 0.7 else junk(random)
        value = bytes((random.randrange(7),)) * (random.random() < 0.5) + value
        record = ndef.Record(
            1 if known else 4, random.choice([b"T", b"U", name]), value, name if known else b""
        )
        data = ndef.encode([record if known else ndef.Record(4, name, value)])
        out += data if random.random() < 0.95 else mangled(random, data)
    return out


def mangled(random, data):
    """The bytes with a few faults of the usual kinds."""
    out = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 5])):
        at = random.randrange(len(out) + 1)
        fault = random.randrange(6)
        if fault == 0 and at < len(out):
            out[at] ^= 1 << random.randrange(8)
        elif fault == 1 and at < len(out):
            out[at] = random.choice([0x00, 0x01, 0x7F, 0x80, 0xFF])
        elif fault == 2:
            del out[at:]
        elif fault == 3:
            out[at:at] = random.randbytes(random.randrange(8))
        elif fault == 4:
            del out[at : at + random.randrange(8)]
        else:
            out[at:at] = out[max(0, at - random.randrange(64)) : at]
    return bytes(out)


def numbered(cases):
    start = LONG_FROM if cases == LONG else 0
    return ((n, Random(n)) for n in range(start, start + cases))


@pytest.mark.parametrize("cases", CASES)
def test_formats(cases):
    """TLV and NDEF, everything that parses them, and keys."""
    parsers = [
        (tlv.parse, some_tlv), (ose.parse, some_tlv), (vas.parse_answer, some_tlv),
        (ndef.parse, some_ndef), (type4.identity, some_ndef), (bundle.service_objects, some_ndef),
        (smarttap.parse_selected, some_ndef), (smarttap.parse_negotiated, some_ndef), (smarttap.parse_served, some_ndef),
        (ndef.text, junk), (ndef.uri, junk), (smarttap.primitive, junk), (bundle.inflate, junk),
        (lambda data: vas.open_cryptogram(KEYS[0].vas_id + data, bytes(32), KEYS[:1]), lambda r: junk(r, 90)),
        (keys.load_key, junk),
    ]  # fmt: skip
    values = 0
    for n, random in numbered(cases):
        parse, make = parsers[n % len(parsers)]
        data = make(random)
        if random.random() < 0.5:
            data = mangled(random, data)
        try:
            parse(data)
            values += 1
        except NfcError:
            pass
        except Exception as error:
            raise AssertionError(f"case {n}: {data.hex()}") from error
    assert values > cases / 10, "hardly anything makes sense, so hardly anything is tried"


def iphone(**more):
    passes = [ApplePass(APPLE_ID, KEYS[0].public, b"MEMBER-1", **more)]
    return IPhone(passes, random=Random(1).randbytes, now=lambda: NOW)


def android(**settings):
    return Android(
        [GooglePass(COLLECTOR, "MEMBER-1", language="en")],
        {COLLECTOR: {2: KEYS[1].public}},
        random=Random(1).randbytes,
        settings=AndroidSettings(**settings),
    )


def shop(**google):
    google = {
        "keys": (GoogleKey(1, KEYS[0]), GoogleKey(2, KEYS[1])),
        "objects": ("loyalty", "customer"),
    } | google
    return Wallet(
        AppleWallet(("pass.other", APPLE_ID), KEYS[:2], window=60),
        GoogleWallet(COLLECTOR, **google),
        CardReading(ndef=True, uid=True),
    )


def good_conversations():
    devices = [
        iphone(),
        iphone(older=True),
        android(),
        android(zlib=False, chunk=60),
        android(may_skip=False),
    ]
    return [hold(shop(), device, seed=5).responses for device in devices]


def faulty(random, good):
    """The responses of a good conversation, with faults in some, then whatever comes."""
    out = []
    rate = random.choice([0.2, 0.5, 1.0])
    for response in good:
        data, status = response[:-2], response[-2:]
        draw = random.random() / rate
        if draw < 0.35:
            data = mangled(random, data)
        elif draw < 0.42:
            status = random.choice(STATUS).to_bytes(2, "big")
        elif draw < 0.46:
            data = random.choice([some_tlv, some_ndef, junk])(random)
        elif draw < 0.5:
            data, status = random.choice(good)[:-2], random.choice([status, b"\x90\x00"])
        elif draw < 0.52:
            data, status = b"", status[: random.randrange(2)]
        out.append(data + status)
        if random.random() < 0.03:
            out.append(random.choice(STATUS).to_bytes(2, "big"))
    return out


def endless(random, responses):
    """An answerer that never runs out: at the end it repeats a status word for ever."""
    last = junk(random) + random.choice(STATUS).to_bytes(2, "big")
    left = iter(responses)
    return lambda _command: next(left, last)


REASON = re.compile(r"refused-[0-9A-F]{4}|session-[0-9A-F]{2}")


def judge(done, value=b"MEMBER-1"):
    assert done.cost <= APDU_LIMIT
    assert all(4 <= len(command) <= COMMAND_LIMIT + 6 for command in done.commands)
    if isinstance(done.outcome, PassRead):
        assert done.outcome.source == "card" or done.outcome.value == value
        return
    assert isinstance(done.outcome, ReadFailure)
    assert words.tell(done.outcome)
    known = (
        done.outcome.status == "locked" or done.outcome.reason in words._TELL or REASON.fullmatch(done.reason)
    )
    assert known, done.outcome


@pytest.mark.parametrize("cases", CASES)
def test_conversations(cases):
    """Both wallets: no fault in any answer yields another value than the phone's own."""
    good = good_conversations()
    ready = prepare(shop(), Random(5).randbytes, lambda: NOW)
    found = 0
    for n, random in numbered(cases):
        answer = endless(random, faulty(random, random.choice(good)))
        try:
            done = tap(shop(presign=n % 2 == 0, skip_select=n % 7 == 0), answer, prepared=ready)
            judge(done)
        except Exception as error:
            raise AssertionError(f"case {n}") from error
        found += isinstance(done.outcome, PassRead) and done.outcome.source != "card"
    assert 0 < found < cases / 2, "faults that never matter, or good answers that never pass, test nothing"


@pytest.mark.parametrize("cases", CASES)
def test_conversations_with_a_phone_that_lies_with_authority(cases):
    """Bundles sealed well around anything at all, and bundles that nothing seals."""
    phone = android(zlib=False)
    good = hold(shop(allow_unencrypted=True), phone, seed=5)
    ready = prepare(shop(), Random(5).randbytes, lambda: NOW)
    phone = android(zlib=False)
    tap(shop(allow_unencrypted=True), phone.answer, prepared=ready)
    session = smarttap.parse_served(good.responses[-1][:-2]).session.record()
    values = 0
    for n, random in numbered(cases):
        content = some_ndef(random) if n % 3 else mangled(random, phone.passes[0].record())
        if n % 3 == 0:
            content = ndef.encode([ndef.Record(4, b"asv", content)])
        flags = random.randrange(4)
        if flags & 2:
            content = zlib.compress(content)
        content = phone._seal(content) if flags & 1 else content
        bundled = ndef.Record(4, b"reb", bytes((flags,)) + content)
        message = ndef.encode([ndef.Record(4, b"srs", ndef.encode([session, bundled]))])
        answers = [*good.responses[:-1], message + b"\x90\x00"]
        try:
            done = tap(shop(allow_unencrypted=True), script(answers), prepared=ready)
            judge(done, getattr(done.outcome, "value", b""))
        except Exception as error:
            raise AssertionError(f"case {n}: {content.hex()}") from error
        values += isinstance(done.outcome, PassRead)
    assert values > cases / 1000


@pytest.mark.parametrize("cases", CASES)
def test_tags_and_strangers(cases):
    good = [
        hold(shop(), NdefTag(message), seed=5).responses
        for message in (b"\xd1\x01\x04T\x02enA", b"", b"\xd0\0\0")
    ]
    good += [[b"\x6a\x82"], []]
    settings = wallet()
    ready = prepare(settings, Random(5).randbytes, lambda: NOW)
    for n, random in numbered(cases):
        try:
            judge(tap(settings, endless(random, faulty(random, random.choice(good))), prepared=ready))
        except Exception as error:
            raise AssertionError(f"case {n}") from error
