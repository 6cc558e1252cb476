"""What all simulated devices have in common, and the small formats they speak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

# n bytes, as `secrets.token_bytes`; a seeded source makes a phone repeatable.
Random = Callable[[int], bytes]

_P256_ORDER = int("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)


class Device(Protocol):
    """Something that can be held to a reader."""

    @property
    def uid(self) -> bytes:
        """The number it gives at anticollision: 4 (08.. = random), 7 or 10 bytes."""
        ...

    def answer(self, command: bytes) -> bytes:
        """The response APDU, or nothing at all."""
        ...

    def field_off(self) -> None:
        """It was taken away, or the reader reset the field."""
        ...


class Lifted(Exception):
    """Raised by a device's `answer`: it leaves the field in the middle of the exchange, or after `last`."""

    def __init__(self, last: bytes = b"") -> None:
        super().__init__()
        self.last = last


@dataclass(frozen=True)
class Apdu:
    """A command taken apart; `lc` and `data` may disagree, which the device has to see."""

    head: bytes
    lc: int
    data: bytes

    @classmethod
    def of(cls, command: bytes) -> Apdu | None:
        """None for what is no command at all."""
        if len(command) < 4:
            return None
        if len(command) <= 5:
            return cls(command[:4], 0, b"")
        lc = command[4]
        return cls(command[:4], lc, command[5 : 5 + lc])

    @property
    def complete(self) -> bool:
        return self.lc == len(self.data)


def sw(status: int, data: bytes = b"") -> bytes:
    return data + status.to_bytes(2, "big")


def ephemeral(random: Random) -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key drawn from `random`."""
    return ec.derive_private_key(1 + int.from_bytes(random(40), "big") % (_P256_ORDER - 1), ec.SECP256R1())


def point(private: ec.EllipticCurvePrivateKey) -> bytes:
    """Its public half, compressed, 33 bytes."""
    numbers = private.public_key().public_numbers()
    return bytes((2 + numbers.y % 2,)) + numbers.x.to_bytes(32, "big")


def public(encoded: bytes) -> ec.EllipticCurvePublicKey | None:
    """None for bytes that are no point of P-256."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), encoded)
    except ValueError:
        return None


def tlv(tag: str, *values: bytes) -> bytes:
    """One data object, its tag in hex."""
    content = b"".join(values)
    size = bytes((len(content),)) if len(content) < 128 else bytes((0x81, len(content)))
    return bytes.fromhex(tag) + size + content


def untlv(data: bytes) -> dict[str, bytes] | None:
    """Data objects with two-byte tags and one-byte lengths, as readers send them; None if wrong."""
    found: dict[str, bytes] = {}
    while data:
        size = data[2] if len(data) > 2 else 256
        if size > 127 or len(data) < 3 + size:
            return None
        found[data[:2].hex()] = data[3 : 3 + size]
        data = data[3 + size :]
    return found


def ndef(*records: tuple[str, bytes] | tuple[str, bytes, str]) -> bytes:
    """A message of (name, payload) as external records, or (id, payload, well-known type)."""
    out = b""
    for n, (name, payload, *known) in enumerate(records):
        kind = (known[0] if known else name).encode()
        label = name.encode() if known else b""
        short = len(payload) < 256
        flags = (0x80 if n == 0 else 0) + (0x40 if n == len(records) - 1 else 0)
        flags += (0x10 if short else 0) + (0x08 if label else 0) + (1 if known else 4)
        out += bytes((flags, len(kind))) + len(payload).to_bytes(1 if short else 4, "big")
        out += (bytes((len(label),)) if label else b"") + kind + label + payload
    return out


def unndef(data: bytes) -> dict[str, list[bytes]] | None:
    """The payloads of a message's short external records by type; None if it is none."""
    found: dict[str, list[bytes]] = {}
    while data:
        if len(data) < 3 or data[0] & 0x3F != 0x14:
            return None
        kind, size = data[1], data[2]
        end = 3 + kind + size
        if len(data) < end:
            return None
        found.setdefault(data[3 : 3 + kind].decode("latin-1"), []).append(data[3 + kind : end])
        data = data[end:]
    return found
