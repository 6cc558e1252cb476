"""BER-TLV as in ISO/IEC 7816-4 and ISO/IEC 8825-1: tags of 1 to 3 bytes, definite lengths up to 65535.

A template's value is parsed by calling `parse` on it; nothing here goes deeper by itself.
"""

from __future__ import annotations

from tilltap_drivers.nfc.errors import LimitExceeded, Malformed, Truncated

# Data objects on one level. The wallets send at most ten; a directory may list a few applications.
ITEMS_LIMIT = 64

# Bytes of a length field behind its first: 65535 is more than any response holds.
_LENGTH_BYTES = 2

# Bytes of a tag; ISO/IEC 7816-4 uses up to three.
_TAG_BYTES = 3

Items = list[tuple[int, bytes]]


def parse(data: bytes) -> Items:
    """(tag, value) in order; a tag is its bytes read as a big-endian number (9F21 -> 0x9F21).

    Bytes 00 between objects mean nothing (ISO/IEC 7816-4, 5.2.2). Truncated, Malformed, LimitExceeded.
    """
    items: Items = []
    at = 0
    while at < len(data):
        if data[at] == 0x00:
            at += 1
            continue
        if len(items) == ITEMS_LIMIT:
            raise LimitExceeded(f"more than {ITEMS_LIMIT} data objects")
        tag, at = _tag(data, at)
        length, at = _length(data, at)
        if length > len(data) - at:
            raise Truncated(f"data object {tag:X} ends early")
        items.append((tag, data[at : at + length]))
        at += length
    return items


def first(items: Items, tag: int) -> bytes | None:
    """The value of the first object with this tag."""
    return next((value for found, value in items if found == tag), None)


def every(items: Items, tag: int) -> list[bytes]:
    """The values of all objects with this tag, in order."""
    return [value for found, value in items if found == tag]


def encode(tag: int, value: bytes) -> bytes:
    """One object, its length in the shortest form. LimitExceeded for a value of more than 65535 bytes."""
    name = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
    size = len(value)
    if size < 0x80:
        return name + bytes((size,)) + value
    if size <= 0xFF:
        return name + bytes((0x81, size)) + value
    if size <= 0xFFFF:
        return name + b"\x82" + size.to_bytes(2, "big") + value
    raise LimitExceeded(f"a data object of {size} bytes")


def _tag(data: bytes, at: int) -> tuple[int, int]:
    start = at
    at += 1
    if data[start] & 0x1F == 0x1F:  # the tag goes on until a byte without its high bit
        more = True
        while more:
            if at == len(data):
                raise Truncated("a tag ends early")
            more = bool(data[at] & 0x80)
            at += 1
        if at - start > _TAG_BYTES:
            raise Malformed(f"a tag of more than {_TAG_BYTES} bytes")
    return int.from_bytes(data[start:at], "big"), at


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at == len(data):
        raise Truncated("a length is missing")
    head, at = data[at], at + 1
    if head < 0x80:
        return head, at
    count = head & 0x7F
    if not 1 <= count <= _LENGTH_BYTES:
        raise Malformed("a length that is indefinite or absurd")
    # A length that ends early leaves no room for any value, which the caller notices.
    return int.from_bytes(data[at : at + count], "big"), at + count
