from random import Random

import pytest

from rigs.taps import APPLE_ID, KEYS, NOW, hold, wallet
from tilltap_drivers.nfc import vas
from tilltap_drivers.nfc.errors import (
    LimitExceeded,
    Malformed,
    NfcError,
    Tampered,
    Truncated,
    UnsupportedVersion,
    WrongKey,
)
from tilltap_drivers.nfc.keys import Key
from tilltap_drivers.nfc.phones import ApplePass, IPhone
from tilltap_drivers.nfc.tlv import encode
from tilltap_drivers.nfc.wallet import AppleWallet

MERCHANT = AppleWallet((APPLE_ID,), KEYS[:1]).merchant_ids()[0]


def sealed(message=b"MEMBER-1", *, key=KEYS[0], older=False, now=NOW):
    """A cryptogram of the simulated phone."""
    phone = IPhone(
        [ApplePass(APPLE_ID, key.public, message, older=older)],
        random=Random(7).randbytes,
        now=lambda: now,
    )
    answer = hold(wallet(), phone).responses[1][:-2]
    return vas.parse_answer(answer).cryptogram


def refused(error, cryptogram, keys=KEYS[:2], merchant=MERCHANT, **more):
    with pytest.raises(NfcError) as caught:
        vas.open_cryptogram(cryptogram, merchant, keys, **more)
    assert type(caught.value) is error
    return caught.value


@pytest.mark.parametrize("message", [b"", b"M", b"\x00\xff" * 32])
def test_messages_of_every_length(message):
    cryptogram = sealed(message)
    opened = vas.open_cryptogram(cryptogram, MERCHANT, KEYS)
    assert opened == vas.Opened(message, NOW, 1, cryptogram[4:36])
    assert len(cryptogram) == vas.CRYPTOGRAM_MIN + len(message)


def test_longer_messages_are_cut_by_the_phone():
    assert vas.open_cryptogram(sealed(b"x" * 65), MERCHANT, KEYS).message == b"x" * 64


def test_the_key_is_the_one_named():
    assert vas.open_cryptogram(sealed(key=KEYS[3]), MERCHANT, KEYS).slot == 4


def test_age():
    opened = vas.open_cryptogram(sealed(now=NOW - 60), MERCHANT, KEYS)
    assert opened.age(NOW + 0.5) == 60.5
    assert opened.age(NOW - 90) == -30


def test_keys_that_share_a_name_are_all_tried():
    """An identifier of 32 bits is no identity: the wrong keys with the same name come first."""
    right = KEYS[2]
    liars = [Key(other.private, other.public, right.vas_id) for other in KEYS[:2]]
    assert vas.open_cryptogram(sealed(key=right), MERCHANT, [*liars, right]).slot == 3
    refused(Tampered, sealed(key=right), liars)


def test_every_flipped_bit_is_noticed():
    good = sealed()
    for place in range(len(good)):
        for bit in (0x01, 0x80):
            bad = good[:place] + bytes((good[place] ^ bit,)) + good[place + 1 :]
            with pytest.raises(NfcError) as caught:
                vas.open_cryptogram(bad, MERCHANT, KEYS)
            expected = (WrongKey,) if place < 4 else (Tampered, Malformed) if place < 36 else (Tampered,)
            assert type(caught.value) in expected


def test_every_cut_is_noticed():
    good = sealed(b"a message that is long enough")
    for size in range(len(good)):
        refused(Truncated if size < vas.CRYPTOGRAM_MIN else Tampered, good[:size])
    refused(Tampered, good + b"\0")


def test_too_long():
    good = sealed()
    refused(Tampered, good + bytes(vas.CRYPTOGRAM_LIMIT - len(good)))
    refused(LimitExceeded, good + bytes(vas.CRYPTOGRAM_LIMIT + 1 - len(good)))


@pytest.mark.parametrize("x", [b"\xff" * 32, bytes(31) + b"\x07", bytes(31) + b"\x01"])
def test_a_point_off_the_curve_is_malformed(x):
    good = sealed()
    refused(Malformed, good[:4] + x + good[36:])


def test_foreign():
    assert refused(WrongKey, sealed(key=KEYS[4])).reason == "wrong-key"
    refused(WrongKey, sealed(), [])
    assert refused(Tampered, sealed(), merchant=bytes(32)).reason == "tampered"


def test_the_older_way_only_if_wanted():
    assert vas.open_cryptogram(sealed(older=True), MERCHANT, KEYS).message == b"MEMBER-1"
    refused(Tampered, sealed(older=True), legacy=False)


def test_the_older_way_is_bound_to_the_pass_type_too():
    refused(Tampered, sealed(older=True), merchant=bytes(32))


@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        (None, True),
        (b"\x01\x00", True),
        (b"\x01\x07", True),
        (b"\x01", True),
        (b"", False),
        (b"\x00\x01", False),
        (b"\x02\x00", False),
    ],
)
def test_versions(version, spoken):
    assert _is_spoken(version) == spoken


def _is_spoken(version):
    try:
        vas.check_version(version)
    except UnsupportedVersion:
        return False
    return True


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "80ca01012f 9f22020100 9f2520M 9f260400800002 00"),
        ({"mode": 0, "more": True}, "80ca01012f 9f22020100 9f2520M 9f260400800080 00"),
        (
            {"nonce": b"1234", "filter": b"\x01\0\0\0\0", "url": "https://a.b"},
            "80ca010150 9f22020100 9f2520M 9f260400800002 9f280431323334 9f2b050100000000 9f290b68747470733a2f2f612e62 00",
        ),
    ],
)
def test_requests(more, expected):
    command = vas.get_data(b"\x11" * 32, **more).encode()
    body = expected.replace("M", "11" * 32).replace(" ", "")
    assert command.hex() == body[:8] + f"{(len(body) - 12) // 2:02x}" + body[10:]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Malformed),
        (encode(0x6F, b""), Malformed),
        (encode(0x70, b""), Malformed),
        (encode(0x70, encode(0x9F2A, b"")), Malformed),
        (b"\x70\x05\x9f", Truncated),
    ],
)
def test_answers_without_a_cryptogram(data, error):
    with pytest.raises(NfcError) as caught:
        vas.parse_answer(data)
    assert type(caught.value) is error


def test_answers_in_any_order():
    data = encode(0x70, encode(0x9F27, b"c") + encode(0x50, b"?") + encode(0x9F2A, b"t"))
    assert vas.parse_answer(data) == vas.Answer(b"c", b"t")
    assert vas.parse_answer(encode(0x70, encode(0x9F27, b"c"))) == vas.Answer(b"c", b"")
