"""Simulated cards: one for payments, a Type 4 tag, and one that says nothing."""

from __future__ import annotations

from tilltap_drivers.nfc.phones.device import Apdu, sw, tlv

_PPSE = b"2PAY.SYS.DDF01"
_TAG_NEW, _TAG_OLD = bytes.fromhex("d2760000850101"), bytes.fromhex("d2760000850100")
_CAPABILITIES, _MESSAGE = 0xE103, 0xE104


class PaymentCard:
    """A bank card: knows the payment directory and no wallet."""

    def __init__(
        self, uid: bytes = b"\x12\x34\x56\x78", aid: bytes = bytes.fromhex("a0000000041010")
    ) -> None:
        self.uid = uid
        self._aid = aid

    def field_off(self) -> None:
        """A card keeps nothing."""

    def answer(self, command: bytes) -> bytes:
        apdu = Apdu.of(command)
        if apdu is None:
            return sw(0x6700)
        if apdu.head[:2] != b"\x00\xa4":
            return sw(0x6D00)
        if apdu.data != _PPSE:
            return sw(0x6A82)
        entry = tlv("61", tlv("4f", self._aid), tlv("87", b"\x01"))
        return sw(0x9000, tlv("6f", tlv("84", _PPSE), tlv("a5", tlv("bf0c", entry))))


class NdefTag:
    """An NFC Forum Type 4 tag with `message`. `step`: bytes it gives at once; `old`: mapping version 1."""

    def __init__(
        self,
        message: bytes,
        uid: bytes = bytes.fromhex("04a1b2c3d4e580"),
        *,
        step: int = 59,
        old: bool = False,
    ) -> None:
        self.uid = uid
        self._old = old
        control = b"\x04\x06" + _MESSAGE.to_bytes(2, "big") + b"\x10\x00\x00\xff"
        container = (
            b"\x00\x0f" + (b"\x10" if old else b"\x20") + step.to_bytes(2, "big") + b"\x00\x34" + control
        )
        self._step = step
        self._files = {_CAPABILITIES: container, _MESSAGE: len(message).to_bytes(2, "big") + message}
        self._application = False
        self._file = b""

    def field_off(self) -> None:
        self._application = False
        self._file = b""

    def answer(self, command: bytes) -> bytes:
        apdu = Apdu.of(command)
        if apdu is None:
            return sw(0x6700)
        kind, p1, p2 = apdu.head[:2], apdu.head[2], apdu.head[3]
        if kind == b"\x00\xa4" and p1 == 0x04:
            self._application = apdu.data == (_TAG_OLD if self._old else _TAG_NEW)
            return sw(0x9000 if self._application else 0x6A82)
        if not self._application:
            return sw(0x6985)
        if kind == b"\x00\xa4":
            return self._select_file(apdu.data, p2)
        if kind == b"\x00\xb0":
            wanted = (command[4] or 256) if len(command) > 4 else 256
            start = p1 << 8 | p2
            if wanted > max(self._step, 15) or start > len(self._file):
                return sw(0x6700)
            return sw(0x9000, self._file[start : start + wanted])
        return sw(0x6D00)

    def _select_file(self, name: bytes, p2: int) -> bytes:
        if p2 != (0x00 if self._old else 0x0C):
            return sw(0x6A86)
        file = self._files.get(int.from_bytes(name, "big"))
        if file is None:
            return sw(0x6A82)
        self._file = file
        return sw(0x9000)


class MuteCard:
    """In the field, and silent: a reader waits for its time limit."""

    def __init__(self, uid: bytes = b"\x9a\xbc\xde\xf0") -> None:
        self.uid = uid

    def field_off(self) -> None:
        """There was never anything."""

    def answer(self, command: bytes) -> bytes:  # noqa: ARG002 -- whatever it was
        return b""
