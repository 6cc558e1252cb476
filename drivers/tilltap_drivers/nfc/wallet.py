"""What a shop has set up for plain readers: whose passes to ask for, with which keys, and how.

Only values; importing this module needs no crypto library, so that a configuration can be checked without.
Fields whose effect no public source settles say so, and have the value that every known phone accepts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tilltap_drivers.nfc.seen import Seen

if TYPE_CHECKING:
    from tilltap_drivers.nfc.keys import Key

# Terminal modes of Apple VAS, in tag 9F26 and in the ECP frame alike (apple-vas 3.3, ecp-and-pcsc 1.1).
VAS_OR_PAYMENT, VAS_AND_PAYMENT, VAS_ONLY, PAYMENT_ONLY = range(4)

# Characters of a sign-up URL with its scheme: the bound of Apple's own reader interface (apple-vas 3.2).
URL_LIMIT = 64

# Pass type ids or key versions tried in one presentation: each costs one exchange of some 50 ms while the
# customer holds the phone still.
CANDIDATES_LIMIT = 8

# Kinds of Google passes by their name in the configuration -> record type (google-smart-tap 5).
OBJECT_TYPES = {
    "loyalty": "ly",
    "offer": "of",
    "gift-card": "gc",
    "private-label": "pl",
    "event-ticket": "et",
    "flight": "fl",
    "transit": "tr",
    "generic": "gr",
    "generic-private": "gp",
    "customer": "cus",
}

# Ordinary cards that may identify a customer, by their names in the configuration.
CARDS = ("ndef", "uid")

_PASS_TYPE_ID = re.compile(r"[\x21-\x7e]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class AppleWallet:
    """Apple passes. `pass_type_ids` in order of preference; any of `keys` may belong to any of them."""

    pass_type_ids: tuple[str, ...]
    keys: tuple[Key, ...] = ()
    mode: int = VAS_ONLY
    """Keep it equal to the mode of the ECP frame."""
    sign_up_url: str = ""
    """Offered with every request; what phones do with it is up to them."""
    url_only: bool = False
    """Send only the URL and read no pass: a sign-up terminal."""
    window: float | None = None
    """Seconds that a pass's timestamp may differ from the clock; None accepts any."""
    legacy: bool = True
    """Also try the older key derivation, which two public readers know and no capture shows."""
    announce_more: bool = True
    """Say in each request whether another follows; phones read whatever is said."""
    send_nonce: bool = True
    """Readers send 4 random bytes; no effect is known."""
    filter: bytes = b""
    """Tag 9F2B; empty leaves it out. Phones refuse anything but 0100000000."""

    def __post_init__(self) -> None:
        if not 0 <= self.mode <= PAYMENT_ONLY:
            raise ValueError("mode: is not one of 0 to 3 (2 = passes only)")
        if len(self.sign_up_url) > URL_LIMIT or not self.sign_up_url.isascii():
            raise ValueError(f"sign_up_url: is longer than {URL_LIMIT} characters or not ASCII")
        if len(self.filter) not in (0, 5):
            raise ValueError("filter: is not 5 bytes (leave it out)")
        if self.window is not None and not 0 < self.window < float("inf"):
            raise ValueError("window: is not a positive number of seconds")
        if self.url_only:
            if not self.sign_up_url:
                raise ValueError("sign_up_url: is missing for a sign-up terminal")
            return
        if not 1 <= len(self.pass_type_ids) <= CANDIDATES_LIMIT:
            raise ValueError(f"pass_type_ids: give 1 to {CANDIDATES_LIMIT}")
        if not all(_PASS_TYPE_ID.match(name) for name in self.pass_type_ids):
            raise ValueError("pass_type_ids: one is empty, too long or not plain ASCII (pass.com.example)")
        if not self.keys:
            raise ValueError("keys: give at least one private key")

    def merchant_ids(self) -> tuple[bytes, ...]:
        """SHA-256 of each pass type id, 32 bytes: what goes over the air."""
        return tuple(hashlib.sha256(name.encode("ascii")).digest() for name in self.pass_type_ids)


@dataclass(frozen=True, slots=True)
class GoogleKey:
    """The collector's private key and the version under which its public half is registered."""

    version: int
    key: Key

    def __post_init__(self) -> None:
        if not 0 <= self.version < 2**32:
            raise ValueError("key_version: is not a number of 32 bits")


@dataclass(frozen=True, slots=True)
class GoogleWallet:
    """Google passes of one collector. `keys` are tried in order; `objects` are the kinds that identify, in
    order of preference, by their names in `OBJECT_TYPES`.
    """

    collector_id: int
    keys: tuple[GoogleKey, ...] = ()
    objects: tuple[str, ...] = ("loyalty",)
    service_types: tuple[int, ...] = (0,)
    """What to ask for; 0 = everything, the usual choice (google-smart-tap 9)."""
    pos_capabilities: bytes = bytes.fromhex("4000000001")
    """5 bytes: understands zlib, reads passes only. Empty leaves the record out."""
    allow_unencrypted: bool = False
    """Accept bundles that nothing authenticates; without keys no session is negotiated at all."""
    skip_select: bool = False
    """Leave the second SELECT out when the phone says it may be: one exchange less, less widely tried."""
    presign: bool = False
    """Sign over zeros when the phone gives no nonce, instead of giving up."""
    direct: bool = True
    """Also select Smart Tap on devices that have no OSE: one exchange more on every ordinary card."""

    def __post_init__(self) -> None:
        if not 0 < self.collector_id < 2**64:
            raise ValueError("collector_id: is not a positive number (eight digits, from the Google console)")
        if not self.keys and not self.allow_unencrypted:
            raise ValueError("keys: give at least one private key")
        if len(self.keys) > CANDIDATES_LIMIT:
            raise ValueError(f"keys: give at most {CANDIDATES_LIMIT}")
        unknown = [name for name in self.objects if name not in OBJECT_TYPES]
        if unknown or not self.objects:
            raise ValueError(f"objects: give some of {', '.join(OBJECT_TYPES)}")
        if not 1 <= len(self.service_types) <= CANDIDATES_LIMIT or not all(
            0 <= number <= 0xFF for number in self.service_types
        ):
            raise ValueError(f"service_types: give 1 to {CANDIDATES_LIMIT} numbers from 0 to 255")
        if len(self.pos_capabilities) not in (0, 5):
            raise ValueError("pos_capabilities: is not 5 bytes")

    def collector(self) -> bytes:
        """The collector id as 4 bytes; of a longer one the last 4 count (google-smart-tap 1)."""
        return (self.collector_id & 0xFFFFFFFF).to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class CardReading:
    """Ordinary cards as identities; both off by default, because a chip number is no secret."""

    ndef: bool = False
    """Read the text or address on an NFC Forum Type 4 tag."""
    uid: bool = False
    """Take the chip's number of a card that gives nothing else; see `converse.card_by_uid`."""

    @classmethod
    def of(cls, cards: Collection[str]) -> CardReading:
        """From names in `CARDS`."""
        return cls(ndef="ndef" in cards, uid="uid" in cards)


@dataclass(frozen=True, slots=True)
class Wallet:
    """Everything a plain reader needs to know; what is None is not asked for.

    `seen` remembers Apple reads so that a copy is refused; it is shared by all readers and by all runs.
    """

    apple: AppleWallet | None = None
    google: GoogleWallet | None = None
    cards: CardReading = CardReading()
    seen: Seen = field(default_factory=Seen, compare=False, repr=False)
