"""One presentation of an ISO-DEP device: APDUs out, APDUs in, and a pass or a failure at the end.

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

from collections.abc import Generator
from typing import TypeVar

from tilltap_drivers.contract import PassRead, ReadFailure, Source
from tilltap_drivers.nfc import ose, smarttap_talk, type4, vas_talk
from tilltap_drivers.nfc.apdu import Channel
from tilltap_drivers.nfc.errors import NfcError, NoPass, Removed
from tilltap_drivers.nfc.prepared import Prepared, prepare
from tilltap_drivers.nfc.wallet import Wallet

__all__ = ["Conversation", "Prepared", "Removed", "card_by_uid", "prepare", "present", "unknown_card"]

# Yields command APDUs, is sent response APDUs (data + SW1 SW2), returns the outcome.
Conversation = Generator[bytes, bytes, PassRead | ReadFailure]

_T = TypeVar("_T")

# First byte of a 4-byte number that a device draws anew for each activation (ISO/IEC 14443-3, 6.5.4).
_RANDOM_UID = 0x08


def present(wallet: Wallet, prepared: Prepared) -> Conversation:
    """Talk to one device that was presented; at most `apdu.APDU_LIMIT` exchanges.

    Every response must have its two status bytes; an empty one (PC/SC gives it for a phone lifted in the
    middle of an exchange) ends as `removed`. No response makes this raise. When the device is gone, either
    `close()` the conversation (no outcome) or `throw(Removed())`: it then ends with an outcome `unreadable`,
    reason `removed`. The result: `PassRead` with source `apple-vas`, `google-smart-tap` or `card`, `index`
    and `slot` counted from 1 as VTAP readers do (which pass type id or collector, which key), and an empty
    `uid`; or `ReadFailure`, whose reason is short and stable, and for `locked` a sentence for the cashier.
    """
    return (yield from _guarded("unknown", _presented(Channel(), wallet, prepared)))


def card_by_uid(wallet: Wallet, failure: ReadFailure, uid: bytes) -> PassRead | ReadFailure:
    """The chip number of a card that gave nothing else, as an identity, if the settings want that.

    Only for failures of reason `unknown-card`, and never for random numbers (4 bytes that begin with 08,
    ISO/IEC 14443-3), which phones have. The value is upper-case hex. For chips that are not ISO-DEP make the
    failure with `unknown_card()`.
    """
    if not wallet.cards.uid or failure.reason != unknown_card().reason or not uid:
        return failure
    if len(uid) == 4 and uid[0] == _RANDOM_UID:
        return ReadFailure("no-pass", "random-uid", "card")
    number = uid.hex().upper()
    return PassRead(number.encode(), "card", uid=number)


def unknown_card() -> ReadFailure:
    """What `present` returns for a device that is neither a wallet nor a readable tag."""
    return ReadFailure("no-pass", "unknown-card", "card")


def _guarded(source: Source, talk: Generator[bytes, bytes, _T]) -> Generator[bytes, bytes, _T | ReadFailure]:
    try:
        return (yield from talk)
    except NfcError as error:
        return ReadFailure(error.outcome, error.reason, source)


def _presented(channel: Channel, wallet: Wallet, prepared: Prepared) -> Conversation:
    """Who is it? The order of ecp-and-pcsc 3.7; cheap for phones, a few exchanges more for cards."""
    response = yield from channel.exchange(ose.SELECT)
    phone = ose.parse(response.data) if response.status == 0x9000 else None
    if phone is not None:
        return (yield from _phone(channel, wallet, prepared, phone))
    if wallet.google is not None and wallet.google.direct:
        found = yield from _guarded("google-smart-tap", smarttap_talk.probe(channel))
        if isinstance(found, ReadFailure):
            return found
        if found is not None:
            talk = smarttap_talk.SmartTap(channel, wallet.google, prepared)
            return (yield from _guarded("google-smart-tap", talk.read_pass(None, found)))
    if wallet.cards.ndef:
        return (yield from _guarded("card", _tag(channel)))
    return unknown_card()


def _phone(channel: Channel, wallet: Wallet, prepared: Prepared, phone: ose.Ose) -> Conversation:
    if phone.label == ose.APPLE and wallet.apple is not None:
        read = vas_talk.read_pass(channel, wallet.apple, prepared, phone, wallet.seen)
        return (yield from _guarded("apple-vas", read))
    if phone.label == ose.GOOGLE and wallet.google is not None:
        talk = smarttap_talk.SmartTap(channel, wallet.google, prepared)
        return (yield from _guarded("google-smart-tap", talk.read_pass(phone)))
    return ReadFailure("no-pass", "other-wallet")


def _tag(channel: Channel) -> Conversation:
    message = yield from type4.read_message(channel)
    if message is None:
        return unknown_card()
    value = type4.identity(message)
    if not value:
        raise NoPass("empty-tag")
    return PassRead(value, "card")
