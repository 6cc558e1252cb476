"""Takes what belongs to people and shops off a recording; pure but for the random choice it is given.

What is not known to be harmless goes: of a port's bytes only the frames' own marks and the reader's answers
about itself stay, of APDUs only commands without secrets, the names of applications, and status words.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tilltap_drivers.contract import PassRead
from tilltap_drivers.nfc import ose, tlv
from tilltap_drivers.nfc.errors import NfcError
from tilltap_drivers.replay.golden import Tap
from tilltap_drivers.replay.tape import Step, Told
from tilltap_drivers.vtap.config_txt import FrameSpec
from tilltap_drivers.vtap.frames import Framer

# Draws for one stand-in that must differ from what it stands for and from all others.
DRAWS = 100

# Letters beyond ASCII that stand for others, by their bytes in UTF-8.
_BEYOND = {2: "àáâäèéêëìíîïòóôöùúûü", 3: "一二三四五六七八九十", 4: "😀😁😂😃😄😅😆😉😊😋"}

# Lines in which a VTAP speaks of itself (VTAP notes, 5.1 and 8.3), without its serial number.
_ABOUT_ITSELF = re.compile(
    rb"\s*(VTAP\d{2,3}[A-Za-z-]{0,8}|(firmware|hardware|api( level)?)\s*:[ vV.\d]{0,24}"
    rb"|OSDP\s*:[\w ,:]{0,60}|OK|\?(b|events|getserial))\s*",
    re.IGNORECASE,
)

_SELECT, _GET_DATA = b"\x00\xa4", b"\x80\xca"

# Data objects that say nothing of a customer or a shop: versions, capabilities, names of applications
# (apple-vas 3, google-smart-tap 3).
_PUBLIC = frozenset({0x50, 0x4F, 0x87, 0xC0, 0x9F21, 0x9F22, 0x9F23, 0x9F26, 0xDF62, 0xDF6D, 0xDF4D})
_CONSTRUCTED = 0x20


class StandIns:
    """For each value another one: as long, of the same kind of characters, the same for the same value."""

    def __init__(self, choose: Callable[[str], str]) -> None:
        self._choose = choose
        self._known: dict[bytes, bytes] = {}

    def of(self, value: bytes) -> bytes:
        """A value of signs only becomes a row of x."""
        if value and value not in self._known:
            self._known[value] = self._draw(value)
        return self._known.get(value, b"")

    def tap(self, tap: Tap) -> Tap:
        """An outcome with its value and its chip's number replaced."""
        if not isinstance(tap, PassRead):
            return tap
        return replace(tap, value=self.of(tap.value), uid=self.of(tap.uid.encode()).decode())

    def _draw(self, value: bytes) -> bytes:
        taken = self._known.values()
        drawn = (self._shaped(value) for _ in range(DRAWS))
        return next((one for one in drawn if one != value and one not in taken), b"x" * len(value))

    def _shaped(self, value: bytes) -> bytes:
        try:
            text, coding = value.decode(), "utf-8"
        except UnicodeDecodeError:
            text, coding = value.decode("latin-1"), "latin-1"
        number = re.fullmatch("[0-9A-F]+|[0-9a-f]+", text) is not None
        return "".join(self._like(char, coding, number=number) for char in text).encode(coding)

    def _like(self, char: str, coding: str, *, number: bool) -> str:
        if not char.isascii():
            return self._choose(_BEYOND[2 if coding == "latin-1" else len(char.encode())])
        for alphabet in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
            if char in alphabet:
                return self._choose(alphabet[:6] if number and alphabet != string.digits else alphabet)
        return char


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where in the bytes of a port a tap is, and what in it is to be replaced."""

    start: int
    end: int
    secrets: tuple[tuple[int, int], ...]


def scrub_frames(steps: Sequence[Step], spec: FrameSpec, stand_ins: StandIns) -> list[Step]:
    """The same steps, as long each, without values, chip numbers and what stands outside of frames."""
    old = b"".join(step.data for step in steps if step.direction == "<")
    loose: list[int] = []
    new, at = bytearray(old), 0
    for frame in _frames(steps, spec):
        loose.extend(range(at, frame.start))
        at = frame.end + len(spec.tail) * old.startswith(spec.tail, frame.end)
        for start, end in frame.secrets:
            new[start:end] = stand_ins.of(old[start:end])
    loose.extend(range(at, len(old)))
    # A tap may stand in the middle of a line: without the taps the lines are whole.
    for place, byte in zip(loose, _scrub_lines(bytes(old[i] for i in loose), stand_ins), strict=True):
        new[place] = byte
    return list(_cut(steps, bytes(new)))


def _cut(steps: Sequence[Step], data: bytes) -> Iterator[Step]:
    at = 0
    for step in steps:
        if step.direction == "<":
            yield replace(step, data=data[at : at + len(step.data)])
            at += len(step.data)
        else:
            yield step


def _scrub_lines(text: bytes, stand_ins: StandIns) -> bytes:
    def scrubbed(found: re.Match[bytes]) -> bytes:
        line = found[0]
        speaks = re.search(rb"[0-9A-Za-z\x80-\xff]", line) and not _ABOUT_ITSELF.fullmatch(line)
        return stand_ins.of(line) if speaks else line

    return re.sub(rb"[^\r\n]+", scrubbed, text)


def _frames(steps: Sequence[Step], spec: FrameSpec) -> Iterator[_Frame]:
    framer, now, begin, text = Framer(spec), 0.0, 0, bytearray()
    for step in steps:
        now += step.wait
        for byte in step.data if step.direction == "<" else b"":
            text.append(byte)
            for event in framer.feed(bytes((byte,)), now):
                if isinstance(event, PassRead) and (frame := _placed(bytes(text), begin, spec, event)):
                    yield frame
                    begin += len(text)
                    text.clear()


def _placed(text: bytes, begin: int, spec: FrameSpec, tap: PassRead) -> _Frame | None:
    """The frame that ends with `text`, which itself begins at `begin`."""
    ends = (len(text) - size for size in range(spec.end_len, 0, -1) if size <= len(text))
    stop = next((at for at in ends if spec.end.fullmatch(text, at)), len(text))
    at = stop
    while at > 0 and (at := text.rfind(spec.start, 0, at + len(spec.start) - 1)) >= 0:
        found = spec.body.fullmatch(text, at, stop)
        if found and found["value"] == tap.value:
            parts = [found.span(name) for name in found.groupdict() if name in ("value", "u", "s")]
            places = tuple((begin + a, begin + b) for a, b in parts if a < b)
            return _Frame(begin + at, begin + len(text), places)
    if spec.bare and text[:stop].endswith(tap.value):
        start = begin + stop - len(tap.value)
        return _Frame(start, begin + len(text), ((start, begin + stop),))
    return None


def scrub_apdus(steps: Sequence[Step | Told], stand_ins: StandIns) -> list[Step | Told]:
    """The same steps; zeros stand for what was taken off, so that lengths stay."""
    out: list[Step | Told] = []
    command = b""
    for step in steps:
        if isinstance(step, Told):
            out.append(replace(step, tap=stand_ins.tap(step.tap)))
        elif step.direction == ">":
            command = step.data
            out.append(replace(step, data=_scrub_command(command)))
        else:
            out.append(replace(step, data=_scrub_answer(command, step.data)))
    return out


def _scrub_command(command: bytes) -> bytes:
    if command[:2] == _SELECT or len(command) <= 5:
        return command
    end = 5 + command[4]
    data = command[5:end]
    return command[:5] + (_structured(data) if command[:2] == _GET_DATA else bytes(len(data))) + command[end:]


def _scrub_answer(command: bytes, answer: bytes) -> bytes:
    data, status = answer[:-2], answer[-2:]
    has_tags = command == ose.SELECT.encode() or command[:2] == _GET_DATA
    return (_structured(data) if has_tags else bytes(len(data))) + status


def _structured(data: bytes) -> bytes:
    """Tags, lengths and public values of data objects; zeros for whatever is not in order."""
    try:
        out = b"".join(tlv.encode(tag, _object(tag, value)) for tag, value in tlv.parse(data))
    except NfcError:
        return bytes(len(data))
    return out if len(out) == len(data) else bytes(len(data))


def _object(tag: int, value: bytes) -> bytes:
    if tag in _PUBLIC:
        return value
    head = tag >> 8 * ((tag.bit_length() - 1) // 8)
    return _structured(value) if head & _CONSTRUCTED else bytes(len(value))
