"""Apple VAS: requests, answers, and opening a cryptogram (apple-vas.md, sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from tilltap_drivers.nfc import tlv
from tilltap_drivers.nfc.apdu import Command
from tilltap_drivers.nfc.errors import (
    LimitExceeded,
    Malformed,
    Tampered,
    Truncated,
    UnsupportedVersion,
    WrongKey,
)
from tilltap_drivers.nfc.keys import Key
from tilltap_drivers.nfc.wallet import VAS_ONLY

# Bytes of a cryptogram: key id, ephemeral X, timestamp and tag around a message of 0 to 64 bytes. The upper
# bound is only that of a short APDU, so that a phone with longer messages is not refused.
CRYPTOGRAM_MIN = 4 + 32 + 4 + 16
CRYPTOGRAM_LIMIT = 255

# Seconds from 1970 to 2001-01-01 00:00 UTC, the epoch of Apple's timestamps.
EPOCH_2001 = 978_307_200

_ALGORITHM = b"\x0did-aes256-GCM"
_PURPOSE = b"ApplePay encrypted VAS data"
_IV = bytes(16)


def check_version(version: bytes | None) -> None:
    """UnsupportedVersion for another major version than 1 in tag 9F21; one not said is taken as 1."""
    if version is not None and version[:1] != b"\x01":
        raise UnsupportedVersion("the phone speaks another version of VAS")


def get_data(
    merchant_id: bytes | None,
    *,
    mode: int = VAS_ONLY,
    more: bool = False,
    nonce: bytes = b"",
    filter: bytes = b"",  # noqa: A002 -- the name of the field in the sources
    url: str = "",
) -> Command:
    """The request for one pass, or, with no merchant id, the one that only hands over `url` (P2 = 00).

    `mode` as in `wallet`; `more`: another request follows. Phones take the fields in any order.
    """
    fields = [(0x9F22, b"\x01\x00")]
    if merchant_id is not None:
        fields.append((0x9F25, merchant_id))
    fields.append((0x9F26, bytes((0x00, 0x80, 0x00, mode | (0x80 if more else 0)))))
    fields += [(0x9F28, nonce)] if nonce else []
    fields += [(0x9F2B, filter)] if filter else []
    fields += [(0x9F29, url.encode("ascii"))] if url else []
    data = b"".join(tlv.encode(tag, value) for tag, value in fields)
    return Command(0x80, 0xCA, 0x01, 0x00 if merchant_id is None else 0x01, data)


@dataclass(frozen=True, slots=True)
class Answer:
    """The data of a good answer; the token is empty in every published sample."""

    cryptogram: bytes
    mobile_token: bytes


def parse_answer(data: bytes) -> Answer:
    """Malformed (no template, no cryptogram), Truncated, LimitExceeded."""
    template = tlv.first(tlv.parse(data), 0x70)
    if template is None:
        raise Malformed("an answer without its template")
    items = tlv.parse(template)
    cryptogram = tlv.first(items, 0x9F27)
    if cryptogram is None:
        raise Malformed("an answer without a cryptogram")
    return Answer(cryptogram, tlv.first(items, 0x9F2A) or b"")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a cryptogram held. `timestamp`: seconds since 1970, by the phone's clock; `slot`: which of the
    keys, from 1; `mark`: 32 bytes that no other read has, for `Seen`.
    """

    message: bytes
    timestamp: int
    slot: int
    mark: bytes

    def age(self, now: float) -> float:
        """Seconds, negative if the phone's clock is ahead. A copied read can only be told by this and by its
        `mark`: the phone binds nothing to the reader (apple-vas 5).
        """
        return now - self.timestamp


def open_cryptogram(
    cryptogram: bytes, merchant_id: bytes, keys: Sequence[Key], *, legacy: bool = True
) -> Opened:
    """Decrypt with the key that the cryptogram names; several keys may share a name, all are tried.

    Truncated, LimitExceeded, Malformed (a point off the curve), WrongKey (none of the keys is named),
    Tampered (authentication fails: changed, or made for another pass type id).
    """
    if len(cryptogram) < CRYPTOGRAM_MIN:
        raise Truncated("a cryptogram that is too short")
    if len(cryptogram) > CRYPTOGRAM_LIMIT:
        raise LimitExceeded("a cryptogram that is too long")
    key_id, mark, sealed = cryptogram[:4], cryptogram[4:36], cryptogram[36:]
    named = [(slot, key) for slot, key in enumerate(keys, 1) if key.vas_id == key_id]
    if not named:
        raise WrongKey("a pass made for a key that is not configured")
    try:  # either point with this X gives the same secret
        ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x02" + mark)
    except ValueError:
        raise Malformed("a cryptogram whose point is not on the curve") from None
    for slot, key in named:
        secret = key.private.exchange(ec.ECDH(), ephemeral)
        plain = _open(secret, merchant_id, sealed, legacy=legacy)
        if plain is not None:
            return Opened(plain[4:], EPOCH_2001 + int.from_bytes(plain[:4], "big"), slot, mark)
    raise Tampered("a cryptogram whose authentication fails")


def _open(secret: bytes, merchant_id: bytes, sealed: bytes, *, legacy: bool) -> bytes | None:
    ways = [(_ALGORITHM + _PURPOSE + merchant_id, b"")]
    if legacy:
        ways.append((_PURPOSE, merchant_id))
    for shared_info, associated in ways:
        key = X963KDF(SHA256(), 32, shared_info).derive(secret)
        try:
            return AESGCM(key).decrypt(_IV, sealed, associated)
        except InvalidTag:
            continue  # the tag makes the choice safe
    return None
