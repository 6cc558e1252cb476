"""One presentation of an ISO-DEP device, as a conversation: APDUs out, APDUs in, a pass or a failure at the end.

conversation = present(wallet, prepare(wallet, random, now))
command = next(conversation)
while True:
    response = transmit(command)              # data and SW1 SW2, as bytes
    try:
        command = conversation.send(response)
    except StopIteration as end:
        result = end.value                    # PassRead or ReadFailure
        break
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.nfc.errors import Removed
from tilltap_drivers.nfc.wallet import Wallet

__all__ = ["Conversation", "Prepared", "Removed", "card_by_uid", "prepare", "present"]

# Yields command APDUs, is sent response APDUs (data + SW1 SW2), returns the outcome.
Conversation = Generator[bytes, bytes, PassRead | ReadFailure]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything random for one presentation, made before the tap. Use it once."""

    ephemeral: ec.EllipticCurvePrivateKey | None = field(repr=False)
    """The terminal's session key; None without Google passes."""
    nonce: bytes
    """32 bytes for Smart Tap."""
    session_id: bytes
    """8 bytes for Smart Tap."""
    vas_nonce: bytes
    """4 bytes for VAS."""
    now: Callable[[], float]
    """Seconds since 1970, asked once, when a pass has been read."""


def prepare(wallet: Wallet, random: Callable[[int], bytes], now: Callable[[], float]) -> Prepared:
    """Make what the next presentation needs; call it while waiting, some 0.1 ms.

    `random(n)` gives n bytes fit for keys (`secrets.token_bytes`), `now()` the wall clock in seconds since
    1970 (`time.time`).
    """
    raise NotImplementedError


def present(wallet: Wallet, prepared: Prepared) -> Conversation:
    """Talk to one device that was presented.

    Every response must have its two status bytes; an empty one (PC/SC gives it for a phone lifted in the
    middle of an exchange) ends as `removed`. No response makes this raise. When the device is gone, either
    `close()` the conversation (no outcome) or `throw(Removed())`: it then ends with an outcome `unreadable`,
    reason `removed`. The result: `PassRead` with source `apple-vas`, `google-smart-tap` or `card`, `index`
    and `slot` counted from 1 as VTAP readers do (which pass type id or collector, which key), and an empty
    `uid`; or `ReadFailure`, whose reason is short and stable, and for `locked` a sentence for the cashier.
    """
    raise NotImplementedError
    yield b""


def card_by_uid(wallet: Wallet, failure: ReadFailure, uid: bytes) -> PassRead | ReadFailure:
    """The chip number of a card that gave nothing else, as an identity, if the settings want that.

    Only for failures of reason `unknown-card`, and never for random numbers (4 bytes that begin with 08,
    ISO/IEC 14443-3), which phones have. The value is upper-case hex. For `not ISO-DEP` chips make the failure
    with `unknown_card()`.
    """
    raise NotImplementedError


def unknown_card() -> ReadFailure:
    """What `present` returns for a device that is neither a wallet nor a readable tag."""
    return ReadFailure("no-pass", "unknown-card", "card")
