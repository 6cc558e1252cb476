"""NDEF messages and the two well-known records that carry words (NFC Forum NDEF 1.0, RTD Text and URI 1.0).

Smart Tap nests whole messages in payloads (google-smart-tap 5); each level is parsed by its own call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tilltap_drivers.nfc.errors import LimitExceeded, Malformed, Truncated

# Records of one message. A Smart Tap bundle has one per pass, a session message three.
RECORDS_LIMIT = 64

WELL_KNOWN, MIME, EXTERNAL = 1, 2, 4

# Flags of a record's first byte; the low three bits are the type name format.
_BEGIN, _END, _CHUNK, _SHORT, _HAS_ID = 0x80, 0x40, 0x20, 0x10, 0x08

# RTD URI 1.0, table 3: what the first byte stands for.
_URI_PREFIXES = (
    "", "http://www.", "https://www.", "http://", "https://", "tel:", "mailto:",
    "ftp://anonymous:anonymous@", "ftp://ftp.", "ftps://", "sftp://", "smb://", "nfs://", "ftp://", "dav://",
    "news:", "telnet://", "imap:", "rtsp://", "urn:", "pop:", "sip:", "sips:", "tftp:", "btspp://",
    "btl2cap://", "btgoep://", "tcpobex://", "irdaobex://", "file://", "urn:epc:id:", "urn:epc:tag:",
    "urn:epc:pat:", "urn:epc:raw:", "urn:epc:", "urn:nfc:",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """A record: type name format (0-7), type, payload, id."""

    tnf: int
    type: bytes
    payload: bytes
    id: bytes = b""

    def is_text(self) -> bool:
        return self.tnf == WELL_KNOWN and self.type == b"T"

    def is_uri(self) -> bool:
        return self.tnf == WELL_KNOWN and self.type == b"U"


def parse(data: bytes) -> tuple[Record, ...]:
    """The records of a message. Truncated, Malformed (chunked records: the wallets have none), LimitExceeded.

    The flags of the first and the last record are not judged: lengths say where a message ends.
    """
    records: list[Record] = []
    at = 0
    while at < len(data):
        if len(records) == RECORDS_LIMIT:
            raise LimitExceeded(f"more than {RECORDS_LIMIT} records")
        record, at = _record(data, at)
        records.append(record)
    return tuple(records)


def _record(data: bytes, at: int) -> tuple[Record, int]:
    flags = data[at]
    if flags & _CHUNK:
        raise Malformed("a chunked record")
    fixed = 2 + (1 if flags & _SHORT else 4) + (1 if flags & _HAS_ID else 0)
    head = data[at : at + fixed]
    if len(head) < fixed:
        raise Truncated("a record's head ends early")
    type_size = head[1]
    payload_size = head[2] if flags & _SHORT else int.from_bytes(head[2:6], "big")
    id_size = head[-1] if flags & _HAS_ID else 0
    type_at = at + fixed
    id_at = type_at + type_size
    payload_at = id_at + id_size
    end = payload_at + payload_size
    if end > len(data):
        raise Truncated("a record ends early")
    return Record(flags & 0x07, data[type_at:id_at], data[payload_at:end], data[id_at:payload_at]), end


def encode(records: Iterable[Record]) -> bytes:
    """A message; short records where they fit."""
    todo = list(records)
    out = b""
    for n, record in enumerate(todo):
        short = len(record.payload) <= 0xFF
        flags = (
            record.tnf
            | (_BEGIN if n == 0 else 0)
            | (_END if n == len(todo) - 1 else 0)
            | (_SHORT if short else 0)
            | (_HAS_ID if record.id else 0)
        )
        out += bytes((flags, len(record.type)))
        out += len(record.payload).to_bytes(1 if short else 4, "big")
        out += bytes((len(record.id),)) if record.id else b""
        out += record.type + record.id + record.payload
    return out


def text(payload: bytes) -> tuple[str, str]:
    """(language, text) of a text record's payload. Truncated, Malformed."""
    if not payload:
        raise Truncated("a text record without its status byte")
    start = 1 + (payload[0] & 0x3F)
    if start > len(payload):
        raise Truncated("a text record's language ends early")
    language = decoded(payload[1:start], "ascii")
    if payload[0] & 0x80:
        return language, utf16(payload[start:])
    return language, decoded(payload[start:], "utf-8")


def uri(payload: bytes) -> str:
    """The address of a URI record's payload. Truncated, Malformed."""
    if not payload:
        raise Truncated("a URI record without its first byte")
    if payload[0] >= len(_URI_PREFIXES):
        raise Malformed("a URI record with a prefix of the future")
    return _URI_PREFIXES[payload[0]] + decoded(payload[1:], "utf-8")


def utf16(data: bytes) -> str:
    """UTF-16 with a byte order mark, or big endian without (RTD Text 1.0, 3.4). Malformed."""
    if data[:2] == b"\xff\xfe":
        return decoded(data[2:], "utf-16-le")
    return decoded(data.removeprefix(b"\xfe\xff"), "utf-16-be")


def decoded(data: bytes, encoding: str) -> str:
    """Malformed if it is not text in this encoding."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise Malformed(f"text that is not {encoding}") from None
