"""Command and response APDUs (ISO/IEC 7816-4), short form only, and the chaining of responses.

Both wallets fit short APDUs (apple-vas 3, google-smart-tap 2), which every reader can carry.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from tilltap_drivers.nfc.errors import EndlessParts, LimitExceeded, Malformed, Removed

# Bytes of command data: one byte of Lc.
COMMAND_LIMIT = 255

# Bytes of one chained response (61xx). The largest answer asked for here is a bundle part of 256 bytes.
RESPONSE_LIMIT = 4096

# APDUs of one presentation. A Google pass in `smarttap.PARTS_LIMIT` parts, its get data repeated
# `smarttap.RETRIES_LIMIT` times, after eight keys, stays below; a device that wants more holds up the till.
APDU_LIMIT = 128


@dataclass(frozen=True, slots=True)
class Command:
    """A command; `le` is the longest answer expected, 0 for 256, None for no answer data."""

    cla: int
    ins: int
    p1: int = 0
    p2: int = 0
    data: bytes = b""
    le: int | None = 0

    def encode(self) -> bytes:
        """LimitExceeded for more data than a short APDU carries."""
        if len(self.data) > COMMAND_LIMIT:
            raise LimitExceeded(f"a command of {len(self.data)} bytes of data")
        head = bytes((self.cla, self.ins, self.p1, self.p2))
        body = bytes((len(self.data),)) + self.data if self.data else b""
        return head + body + (b"" if self.le is None else bytes((self.le,)))


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a command: data and the status word, SW1 in the high byte."""

    data: bytes
    status: int

    @property
    def sw1(self) -> int:
        return self.status >> 8


def parse_response(raw: bytes) -> Response:
    """Malformed without a whole status word; Removed for nothing at all.

    pcscd reports a card lifted in the middle of an exchange as success with no bytes (ecp-and-pcsc 3.3).
    """
    if not raw:
        raise Removed("the device left in the middle of an exchange")
    if len(raw) < 2:
        raise Malformed("a response without a status word")
    return Response(raw[:-2], int.from_bytes(raw[-2:], "big"))


def select(aid: bytes) -> Command:
    """SELECT by name, first occurrence."""
    return Command(0x00, 0xA4, 0x04, 0x00, aid)


class Channel:
    """Exchanges whole responses with one device, and counts what that costs."""

    def __init__(self, limit: int = APDU_LIMIT) -> None:
        self._left = limit

    def exchange(self, command: Command) -> Generator[bytes, bytes, Response]:
        """Yields the command and what fetches the rest of its answer; returns that answer, whole.

        6Cxx: the command again, with the length the device wants. 61xx: GET RESPONSE, always with class 00,
        because 90 C0 is Smart Tap's own command (ecp-and-pcsc 3.4). LimitExceeded, EndlessParts.
        """
        body = b""
        corrected = False
        while True:
            if self._left <= 0:
                raise EndlessParts("more exchanges than any wallet needs")
            self._left -= 1
            response = parse_response((yield command.encode()))
            if response.sw1 == 0x6C and not corrected:
                command = replace(command, le=response.status & 0xFF)
                corrected = True
                continue
            body += response.data
            if len(body) > RESPONSE_LIMIT:
                raise LimitExceeded(f"a response of more than {RESPONSE_LIMIT} bytes")
            if response.sw1 != 0x61:
                return Response(body, response.status)
            command = Command(0x00, 0xC0, le=response.status & 0xFF)
            corrected = False
