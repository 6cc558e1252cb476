import pickle
import re
import traceback

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from rigs.taps import KEYS, vectors
from tilltap_drivers.nfc.errors import BadKey
from tilltap_drivers.nfc.keys import FILE_LIMIT, P256_ORDER, Key, compressed, from_scalar, load_key

KEY = KEYS[0]
SEC1, PKCS8 = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8


def private(encoding, form, key=KEY.private, protection=None):
    return key.private_bytes(encoding, form, protection or NoEncryption())


FORMS = {
    "SEC1 PEM": private(Encoding.PEM, SEC1),
    "PKCS#8 PEM": private(Encoding.PEM, PKCS8),
    "SEC1 DER": private(Encoding.DER, SEC1),
    "PKCS#8 DER": private(Encoding.DER, PKCS8),
    "hex": b"%064x\n" % 1_000_003,
    "HEX": (b"%064x" % 1_000_003).upper(),
    "PEM with CRLF": private(Encoding.PEM, SEC1).replace(b"\n", b"\r\n"),
    "PEM with text around it": b"Bag Attributes\n" + private(Encoding.PEM, PKCS8) + b"\nend",
    "PEM with a byte order mark": b"\xef\xbb\xbf" + private(Encoding.PEM, PKCS8),
    "PEM with parameters": b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    + private(Encoding.PEM, SEC1),
    "PEM with the public key": KEY.private.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    + private(Encoding.PEM, PKCS8),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    key = load_key(FORMS[form])
    assert key == KEY
    assert key.private.private_numbers() == KEY.private.private_numbers()


BAD = {
    "empty": (b"", "no readable private key"),
    "words": (b"hello", "no readable private key"),
    "cut": (FORMS["PKCS#8 PEM"][:-40], "no private key in the file"),
    "cut inside": (FORMS["PKCS#8 PEM"].replace(b"\n", b"", 2)[:60] + FORMS["PKCS#8 PEM"][90:], "no readable"),
    "cut DER": (FORMS["SEC1 DER"][:-1], "no readable private key"),
    "short hex": (b"%063x" % 1, "no readable private key"),
    "zero": (b"0" * 64, "not a private key of P-256"),
    "the order": (b"%064x" % P256_ORDER, "not a private key of P-256"),
    "public": (
        KEY.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "this is the public key",
    ),
    "a certificate": (
        b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        "no private key in the file",
    ),
    "with a password": (
        private(Encoding.PEM, PKCS8, protection=BestAvailableEncryption(b"x")),
        "has a password",
    ),
    "SEC1 with a password": (
        private(Encoding.PEM, SEC1, protection=BestAvailableEncryption(b"x")),
        "has a password",
    ),
    "two keys": (FORMS["SEC1 PEM"] + FORMS["PKCS#8 PEM"], "several private keys"),
    "two keys of a form": (FORMS["SEC1 PEM"] * 2, "several private keys"),
    "P-384": (private(Encoding.PEM, PKCS8, ec.derive_private_key(5, ec.SECP384R1())), "secp384r1"),
    "RSA": (private(Encoding.DER, PKCS8, rsa.generate_private_key(65537, 2048)), "no elliptic-curve key"),
    "huge": (FORMS["SEC1 PEM"] + b" " * FILE_LIMIT, "too large"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_key(kind):
    data, expected = BAD[kind]
    with pytest.raises(BadKey, match=re.escape(expected)) as caught:
        load_key(data)
    assert "\n" not in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    scalar = b"%064x" % 1_000_003
    assert scalar.decode() not in shown
    assert all(len(line) < 20 or line not in shown for line in data.decode("latin-1").splitlines()[1:-1])
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_as_large_as_allowed():
    assert FILE_LIMIT == 16384
    assert load_key(FORMS["SEC1 PEM"] + b" " * (FILE_LIMIT - len(FORMS["SEC1 PEM"]))) == KEY


def test_scalars():
    assert from_scalar(1).public.hex().startswith("036b17d1f2")  # the base point
    assert from_scalar(P256_ORDER - 1).public.hex().startswith("026b17d1f2")
    for scalar in (0, -1, P256_ORDER):
        with pytest.raises(BadKey):
            from_scalar(scalar)


def test_a_key_never_shows():
    shown = repr(KEY) + str(KEY) + f"{KEY}"
    assert "private" not in shown
    assert "f4243" not in shown
    with pytest.raises(Exception):  # noqa: B017 -- whatever the library says, it does not pickle
        pickle.dumps(KEY)


def test_equal_by_their_public_half():
    assert Key.of(KEY.private) == KEY
    assert KEYS[0] != KEYS[1]
    assert len({KEY, Key.of(KEY.private), KEYS[1]}) == 2
    assert compressed(KEY.private.public_key()) == KEY.public


def test_other_curves():
    with pytest.raises(BadKey, match="P-256"):
        Key.of(ec.derive_private_key(5, ec.SECP256K1()))


def test_published_demo_keys_load():
    assert len({load_key(v["private_key_pem"].encode()) for v in vectors("vas")["keys"]}) == 4
