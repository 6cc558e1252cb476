"""Reading one Apple pass from a phone whose wallet has been selected (apple-vas 3.2 to 3.6)."""

from __future__ import annotations

from collections.abc import Generator

from tilltap_drivers.contract import PassRead
from tilltap_drivers.nfc import vas, words
from tilltap_drivers.nfc.apdu import Channel
from tilltap_drivers.nfc.errors import Locked, NfcError, NoPass, Refused, Replayed, Stale, UnsupportedVersion
from tilltap_drivers.nfc.ose import Ose
from tilltap_drivers.nfc.prepared import Prepared
from tilltap_drivers.nfc.seen import Seen
from tilltap_drivers.nfc.vas import Opened
from tilltap_drivers.nfc.wallet import AppleWallet

_SUCCESS, _NOT_FOUND, _NOT_ACTIVATED, _INTERVENTION, _VERSION = 0x9000, 0x6A83, 0x6287, 0x6984, 0x6340


def read_pass(
    channel: Channel, apple: AppleWallet, prepared: Prepared, selected: Ose, seen: Seen
) -> Generator[bytes, bytes, PassRead]:
    """The first pass that the phone gives, in the settings' order of preference. NfcError for all else.

    One request per pass type id: the next one after "not found" and "choose"; nothing after "locked", because
    the phone releases nothing until the customer has authenticated.
    """
    vas.check_version(selected.version)
    nonce = prepared.vas_nonce if apple.send_nonce else b""
    if apple.url_only:
        yield from _hand_over_url(channel, apple, nonce)
    merchant_ids = apple.merchant_ids()
    undecided = False
    for index, merchant_id in enumerate(merchant_ids, 1):
        more = apple.announce_more and index < len(merchant_ids)
        request = vas.get_data(
            merchant_id, mode=apple.mode, more=more, nonce=nonce, filter=apple.filter, url=apple.sign_up_url
        )
        response = yield from channel.exchange(request)
        if response.status == _SUCCESS:
            cryptogram = vas.parse_answer(response.data).cryptogram
            return _opened(cryptogram, index, apple, prepared, seen)
        undecided |= response.status == _INTERVENTION
        if response.status not in (_NOT_FOUND, _INTERVENTION):
            raise _ended(response.status)
    raise Locked(words.CHOOSE) if undecided else NoPass


def _hand_over_url(channel: Channel, apple: AppleWallet, nonce: bytes) -> Generator[bytes, bytes, None]:
    request = vas.get_data(None, mode=apple.mode, nonce=nonce, filter=apple.filter, url=apple.sign_up_url)
    response = yield from channel.exchange(request)
    if response.status != _SUCCESS:
        raise _ended(response.status)
    raise NoPass("sign-up-sent")  # the answer's body is not published: whatever it is


def _ended(status: int) -> NfcError:
    if status == _NOT_ACTIVATED:
        return Locked(words.AUTHENTICATE)
    if status == _INTERVENTION:
        return Locked(words.CHOOSE)
    if status == _NOT_FOUND:
        return NoPass()
    if status == _VERSION:
        return UnsupportedVersion("the phone speaks another version of VAS")
    return Refused("get data", status)


def _opened(cryptogram: bytes, index: int, apple: AppleWallet, prepared: Prepared, seen: Seen) -> PassRead:
    merchant_id = apple.merchant_ids()[index - 1]
    opened = vas.open_cryptogram(cryptogram, merchant_id, apple.keys, legacy=apple.legacy)
    if not seen.first_time(opened.mark):
        raise Replayed("a pass read that was seen before")
    if apple.window is not None and not _is_timely(opened, prepared.now(), apple.window, seen.since):
        raise Stale("a pass read whose time lies outside the window")
    return PassRead(opened.message, "apple-vas", index=index, slot=opened.slot)


def _is_timely(opened: Opened, now: float, window: float, since: int | None) -> bool:
    """Of a pass read inside the window, but before the memory of reads began, a copy would not be known.

    A clock that was set back to before that beginning says nothing about it.
    """
    unknown = since is not None and opened.timestamp < since <= now
    return abs(opened.age(now)) <= window and not unknown
