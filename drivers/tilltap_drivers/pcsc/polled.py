"""A PC/SC reader that sends Apple's polling frame: the till polls through it, or tells it to do so itself.

Everything here is an opt-in (`ecp`), because a reader may take such commands amiss, and comes from documents:
nobody has tried it with a reader yet. What a reader refuses is in its remedy, and it goes on without.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from tilltap_drivers.contract import DriverEvent, Observer, ReadFailure
from tilltap_drivers.io.worker import Stopped
from tilltap_drivers.nfc.errors import Removed
from tilltap_drivers.nfc.wallet import Wallet
from tilltap_drivers.pcsc import transparent
from tilltap_drivers.pcsc.scard import Direct, EscapeRefused
from tilltap_drivers.pcsc.settings import PcscSettings
from tilltap_drivers.pcsc.transparent import Refused, Talk
from tilltap_drivers.polling import ecp
from tilltap_drivers.polling.watch import FIELD_OFF, Field, Target, Watch, pause

# Asks a driver for its features (PC/SC part 10, 2.2); the one that names the code for commands to the reader,
# and the codes of those that name none: libccid's, and that of ACS's driver and of Windows.
GET_FEATURES, _ESCAPE_FEATURE = 3400, 0x13
_FUNCTIONS = (1, 3500)

# Bytes of one feature: tag, length, code. Its low 16 bits are the function's number on Linux.
_FEATURE = 6

# PC/SC part 3, 3.2.2.1.3: the reader itself answers with the chip's number.
GET_UID = bytes.fromhex("FFCA000000")

# An ACR122U's own commands: firmware, its own polling off and on, a command to its PN532 (ACS, API of the
# ACR122U; ecp-and-pcsc.md, 3.5).
_FIRMWARE = bytes.fromhex("FF00480000")
_POLLING_OFF, _POLLING_ON = bytes.fromhex("FF00517F00"), bytes.fromhex("FF0051FF00")
_TO_CHIP = bytes.fromhex("FF000000")

# Seconds of field before a phone can be asked (ISO/IEC 14443-3: 5 ms).
GUARD = 0.005

# A reader that fails so often in a row, each time within so many seconds, is left to poll by itself; after a
# failure it gets some time. One that works longer between two failures loses little, and is never given up.
TRIES, CALM, AGAIN = 3, 10.0, 1.0

# Phones in a row that broke off while pcscd saw them: once is a customer's hand.
MEDDLED_WITH = 2

# Bytes of a reader's answer that are worth a place in the log.
_SHOWN = 24

WITHOUT = "reads passes, but iPhones do not bring them up by themselves: "
NOT_ALLOWED = (
    "its driver lets no command through to it (libccid: set ifdDriverOptions to 0x0001 in Info.plist and"
    " restart pcscd; another driver: name its code in `ecp_code`; or remove `ecp`)"
)
SILENT = "it does not answer all commands"
MEDDLED = "pcscd powers up the phones that the till talks to"
ANOTHER = " (choose another `ecp` for this model, or remove it)"


class Escape:
    """Commands to the reader itself, under the first function that lets one through. EscapeRefused.

    `allowed`: whether one ever was.
    """

    def __init__(self, direct: Direct, function: int | None) -> None:
        self.allowed = False
        self._direct = direct
        self._functions: tuple[int, ...] = (function,) if function else self._candidates()

    def _candidates(self) -> tuple[int, ...]:
        with suppress(EscapeRefused):
            named = escape_function(self._direct.control(GET_FEATURES, b""))
            return tuple(dict.fromkeys((*named, *_FUNCTIONS)))
        return _FUNCTIONS

    def __call__(self, command: bytes) -> bytes:
        *others, last = self._functions
        for function in others:
            with suppress(EscapeRefused):
                return self._under(function, command)
        return self._under(last, command)

    def _under(self, function: int, command: bytes) -> bytes:
        answer = self._direct.control(function, command)
        self._functions = (function,)
        self.allowed = True
        return answer


def escape_function(features: bytes) -> tuple[int, ...]:
    """Of a driver's list of features; none if it names none. Pure."""
    for at in range(0, len(features) - _FEATURE + 1, _FEATURE):
        if features[at : at + 2] == bytes((_ESCAPE_FEATURE, 4)):
            return (int.from_bytes(features[at + 4 : at + 6], "big"),)
    return ()


def done(answer: bytes) -> bytes:
    """What comes before the status 9000; nothing before another. Pure."""
    return answer[:-2] if answer[-2:] == b"\x90\x00" else b""


