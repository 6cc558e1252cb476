import hashlib
import hmac
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from rigs.taps import KEYS
from tilltap_drivers.nfc import bundle
from tilltap_drivers.nfc.bundle import ServiceObject, SessionKeys
from tilltap_drivers.nfc.errors import Bomb, Malformed, NfcError, Tampered, Truncated
from tilltap_drivers.nfc.ndef import Record, encode
from tilltap_drivers.nfc.wallet import OBJECT_TYPES

KEY = SessionKeys(bytes(range(16)), bytes(32))


def raised(error, call, *args):
    with pytest.raises(NfcError) as caught:
        call(*args)
    assert type(caught.value) is error


def external(name, *records, payload=b""):
    return Record(4, name, payload or encode(records))


def authentic(sealed):
    return sealed + hmac.new(KEY.mac, sealed, hashlib.sha256).digest()


def test_decrypt():
    # AES-128-CTR by NIST's own words: the first block of key stream is the cipher of the counter.
    stream = bytes.fromhex("c6a13b37878f5b826f4f8162a1c8d879")
    assert bundle.decrypt(authentic(bytes(12) + stream), KEY) == bytes(16)
    assert bundle.decrypt(authentic(bytes(12)), KEY) == b""


def test_every_flipped_bit_of_a_bundle_is_noticed():
    good = authentic(bytes(12) + b"ciphertext")
    for place in range(len(good)):
        bad = good[:place] + bytes((good[place] ^ 1,)) + good[place + 1 :]
        raised(Tampered, bundle.decrypt, bad, KEY)
    for size in range(len(good)):
        raised(Truncated if size < 44 else Tampered, bundle.decrypt, good[:size], KEY)


def test_keys_do_not_show():
    assert "00" not in repr(KEY)
    assert repr(KEY) == "SessionKeys()"


def test_session_keys_of_no_point():
    for point in (b"\x02" + b"\xff" * 32, b"", b"\x05" + bytes(32)):
        raised(Malformed, bundle.session_keys, KEYS[0].private, point, b"")


def test_signatures_are_repeatable_and_verify():
    signature = bundle.sign(KEYS[0], b"words")
    assert signature == bundle.sign(KEYS[0], b"words")
    KEYS[0].private.public_key().verify(signature, b"words", ec.ECDSA(SHA256()))


def test_inflate():
    assert bundle.inflate(zlib.compress(b"words" * 100)) == b"words" * 100
    assert bundle.inflate(zlib.compress(bytes(100)), 100) == bytes(100)
    assert bundle.inflate(zlib.compress(b"")) == b""


def test_bombs_are_stopped_early():
    raised(Bomb, bundle.inflate, zlib.compress(bytes(101)), 100)
    raised(Bomb, bundle.inflate, zlib.compress(bytes(100 * 1024 * 1024), 9))
    assert bundle.inflate(zlib.compress(bytes(64 * 1024))) == bytes(64 * 1024)
    raised(Bomb, bundle.inflate, zlib.compress(bytes(64 * 1024 + 1)))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Truncated),
        (b"words", Malformed),
        (zlib.compress(b"words")[:-1], Truncated),
        (zlib.compress(b"words")[:-4] + b"0000", Malformed),
        (zlib.compress(b"words" * 20)[:8], Truncated),
    ],
)
def test_what_does_not_inflate(data, error):
    raised(error, bundle.inflate, data)


ISSUER = external(b"i", payload=b"\x04\x01\x00\x00\x00\x07")
OID = external(b"oid", payload=b"\x0412345678")
NUMBER = Record(1, b"T", b"\x02enM-1", b"n")


def service(*records):
    return external(b"asv", *records)


@pytest.mark.parametrize("kind", sorted(set(OBJECT_TYPES.values()) - {"cus"}))
def test_every_kind_of_pass(kind):
    message = encode([service(ISSUER, external(kind.encode(), OID, NUMBER))])
    assert bundle.service_objects(message) == (
        ServiceObject(kind, b"M-1", issuer_type=1, issuer_id=b"\0\0\0\7", object_id=b"12345678"),
    )


def test_a_customer():
    fields = (
        external(b"cid", payload=b"\x04" + b"\xab" * 16),
        Record(1, b"T", b"\0de", b"cpl"),
        external(b"cut", payload=b"\x04tap"),
        NUMBER,
    )
    [found] = bundle.service_objects(encode([service(ISSUER, external(b"cus", *fields))]))
    assert found == ServiceObject("cus", b"ab" * 16, 1, b"\0\0\0\7", language="de", tap_id=b"tap")
    [found] = bundle.service_objects(encode([service(external(b"cus", NUMBER))]))
    assert found == ServiceObject("cus", None)


def test_order_and_what_means_nothing():
    message = encode(
        [
            external(b"xyz", payload=b"\xff"),
            service(external(b"of", NUMBER), external(b"zz", payload=b"\xff"), external(b"ly")),
            Record(1, b"T", encode([external(b"gc", NUMBER)]), b"asv"),
            service(Record(1, b"T", encode([NUMBER]), b"tr")),
        ]
    )
    assert [(o.type, o.value) for o in bundle.service_objects(message)] == [
        ("of", b"M-1"),
        ("ly", None),
        ("gc", b"M-1"),
        ("tr", b"M-1"),
    ]
    assert bundle.service_objects(b"") == ()


@pytest.mark.parametrize(
    "number",
    [
        external(b"n", payload=b"\x01M-1"),
        external(b"n", payload=b"\x04M-1"),
        Record(4, b"x", b"\x02M-1", b"n"),
        Record(1, b"T", b"\x80\0M\0-\0001", b"n"),
    ],
)
def test_numbers_in_every_form(number):
    [found] = bundle.service_objects(encode([service(external(b"ly", number))]))
    assert found.value == b"M-1"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"\xd4", Truncated),
        (encode([external(b"asv", payload=b"\xd4")]), Truncated),
        (encode([service(external(b"ly", payload=b"\xd4"))]), Truncated),
        (encode([service(external(b"i", payload=b"\x09"), external(b"ly"))]), Malformed),
        (encode([service(external(b"ly", external(b"cpl", payload=b"\x04\xff")))]), Malformed),
        (encode([service(external(b"ly", external(b"n", payload=b"\x09")))]), Malformed),
    ],
)
def test_what_is_no_bundle(message, error):
    raised(error, bundle.service_objects, message)
