"""Google Smart Tap 2.1: the commands of a terminal and the answers of a phone (google-smart-tap.md, 4 to 9).

Only formats; what is secret in them is made and opened in `bundle`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tilltap_drivers.nfc import apdu, ndef
from tilltap_drivers.nfc.apdu import Command
from tilltap_drivers.nfc.errors import Malformed, Replayed, Truncated, UnsupportedVersion
from tilltap_drivers.nfc.ndef import EXTERNAL, Record
from tilltap_drivers.nfc.ose import SMART_TAP_AID

SELECT = apdu.select(SMART_TAP_AID)
MORE = Command(0x90, 0xC0)

# The minor version of Smart Tap 2 spoken here.
VERSION = 1

# Parts of one bundle (9100). A public reader stops at 10; a pass of 2 KiB sent in small pieces takes more,
# and 32 take about a second on the air.
PARTS_LIMIT = 32

# Bytes of all parts together: 32 of the longest short answers.
PARTS_BYTES_LIMIT = PARTS_LIMIT * 256

# Repetitions of one step after a transient error (92xx): "at once, few times" (google-smart-tap 11).
RETRIES_LIMIT = 2

# Primitive formats (google-smart-tap 5).
_UNSPECIFIED, _ASCII, _UTF8, _UTF16, _BINARY, _BCD = range(6)

# Status byte of a session record: OK; 00 is "unknown" and stands beside a good status word.
SESSION_OK = (0x00, 0x01)
# "Resend request" and "data not available yet": worth the same command again.
SESSION_RETRY = (0x08, 0x09)


@dataclass(frozen=True, slots=True)
class Session:
    """A session record: 8 bytes of id, sequence number, status."""

    id: bytes
    sequence: int
    status: int = 0x01

    def record(self) -> Record:
        return Record(EXTERNAL, b"ses", self.id + bytes((self.sequence & 0xFF, self.status)))

    def check_follows(self, sent: Session) -> None:
        """Replayed unless this answers `sent`: the same session, the next number."""
        if self.id != sent.id:
            raise Replayed("an answer of another session")
        if self.sequence != (sent.sequence + 1) & 0xFF:
            raise Replayed("an answer out of sequence")


@dataclass(frozen=True, slots=True)
class Selected:
    """The answer to SELECT; the device's nonce has 32 bytes."""

    min_version: int
    max_version: int
    nonce: bytes | None


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The answer to NEGOTIATE: the device's ephemeral point, 33 bytes as received."""

    session: Session
    device_key: bytes


@dataclass(frozen=True, slots=True)
class Served:
    """The answer to GET DATA: a record bundle with its flags, or nothing."""

    session: Session
    flags: int
    bundle: bytes | None

    @property
    def encrypted(self) -> bool:
        return bool(self.flags & 0x01)

    @property
    def compressed(self) -> bool:
        return bool(self.flags & 0x02)


def check_version(low: int | None, high: int | None) -> None:
    """UnsupportedVersion unless version 1 lies between; what was not said does not exclude it."""
    if (low is not None and low > VERSION) or (high is not None and high < VERSION):
        raise UnsupportedVersion("the phone speaks another version of Smart Tap")


def negotiate(
    session: Session,
    *,
    nonce: bytes,
    ephemeral: bytes,
    key_version: int,
    signature: bytes,
    collector: bytes,
    live: bool = True,
) -> Command:
    """NEGOTIATE SECURE SESSION. `live`: the signature covers the device's nonce."""
    inner = ndef.encode((_primitive(b"sig", signature), _primitive(b"cld", collector)))
    params = nonce + bytes((live,)) + ephemeral + key_version.to_bytes(4, "big") + inner
    message = ndef.encode((session.record(), Record(EXTERNAL, b"cpr", params)))
    return Command(0x90, 0x53, data=_request(b"ngr", message))


