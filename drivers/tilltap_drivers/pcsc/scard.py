"""The only code that knows `smartcard`: one context of pcscd, the state of one reader, one card's APDUs.

Every call blocks; they belong into a worker thread, all but `Context.cancel` into the same one. Sources: the
project's PC/SC notes (ecp-and-pcsc.md, 3.3) and what pcsc-lite 1.9.9 was seen to do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from smartcard import scard

from tilltap_drivers.contract import ReaderFault

# Seconds a card may be held by another program before that is worth telling: card daemons look at every new
# card for some tens of milliseconds.
BUSY_TRIES = 5
BUSY_PAUSE = 0.1

# Bytes at the end of every response (ISO/IEC 7816-4). pcscd reports a card that was lifted in the middle of
# an exchange as success, without any.
STATUS_WORD = 2

NO_SERVICE = "pcscd is not running: start it (systemctl enable --now pcscd.socket)"
NO_ACCESS = "pcscd refuses this user: allow it the PolicyKit action org.debian.pcsc-lite.access_pcsc"
GONE = "the reader is gone: plug it in again"

# The pseudo reader whose state changes when the list of readers does (SCardGetStatusChange(3)).
_PNP = "\\\\?PnP?\\Notification"

# What a call about a card answers when it left, before, during or after an APDU, or cannot be understood.
_CARD_GONE = frozenset(
    {
        scard.SCARD_W_REMOVED_CARD,
        scard.SCARD_W_RESET_CARD,
        scard.SCARD_W_UNPOWERED_CARD,
        scard.SCARD_W_UNRESPONSIVE_CARD,
        scard.SCARD_W_UNSUPPORTED_CARD,
        scard.SCARD_E_NO_SMARTCARD,
        scard.SCARD_E_NOT_TRANSACTED,
        scard.SCARD_E_PROTO_MISMATCH,
        scard.SCARD_E_COMM_DATA_LOST,
        # Also what every call answers once pcscd has died; then the next `wait` says so.
        scard.SCARD_F_COMM_ERROR,
    }
)
_READER_GONE = frozenset({scard.SCARD_E_UNKNOWN_READER, scard.SCARD_E_READER_UNAVAILABLE})
_SERVICE_GONE = frozenset({scard.SCARD_E_NO_SERVICE, scard.SCARD_E_SERVICE_STOPPED, scard.SCARD_F_COMM_ERROR})
# What SCardControl answers for a driver that does not know the code, does not allow it, or got no answer from
# the reader (libccid, IFDHControl).
_ESCAPE_REFUSED = (_CARD_GONE - _SERVICE_GONE) | {
    scard.SCARD_E_UNSUPPORTED_FEATURE,
    scard.SCARD_E_INSUFFICIENT_BUFFER,
    scard.SCARD_E_INVALID_PARAMETER,
    scard.SCARD_E_INVALID_VALUE,
    scard.SCARD_E_UNEXPECTED,
    scard.SCARD_E_NOT_READY,
}
_QUIET = frozenset({scard.SCARD_S_SUCCESS, scard.SCARD_E_TIMEOUT, scard.SCARD_E_CANCELLED})


class CardGone(Exception):
    """The phone or card has left, or never answered well enough to begin."""


class CardBusy(Exception):
    """Another program holds the card, or the reader."""


class EscapeRefused(Exception):
    """The driver, or the reader, does not take a command that is for the reader itself; pcscd's code."""


@dataclass(frozen=True, slots=True)
class State:
    """Of one reader. `count` changes with every card that comes or goes; the rest is for the next `wait`."""

    present: bool = False
    count: int = 0
    raw: int = scard.SCARD_STATE_UNAWARE
    list_raw: int = scard.SCARD_STATE_UNAWARE


