import pytest

from tilltap_drivers.nfc import smarttap
from tilltap_drivers.nfc.errors import Malformed, NfcError, Replayed, Truncated, UnsupportedVersion
from tilltap_drivers.nfc.ndef import Record, encode
from tilltap_drivers.nfc.smarttap import Negotiated, Selected, Served, Session

ID = b"12345678"
SES = Session(ID, 2).record()


def external(name, payload):
    return Record(4, name, payload)


def answer(name, *records):
    return encode([external(name, encode(records))])


def raised(error, parse, data):
    with pytest.raises(NfcError) as caught:
        parse(data)
    assert type(caught.value) is error


def accepted(error, check, *args):
    """Whether `check` lets it pass; what it raises must be of this kind."""
    try:
        check(*args)
    except error:
        return False
    return True


def test_select():
    assert smarttap.SELECT.encode().hex() == "00a4040009a000000476d000011100"
    assert smarttap.MORE.encode().hex() == "90c0000000"


@pytest.mark.parametrize(
    ("low", "high", "fine"),
    [
        (None, None, True),
        (0, 1, True),
        (1, 1, True),
        (1, 2, True),
        (0, 0, False),
        (2, 3, False),
        (None, 0, False),
        (2, None, False),
    ],
)
def test_versions(low, high, fine):
    assert accepted(UnsupportedVersion, smarttap.check_version, low, high) == fine


def test_session_record():
    assert Session(ID, 3, 8).record() == external(b"ses", ID + b"\x03\x08")
    assert Session(ID, 257).record() == external(b"ses", ID + b"\x01\x01")


@pytest.mark.parametrize(
    ("sent", "got", "fine"),
    [
        (Session(ID, 1), Session(ID, 2), True),
        (Session(ID, 255), Session(ID, 0), True),
        (Session(ID, 1), Session(ID, 1), False),
        (Session(ID, 1), Session(ID, 3), False),
        (Session(ID, 1), Session(b"87654321", 2), False),
    ],
)
def test_answers_follow(sent, got, fine):
    assert accepted(Replayed, got.check_follows, sent) == fine


def test_several_service_types_and_no_capabilities():
    command = smarttap.get_data(Session(ID, 3), collector=b"1234", service_types=(3, 0x12))
    inner = "94030a736573" + ID.hex() + "0301" + "14030b6d6572" + "d40305636c640431323334"
    inner += "54030e736c72" + "9403017374720354030173747212"
    assert command.encode().hex() == "905000003dd403377372710001" + inner + "00"


def test_everything_is_asked_for_unless_told_otherwise():
    assert b"\xd4\x03\x01str\x00" in smarttap.get_data(Session(ID, 3), collector=b"1234").data


def test_negotiation_without_the_phones_nonce():
    command = smarttap.negotiate(
        Session(ID, 1),
        nonce=b"n" * 32,
        ephemeral=b"e" * 33,
        key_version=258,
        signature=b"s",
        collector=b"1234",
        live=False,
    )
    assert b"n" * 32 + b"\x00" + b"e" * 33 + b"\0\0\1\2" + b"\x94\x03\x02sig\x04s" in command.data


MDN = Record(4, b"mdn", b"\x04" + b"n" * 32, b"mdn")


@pytest.mark.parametrize(
    ("data", "selected"),
    [
        (b"\0\0\0\1" + encode([MDN]), Selected(0, 1, b"n" * 32)),
        (b"\1\0\0\2", Selected(256, 2, None)),
        (b"\0\0\0\1" + encode([external(b"xyz", b"")]), Selected(0, 1, None)),
        (b"\0\0\0\1" + encode([Record(1, b"T", b"\x04n", b"mdn")]), Selected(0, 1, b"n")),
        (b"\1\2\3\4" + encode([external(b"mdn", b"\x04" + bytes(32))]), Selected(0x0102, 0x0304, bytes(32))),
    ],
)
def test_selected(data, selected):
    assert smarttap.parse_selected(data) == selected


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Truncated),
        (b"\0\0\0", Truncated),
        (b"\0\0\0\1\xd4", Truncated),
        (b"\0\0\0\1" + encode([external(b"mdn", b"")]), Truncated),
    ],
)
def test_selected_badly(data, error):
    raised(error, smarttap.parse_selected, data)


