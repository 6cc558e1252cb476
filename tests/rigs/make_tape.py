"""Writes the generated tapes and their golden events: `python tests/rigs/make_tape.py` (seeded).

mixed-framed   500 taps in the default frame: phones, cards, scanner, kinds nobody knows; cut at every
               position, whole, byte by byte; noise and command replies between and around them
mixed-bare     500 taps as lines ended by CR, LF and CRLF in turn, cut at every position
odd-framed     what must be dropped, and what must come out although it looks odd
"""

from __future__ import annotations

import json
import random
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "tests"), str(_ROOT / "drivers")]

from rigs.tapes import TAPES, as_golden  # noqa: E402 -- run as a script it needs the paths above
from tilltap_drivers.contract import PassRead  # noqa: E402
from tilltap_drivers.replay.tape import Step, Tape, dump_tape  # noqa: E402
from tilltap_drivers.vtap.frames import SOURCES  # noqa: E402

TAPS = 500
PREFIX, POSTFIX = "%02$t$n%1F$u%1F", "%03%0A"
BOOT = b"VTAP100\r\nFirmware: V2.2.8.2\r\nHardware: 5.01\r\nAPI level: 3\r\nSerial: CC123456\r\n"
PASSES, OTHERS = "AG", "Q0246EXWSHM"


def values(rng: random.Random) -> Iterator[str]:
    """Pass values in every shape that issuers use, no two alike."""
    n = 0
    while True:
        n += 1
        yield str(uuid.UUID(int=rng.getrandbits(128), version=4))
        yield rng.randbytes(20).hex()
        yield f"cust-{n}"
        yield f"3|{rng.randbytes(6).hex()}|{rng.randrange(10**13, 10**14)}|Valued"
        yield str(rng.randrange(10**12, 10**13))
        yield f"Zoë £{n} <{n}> 100%; ~{n}~"
        yield f"{n}-".ljust(256, "x")


def taps(rng: random.Random) -> Iterator[PassRead]:
    """What the framed tape holds: three passes in four, the rest anything else."""
    for n, value in zip(range(TAPS), values(rng), strict=False):
        is_pass = n % 4 != 3
        kind = rng.choice(PASSES if is_pass else OTHERS)
        uid = "" if kind == "Q" else (b"\x08" + rng.randbytes(3)).hex().upper() if is_pass else _chip(rng)
        index, slot = (rng.randint(1, 6), rng.randint(1, 6)) if is_pass else (None, None)
        yield PassRead(value.encode(), SOURCES.get(kind, "unknown"), kind, index, slot, uid)


def _chip(rng: random.Random) -> str:
    return rng.randbytes(rng.choice((4, 7, 8))).hex().upper()


def frame(tap: PassRead) -> bytes:
    digits = f"{tap.index}{tap.slot}" if tap.index else ""
    return f"\x02{tap.kind}{digits}\x1f{tap.uid}\x1f".encode() + tap.value + b"\x03\n"


def cut(data: bytes, at: int, rng: random.Random) -> Iterator[Step]:
    """`data` in two pieces, so that over the tape every position of a frame is a boundary once."""
    at %= len(data) + 1
    yield Step(rng.choice((0.0, 0.001, 0.004)), "<", data[:at])
    yield Step(rng.choice((0.0, 0.001, 0.002)), "<", data[at:])


def framed(rng: random.Random) -> tuple[list[Step], list[PassRead]]:
    steps, expected = [], list(taps(rng))
    for n, tap in enumerate(expected):
        data = frame(tap)
        match n % 10:
            case 1:
                steps.append(Step(0.002, "<", rng.randbytes(rng.randint(1, 40))))
                steps.extend(cut(b"\r\n" + data, n, rng))
            case 3:
                steps.append(Step(0.002, ">", b"\r?b\r"))
                at = n % len(BOOT)
                steps.extend(cut(BOOT[:at] + data + BOOT[at:], n, rng))
            case 5 if n % 50 == 5:
                steps.extend(Step(0.0 if i else 0.002, "<", data[i : i + 1]) for i in range(len(data)))
            case 7:
                steps.append(Step(0.001, "<", b"OK\rFAIL\n00000000\r\n\r\n\x1f\x03"))
                steps.append(Step(0.0, "<", data))
            case 9:
                steps.append(Step(0.001, "<", data[: rng.randint(1, len(data) - 3)]))  # broken off
                steps.extend(cut(data, n, rng))
            case _:
                steps.extend(cut(data, n, rng))
    return steps, expected


