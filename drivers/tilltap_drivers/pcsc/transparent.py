"""A PC/SC reader's transparent session: the till polls through it, with Apple's frame. Pure.

Conversations are generators of the reader's pseudo-APDUs (`FF C2`) that are sent its answers. Sources: PC/SC
part 3, supplement 2, as ACS prints it in the reference manual of the ACM1252U-Y3, 5.2.3 (tags, flags, timer),
and the project's ECP notes (ecp-and-pcsc.md, 3.5). The order of commands is inferred: nobody has tried it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from tilltap_drivers.nfc import tlv
from tilltap_drivers.nfc.errors import NfcError

# P2: which of the three commands.
_SESSION, _EXCHANGE, _PROTOCOL = 0x00, 0x01, 0x02

# Data objects of commands.
_START, _END, _RF_OFF, _RF_ON = 0x81, 0x82, 0x83, 0x84
_FLAGS, _TRANSCEIVE, _SWITCH, _TIMER = 0x90, 0x95, 0x8F, 0x5F46

# Data objects of answers: which object failed and why, what was wrong with the frame, the frame.
_STATUS, _FRAME_STATUS, _RESPONSE = 0xC0, 0x96, 0x97

# ISO 14443 Type A: raw frames with the reader's CRC (layer 2), activated with RATS (layer 4).
_RAW, _ISO_DEP = b"\x00\x02", b"\x00\x04"

# Microseconds for the frame that nobody answers, and for an APDU with the time the phone asks for
# (ecp-and-pcsc.md, 1.2 and 3.6).
_NO_ANSWER, _APDU = 5_000, 2_000_000

_OK = 0x9000

# What a reader says of a command or an object that it does not know (ISO/IEC 7816-4), not of an empty field.
_UNKNOWN = frozenset({0x6700, 0x6881, 0x6882, 0x6A80, 0x6A81, 0x6B00, 0x6D00, 0x6E00})

# What a reader says where it has no session (ISO/IEC 7816-4: a command that is not allowed). Inferred: which
# of them real readers give, and that none of them means an empty field.
_NO_SESSION = frozenset({0x6900, 0x6982, 0x6985, 0x6986})

# "Without the ISO-DEP prologue", bit 4 of the flags (90 02): sources differ in which byte it is. Most leave
# the flags out, so that comes first; the others follow where the reader does not take the frame without.
GUESSED_FLAGS = (b"", b"\x10\x00", b"\x00\x10")

# Bit 0 of the flags, in whichever byte.
_NO_CRC = 0x01

T = TypeVar("T")
Talk = Generator[bytes, bytes, T]


class Refused(Exception):
    """The reader does not do what it was asked, or says what cannot be understood: a few words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status`: 9000, or the failed object's; `response`: what came over the air, None if nothing did."""

    status: int
    response: bytes | None = None


def opening() -> Talk[None]:
    """Begins a session, whatever was left of one. Refused."""
    yield _command(_SESSION, (_END, b""))  # of a program that was killed; without one it is an error
    begun = parse((yield _command(_SESSION, (_START, b""))))
    if begun.status != _OK:
        raise Refused(f"it begins no transparent session ({begun.status:04X})")


def find_flags(frame: bytes) -> Talk[bytes]:
    """Those that the reader takes `frame` with, the field being on. Refused if with none."""
    status = _OK
    for flags in GUESSED_FLAGS:
        status = yield from announce(frame, flags)
        if status not in _UNKNOWN:
            return flags
    raise Refused(f"it does not send Apple's polling frame ({status:04X})")


def find() -> Talk[bool]:
    """Asks once who is there, and activates it; whether anybody takes APDUs. Refused."""
    answer = _in_session((yield _command(_PROTOCOL, (_SWITCH, _ISO_DEP))))
    return answer.status == _OK


def announce(frame: bytes, flags: bytes) -> Talk[int]:
    """Sends a frame that nobody answers; the reader's status for it. Refused.

    Its last 2 bytes, the CRC_A, are the reader's to append, unless the flags say otherwise.
    """
    _in_session((yield _command(_PROTOCOL, (_SWITCH, _RAW))))
    chosen = [(_FLAGS, flags)] if flags else []
    timer = (_TIMER, _NO_ANSWER.to_bytes(4, "little"))
    sent = frame if any(byte & _NO_CRC for byte in flags) else frame[:-2]
    answer = _in_session((yield _command(_EXCHANGE, *chosen, timer, (_TRANSCEIVE, sent))))
    return answer.status


def exchange(apdu: bytes, flags: bytes) -> Talk[bytes]:
    """The phone's response, nothing if none came. Refused.

    Flags that are sent once are sent always: they may last.
    """
    cleared = [(_FLAGS, bytes(len(flags)))] if flags else []
    timer = (_TIMER, _APDU.to_bytes(4, "little"))
    answer = _in_session((yield _command(_EXCHANGE, *cleared, timer, (_TRANSCEIVE, apdu))))
    return answer.response or b"" if answer.status == _OK else b""


def field(*, on: bool) -> Talk[None]:
    """Refused."""
    _in_session((yield _command(_SESSION, (_RF_ON if on else _RF_OFF, b""))))


def closing() -> Talk[None]:
    """The reader polls by itself again."""
    yield _command(_SESSION, (_END, b""))


def _command(part: int, *objects: tuple[int, bytes]) -> bytes:
    """With Le; the length is extended where it must be (ISO/IEC 7816-4, 5.1)."""
    data = b"".join(tlv.encode(tag, value) for tag, value in objects)
    head = bytes((0xFF, 0xC2, 0x00, part))
    if len(data) <= 0xFF:
        return head + bytes((len(data),)) + data + b"\x00"
    return head + b"\x00" + len(data).to_bytes(2, "big") + data + b"\x00\x00"


def _in_session(answer: bytes) -> Answer:
    """Parsed. Refused also where the session has ended: another program may end it at any time."""
    parsed = parse(answer)
    if parsed.status in _NO_SESSION:
        raise Refused(f"its transparent session does not last ({parsed.status:04X})")
    return parsed


def parse(answer: bytes) -> Answer:
    """Of any of the commands. Refused for one that the reader does not know, and for what is no answer.

    A frame that came damaged counts as none.
    """
    if len(answer) < 2:
        raise Refused("its answer is cut off")
    status = int.from_bytes(answer[-2:], "big")
    if status in _UNKNOWN:
        raise Refused(f"it answers {status:04X}")
    try:
        items = tlv.parse(answer[:-2])
    except NfcError as error:
        raise Refused(f"its answer cannot be understood: {error}") from None
    failed = tlv.first(items, _STATUS)
    if status == _OK and failed is not None:
        if len(failed) != 3:
            raise Refused(f"its answer cannot be understood: a status of {len(failed)} bytes")
        status = int.from_bytes(failed[1:], "big")
    damaged = any((tlv.first(items, _FRAME_STATUS) or b"")[:1])
    return Answer(status, None if damaged else tlv.first(items, _RESPONSE))
