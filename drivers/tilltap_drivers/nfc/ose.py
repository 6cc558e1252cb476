"""SELECT OSE.VAS.01, by which a phone says whose wallet it has (apple-vas 3.1, google-smart-tap 3)."""

from __future__ import annotations

from dataclasses import dataclass

from tilltap_drivers.nfc import tlv
from tilltap_drivers.nfc.apdu import select
from tilltap_drivers.nfc.errors import Malformed

SELECT = select(b"OSE.VAS.01")

APPLE, GOOGLE = b"ApplePay", b"AndroidPay"

SMART_TAP_AID = bytes.fromhex("A000000476D0000111")


@dataclass(frozen=True, slots=True)
class Entry:
    """An application in the directory of an Android wallet; what is None was not said."""

    aid: bytes
    priority: int | None = None
    min_version: int | None = None
    max_version: int | None = None
    capabilities: int = 0
    nonce: bytes | None = None
    ephemeral: bytes | None = None

    @property
    def may_skip_select(self) -> bool:
        """Whether a second SELECT may be left out (DF62 bit 0)."""
        return bool(self.capabilities & 0x01)


@dataclass(frozen=True, slots=True)
class Ose:
    """The answer. Apple phones give `version` (2 bytes), `nonce` (9F24) and `capabilities`; Android phones
    `version`, `transaction`, `nonce` (C2), `ephemeral` and, if not None, their `directory`.
    """

    label: bytes
    version: bytes | None = None
    nonce: bytes | None = None
    capabilities: bytes | None = None
    transaction: bytes | None = None
    ephemeral: bytes | None = None
    directory: tuple[Entry, ...] | None = None

    def smart_tap(self) -> Entry | None:
        """The entry of Smart Tap 2."""
        return next((entry for entry in self.directory or () if entry.aid == SMART_TAP_AID), None)


def parse(data: bytes) -> Ose | None:
    """The answer's data; None if it names no wallet: ordinary cards may accept any SELECT. NfcError."""
    template = tlv.first(tlv.parse(data), 0x6F)
    if template is None:
        return None
    items = tlv.parse(template)
    label = tlv.first(items, 0x50)
    if label is None:
        return None
    if label == GOOGLE:
        proprietary = tlv.first(items, 0xA5)
        return Ose(
            label,
            version=tlv.first(items, 0xC0),
            nonce=tlv.first(items, 0xC2),
            transaction=tlv.first(items, 0xC1),
            ephemeral=tlv.first(items, 0xC3),
            directory=None if proprietary is None else _directory(proprietary),
        )
    return Ose(
        label,
        version=tlv.first(items, 0x9F21),
        nonce=tlv.first(items, 0x9F24),
        capabilities=tlv.first(items, 0x9F23),
    )


def _directory(proprietary: bytes) -> tuple[Entry, ...] | None:
    directory = tlv.first(tlv.parse(proprietary), 0xBF0C)
    if directory is None:
        return None
    return tuple(_entry(tlv.parse(value)) for value in tlv.every(tlv.parse(directory), 0x61))


def _entry(items: tlv.Items) -> Entry:
    aid = tlv.first(items, 0x4F)
    if aid is None:
        raise Malformed("a directory entry without an application")
    more = tlv.parse(tlv.first(items, 0x73) or b"")
    return Entry(
        aid,
        priority=_number(tlv.first(items, 0x87)),
        min_version=_number(tlv.first(more, 0xDF6D)),
        max_version=_number(tlv.first(more, 0xDF4D)),
        capabilities=_number(tlv.first(more, 0xDF62)) or 0,
        nonce=tlv.first(more, 0xDF6E),
        ephemeral=tlv.first(more, 0xDF6B),
    )


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "big")