def test_negotiated():
    data = answer(b"nrs", SES, external(b"dpk", b"k" * 33))
    assert smarttap.parse_negotiated(data) == Negotiated(Session(ID, 2), b"k" * 33)
    long = encode([external(b"ses", ID + b"\x02\x01more")])[6:]
    data = answer(b"nrs", external(b"dpk", b"k" * 33), external(b"ses", long))
    assert smarttap.parse_negotiated(data).session == Session(ID, 2)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Malformed),
        (answer(b"srs", SES, external(b"dpk", b"k" * 33)), Malformed),
        (answer(b"nrs", SES), Malformed),
        (answer(b"nrs", external(b"dpk", b"k" * 33)), Malformed),
        (answer(b"nrs", SES, external(b"dpk", b"k" * 32)), Malformed),
        (answer(b"nrs", SES, external(b"dpk", b"k" * 34)), Malformed),
        (answer(b"nrs", external(b"ses", ID + b"\x02"), external(b"dpk", b"k" * 33)), Truncated),
    ],
)
def test_negotiated_badly(data, error):
    raised(error, smarttap.parse_negotiated, data)


@pytest.mark.parametrize(
    ("payload", "encrypted", "compressed"),
    [
        (b"\x00x", False, False),
        (b"\x01x", True, False),
        (b"\x02x", False, True),
        (b"\x03x", True, True),
        (b"\xfcx", False, False),
    ],
)
def test_served(payload, encrypted, compressed):
    served = smarttap.parse_served(answer(b"srs", SES, external(b"reb", payload)))
    assert served == Served(Session(ID, 2), payload[0], b"x")
    assert (served.encrypted, served.compressed) == (encrypted, compressed)


def test_served_nothing():
    assert smarttap.parse_served(answer(b"srs", SES)) == Served(Session(ID, 2), 0, None)
    raised(Truncated, smarttap.parse_served, answer(b"srs", SES, external(b"reb", b"")))
    raised(Malformed, smarttap.parse_served, answer(b"srs", external(b"reb", b"\1")))


def test_find_by_type_or_id():
    records = [external(b"a", b""), Record(1, b"T", b"", b"b"), Record(4, b"x", b"", b"b")]
    assert smarttap.find(records, b"a") is records[0]
    assert smarttap.find(records, b"b") is records[1]
    assert smarttap.find(records, b"x") is records[2]
    assert smarttap.find(records, b"c") is None


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("00ff00", b"\xff\x00"),
        ("0132303138", b"2018"),
        ("02c3a9", "é".encode()),
        ("0300e9", "é".encode()),
        ("03fffee900", "é".encode()),
        ("04ff00", b"\xff\x00"),
        ("052018", b"2018"),
        ("05201f", b"201"),
        ("05", b""),
        ("04", b""),
    ],
)
def test_primitives(payload, value):
    assert smarttap.primitive(bytes.fromhex(payload)) == value


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ("", Truncated),
        ("01ff", Malformed),
        ("02ff", Malformed),
        ("0300", Malformed),
        ("05a0", Malformed),
        ("05ff", Malformed),
        ("0600", Malformed),
    ],
)
def test_primitives_that_are_none(payload, error):
    raised(error, smarttap.primitive, bytes.fromhex(payload))


def test_values_of_every_kind_of_record():
    assert smarttap.value(Record(1, b"T", b"\x02enA", b"n")) == b"A"
    assert smarttap.value(Record(1, b"T", b"\x80\x00\xe9", b"n")) == "é".encode()
    assert smarttap.value(Record(1, b"U", b"\x04a.b", b"n")) == b"https://a.b"
    assert smarttap.value(external(b"n", b"\x01A")) == b"A"