def get_data(
    session: Session, *, collector: bytes, service_types: Iterable[int] = (0,), pos_capabilities: bytes = b""
) -> Command:
    """GET SMART TAP DATA for one collector; no `pcr` record without capabilities."""
    merchant = ndef.encode((_primitive(b"cld", collector),))
    services = ndef.encode(Record(EXTERNAL, b"str", bytes((number,))) for number in service_types)
    records = [session.record(), Record(EXTERNAL, b"mer", merchant), Record(EXTERNAL, b"slr", services)]
    if pos_capabilities:
        records.append(Record(EXTERNAL, b"pcr", pos_capabilities))
    return Command(0x90, 0x50, data=_request(b"srq", ndef.encode(records)))


def parse_selected(data: bytes) -> Selected:
    """The data of SELECT's answer. NfcError."""
    if len(data) < 4:
        raise Truncated("an answer without its versions")
    record = find(ndef.parse(data[4:]), b"mdn")
    nonce = None if record is None else primitive(record.payload)
    return Selected(int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"), nonce)


def parse_negotiated(data: bytes) -> Negotiated:
    """The data of NEGOTIATE's answer. NfcError."""
    records = _answer(data, b"nrs")
    device_key = _need(records, b"dpk").payload
    if len(device_key) != 33:
        raise Malformed("a session key of a wrong length")
    return Negotiated(_session(records), device_key)


def parse_served(data: bytes) -> Served:
    """The data of GET DATA's answer, all parts joined. NfcError."""
    records = _answer(data, b"srs")
    session = _session(records)
    bundle = find(records, b"reb")
    if bundle is None:
        return Served(session, 0, None)
    if not bundle.payload:
        raise Truncated("a bundle without its flags")
    return Served(session, bundle.payload[0], bundle.payload[1:])


def find(records: Iterable[Record], name: bytes) -> Record | None:
    """The first record of this name: the type of Smart Tap's own records, the id of text and URI records,
    and either of both on older phones.
    """
    return next((record for record in records if name in (record.type, record.id)), None)


def primitive(payload: bytes) -> bytes:
    """The value behind a format byte; words come out as UTF-8, digits of BCD as ASCII, the rest as it is.

    Truncated, Malformed.
    """
    if not payload:
        raise Truncated("a value without its format byte")
    kind, value = payload[0], payload[1:]
    if kind == _UTF16:
        return ndef.utf16(value).encode()
    if kind == _BCD:
        digits = value.hex().removesuffix("f")  # half a byte to fill up
        if not digits.isdecimal() and digits:
            raise Malformed("a number in BCD with other digits")
        return digits.encode()
    if kind in (_ASCII, _UTF8):
        return ndef.decoded(value, "ascii" if kind == _ASCII else "utf-8").encode()
    if kind not in (_UNSPECIFIED, _BINARY):
        raise Malformed("a value of an unknown format")
    return value


def value(record: Record) -> bytes:
    """The value of a field that may be a text record, a URI record or a primitive. Truncated, Malformed."""
    if record.is_text():
        return ndef.text(record.payload)[1].encode()
    if record.is_uri():
        return ndef.uri(record.payload).encode()
    return primitive(record.payload)


def _primitive(name: bytes, content: bytes) -> Record:
    return Record(EXTERNAL, name, bytes((_BINARY,)) + content)


def _request(name: bytes, message: bytes) -> bytes:
    return ndef.encode((Record(EXTERNAL, name, VERSION.to_bytes(2, "big") + message),))


def _answer(data: bytes, name: bytes) -> tuple[Record, ...]:
    return ndef.parse(_need(ndef.parse(data), name).payload)


def _need(records: Iterable[Record], name: bytes) -> Record:
    record = find(records, name)
    if record is None:
        raise Malformed(f"no record {name.decode()}")
    return record


def _session(records: Iterable[Record]) -> Session:
    payload = _need(records, b"ses").payload
    if len(payload) < 10:
        raise Truncated("a session record that ends early")
    return Session(payload[:8], payload[8], payload[9])
