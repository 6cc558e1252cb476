"""The simulated phones keep the rules that the reference files list for them."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.taps import APPLE_ID, COLLECTOR, KEYS, NOW, hold, tap, vectors, wallet
from tilltap_drivers.nfc import bundle, ose, smarttap, vas
from tilltap_drivers.nfc.phones import Android, ApplePass, GooglePass, IPhone, MuteCard, NdefTag, PaymentCard
from tilltap_drivers.nfc.phones.android import AndroidSettings
from tilltap_drivers.nfc.smarttap import Session
from tilltap_drivers.nfc.wallet import AppleWallet

IDS = AppleWallet((APPLE_ID, "pass.b"), KEYS[:1]).merchant_ids()
OSE = ose.SELECT.encode()


def iphone(*passes, **more):
    held = passes or (ApplePass(APPLE_ID, KEYS[0].public, b"A"), ApplePass("pass.b", KEYS[0].public, b"B"))
    return IPhone(held, random=Random(3).randbytes, now=lambda: NOW, **more)


def ask(phone, *commands):
    """The status words of the answers."""
    return [phone.answer(c)[-2:].hex() for c in commands]


def get(merchant=IDS[0], **more):
    return vas.get_data(merchant, **more).encode()


def test_iphone_needs_its_select():
    phone = iphone()
    assert ask(phone, get(), OSE, get()) == ["6985", "9000", "9000"]
    phone.field_off()
    assert ask(phone, get()) == ["6985"]
    assert ask(phone, smarttap.SELECT.encode(), b"\x00\xb0\x00\x00\x02", b"\x00") == ["6a82", "6d00", "6700"]


def test_iphone_gives_one_pass_unless_a_card_is_shown():
    assert ask(iphone(), OSE, get(), get(IDS[1]), get()) == ["9000", "9000", "6a83", "6a83"]
    phone = iphone(card_shown=True)
    assert ask(phone, OSE, get(more=True), get(IDS[1]), get()) == ["9000", "9000", "9000", "6a83"]


def test_iphone_locked():
    phone = iphone(unlocked=False)
    assert ask(phone, OSE, get(bytes(32)), get()) == ["9000", "6a83", "6287"]
    assert phone.shown is phone.passes[0]
    phone.authenticate()
    assert ask(phone, get()) == ["9000"]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("80ca020100", "6b00"),
        ("80ca010200", "6b00"),
        ("80ca01012f00", "6700"),
        ("80ca010100", "6a80"),
        ("80ca0101039f220100", "6a80"),
        ("80ca0101049f22010000", "6a80"),
        (get().hex().replace("9f22020100", "9f22020200"), "6340"),
        (get().hex().replace("9f2604", "9f2704"), "6a80"),
        (get(filter=b"\1\0\0\0\1").hex(), "6a80"),
        (get(filter=b"\1\0\0\0\0").hex(), "9000"),
        (get(None).hex(), "9000"),
        (get(None).hex().replace("80ca0100", "80ca0101"), "6a80"),
    ],
)
def test_iphone_judges_requests(command, status):
    assert ask(iphone(), OSE, bytes.fromhex(command)) == ["9000", status]


@pytest.mark.parametrize("order", range(3))
def test_iphone_takes_fields_in_any_order(order):
    tags = vectors("vas")["commands"]
    published = bytes.fromhex(tags[1]["apdu_hex"])
    orders = [
        ["9f22", "9f25", "9f26", "9f2b", "9f29"],
        ["9f29", "9f2b", "9f26", "9f25", "9f22"],
        ["9f26", "9f22", "9f25", "9f29", "9f2b"],
    ]
    fields, body = {}, published[5:-1]
    while body:
        fields[body[:2].hex()] = body[: 3 + body[2]]
        body = body[3 + body[2] :]
    command = published[:5] + b"".join(fields[tag] for tag in orders[order]) + b"\0"
    phone = iphone(ApplePass("pass.com.passkit.pksamples.nfcdemo", KEYS[0].public, b"A"))
    assert ask(phone, OSE, command) == ["9000", "9000"]
    assert phone.urls == ["https://apple.com"]


def test_iphone_says_a_new_nonce_each_time():
    phone = iphone()
    assert phone.answer(OSE) != phone.answer(OSE)
    assert len(phone.answer(OSE)) == 33


def android(*passes, **more):
    settings = AndroidSettings(**more.pop("settings", {}))
    held = passes or (GooglePass(COLLECTOR, "G"),)
    collectors = {COLLECTOR: {1: KEYS[0].public}, 5: {1: KEYS[1].public}}
    return Android(held, collectors, random=Random(5).randbytes, settings=settings, **more)


class Terminal:
    """Single commands of a terminal, each with the next number."""

    def __init__(self, phone, collector=COLLECTOR, key=KEYS[0], version=1):
        self.phone, self.collector = phone, collector.to_bytes(4, "big")
        self.number, self.key, self.version = -1, key, version
        self.answer = b""

    def session(self):
        self.number += 2
        return Session(b"terminal", self.number)

    def say(self, command):
        self.answer = self.phone.answer(command if isinstance(command, bytes) else command.encode())
        return self.answer[-2:].hex()

    def select(self):
        self.say(smarttap.SELECT)
        nonce = smarttap.parse_selected(self.answer[:-2]).nonce
        self.signed = bundle.signed_data(b"n" * 32, nonce, self.collector, KEYS[3].public)
        return self.answer[-2:].hex()

    def negotiation(self, **more):
        fields = {
            "nonce": b"n" * 32,
            "ephemeral": KEYS[3].public,
            "key_version": self.version,
            "signature": bundle.sign(self.key, self.signed),
            "collector": self.collector,
        }
        return smarttap.negotiate(self.session(), **(fields | more))

    def get(self, **more):
        return smarttap.get_data(self.session(), **({"collector": self.collector} | more))


def test_android_in_order():
    t = Terminal(android())
    assert t.say(smarttap.MORE) == "6985"
    assert t.select() == "9000"
    assert t.say(t.negotiation()) == "9000"
    assert t.say(smarttap.MORE) == "9404"
    assert t.say(t.get()) == "9000"
    assert t.say(smarttap.MORE) == "9405"
    assert t.say(b"\x90\x52\0\0\0") == "9400"
    assert t.say(b"\x80\xca\0\0\0") == "6e00"
    assert t.say(b"\x00\xa4\x04\x00\x01\xaa\x00") == "6a82"
    t.phone.field_off()
    assert t.say(t.get()) == "6985"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda t: t.negotiation(signature=bundle.sign(KEYS[1], t.signed)), "9500"),
        (lambda t: t.negotiation(signature=b""), "9500"),
        (lambda t: t.negotiation(nonce=b"m" * 32), "9500"),
        (lambda t: t.negotiation(key_version=2), "9500"),
        (lambda t: t.negotiation(collector=b"none"), "9500"),
        (lambda t: t.negotiation(collector=b"five!"), "9403"),
        (lambda t: t.negotiation(ephemeral=b"\x02" + b"\xff" * 32), "9403"),
        (lambda t: t.negotiation(live=False), "9500"),
        (lambda t: b"\x90\x53\0\0\x02\xd4\x03\0", "9402"),
        (lambda t: b"\x90\x53\0\0\x05\xd4\x03\0", "9402"),
        (lambda t: t.negotiation().encode().replace(b"ngr\0\1", b"ngr\0\2"), "9502"),
        (lambda t: t.negotiation().encode().replace(b"cpr", b"cpx"), "9402"),
    ],
)
def test_android_judges_negotiations(change, status):
    t = Terminal(android())
    t.select()
    assert t.say(change(t)) == status


def test_android_presigned():
    t = Terminal(android())
    t.select()
    t.signed = bundle.signed_data(b"n" * 32, bytes(32), t.collector, KEYS[3].public)
    assert t.say(t.negotiation(live=False)) == "9002"
    assert t.say(t.get()) == "9000"


def test_android_keeps_to_one_collector():
    t = Terminal(android())
    t.select()
    t.say(t.negotiation())
    assert t.say(t.get(collector=b"\0\0\0\5")) == "9406"


@pytest.mark.parametrize("number", [2, 1, 4])
def test_android_counts(number):
    t = Terminal(android())
    t.select()
    assert t.say(t.negotiation()) == "9000"
    t.number = number - 2
    assert t.say(t.get()) == "9402"


def test_android_without_a_session():
    t = Terminal(android())
    t.select()
    assert t.say(t.get()) == "9500"
    t = Terminal(android(settings={"plain_without_session": True}))
    t.select()
    assert t.say(t.get()) == "9000"
    served = smarttap.parse_served(t.answer[:-2])
    assert not served.encrypted
    assert bundle.service_objects(served.bundle)[0].value == b"G"


def test_android_empty_capabilities_and_lists():
    t = Terminal(android())
    t.select()
    t.say(t.negotiation())
    assert t.say(t.get(pos_capabilities=b"\x40").encode()) == "9000"
    assert t.say(t.get(service_types=())) == "9402"


def test_android_changes_with_each_activation():
    phone = android()
    first = phone.answer(OSE)
    assert first == phone.answer(OSE)
    phone.field_off()
    assert first != phone.answer(OSE)


def test_a_bank_card():
    card = PaymentCard()
    ppse = b"\x00\xa4\x04\x00\x0e2PAY.SYS.DDF01\x00"
    assert ask(card, OSE, ppse, b"\x00\xb0\0\0\0", b"") == ["6a82", "9000", "6d00", "6700"]
    assert b"2PAY.SYS.DDF01" in card.answer(ppse)
    card.field_off()


def test_a_tag_judges_requests():
    tag = NdefTag(b"\xd0\0\0")
    select, file, read = (
        bytes.fromhex(h) for h in ("00a4040007d276000085010100", "00a4000c02e104", "00b0000005")
    )
    assert ask(tag, read, file, select, read, file) == ["6985", "6985", "9000", "9000", "9000"]
    assert tag.answer(read) == b"\x00\x03\xd0\x00\x00\x90\x00"
    assert ask(tag, bytes.fromhex("00b0000064"), bytes.fromhex("00b0100001"), b"\0\xd6\0\0\0") == [
        "6700",
        "6700",
        "6d00",
    ]
    assert ask(tag, bytes.fromhex("00a4000002e104"), bytes.fromhex("00a4000c02e105"), b"\0") == [
        "6a86",
        "6a82",
        "6700",
    ]
    tag.field_off()
    assert ask(tag, read) == ["6985"]


def test_a_mute_card_says_nothing():
    assert MuteCard().answer(OSE) == b""


COMMANDS = st.one_of(
    st.binary(max_size=80),
    st.builds(lambda b: b"\x80\xca\x01" + b, st.binary(max_size=80)),
    st.builds(
        lambda i, b: bytes((0x90, i, 0, 0, len(b))) + b + b"\0",
        st.sampled_from([0x50, 0x53, 0xC0]),
        st.binary(max_size=90),
    ),
    st.sampled_from([OSE, smarttap.SELECT.encode(), get(), bytes.fromhex("00a4040007d276000085010100")]),
)


@given(st.lists(COMMANDS, max_size=8), st.integers(0, 400), st.integers(0, 255))
def test_no_command_makes_a_device_raise(commands, place, change):
    t = Terminal(android())
    t.select()
    good = t.negotiation().encode()
    bad = good[: place % len(good)] + bytes((change,)) + good[place % len(good) + 1 :]
    for device in (iphone(), t.phone, PaymentCard(), NdefTag(b"\xd0\0\0"), MuteCard()):
        for command in (OSE, bad, *commands):
            assert len(device.answer(command)) != 1


def test_simulated_phones_agree_with_the_terminal():
    assert hold(wallet(), iphone()).value == b"A"
    assert tap(wallet(), android().answer).value == b"G"