class Session:
    """The field of a reader in a transparent session. Refused, EscapeRefused, Stopped."""

    def __init__(self, escape: Escape, settings: PcscSettings, wallet: Wallet, stop: threading.Event) -> None:
        self._escape = escape
        self._stop = stop
        self._wants_uid = wallet.cards.uid
        self._say(transparent.opening())
        self.reset_field()  # the reader may have activated a phone, which then answers nobody else
        assert wallet.apple is not None, "there is nothing to announce"
        self._flags = (
            self._say(transparent.find_flags(ecp.frame(wallet.apple.mode)))
            if settings.ecp_flags is None
            else settings.ecp_flags
        )

    def find(self) -> Target | None:
        return Target(self._uid(), iso_dep=True) if self._say(transparent.find()) else None

    def announce(self, frame: bytes) -> None:
        self._say(transparent.announce(frame, self._flags))

    def exchange(self, apdu: bytes) -> bytes:
        return self._say(transparent.exchange(apdu, self._flags))

    def there(self, target: Target) -> bool:  # noqa: ARG002 -- who answers is the same
        """Activated once more, the field left on: the phone sees no new reader."""
        return self._say(transparent.find())

    def reset_field(self) -> None:
        self._say(transparent.field(on=False))
        time.sleep(FIELD_OFF)
        self._say(transparent.field(on=True))
        time.sleep(GUARD)

    def _uid(self) -> bytes:
        return done(self._escape(GET_UID)) if self._wants_uid else b""

    def _say(self, talk: Talk[transparent.T]) -> transparent.T:
        try:
            command = next(talk)
            while True:
                if self._stop.is_set():
                    raise Stopped
                command = talk.send(self._escape(command))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


@contextmanager
def _session(
    escape: Escape, settings: PcscSettings, wallet: Wallet, stop: threading.Event
) -> Iterator[Field]:
    try:
        yield Session(escape, settings, wallet, stop)
    finally:
        with suppress(EscapeRefused):
            for command in transparent.closing():
                escape(command)


@contextmanager
def _acr122u(escape: Escape, stop: threading.Event) -> Iterator[Field]:
    try:
        from tilltap_drivers.pn532.chip import Chip, ChipSilent, OtherChip
        from tilltap_drivers.pn532.line import Tunnel
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise Refused(f"package {package} is missing: pip install 'tilltap[pn532]'") from None

    def send(command: bytes) -> bytes:
        return done(escape(_TO_CHIP + bytes((len(command),)) + command))

    escape(_FIRMWARE)
    try:
        escape(_POLLING_OFF)
        chip = Chip(Tunnel(send, stop.is_set))
        try:
            chip.start()
            yield chip
        finally:
            chip.close()
    except ChipSilent:
        raise Refused("the PN532 in it does not answer") from None
    except OtherChip as other:
        raise Refused(f"a {other} is in it, not a PN532") from None
    finally:
        with suppress(EscapeRefused):
            escape(_POLLING_ON)


def poll(
    escape: Escape,
    settings: PcscSettings,
    wallet: Wallet,
    put: Callable[[DriverEvent], None],
    stop: threading.Event,
    observe: Observer | None,
    seen: Callable[[], bool],
) -> str:
    """Polls until the run ends, by an exception; or says in one sentence why that cannot be.

    `seen`: whether pcscd sees a card now, which it would power up.
    """
    failures = 0
    put = _unless_meddled(put, seen)
    while True:
        since = time.monotonic()
        try:
            with (
                _acr122u(escape, stop)
                if settings.ecp == "acr122u"
                else _session(escape, settings, wallet, stop)
            ) as field:
                Watch(field, wallet, put, stop, observe).forever()
        except EscapeRefused:
            why = SILENT + ANOTHER if escape.allowed else NOT_ALLOWED
        except Refused as error:
            why = f"{error}{ANOTHER}"
        except _Meddled:
            return WITHOUT + MEDDLED + ANOTHER
        failures = failures + 1 if time.monotonic() - since < CALM else 1
        if failures == TRIES:
            return WITHOUT + why
        pause(stop, AGAIN)


class _Meddled(Exception):
    """pcscd sees the phones that the till talks to, and powers them up in the middle of it."""


def _unless_meddled(
    put: Callable[[DriverEvent], None], seen: Callable[[], bool]
) -> Callable[[DriverEvent], None]:
    """`put`, raising `_Meddled` behind the second phone in a row that broke off under pcscd's eyes."""
    in_a_row = 0

    def told(event: DriverEvent) -> None:
        nonlocal in_a_row
        put(event)
        broke_off = isinstance(event, ReadFailure) and event.reason == Removed.reason
        in_a_row = in_a_row + 1 if broke_off and seen() else 0
        if in_a_row == MEDDLED_WITH:
            raise _Meddled

    return told


def configure(escape: Escape, commands: Sequence[bytes]) -> tuple[str, str]:
    """Sends them; why the reader does not poll for passes now, if so, and what it answered, for the log."""
    answers: list[str] = []
    for command in commands:
        try:
            answer = escape(command)
        except EscapeRefused:
            return WITHOUT + (SILENT + ANOTHER if escape.allowed else NOT_ALLOWED), ""
        if len(answer) == 2 and answer[0] >> 4 == 6:
            return f"{WITHOUT}it answers {_hex(answer)} to {_hex(command)}{ANOTHER}", ""
        answers.append(_hex(answer) or "nothing")
    return "", f"its answers: {', '.join(answers)}"


def _hex(data: bytes) -> str:
    return data[:_SHOWN].hex().upper()
