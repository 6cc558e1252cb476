"""Input made to be expensive, for every parser that reads what others wrote; a process of its own, with limits.

`python -m rigs.heavy` prints `name: seconds` of processor time for each case. What needs more memory than
`MEMORY` ends in a MemoryError, and the process with it.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tilltap.config.files import MOST_BYTES as CONFIG_BYTES
from tilltap.config.load import parse
from tilltap.config.mistakes import ConfigError
from tilltap.loyalty import passentry_wire as wire
from tilltap.loyalty.http import ANSWER_LIMIT
from tilltap.server import jsonrpc
from tilltap_drivers.nfc import ndef, tlv
from tilltap_drivers.nfc.errors import NfcError
from tilltap_drivers.replay.tape import MAGIC, TapeError, parse_tape
from tilltap_drivers.vtap.config_txt import frame_spec
from tilltap_drivers.vtap.frames import Framer
from tilltap_drivers.vtap.settings import DEFAULT_POSTFIX, DEFAULT_PREFIX

# Bytes that all cases together may take, beside the program itself.
MEMORY = 384 << 20
MEGABYTE = 1 << 20

Case = Callable[[], object]


def line(data: bytes) -> Case:
    """One connection's bytes, as they come in reads of 64 KiB."""

    def case() -> None:
        lines = jsonrpc.Lines()
        for at in range(0, len(data), 1 << 16):
            for found in lines.feed(data[at : at + (1 << 16)]):
                jsonrpc.decode(found)

    return case


def config(text: str) -> Case:
    def case() -> None:
        with suppress(ConfigError):
            parse(text[:CONFIG_BYTES], file="x", base_dir=Path("/"), hostname="h")

    return case


def body(data: bytes) -> Case:
    """An answer of the service through every question asked of one."""
    questions: tuple[Callable[[Any], object], ...] = (
        wire.balance,
        wire.pass_state,
        wire.odd_status,
        wire.page,
        lambda document: wire.notification(document, {}),
    )

    def case() -> None:
        wire.refusal(422, {}, data[:ANSWER_LIMIT], ["zz-secret-" * 20])
        with suppress(wire.Unreadable):
            document = wire.load(data[:ANSWER_LIMIT])
            for question in questions:
                with suppress(wire.Unreadable):
                    question(document)

    return case


def port(data: bytes, *, size: int = 64) -> Case:
    """A reader's bytes, in reads of `size`."""

    def case() -> None:
        framer = Framer(frame_spec(DEFAULT_PREFIX, DEFAULT_POSTFIX))
        for at in range(0, len(data), size):
            framer.feed(data[at : at + size], 0.0)

    return case


def tape(text: str) -> Case:
    def case() -> None:
        with suppress(TapeError):
            parse_tape(f"{MAGIC}\n{text}", "t")

    return case


def nested(count: int) -> bytes:
    """A TLV in a TLV in a TLV."""
    data = b""
    for _ in range(count):
        size = len(data).to_bytes(3, "big")
        data = b"\x6f\x83" + size + data
    return data


def chip(read: Callable[[bytes], object], data: bytes) -> Case:
    def case() -> None:
        with suppress(NfcError):
            read(data)

    return case


