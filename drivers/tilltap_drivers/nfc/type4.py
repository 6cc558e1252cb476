"""Reading an NFC Forum Type 4 tag: an ordinary card with a text or an address on it (ecp-and-pcsc 3.7)."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from tilltap_drivers.nfc import ndef
from tilltap_drivers.nfc.apdu import Channel, Command, select
from tilltap_drivers.nfc.errors import LimitExceeded, Malformed, Refused, Truncated
from tilltap_drivers.nfc.ndef import Record

# Bytes of the message on a tag: a pass value has at most 256 characters, with room for other records.
MESSAGE_LIMIT = 1024

_NEW, _OLD = bytes.fromhex("D2760000850101"), bytes.fromhex("D2760000850100")
_CAPABILITIES = 0xE103

# Bytes asked for at once: the most that a short APDU answers for sure.
_READ_LIMIT = 0xFF

_Read = Generator[bytes, bytes, bytes]


def read_message(channel: Channel) -> Generator[bytes, bytes, bytes | None]:
    """The NDEF message, b"" if the tag is empty, None if this is no such tag. NfcError."""
    choose = 0x0C
    if (yield from channel.exchange(select(_NEW))).status != 0x9000:
        choose = 0x00  # tags of version 1 answer a selected file
        if (yield from channel.exchange(select(_OLD))).status != 0x9000:
            return None
    yield from _select_file(channel, _CAPABILITIES, choose)
    file, size, step = _capabilities((yield from _read(channel, 0, 15, 15)))
    yield from _select_file(channel, file, choose)
    length = int.from_bytes((yield from _read(channel, 0, 2, step)), "big")
    if length > min(MESSAGE_LIMIT, size - 2):
        raise LimitExceeded("a tag with too much on it")
    return (yield from _read(channel, 2, length, step))


def identity(message: bytes) -> bytes | None:
    """What on a tag can name a customer: the first text, else the first address, as UTF-8. NfcError."""
    records = ndef.parse(message)
    return _first_text(records) or _first_uri(records)


def _first_text(records: Sequence[Record]) -> bytes | None:
    return next((ndef.text(record.payload)[1].encode() for record in records if record.is_text()), None)


def _first_uri(records: Sequence[Record]) -> bytes | None:
    return next((ndef.uri(record.payload).encode() for record in records if record.is_uri()), None)


def _select_file(channel: Channel, file: int, choose: int) -> Generator[bytes, bytes, None]:
    command = Command(0x00, 0xA4, 0x00, choose, file.to_bytes(2, "big"), le=None)
    response = yield from channel.exchange(command)
    if response.status != 0x9000:
        raise Refused("selecting a file of the tag", response.status)


def _capabilities(container: bytes) -> tuple[int, int, int]:
    """File id, its size, and the bytes to ask for at once, from the capability container (Type 4 Tag 5.1)."""
    step = int.from_bytes(container[3:5], "big")
    control = container[7:15]
    if control[:2] != b"\x04\x06" or step == 0:
        raise Malformed("a tag whose capability container names no file")
    return int.from_bytes(control[2:4], "big"), int.from_bytes(control[4:6], "big"), min(step, _READ_LIMIT)


def _read(channel: Channel, start: int, size: int, step: int) -> _Read:
    out = b""
    while len(out) < size:
        at = start + len(out)
        wanted = min(step, size - len(out))
        response = yield from channel.exchange(Command(0x00, 0xB0, at >> 8, at & 0xFF, le=wanted))
        if response.status != 0x9000:
            raise Refused("reading the tag", response.status)
        if not response.data:
            raise Truncated("a tag that ends early")
        out += response.data[:wanted]
    return out
