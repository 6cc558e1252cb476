"""A simulated iPhone: Apple VAS as real ones show it (apple-vas.md, sections 3, 4 and 7)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tilltap_drivers.nfc.phones.device import Apdu, Random, ephemeral, point, public, sw, tlv, untlv

_OSE = b"OSE.VAS.01"
_Y2001 = 978307200  # seconds from 1970, Apple's own zero
_MESSAGE_LIMIT = 64  # bytes; the system cuts longer ones


@dataclass(frozen=True)
class ApplePass:
    """`public_key`: the issuer's point, compressed, 33 bytes. `older`: seal in the older way."""

    pass_type_id: str
    public_key: bytes
    message: bytes
    requires_authentication: bool = False
    older: bool = False

    @property
    def merchant_id(self) -> bytes:
        return hashlib.sha256(self.pass_type_id.encode()).digest()


class IPhone:
    """`unlocked`, `card_shown` (a payment card, not a pass, was brought up) and `passes` may be changed
    between taps; `authenticate` and `choose` are what a customer does.
    """

    def __init__(
        self,
        passes: Sequence[ApplePass],
        *,
        random: Random,
        now: Callable[[], float],
        unlocked: bool = True,
        card_shown: bool = False,
        version: bytes = b"\x01\x00",
        capabilities: bytes = b"\x00\x00\x00\x1e",
    ) -> None:
        self.passes = list(passes)
        self.unlocked = unlocked
        self.card_shown = card_shown
        self.urls: list[str] = []
        self.shown: ApplePass | None = None
        self._random = random
        self._now = now
        self._version = version
        self._capabilities = capabilities
        self._chosen: ApplePass | None = None
        self._confirmed = False
        self._selected = False
        self._served: list[ApplePass] = []
        self._uid = b"\x08" + random(3)

    @property
    def uid(self) -> bytes:
        return self._uid

    def authenticate(self) -> None:
        """Face ID, Touch ID or the code: unlocks, and allows one read of each pass that asks for it."""
        self.unlocked = self._confirmed = True

    def choose(self, index: int) -> None:
        """Pick one of several passes of the same pass type id."""
        self._chosen = self.passes[index]

    def field_off(self) -> None:
        if any(served.requires_authentication for served in self._served):
            self._confirmed = False
        self._selected = False
        self._served.clear()
        self._uid = b"\x08" + self._random(3)

    def answer(self, command: bytes) -> bytes:
        apdu = Apdu.of(command)
        if apdu is None:
            return sw(0x6700)
        if apdu.head[:2] == b"\x00\xa4":
            return self._select(apdu)
        if apdu.head[:2] == b"\x80\xca":
            return self._get_data(apdu)
        return sw(0x6D00)

    def _select(self, apdu: Apdu) -> bytes:
        if apdu.data != _OSE:
            return sw(0x6A82)
        self._selected = True
        fields = tlv("50", b"ApplePay") + tlv("9f21", self._version) + tlv("9f24", self._random(4))
        return sw(0x9000, tlv("6f", fields, tlv("9f23", self._capabilities)))

    def _get_data(self, apdu: Apdu) -> bytes:
        if not self._selected:
            return sw(0x6985)
        if apdu.head[2] != 1 or apdu.head[3] > 1:
            return sw(0x6B00)
        if not apdu.complete:
            return sw(0x6700)
        fields = untlv(apdu.data)
        if fields is None or len(fields.get("9f22", b"")) != 2 or len(fields.get("9f26", b"")) != 4:
            return sw(0x6A80)
        if fields["9f22"][0] != 1:
            return sw(0x6340)
        if fields.get("9f2b", b"\x01\0\0\0\0") != b"\x01\0\0\0\0":
            return sw(0x6A80)
        if "9f29" in fields:
            self.urls.append(fields["9f29"].decode("latin-1"))
        if apdu.head[3] == 0:
            return sw(0x9000)
        if len(fields.get("9f25", b"")) != 32:
            return sw(0x6A80)
        return self._give(fields["9f25"])

    def _give(self, merchant_id: bytes) -> bytes:
        found = [held for held in self.passes if held.merchant_id == merchant_id]
        if not found:
            return sw(0x6A83)
        if len(found) > 1:
            found = [held for held in found if held is self._chosen]
            if not found:
                return sw(0x6984)
        held = found[0]
        if held in self._served or (self._served and not self.card_shown):
            return sw(0x6A83)
        if not self.unlocked or (held.requires_authentication and not self._confirmed):
            self.shown = held
            return sw(0x6287)
        sealed = self._seal(held)
        if sealed is None:
            return sw(0x6A83)
        self._served.append(held)
        return sw(0x9000, tlv("70", tlv("9f2a"), tlv("9f27", sealed)))

    def _seal(self, held: ApplePass) -> bytes | None:
        """None for a pass whose key is no point: such a pass cannot be made."""
        issuer = public(held.public_key)
        if issuer is None:
            return None
        own = ephemeral(self._random)
        secret = own.exchange(ec.ECDH(), issuer)
        purpose = b"ApplePay encrypted VAS data"
        if held.older:
            info, associated = purpose, held.merchant_id
        else:
            info, associated = b"\rid-aes256-GCM" + purpose + held.merchant_id, b""
        key = hashlib.sha256(secret + b"\0\0\0\x01" + info).digest()
        seconds = int(self._now()) - _Y2001
        encryptor = Cipher(algorithms.AES(key), modes.GCM(b"\0" * 16)).encryptor()
        encryptor.authenticate_additional_data(associated)
        plain = (seconds % 2**32).to_bytes(4, "big") + held.message[:_MESSAGE_LIMIT]
        sealed = encryptor.update(plain) + encryptor.finalize() + encryptor.tag
        return hashlib.sha256(held.public_key[1:33]).digest()[:4] + point(own)[1:] + sealed
