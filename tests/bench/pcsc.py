"""What a presentation costs at a PC/SC reader: APDUs, and the host's time between two of them.

Times are taken by the phone, from its answer to the next command, so pcscd and both libraries are in them. The
least is a bare pyscard loop that sends the same bytes and gets the same answers back.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from smartcard import scard

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from rigs import pcsc
from rigs.pcsc import Counting
from tilltap_drivers.contract import PassRead
from tilltap_drivers.nfc.phones import Device
from tilltap_drivers.nfc.wallet import Wallet
from tilltap_drivers.pcsc.reader import _Watch
from tilltap_drivers.pcsc.scard import Context, State
from tilltap_drivers.pcsc.virtual import VirtualReaders

PRESENTATIONS = 200

# NEGOTIATE of Smart Tap. What stands before it and after it is its signature and its key agreement: the crypto
# that is measured apart.
NEGOTIATE = b"\x90\x53"


@dataclass(frozen=True)
class Figure:
    """Seconds each; `target` is for the difference of the medians, in milliseconds, None without one."""

    what: str
    ours: list[float]
    least: list[float]
    target: float | None = None

    @property
    def host_ms(self) -> float:
        """What tilltap adds between two APDUs."""
        return (median(self.ours) - median(self.least)) * 1000


class Clocked(Counting):
    """A device that takes the time between its answers and the commands that follow."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.answers: list[bytes] = []
        self.gaps: list[
            tuple[bytes, bytes, float]
        ] = []  # the command before, the one after, the time between
        self._last: tuple[bytes, float] | None = None

    def answer(self, command: bytes) -> bytes:
        if self._last is not None:
            before, at = self._last
            self.gaps.append((before, command, time.perf_counter() - at))
        answer = super().answer(command)
        self.answers.append(answer)
        self._last = command, time.perf_counter()
        return answer

    def field_off(self) -> None:
        self._last = None
        super().field_off()

    def between(self, *, crypto: bool) -> list[float]:
        return [gap for *around, gap in self.gaps if crypto == any(c[:2] == NEGOTIATE for c in around)]


class Parrot:
    """A device that gives the answers of another one, in turn."""

    uid = b"\x08\x01\x02\x03"

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = iter(answers)

    def answer(self, _command: bytes) -> bytes:
        return next(self._answers)

    def field_off(self) -> None:
        """It goes on where it was."""


def measure() -> list[Figure]:
    """The figures of `make bench`; needs what the tests need."""
    found = []
    with pcsc.pcscd() as readers, Context() as context:
        for name, phone in (
            ("Apple", pcsc.iphone("member-0042")),
            ("Google", pcsc.android("member-0042")),
        ):
            ours = Clocked(phone)
            presented(readers, context, ours, lambda ours=ours: ours_read(context, readers.names[0]))
            least = Clocked(Parrot(ours.answers))
            sessions = [session for session in ours.sessions if session]
            presented(readers, context, least, lambda s=sessions: bare_read(readers.names[0], s))
            apdus = len(ours.commands) / PRESENTATIONS
            what = f"{name} pass, {apdus:.0f} APDUs, between two"
            found.append(Figure(what, ours.between(crypto=False), least.between(crypto=False), 1.0))
            if crypto := ours.between(crypto=True):
                found.append(Figure(f"{name} pass, around negotiate", crypto, least.between(crypto=True)))
    return found


def presented(readers: VirtualReaders, context: Context, device: Device, read: Callable[[], None]) -> None:
    """The device lies on the reader while `read` works."""
    state = State()
    readers.slots[0].present(device)
    while not state.present:
        state = context.wait(readers.names[0], state)
    read()
    pcsc.take_away(readers)


def ours_read(context: Context, reader: str) -> None:
    """The driver's own conversations, one after the other; only the waiting for another phone is left out."""
    wallet: Wallet = pcsc.wallet()
    watch = _Watch(context, reader, wallet, lambda _: None)
    for _ in range(PRESENTATIONS):
        result = watch._read()
        assert isinstance(result, PassRead), result


def bare_read(reader: str, sessions: list[list[bytes]]) -> None:
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    for commands in sessions:
        _, card, protocol = scard.SCardConnect(
            context, reader, scard.SCARD_SHARE_EXCLUSIVE, scard.SCARD_PROTOCOL_T1
        )
        for command in [list(command) for command in commands]:
            result, _ = scard.SCardTransmit(card, protocol, command)
            assert result == scard.SCARD_S_SUCCESS
        scard.SCardDisconnect(card, scard.SCARD_UNPOWER_CARD)
    scard.SCardReleaseContext(context)


if __name__ == "__main__":
    for figure in measure():
        target = "" if figure.target is None else f"  (target <= {figure.target:.0f} ms)"
        print(
            f"{figure.what:<40}{median(figure.ours) * 1000:>8.3f} ms, bare {median(figure.least) * 1000:.3f} ms,"
            f" tilltap's part {figure.host_ms:.3f} ms{target}"
        )
