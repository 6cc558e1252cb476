"""The frames of a PN532 on a serial line, both ways. Pure.

Source: NXP UM0701-02 (PN532 user manual), 6.2.1: normal, extended, acknowledge and error frames.
"""

from __future__ import annotations

START = b"\x00\x00\xff"
ACK = START + b"\x00\xff\x00"

# Longest body: TFI, command and 263 bytes (UM0701-02, 6.2.1.2). A longer one is noise.
BODY_LIMIT = 265

# Longest body of a normal frame, whose length is one byte.
_NORMAL = 254

HOST, CHIP, ERROR = 0xD4, 0xD5, 0x7F


def frame(body: bytes) -> bytes:
    """`body` (TFI, code, data; 1 to 265 bytes) on the line."""
    size = len(body)
    if size <= _NORMAL:
        head = bytes((size, -size & 0xFF))
    else:
        length = size.to_bytes(2, "big")
        head = b"\xff\xff" + length + bytes((-sum(length) & 0xFF,))
    return START + head + body + bytes((-sum(body) & 0xFF, 0))


def body(frame: bytes) -> bytes:
    """What a frame from `Frames` carries; nothing for an acknowledgement."""
    if frame == ACK:
        return b""
    return frame[8:-2] if frame[3:5] == b"\xff\xff" else frame[5:-2]


class Frames:
    """Bytes in, whole frames out, as `frame` and `ACK` write them; everything else is passed over."""

    def __init__(self) -> None:
        self._bytes = b""

    def feed(self, data: bytes) -> list[bytes]:
        self._bytes += data
        found: list[bytes] = []
        while (at := self._bytes.find(START[1:])) >= 0:
            taken = _whole(self._bytes[at + 2 :])
            if taken is None:
                self._bytes = self._bytes[at:]
                return found
            size, whole = taken
            self._bytes = self._bytes[at + (2 + size if whole else 1) :]
            if whole:
                found.append(whole)
        self._bytes = self._bytes[-1:]  # may be the first half of a start
        return found


def _whole(rest: bytes) -> tuple[int, bytes] | None:
    """What follows a start: its size and the frame, b"" if it is none; None if there is more to come."""
    if len(rest) < 2:
        return None
    if rest[:2] == b"\x00\xff":
        return 2, ACK
    head, size = 2, rest[0]
    if rest[:2] == b"\xff\xff":
        if len(rest) < 5:
            return None
        head, size = 5, int.from_bytes(rest[2:4], "big")
        right = sum(rest[2:5]) & 0xFF == 0
    else:
        right = sum(rest[:2]) & 0xFF == 0
    if not right or not 1 <= size <= BODY_LIMIT:
        return 0, b""
    end = head + size + 1
    if len(rest) < end:
        return None
    if sum(rest[head:end]) & 0xFF:
        return 0, b""
    return end, START + rest[:end] + b"\x00"