CASES: dict[str, Case] = {
    "line: no end": line(b"x" * 64 * MEGABYTE),
    "line: blanks": line(b"\n" * MEGABYTE),
    "line: brackets": line((b"[" * 65_000 + b"\n") * 16),
    "line: digits": line((b'{"id":' + b"9" * 65_000 + b"}\n") * 16),
    "line: keys": line((b"{" + b",".join(b'"%d":0' % n for n in range(7000)) + b"}\n") * 16),
    "config: unknown keys": config("".join(f"k{n} = 1\n" for n in range(9_000))),
    "config: unknown tables": config("".join(f"[t{n}]\n" for n in range(9_000))),
    "config: readers": config("[[reader]]\n" * 9_000),
    "config: one long key": config("a" + ".a" * 60_000 + " = 1\n"),
    "config: dotted keys": config("".join(f"a{n}" + ".a" * 30 + " = 1\n" for n in range(1800))),
    "config: brackets": config("a = " + "[\n" * 60_000),
    "config: quoted keys": config('"a"' + '."a"' * 30_000 + " = 1\n"),
    "config: long keys": config("x" * 65 + ("." + "x" * 65) * 1900 + " = 1\n"),
    "config: no dots": config("a" * CONFIG_BYTES),
    "config: braces": config('[program.messages]\nearned = "' + "{" * 120_000 + '"\n'),
    "config: placeholders": config('[program.messages]\nearned = "' + "{earned}" * 15_000 + '"\n'),
    "config: a long address": config('[loyalty]\nurl = "https://' + "a-" * 60_000 + '"\n'),
    "config: parameters": config('[ledger]\nurl = "postgresql://x/?' + "a=b&" * 30_000 + '"\n'),
    "config: a long pattern": config('[[reader]]\nport = "' + "*[" * 60_000 + '"\n'),
    "config: a long frame": config('[[reader]]\nport = "/x"\nprefix = "' + "%02" * 40_000 + '"\n'),
    "config: digits": config("a = " + "9" * 2000 + "\n"),
    "config: open text": config('a = """' + "\\\n \n" * 30_000),
    "body: brackets": body(b"[" * MEGABYTE),
    "body: objects": body(b'{"a":' * 200_000),
    "body: digits": body(b'{"meta":{"loyalty":{"balance":' + b"9" * 4300 + b"}}}"),
    "body: decimals": body(b'{"meta":{"loyalty":{"balance":1.' + b"9" * 900_000 + b"}}}"),
    "body: exponent": body(b'{"meta":{"loyalty":{"balance":1e' + b"9" * 900 + b"}}}"),
    "body: a claim of digits": body(b'{"meta":{"loyalty":{"balance":"' + b"9" * 900_000 + b'"}}}'),
    "body: errors": body(b'{"errors":[' + b",".join([b'{"a":["x","y"]}'] * 60_000) + b"]}"),
    "body: one long word": body(b'{"errors":"' + b"a-" * 500_000 + b'"}'),
    "body: passes": body(b'{"data":[' + b",".join([b'{"id":"a"}'] * 90_000) + b"]}"),
    "body: fields": body(
        b'{"data":{"id":"a","attributes":{"passContent":{'
        + b",".join(b'"%d":"x"' % n for n in range(80_000))
        + b"}}}}"
    ),
    "port: no end": port(b"x" * MEGABYTE),
    "port: beginnings": port(b"\x02" * MEGABYTE),
    "port: ends": port(b"\x03\n" * (MEGABYTE // 2)),
    "port: almost": port((b"\x02A11\x1f" + b"\x03" * 4000) * 256),
    "port: a byte at a time": port(b"\x02A11\x1fx\x03" * 20_000, size=1),
    "tape: steps": tape("# Prefix: \n# Postfix: %0A\n" + "0 < x\n" * 100_000),
    "tape: escapes": tape("# Prefix: \n# Postfix: %0A\n0 < " + "%02" * MEGABYTE),
    "tape: digits": tape("9" * MEGABYTE + " < x"),
    "tape: brackets": tape("# Form: apdus\n0 read " + "[" * MEGABYTE),
    "chip: nested": chip(tlv.parse, nested(5000)),
    "chip: a claim": chip(tlv.parse, b"\x6f\x84\x7f\xff\xff\xff" + bytes(1000)),
    "chip: records": chip(ndef.parse, b"\x11\x01\x00T" * 250_000),
}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name, case in CASES.items():
        began = time.process_time()
        case()
        print(f"{name}: {time.process_time() - began:.3f}", flush=True)


if __name__ == "__main__":
    main()
