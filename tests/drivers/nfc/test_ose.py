import pytest

from tilltap_drivers.nfc import ose
from tilltap_drivers.nfc.errors import Malformed, NfcError, Truncated
from tilltap_drivers.nfc.ose import Entry, Ose
from tilltap_drivers.nfc.tlv import encode

GOOGLE = encode(0x50, b"AndroidPay")
AID = encode(0x4F, ose.SMART_TAP_AID)


def template(*parts):
    return encode(0x6F, b"".join(parts))


def directory(*entries):
    return encode(0xA5, encode(0xBF0C, b"".join(encode(0x61, entry) for entry in entries)))


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", None),
        (encode(0x84, b"x"), None),
        (template(encode(0x84, b"x")), None),
        (template(encode(0x50, b"SamsungWallet")), Ose(b"SamsungWallet")),
        (
            template(encode(0x9F23, b"1234"), encode(0x77, b"?"), encode(0x50, b"ApplePay")),
            Ose(b"ApplePay", capabilities=b"1234"),
        ),
        (template(GOOGLE), Ose(b"AndroidPay")),
        (template(GOOGLE, encode(0xA5, b"")), Ose(b"AndroidPay")),
        (template(GOOGLE, directory()), Ose(b"AndroidPay", directory=())),
        (template(GOOGLE, directory(AID)), Ose(b"AndroidPay", directory=(Entry(ose.SMART_TAP_AID),))),
        (
            template(GOOGLE, encode(0xC3, b"e"), encode(0xC2, b"n"), encode(0xC1, b"t"), encode(0xC0, b"v")),
            Ose(b"AndroidPay", b"v", b"n", None, b"t", b"e"),
        ),
    ],
)
def test_answers(data, answer):
    assert ose.parse(data) == answer


def test_a_full_entry():
    more = b"".join(
        encode(tag, value)
        for tag, value in [
            (0xDF6D, b"\0\1"), (0xDF4D, b"\1\2"), (0xDF62, b"\2"), (0xDF6E, b"nonce"), (0xDF6B, b"key"),
        ]
    )  # fmt: skip
    other = encode(0x4F, b"other") + encode(0x87, b"\2")
    answer = ose.parse(template(GOOGLE, directory(other, AID + encode(0x87, b"\1") + encode(0x73, more))))
    assert answer.directory == (
        Entry(b"other", priority=2),
        Entry(ose.SMART_TAP_AID, 1, 1, 258, 2, b"nonce", b"key"),
    )
    assert answer.smart_tap() is answer.directory[1]
    assert not answer.smart_tap().may_skip_select


def test_smart_tap_is_not_there():
    assert ose.parse(template(GOOGLE)).smart_tap() is None
    assert ose.parse(template(GOOGLE, directory(encode(0x4F, b"other")))).smart_tap() is None


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x6f\x05\x50", Truncated),
        (template(b"\x50\x05a"), Truncated),
        (template(GOOGLE, directory(encode(0x87, b"\1"))), Malformed),
        (template(GOOGLE, directory(AID + encode(0x73, b"\xdf"))), Truncated),
    ],
)
def test_what_follows_no_format(data, error):
    with pytest.raises(NfcError) as caught:
        ose.parse(data)
    assert type(caught.value) is error
