import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap_drivers.nfc import ndef
from tilltap_drivers.nfc.errors import LimitExceeded, Malformed, Truncated
from tilltap_drivers.nfc.ndef import Record

GOOD = [
    ("", []),
    ("d4030a736573" + "11" * 10, [Record(4, b"ses", b"\x11" * 10)]),
    ("c40300000001736573aa", [Record(4, b"ses", b"\xaa")]),
    ("d9010201546e0041", [Record(1, b"T", b"\x00A", b"n")]),
    ("c9010000000201546e0041", [Record(1, b"T", b"\x00A", b"n")]),
    ("94010161415401016242", [Record(4, b"a", b"A"), Record(4, b"b", b"B")]),
    ("d00000", [Record(0, b"", b"")]),
    ("d8000000", [Record(0, b"", b"")]),
    ("1401006114010062", [Record(4, b"a", b""), Record(4, b"b", b"")]),  # no flag says begin or end
]
BAD = [
    ("d4", Truncated),
    ("d403", Truncated),
    ("d4030a", Truncated),
    ("d4030a7365", Truncated),
    ("d4030a736573" + "11" * 9, Truncated),
    ("c403000000", Truncated),
    ("c4037fffffff736573", Truncated),
    ("c40301000001736573aa", Truncated),
    ("d90102", Truncated),
    ("d9010201546e00", Truncated),
    ("b401016141", Malformed),
    ("14010061" * 65, LimitExceeded),
]


@pytest.mark.parametrize(("data", "records"), GOOD)
def test_good(data, records):
    assert list(ndef.parse(bytes.fromhex(data))) == records


@pytest.mark.parametrize(("data", "error"), BAD)
def test_bad(data, error):
    with pytest.raises(error) as caught:
        ndef.parse(bytes.fromhex(data))
    assert type(caught.value) is error


def test_as_many_as_the_limit():
    assert len(ndef.parse(bytes.fromhex("14010061" * 64))) == 64


@pytest.mark.parametrize(
    ("records", "data"),
    [
        ([], ""),
        ([Record(4, b"a", b"A")], "d401016141"),
        (
            [Record(4, b"a", b"A"), Record(4, b"b", b""), Record(4, b"c", b"C")],
            "9401016141140100625401016343",
        ),
        ([Record(1, b"T", b"A", b"n")], "d9010101546e41"),
        ([Record(4, b"a", bytes(255))], "d401ff61" + "00" * 255),
        ([Record(4, b"a", bytes(256))], "c4010000010061" + "00" * 256),
    ],
)
def test_encode(records, data):
    assert ndef.encode(records).hex() == data


@pytest.mark.parametrize(
    ("payload", "language", "text"),
    [
        ("0032303138", "", "2018"),
        ("02656e41", "en", "A"),
        ("05656e2d555341", "en-US", "A"),
        ("02656ec3a9", "en", "é"),
        ("00", "", ""),
        ("82656e00410042", "en", "AB"),
        ("80feff0041", "", "A"),
        ("80fffe4100", "", "A"),
        ("80d83dde00", "", "😀"),
        ("4041", "", "A"),  # a reserved bit
    ],
)
def test_text(payload, language, text):
    assert ndef.text(bytes.fromhex(payload)) == (language, text)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ("", Truncated),
        ("0265", Truncated),
        ("3f" + "61" * 62, Truncated),
        ("00ff", Malformed),
        ("01ff41", Malformed),
        ("8041", Malformed),
        ("80d83d", Malformed),
    ],
)
def test_text_that_is_none(payload, error):
    with pytest.raises(error) as caught:
        ndef.text(bytes.fromhex(payload))
    assert type(caught.value) is error
    assert "41" not in str(caught.value)


def test_the_longest_language():
    assert ndef.text(b"\x3f" + b"a" * 63) == ("a" * 63, "")


# RTD URI 1.0, table 3, by code from 0 on.
PREFIXES = """
- http://www. https://www. http:// https:// tel: mailto: ftp://anonymous:anonymous@ ftp://ftp. ftps:// sftp:// smb://
nfs:// ftp:// dav:// news: telnet:// imap: rtsp:// urn: pop: sip: sips: tftp: btspp:// btl2cap:// btgoep:// tcpobex://
irdaobex:// file:// urn:epc:id: urn:epc:tag: urn:epc:pat: urn:epc:raw: urn:epc: urn:nfc:
"""


@pytest.mark.parametrize(("code", "prefix"), list(enumerate(PREFIXES.split())))
def test_uri(code, prefix):
    assert ndef.uri(bytes((code,)) + "é".encode()) == prefix.removeprefix("-") + "é"


@pytest.mark.parametrize(("payload", "error"), [("", Truncated), ("2441", Malformed), ("00ff", Malformed)])
def test_uri_that_is_none(payload, error):
    with pytest.raises(error) as caught:
        ndef.uri(bytes.fromhex(payload))
    assert type(caught.value) is error


def test_which_records_are_words():
    assert Record(1, b"T", b"").is_text()
    assert not Record(4, b"T", b"").is_text()
    assert not Record(1, b"U", b"").is_text()
    assert Record(1, b"U", b"").is_uri()
    assert not Record(4, b"U", b"").is_uri()
    assert not Record(1, b"T", b"").is_uri()


RECORDS = st.builds(
    Record,
    st.integers(0, 7),
    st.binary(max_size=255),
    st.binary(max_size=300),
    st.binary(max_size=255),
)


@given(st.lists(RECORDS, max_size=5))
def test_what_is_encoded_is_parsed(records):
    assert list(ndef.parse(ndef.encode(records))) == records
