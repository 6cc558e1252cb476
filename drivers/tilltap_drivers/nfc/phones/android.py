"""A simulated Android phone: Google Smart Tap 2.1 (google-smart-tap.md, sections 3 to 11 and 14)."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256

from tilltap_drivers.nfc.phones.device import (
    Apdu,
    Random,
    ephemeral,
    ndef,
    point,
    public,
    sw,
    tlv,
    unndef,
)

_AID = bytes.fromhex("a000000476d0000111")
_ZLIB = 0x40  # bit of the first byte of a terminal's capabilities
_PLACES = ("select", "directory", "wallet")  # of a nonce, the best first
_SERVICES = {"ly": 3, "of": 4, "gc": 5, "pl": 6, "et": 7, "fl": 8, "tr": 9, "gr": 0x12, "gp": 0x13}


@dataclass(frozen=True)
class GooglePass:
    """`kind` as on the wire ("ly", "of" ...); `language` of the text record, "" as real phones do."""

    collector_id: int
    value: str
    kind: str = "ly"
    language: str = ""
    issuer: bytes = b"\x01\x00\x00\x07\xe2"
    object_id: bytes = b"\x11\x22\x33\x44\x55\x66\x77\x88"

    def record(self) -> bytes:
        text = bytes((len(self.language),)) + self.language.encode() + self.value.encode()
        fields = ndef(("oid", b"\x04" + self.object_id), ("n", text, "T"))
        return ndef(("i", b"\x04" + self.issuer), (self.kind, fields))


@dataclass
class AndroidSettings:
    """How a phone differs from the next: `chunk` bytes per part; in which answers its nonce stands, and
    whether each has its own; whether it allows to skip the second SELECT; `transient` errors before each
    success; whether it serves without a session; whether it lists its applications.
    """

    chunk: int = 200
    zlib: bool = True
    nonce_in: tuple[str, ...] = ("select", "wallet")
    fresh_nonces: bool = False
    may_skip: bool = True
    transient: int = 0
    plain_without_session: bool = False
    directory: bool = True
    versions: tuple[int, int] = (0, 1)


@dataclass
class _Session:
    """What lasts while the phone stays in the field."""

    nonces: dict[str, bytes]
    own: ec.EllipticCurvePrivateKey
    selected: bool = False
    select_answered: bool = False
    id: bytes = b""
    next: int | None = None
    collector: int | None = None
    keys: bytes = b""
    parts: list[bytes] | None = None
    troubles: int = 0


class Android:
    """`collectors`: collector id -> key version -> the collector's public point (33 bytes). `unlocked`,
    `passes` and `customer_id` (16 bytes, or b"") may be changed between taps.
    """

    def __init__(
        self,
        passes: Sequence[GooglePass],
        collectors: Mapping[int, Mapping[int, bytes]],
        *,
        random: Random,
        unlocked: bool = True,
        customer_id: bytes = b"",
        settings: AndroidSettings | None = None,
    ) -> None:
        self.passes = list(passes)
        self.collectors = collectors
        self.unlocked = unlocked
        self.customer_id = customer_id
        self.settings = settings or AndroidSettings()
        self._chosen: GooglePass | None = None
        self._random = random
        self.field_off()

    @property
    def uid(self) -> bytes:
        return self._uid

    def choose(self, index: int) -> None:
        """Open one of several passes."""
        self._chosen = self.passes[index]

    def field_off(self) -> None:
        """All state is gone; the next activation has new nonces, a new key and a new number."""
        nonces = dict.fromkeys(_PLACES, self._random(32))
        if self.settings.fresh_nonces:
            nonces = {place: self._random(32) for place in _PLACES}
        self._session = _Session(nonces, ephemeral(self._random), troubles=self.settings.transient)
        self._uid = b"\x08" + self._random(3)

    def answer(self, command: bytes) -> bytes:
        apdu = Apdu.of(command)
        if apdu is None:
            return sw(0x6700)
        if apdu.head[:2] == b"\x00\xa4":
            return self._select(apdu.data)
        if apdu.head[0] != 0x90:
            return sw(0x6E00)
        if not self._session.selected:
            return sw(0x6985)
        if apdu.head[1] == 0xC0:
            return self._part()
        if apdu.head[1] not in (0x50, 0x53):
            return sw(0x9400)
        if not apdu.complete:
            return sw(0x9402)
        if self._session.troubles:
            self._session.troubles -= 1
            if self._session.next is not None:
                self._session.next += 2
            return sw(0x9203)
        self._session.troubles = self.settings.transient
        return self._negotiate(apdu.data) if apdu.head[1] == 0x53 else self._get_data(apdu.data)

    def _select(self, aid: bytes) -> bytes:
        if aid == b"OSE.VAS.01":
            self._session.selected = self.settings.may_skip
            return sw(0x9000, self._ose())
        if aid != _AID:
            return sw(0x6A82)
        self._session.selected = self._session.select_answered = True
        body = b"".join(version.to_bytes(2, "big") for version in self.settings.versions)
        if "select" in self.settings.nonce_in:
            payload = b"\x04" + self._session.nonces["select"]
            # type and id are both mdn: an external record with an id
            body += b"\xdc\x03" + bytes((len(payload), 3)) + b"mdnmdn" + payload
        return sw(0x9000, body)

    def _ose(self) -> bytes:
        session, places = self._session, self.settings.nonce_in
        low, high = (version.to_bytes(2, "big") for version in self.settings.versions)
        more = [tlv("df6d", low), tlv("df4d", high)]
        more.append(tlv("df62", b"\x03" if self.settings.may_skip else b"\x02"))
        if "directory" in places:
            more.append(tlv("df6e", session.nonces["directory"]))
        entry = tlv("61", tlv("4f", _AID), tlv("87", b"\x01"), tlv("73", *more))
        fields = [
            tlv("50", b"AndroidPay"),
            tlv("c0", b"\x00\x01"),
            tlv("c1", b"\xcc" + bytes(5) + b"\x80\x80"),
        ]
        if "wallet" in places:
            fields += [tlv("c2", session.nonces["wallet"]), tlv("c3", point(session.own))]
        if self.settings.directory:
            fields.append(tlv("a5", tlv("bf0c", entry)))
        return tlv("6f", *fields)

    def _nonce(self) -> bytes:
        """The one a terminal has to sign: of the places it has seen, the best."""
        for place in _PLACES:
            said = place != "select" or self._session.select_answered
            if said and place in self.settings.nonce_in:
                return self._session.nonces[place]
        return bytes(32)

    def _numbered(self, record: bytes) -> bool:
        """Take a session record; False if it does not go on where the session is."""
        session = self._session
        if len(record) != 10 or (session.id and record[:8] != session.id):
            return False
        if session.next is not None and record[8] != session.next % 256:
            return False
        session.id = record[:8]
        session.next = record[8] + 2
        return True

    def _ses(self) -> tuple[str, bytes]:
        number = ((self._session.next or 0) - 1) % 256
        return "ses", self._session.id + bytes((number, 1))

    def _negotiate(self, data: bytes) -> bytes:
        request = _opened(data, "ngr")
        if request is None:
            return sw(0x9402)
        version, records = request
        if version != 1:
            return sw(0x9502)
        params = records.get("cpr", [b""])[0]
        signed = unndef(params[70:])
        if not self._numbered(records.get("ses", [b""])[0]) or not signed:
            return sw(0x9402)
        signature, collector = signed.get("sig", [b""])[0][1:], signed.get("cld", [b""])[0][1:]
        theirs = public(params[33:66])
        if len(params) < 70 or len(collector) != 4 or theirs is None:
            return sw(0x9403)
        number = int.from_bytes(collector, "big")
        known = public(self.collectors.get(number, {}).get(int.from_bytes(params[66:70], "big"), b"\0"))
        live = bool(params[32] & 1)
        text = params[:32] + (self._nonce() if live else bytes(32)) + collector + params[33:66]
        if known is None or not _verifies(known, signature, text):
            return sw(0x9500)
        if not self.unlocked:
            return sw(0x9300)
        secret = self._session.own.exchange(ec.ECDH(), theirs)
        self._session.keys = _expand(secret, point(self._session.own), text + signature)
        self._session.collector = number
        body = ndef(("nrs", ndef(self._ses(), ("dpk", point(self._session.own)))))
        return sw(0x9000 if live else 0x9002, body)

    def _get_data(self, data: bytes) -> bytes:
        request = _opened(data, "srq")
        if request is None:
            return sw(0x9402)
        records = request[1]
        merchant = unndef(records.get("mer", [b""])[0]) or {}
        services = unndef(records.get("slr", [b""])[0])
        collector = int.from_bytes(merchant.get("cld", [b""])[0][1:], "big")
        if not self._numbered(records.get("ses", [b""])[0]) or not services or not collector:
            return sw(0x9402)
        session = self._session
        if not session.keys and not self.settings.plain_without_session:
            return sw(0x9500)
        if session.collector not in (None, collector):
            return sw(0x9406)
        if not self.unlocked:
            return sw(0x9300)
        wanted = {number[0] for number in services.get("str", []) if number}
        found = [held for held in self.passes if held.collector_id == collector and _asked(held, wanted)]
        if len(found) > 1:
            found = [held for held in found if held is self._chosen]
            if not found:
                return sw(0x9302)
        compress = self.settings.zlib and bool((records.get("pcr", [b""])[0] or b"\0")[0] & _ZLIB)
        return self._serve(found[:1], compress=compress)

    def _serve(self, found: Sequence[GooglePass], *, compress: bool) -> bytes:
        services = [held.record() for held in found]
        if self.customer_id:
            fields = ("cid", b"\x04" + self.customer_id), ("cpl", b"\0en", "T")
            customer = ndef(*fields, ("cut", b"\x04" + self._random(16)))
            services.append(ndef(("i", b"\x04\x02" + bytes(4)), ("cus", customer)))
        if not services:
            return sw(0x9001, ndef(("srs", ndef(self._ses()))))
        plain = ndef(*(("asv", service) for service in services))
        flags = 2 if compress else 0
        content = zlib.compress(plain, 9) if compress else plain
        if self._session.keys:
            flags, content = flags | 1, self._seal(content)
        body = ndef(("srs", ndef(self._ses(), ("reb", bytes((flags,)) + content))))
        chunk = self.settings.chunk
        self._session.parts = [body[at : at + chunk] for at in range(0, len(body), chunk)]
        return self._part(0x9000 if found else 0x9001)

    def _part(self, last: int = 0x9000) -> bytes:
        if self._session.parts is None:
            return sw(0x9404)
        if not self._session.parts:
            return sw(0x9405)
        part = self._session.parts.pop(0)
        return sw(0x9100 if self._session.parts else last, part)

    def _seal(self, plain: bytes) -> bytes:
        """AES-CTR block by block, and an HMAC over what is sent."""
        cipher, mac = self._session.keys[:16], self._session.keys[16:]
        iv = self._random(12)
        block = Cipher(algorithms.AES(cipher), modes.ECB()).encryptor()  # noqa: S305 -- the key stream of CTR
        blocks = range((len(plain) + 15) // 16)
        stream = b"".join(block.update(iv + count.to_bytes(4, "big")) for count in blocks)
        sealed = iv + bytes(a ^ b for a, b in zip(plain, stream, strict=False))
        return sealed + hmac.new(mac, sealed, hashlib.sha256).digest()


def _opened(data: bytes, name: str) -> tuple[int, dict[str, list[bytes]]] | None:
    """(version, records) of a request; None if it is none."""
    payload = (unndef(data) or {}).get(name, [b""])[0]
    records = unndef(payload[2:])
    return (int.from_bytes(payload[:2], "big"), records) if records else None


def _asked(held: GooglePass, wanted: set[int]) -> bool:
    return bool({0, 1, _SERVICES.get(held.kind, 0)} & wanted)


def _verifies(key: ec.EllipticCurvePublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _expand(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF (RFC 5869) by hand: 16 bytes for AES and 32 for the HMAC."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    one = hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()
    return (one + hmac.new(extracted, one + info + b"\x02", hashlib.sha256).digest())[:48]
