"""What is secret in Smart Tap, and what comes out: signature, session keys, bundle, passes.

Source: google-smart-tap.md, sections 5 and 7 to 9.
"""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tilltap_drivers.nfc import ndef, smarttap
from tilltap_drivers.nfc.errors import Bomb, Malformed, Tampered, Truncated
from tilltap_drivers.nfc.keys import Key
from tilltap_drivers.nfc.ndef import Record
from tilltap_drivers.nfc.wallet import OBJECT_TYPES

# Bytes of a bundle after decompression. A captured pass with much text has 1.3 KiB; a public reader stops at
# 256 KiB, which is more than a value of at most 256 characters is worth.
INFLATED_LIMIT = 64 * 1024

# Stand-in for the device's nonce in a signature made without one (google-smart-tap 7).
NO_NONCE = bytes(32)

_IV, _MAC = 12, 32

# RFC 6979: the same signature for the same words, and no source of randomness in here.
_SIGNATURE = ec.ECDSA(SHA256(), deterministic_signing=True)

_OBJECT_TYPES = frozenset(name.encode() for name in OBJECT_TYPES.values())


@dataclass(frozen=True, slots=True)
class SessionKeys:
    cipher: bytes
    mac: bytes

    def __repr__(self) -> str:
        return "SessionKeys()"


@dataclass(frozen=True, slots=True)
class ServiceObject:
    """A pass. `type` as on the wire ("ly", "cus" ...), `value` what identifies: the service number as UTF-8,
    of a customer the 16 bytes of the id in hex; None if the pass has none.
    """

    type: str
    value: bytes | None
    issuer_type: int | None = None
    issuer_id: bytes = b""
    object_id: bytes = b""
    language: str = ""
    tap_id: bytes = b""


def signed_data(nonce: bytes, device_nonce: bytes, collector: bytes, ephemeral: bytes) -> bytes:
    """The 101 bytes that a terminal signs, and that begin the key derivation."""
    return nonce + device_nonce + collector + ephemeral


def sign(key: Key, data: bytes) -> bytes:
    """ECDSA with SHA-256, DER."""
    return key.private.sign(data, _SIGNATURE)


def session_keys(ephemeral: ec.EllipticCurvePrivateKey, device_key: bytes, info: bytes) -> SessionKeys:
    """`info` is the signed data and the signature. Malformed if the device's point is not on the curve."""
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), device_key)
    except ValueError:
        raise Malformed("a session key that is not on the curve") from None
    secret = ephemeral.exchange(ec.ECDH(), point)
    okm = HKDF(SHA256(), 48, salt=device_key, info=info).derive(secret)
    return SessionKeys(okm[:16], okm[16:])


def decrypt(bundle: bytes, keys: SessionKeys) -> bytes:
    """IV, ciphertext, HMAC -> plaintext. Truncated, Tampered."""
    if len(bundle) < _IV + _MAC:
        raise Truncated("a bundle that is too short")
    sealed, mac = bundle[:-_MAC], bundle[-_MAC:]
    if not hmac.compare_digest(hmac.digest(keys.mac, sealed, "sha256"), mac):
        raise Tampered("a bundle whose authentication fails")
    decryptor = Cipher(algorithms.AES(keys.cipher), modes.CTR(sealed[:_IV] + bytes(4))).decryptor()
    return decryptor.update(sealed[_IV:]) + decryptor.finalize()


def inflate(data: bytes, limit: int = INFLATED_LIMIT) -> bytes:
    """Undo zlib (RFC 1950). Bomb beyond `limit` bytes, Truncated, Malformed."""
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(data, limit + 1)
    except zlib.error:
        raise Malformed("a bundle that is not zlib") from None
    if len(out) > limit:
        raise Bomb(f"a bundle of more than {limit} bytes")
    if not stream.eof:
        raise Truncated("a compressed bundle that ends early")
    return out


def service_objects(message: bytes) -> tuple[ServiceObject, ...]:
    """The passes of an opened bundle; records of other names mean nothing here. NfcError."""
    return tuple(
        found
        for record in ndef.parse(message)
        if b"asv" in (record.type, record.id)
        for found in _service(ndef.parse(record.payload))
    )


def _service(records: Sequence[Record]) -> list[ServiceObject]:
    issuer = smarttap.find(records, b"i")
    issued = smarttap.primitive(issuer.payload) if issuer else b""
    found = []
    for record in records:
        name = record.type if record.type in _OBJECT_TYPES else record.id
        if name in _OBJECT_TYPES:
            found.append(_object(name.decode(), issued, ndef.parse(record.payload)))
    return found


def _object(kind: str, issued: bytes, fields: Sequence[Record]) -> ServiceObject:
    customer = kind == OBJECT_TYPES["customer"]
    identity = _field(fields, b"cid" if customer else b"n")
    if customer and identity is not None:
        identity = identity.hex().encode()
    language = smarttap.find(fields, b"cpl")
    return ServiceObject(
        kind,
        identity,
        issuer_type=issued[0] if issued else None,
        issuer_id=issued[1:],
        object_id=_field(fields, b"oid") or b"",
        language=ndef.decoded(smarttap.value(language), "utf-8") if language else "",
        tap_id=_field(fields, b"cut") or b"",
    )


def _field(fields: Sequence[Record], name: bytes) -> bytes | None:
    record = smarttap.find(fields, name)
    return None if record is None else smarttap.value(record)