class Context:
    """One connection to pcscd. ReaderFault says that the reader, or pcscd itself, is not there."""

    def __init__(self) -> None:
        result, self._handle = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        _check(result)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Whatever it answers, the handle is gone: also when pcscd was restarted meanwhile.
        scard.SCardReleaseContext(self._handle)

    def readers(self) -> list[str]:
        result, names = scard.SCardListReaders(self._handle, [])
        if result == scard.SCARD_E_NO_READERS_AVAILABLE:
            return []
        _check(result)
        return list(names)

    def wait(self, reader: str, known: State, seconds: float | None = None) -> State:
        """The state of `reader` once it differs from `known`, or after `seconds`, or when cancelled."""
        timeout = scard.INFINITE if seconds is None else max(1, round(seconds * 1000))
        states = [(reader, known.raw), (_PNP, known.list_raw)]
        result, changed = scard.SCardGetStatusChange(self._handle, timeout, states)
        if result & _UNSIGNED not in _QUIET:
            _check(result)
        raw, list_raw = (state & ~scard.SCARD_STATE_CHANGED for _, state, _ in changed)
        if raw & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE | scard.SCARD_STATE_IGNORE):
            raise ReaderFault("unplugged", GONE)
        return State(bool(raw & scard.SCARD_STATE_PRESENT), raw >> 16, raw, list_raw)

    def cancel(self) -> None:
        """Ends a `wait` of another thread; without effect if there is none."""
        scard.SCardCancel(self._handle)

    def connect(self, reader: str) -> Card:
        """The card, for us alone. CardGone, CardBusy."""
        result, handle = self._connect(reader, scard.SCARD_SHARE_EXCLUSIVE, scard.SCARD_PROTOCOL_T1)
        _check_card(result)
        return Card(handle)

    def direct(self, reader: str) -> Direct:
        """The reader itself, with or without a card. CardBusy."""
        result, handle = self._connect(reader, scard.SCARD_SHARE_DIRECT, 0)
        _check(result)
        return Direct(handle)

    def _connect(self, reader: str, share: int, protocol: int) -> tuple[int, int]:
        """Pcscd's code and the handle."""
        for last in range(BUSY_TRIES, 0, -1):
            result, handle, _ = scard.SCardConnect(self._handle, reader, share, protocol)
            if result & _UNSIGNED != scard.SCARD_E_SHARING_VIOLATION:
                return result, handle
            if last > 1:
                time.sleep(BUSY_PAUSE)
        raise CardBusy


class Card:
    """A connected card; closing resets the field, which tells a phone that all is over."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        scard.SCardDisconnect(self._handle, scard.SCARD_UNPOWER_CARD)

    def transmit(self, command: bytes) -> bytes:
        """The answer with its status word; CardGone, also for less than that: it is no answer."""
        result, answer = scard.SCardTransmit(self._handle, scard.SCARD_PCI_T1, list(command))
        _check_card(result)
        if len(answer) < STATUS_WORD:
            raise CardGone
        return bytes(answer)


class Direct:
    """A connection to a reader, for commands of its own."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        scard.SCardDisconnect(self._handle, scard.SCARD_LEAVE_CARD)

    def control(self, function: int, command: bytes) -> bytes:
        """The answer to a command under a function's number (3400, say). EscapeRefused, also for none."""
        result, answer = scard.SCardControl(self._handle, scard.SCARD_CTL_CODE(function), list(command))
        code = result & _UNSIGNED
        if code in _ESCAPE_REFUSED:
            raise EscapeRefused(f"{code:#010x}")
        _check(result)
        return bytes(answer)


# pyscard gives the codes signed on some platforms, its constants never are.
_UNSIGNED = 0xFFFFFFFF


def _check_card(result: int) -> None:
    if result & _UNSIGNED in _CARD_GONE:
        raise CardGone
    _check(result)


def _check(result: int) -> None:
    code = result & _UNSIGNED
    if code == scard.SCARD_S_SUCCESS:
        return
    if code in _READER_GONE:
        raise ReaderFault("unplugged", GONE)
    if code in _SERVICE_GONE:
        raise ReaderFault("unplugged", NO_SERVICE)
    if code == scard.SCARD_W_SECURITY_VIOLATION:
        raise ReaderFault("unplugged", NO_ACCESS)
    raise ReaderFault(
        "unplugged", f"pcscd reports an error ({code:#010x}): restart it, then unplug the reader"
    )
