"""Private keys of the shop: EC P-256, from PEM or DER, never shown.

No error, repr or log of this module holds any part of a private key; errors raised inside the crypto library
are not chained, because they may quote their input.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tilltap_drivers.nfc.errors import BadKey

# Bytes of a key file: a P-256 key takes 250; a larger file is something else.
FILE_LIMIT = 16 * 1024

# The order of the group of P-256 (FIPS 186-5, SP 800-186): private scalars lie in 1 .. N-1.
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Key:
    """A private key. `public` is its compressed point (33 bytes), `vas_id` the 4 bytes by which an Apple
    cryptogram names it (apple-vas 4). Two keys are equal if their public halves are.
    """

    private: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)
    public: bytes
    vas_id: bytes

    @classmethod
    def of(cls, private: ec.EllipticCurvePrivateKey) -> Key:
        """BadKey for another curve than P-256."""
        if not isinstance(private.curve, ec.SECP256R1):
            raise BadKey(f"the key is on curve {private.curve.name}; the wallets use P-256 (prime256v1)")
        point = compressed(private.public_key())
        return cls(private, point, hashlib.sha256(point[1:]).digest()[:4])


def compressed(public: ec.EllipticCurvePublicKey) -> bytes:
    """The point as 33 bytes, SEC1."""
    return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def from_scalar(scalar: int) -> Key:
    """BadKey if it is not in 1 .. N-1."""
    if not 0 < scalar < P256_ORDER:
        raise BadKey("the number is not a private key of P-256")
    return Key.of(ec.derive_private_key(scalar, ec.SECP256R1()))


def load_key(data: bytes) -> Key:
    """A key from the content of its file: PEM (SEC1 or PKCS#8), DER (either), or 64 hex digits.

    BadKey says what the file is instead, and what to do.
    """
    if len(data) > FILE_LIMIT:
        raise BadKey("the file is too large for a private key")
    if b"-----BEGIN" in data:
        return _from_pem(data)
    text = data.strip()
    if re.fullmatch(rb"[0-9A-Fa-f]{64}", text):
        return from_scalar(int.from_bytes(binascii.unhexlify(text), "big"))
    return _loaded(data, pem=False)


def _from_pem(data: bytes) -> Key:
    # Tools put a block EC PARAMETERS before the key, and people append certificates: take the key's block.
    blocks = [(match[1], match[0]) for match in _PEM_BLOCK.finditer(data)]
    private = [block for kind, block in blocks if kind.endswith(b"PRIVATE KEY")]
    if not private:
        if any(kind.endswith(b"PUBLIC KEY") for kind, _ in blocks):
            raise BadKey("this is the public key; the private one is needed")
        raise BadKey("there is no private key in the file (BEGIN ... PRIVATE KEY)")
    if len(private) > 1:
        raise BadKey("there are several private keys in the file; give each its own")
    if b"ENCRYPTED" in private[0]:
        raise BadKey("the key has a password; store it without (openssl pkey), in a file of mode 0600")
    return _loaded(private[0], pem=True)


def _loaded(data: bytes, *, pem: bool) -> Key:
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    try:
        private = load(data, password=None)
    except Exception:
        # The library's errors differ by version and format, and may quote bytes of the file.
        raise BadKey("the file is no readable private key (PEM or DER, SEC1 or PKCS#8)") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise BadKey("the key is no elliptic-curve key; the wallets use P-256 (prime256v1)")
    return Key.of(private)