def bare(rng: random.Random) -> tuple[list[Step], list[PassRead]]:
    steps: list[Step] = []
    expected = [PassRead(value.encode()) for _, value in zip(range(TAPS), values(rng), strict=False)]
    for n, tap in enumerate(expected):
        end = (b"\r", b"\n", b"\r\n")[n % 3]
        blank = b"\r\n\n\r" if n % 11 == 0 else b""
        steps.extend(cut(tap.value + end + blank, n, rng))
    return steps, expected


def odd() -> tuple[list[Step], list[PassRead]]:
    """By hand: each line is one odd thing, and what must come of it."""
    phone = {"source": "apple-vas", "kind": "A", "index": 1, "slot": 1, "uid": "08A1B2C3"}
    head = b"\x02A11\x1f08A1B2C3\x1f"
    told: list[tuple[float, bytes, PassRead | None]] = [
        (0.0, head + b"\x03\n", PassRead(b"", **phone)),
        (0.1, head + b"\xff\xfe\x03\n", PassRead(b"\xff\xfe", **phone)),
        (0.1, head + b"no line end\x03", PassRead(b"no line end", **phone)),
        (0.1, head + b"us\x1fin it\x03\n", PassRead(b"us\x1fin it", **phone)),
        (0.1, b"\x02A11\x1f$u\x1fold firmware\x03\n", PassRead(b"old firmware", **{**phone, "uid": ""})),
        (0.1, b"\x02Z\x1f\x1fkind Z\x03\n", PassRead(b"kind Z", kind="Z")),
        (0.1, b"\x02A1\x1f08A1B2C3\x1fone digit\x03\n", None),
        (0.1, b"\x02nothing of a frame\x03\n", None),
        (0.1, head + b"x" * 5000 + b"\x03\n", None),
        (0.1, b"y" * 5000 + head + b"after a long line\x03\n", PassRead(b"after a long line", **phone)),
        (0.1, head + b"half a", None),
        (1.5, b" minute\x03\n", None),
        (0.1, b"\n" + head + b"the last\x03\n", PassRead(b"the last", **phone)),
    ]
    return [Step(wait, "<", data) for wait, data, _ in told], [tap for *_, tap in told if tap]


def tapes() -> dict[str, tuple[Tape, list[PassRead]]]:
    """Name -> (tape, what must come out); the same at every call."""
    notes = "generated by tests/rigs/make_tape.py"
    headers = {"Reader": "VTAP100", "Firmware": "V2.2.8.2", "Submitter": "the tests", "Date": "2026-01-01"}
    out = {}
    for name, prefix, postfix, (steps, expected) in (
        ("mixed-framed", PREFIX, POSTFIX, framed(random.Random(1))),
        ("mixed-bare", "", "%0D%0A", bare(random.Random(2))),
        ("odd-framed", PREFIX, POSTFIX, odd()),
    ):
        kept = tuple(step for step in steps if step.data)
        out[name] = (Tape(kept, prefix, postfix, {**headers, "Notes": notes}), expected)
    return out


def texts() -> dict[str, str]:
    """File name -> text."""
    out = {}
    for name, (tape, expected) in tapes().items():
        out[f"{name}.tape"] = dump_tape(tape)
        lines = (json.dumps(as_golden(tap), ensure_ascii=False) for tap in expected)
        out[f"{name}.events"] = "".join(line + "\n" for line in lines)
    return out


if __name__ == "__main__":
    for file, text in texts().items():
        (TAPES / file).write_text(text, encoding="utf-8")
