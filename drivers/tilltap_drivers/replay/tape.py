"""Tapes: what a reader sent, when, and how it was framed, in a text file that people can read and compare.

    # tilltap tape 1
    # Reader: VTAP100
    # Firmware: V2.2.8.2
    # Submitter: The Corner Shop
    # Date: 2026-11-21
    # Notes: two taps with half a second between them
    # Prefix: %02$t$n%1F$u%1F
    # Postfix: %03%0A

    0.000 < %02A11%1F08A1B2C3%1FMEMBER-0042%03%0A
    0.500 > ?b%0D
    0.010 < VTAP100%0D%0A

A data line is: seconds since the line before, `<` from the reader or `>` from the till, and the bytes.
Printable ASCII stands for itself, every other byte, `%` and a space at the end of the line are `%XX`.

With the header `Form: apdus` the bytes are commands to a phone and its answers. They are for people: what
came of them stands in lines `SECONDS read JSON`. Full description: drivers/README.md. Pure: text in, values
out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from tilltap_drivers.contract import Direction
from tilltap_drivers.replay.golden import Tap, from_json, to_json
from tilltap_drivers.vtap.config_txt import FrameSpec, frame_spec

MAGIC = "# tilltap tape 1"
HEADERS = ("Reader", "Firmware", "Submitter", "Date", "Notes", "Form", "Prefix", "Postfix")

# Seconds one line may wait: a typing error must not stop a training till for a day.
MAX_WAIT = 3600.0

# What the data lines are: the bytes of a port with taps framed in them, or APDUs.
Form = Literal["frames", "apdus"]


class TapeError(ValueError):
    """`file:line: what is wrong`."""


@dataclass(frozen=True, slots=True)
class Step:
    """`data` went by `wait` seconds after the step before; `<` from the reader, `>` to it."""

    wait: float
    direction: Direction
    data: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """`wait` seconds after the step before the reader's driver had made this of a presentation."""

    wait: float
    tap: Tap


@dataclass(frozen=True, slots=True)
class Tape:
    """`prefix` and `postfix` are the reader's own, in the language of its `config.txt`; both are empty, and
    `Told` steps allowed, only in the form `apdus`.
    """

    steps: tuple[Step | Told, ...]
    prefix: str
    postfix: str
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Form = "frames"

    @property
    def spec(self) -> FrameSpec:
        return frame_spec(self.prefix, self.postfix)

    @property
    def identity(self) -> str:
        return " ".join(
            filter(None, (self.headers.get("Reader"), self.headers.get("Firmware"), "(replayed)"))
        )

    def sent(self) -> Iterator[tuple[float, bytes]]:
        """(seconds to wait, bytes) of everything the reader sent."""
        wait = 0.0
        for step in self.steps:
            wait += step.wait
            if isinstance(step, Step) and step.direction == "<":
                yield wait, step.data
                wait = 0.0

    def told(self) -> Iterator[tuple[float, Tap]]:
        """(seconds to wait, outcome) of every presentation in a tape of APDUs."""
        wait = 0.0
        for step in self.steps:
            wait += step.wait
            if isinstance(step, Told):
                yield wait, step.tap
                wait = 0.0


def parse_tape(text: str, name: str) -> Tape:
    """A strict reader; `TapeError` names `name` and the line of the first mistake."""
    headers: dict[str, str] = {}
    steps: list[Step | Told] = []
    lines = text.split("\n")
    if lines[0].rstrip() != MAGIC:
        raise TapeError(f"{name}:1: a tape begins with '{MAGIC}'")
    for number, line in enumerate(lines[1:], start=2):
        try:
            if line.startswith("#"):
                _header(line, headers, begun=bool(steps))
            elif line.strip():
                steps.append(_step(line, apdus=headers.get("Form") == "apdus"))
        except ValueError as error:
            raise TapeError(f"{name}:{number}: {error}") from None
    try:
        return _whole(headers, tuple(steps))
    except ValueError as error:
        raise TapeError(f"{name}:1: {error}") from None


def _whole(headers: dict[str, str], steps: tuple[Step | Told, ...]) -> Tape:
    form = headers.pop("Form", "frames")
    if form not in get_args(Form):
        raise ValueError(f"unknown form '{form}' (one of: {', '.join(get_args(Form))})")
    if form == "apdus":
        for key in ("Prefix", "Postfix"):
            if key in headers:
                raise ValueError(f"the header '# {key}:' has no meaning for APDUs")
        return Tape(steps, "", "", headers, "apdus")
    for key in ("Prefix", "Postfix"):
        if key not in headers:
            raise ValueError(f"the header '# {key}:' is missing")
    frame_spec(headers["Prefix"], headers["Postfix"])
    return Tape(steps, headers.pop("Prefix"), headers.pop("Postfix"), headers)


def _header(line: str, headers: dict[str, str], *, begun: bool) -> None:
    found = re.fullmatch(r"# ([A-Z][a-z]+):(?: (.*))?", line.rstrip())
    if begun or not found:
        return  # a remark
    key, value = found[1], found[2] or ""
    if key not in HEADERS:
        raise ValueError(f"unknown header '{key}' (one of: {', '.join(HEADERS)})")
    if key in headers:
        raise ValueError(f"header '{key}' stands twice")
    headers[key] = value


def _step(line: str, *, apdus: bool) -> Step | Told:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ([<>]|read) (.+)", line)
    if not found or (found[2] == "read" and not apdus):
        raise ValueError("expected 'SECONDS < BYTES' or 'SECONDS > BYTES'")
    wait = float(found[1])
    if wait > MAX_WAIT:
        raise ValueError(f"waits longer than {MAX_WAIT:.0f} s")
    if found[2] == "read":
        return Told(wait, from_json(found[3]))
    return Step(wait, "<" if found[2] == "<" else ">", decode(found[3]))


def decode(text: str) -> bytes:
    """Bytes of a data line; ValueError for anything `encode` would not write."""
    out = bytearray()
    for part in re.findall(r"%[0-9A-F]{2}|[ -$&-~]|.", text):
        if len(part) == 3:
            out.append(int(part[1:], 16))
        elif part == "%" or not part.isascii() or not part.isprintable():
            raise ValueError(f"{part!r} is not a printable character or % and two upper-case hex digits")
        else:
            out += part.encode()
    if text.endswith(" "):
        raise ValueError("a space at the end of a line is written %20")
    return bytes(out)


def encode(data: bytes) -> str:
    """The form of bytes in a data line."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x25 else f"%{byte:02X}" for byte in data)
    return text[:-1] + "%20" if text.endswith(" ") else text


def dump_tape(tape: Tape) -> str:
    """The text of a tape; `parse_tape` gives the same tape back, waits rounded to milliseconds."""
    own = {"Prefix": tape.prefix, "Postfix": tape.postfix} if tape.form == "frames" else {"Form": tape.form}
    headers = {**tape.headers, **own}
    head = [MAGIC, *(f"# {key}: {headers[key]}".rstrip() for key in HEADERS if key in headers), ""]
    return "\n".join([*head, *_data_lines(tape.steps), ""])


def _data_lines(steps: Iterable[Step | Told]) -> Iterator[str]:
    for step in steps:
        if isinstance(step, Told):
            yield f"{step.wait:.3f} read {to_json(step.tap)}"
        elif step.data:
            yield f"{step.wait:.3f} {step.direction} {encode(step.data)}"
