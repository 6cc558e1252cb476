import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap_drivers.nfc import tlv
from tilltap_drivers.nfc.errors import LimitExceeded, Malformed, Truncated

GOOD = [
    ("", []),
    ("5000", [(0x50, "")]),
    ("5002abcd", [(0x50, "abcd")]),
    ("9f2103010203", [(0x9F21, "010203")]),
    ("bf810c01aa", [(0xBF810C, "aa")]),
    ("5001aa5101bb5001cc", [(0x50, "aa"), (0x51, "bb"), (0x50, "cc")]),
    ("00005001aa00005101bb00", [(0x50, "aa"), (0x51, "bb")]),  # padding means nothing
    ("005001aa005101bb00", [(0x50, "aa"), (0x51, "bb")]),
    ("50820000", [(0x50, "")]),
    ("508101aa", [(0x50, "aa")]),  # lengths longer than needed
    ("50820001aa", [(0x50, "aa")]),
    ("1e01aa", [(0x1E, "aa")]),  # one below the tags of several bytes
    ("1f0101aa", [(0x1F01, "aa")]),
    ("507f" + "11" * 127, [(0x50, "11" * 127)]),
    ("508180" + "11" * 128, [(0x50, "11" * 128)]),
    ("50820100" + "11" * 256, [(0x50, "11" * 256)]),
]
BAD = [
    ("50", Truncated, "no length"),
    ("9f", Truncated, "half a tag"),
    ("9f8181", Truncated, "a tag that goes on"),
    ("9f21", Truncated, "no length"),
    ("5002aa", Truncated, "half a value"),
    ("5081", Truncated, "half a length"),
    ("508201", Truncated, "half a length"),
    ("5082000200", Truncated, "half a value"),
    ("5080", Malformed, "indefinite"),
    ("5083000001aa", Malformed, "absurd length"),
    ("9f81818101aa", Malformed, "a tag of five bytes"),
    ("9f81810101aa", Malformed, "a tag of four bytes"),
    ("5082", Truncated, "half a length"),
    ("5001aa" * 65, LimitExceeded, "too many"),
]


@pytest.mark.parametrize(("data", "items"), GOOD)
def test_good(data, items):
    assert tlv.parse(bytes.fromhex(data)) == [(tag, bytes.fromhex(value)) for tag, value in items]


@pytest.mark.parametrize(("data", "error", "why"), BAD)
def test_bad(data, error, why):
    with pytest.raises(error) as caught:
        tlv.parse(bytes.fromhex(data))
    assert type(caught.value) is error, why


def test_as_many_as_the_limit():
    assert len(tlv.parse(bytes.fromhex("5001aa" * 64 + "0000"))) == 64


def test_first_and_every():
    items = tlv.parse(bytes.fromhex("5001aa5101bb5001cc"))
    assert tlv.first(items, 0x50) == b"\xaa"
    assert tlv.first(items, 0x52) is None
    assert tlv.every(items, 0x50) == [b"\xaa", b"\xcc"]
    assert tlv.every(items, 0x52) == []


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "9f2100"),
        (127, "9f217f"),
        (128, "9f218180"),
        (255, "9f2181ff"),
        (256, "9f21820100"),
        (65535, "9f2182ffff"),
    ],
)
def test_encode(size, head):
    assert tlv.encode(0x9F21, bytes(size)).hex() == head + "00" * size


def test_encode_has_an_end():
    with pytest.raises(LimitExceeded):
        tlv.encode(0x50, bytes(65536))


TAGS = st.sampled_from([0x01, 0x50, 0x6F, 0x9F21, 0xBF0C, 0xDF6D, 0x1F7F, 0xBF810C])


@given(st.lists(st.tuples(TAGS, st.binary(max_size=300)), max_size=64))
def test_what_is_encoded_is_parsed(items):
    assert tlv.parse(b"".join(tlv.encode(tag, value) for tag, value in items)) == items
