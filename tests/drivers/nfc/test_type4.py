from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.taps import hold, script, tap, wallet
from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.nfc import type4
from tilltap_drivers.nfc.errors import Malformed, NfcError
from tilltap_drivers.nfc.ndef import MIME, Record, encode
from tilltap_drivers.nfc.phones import NdefTag
from tilltap_drivers.nfc.wallet import CardReading, Wallet

CARDS = Wallet(cards=CardReading(ndef=True))


def text(words, language="en"):
    return Record(1, b"T", bytes((len(language),)) + language.encode() + words.encode())


def uri(address):
    return Record(1, b"U", b"\0" + address.encode())


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("step", [15, 59, 300])
@pytest.mark.parametrize("words", ["M", "M" * 200, "M" * 1000])
def test_tags(words, step, old):
    tag = NdefTag(encode([text(words)]), step=step, old=old)
    done = hold(CARDS, tag)
    assert done.outcome == PassRead(words.encode(), "card")
    assert hold(CARDS, tag).outcome == done.outcome


def test_what_a_small_tag_costs():
    done = hold(CARDS, NdefTag(encode([text("M-1")])))
    assert [c.hex() for c in done.commands[1:]] == [
        "00a4040007d276000085010100",
        "00a4000c02e103",
        "00b000000f",
        "00a4000c02e104",
        "00b0000002",
        "00b000020a",
    ]


@pytest.mark.parametrize(
    ("records", "value"),
    [
        ([text("A"), text("B")], b"A"),
        ([uri("https://a.b/1"), text("A")], b"A"),
        ([Record(MIME, b"text/vcard", b"x"), uri("a:1"), uri("a:2")], b"a:1"),
        ([Record(MIME, b"text/vcard", b"x")], None),
        ([text("")], None),
        ([text(""), uri("a:1")], b"a:1"),
        ([], None),
    ],
)
def test_what_names_a_customer(records, value):
    assert (type4.identity(encode(records)) or None) == value
    outcome = PassRead(value, "card") if value else ReadFailure("no-pass", "empty-tag", "card")
    assert hold(CARDS, NdefTag(encode(records))).outcome == outcome


def test_words_that_are_none():
    with pytest.raises(Malformed):
        type4.identity(encode([Record(1, b"T", b"\0\xff")]))
    assert hold(CARDS, NdefTag(b"\xd1")).outcome == ReadFailure("unreadable", "truncated", "card")


def test_no_such_tag():
    done = tap(CARDS, script(["6a82", "6a82", "6a82"]))
    assert done.outcome == ReadFailure("no-pass", "unknown-card", "card")
    assert done.commands[2].hex() == "00a4040007d276000085010000"


CC = "000f2000ff00340406e104100000ff9000"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["6a82"], "refused-6A82"),
        (["9000", "6982"], "refused-6982"),
        (["9000", "9000"], "truncated"),
        (["9000", CC.replace("0406", "0506")], "malformed"),
        (["9000", CC.replace("0406", "0408")], "malformed"),
        (["9000", CC.replace("00ff0034", "00000034")], "malformed"),
        (["9000", CC, "6a82"], "refused-6A82"),
        (["9000", CC, "9000", "6b00"], "refused-6B00"),
        (["9000", CC, "9000", "04019000"], "too-long"),
        (["9000", CC.replace("e1041000", "e1040010"), "9000", "000f9000"], "too-long"),
        (["9000", CC.replace("e1041000", "e1040001"), "9000", "00009000"], "too-long"),
        (["9000", CC, "9000", "00059000", "aabb9000", "9000"], "truncated"),
        (["9000", CC, "9000", "00009000"], "empty-tag"),
    ],
)
def test_tags_that_misbehave(answers, reason):
    assert tap(CARDS, script(["6a82", "9000", *answers])).reason == reason


def test_short_and_generous_answers():
    message = encode([text("M-1")])
    size = f"{len(message):04x}"
    answers = ["6a82", "9000", "9000", CC[:20] + "9000", CC[20:], "9000", size + "ffff9000"]
    answers += [message[:3].hex() + "9000", message[3:].hex() + "ffffff9000"]
    done = tap(CARDS, script(answers))
    assert done.value == b"M-1"
    assert done.commands[4].hex() == "00b0000a05"
    assert done.commands[-1].hex() == f"00b00005{len(message) - 3:02x}"


def test_a_full_file():
    message = encode([text("M" * 5)])
    cc = CC.replace("e1041000", f"e104{len(message) + 2:04x}")
    answers = ["6a82", "9000", "9000", cc, "9000", f"{len(message):04x}9000", message.hex() + "9000"]
    assert tap(CARDS, script(answers)).value == b"MMMMM"


def test_long_reads_come_in_pieces_at_their_places():
    done = hold(CARDS, NdefTag(encode([text("M" * 500)]), step=300))
    assert done.value == b"M" * 500
    # 510 bytes: a record head of 6, its type, a status byte, "en", and the words
    assert [c.hex() for c in done.commands[-3:]] == ["00b0000002", "00b00002ff", "00b00101ff"]


@given(st.binary(max_size=200))
def test_any_message(message):
    try:
        value = type4.identity(message)
        assert value is None or isinstance(value, bytes)
    except NfcError:
        pass


@given(st.integers(0, 2**32))
def test_any_tag(seed):
    random = Random(seed)
    tag = NdefTag(
        random.randbytes(random.randrange(40)), step=random.choice([1, 15, 255]), old=random.random() < 0.5
    )
    outcome = hold(wallet(), tag).outcome
    assert outcome.source == "card"
