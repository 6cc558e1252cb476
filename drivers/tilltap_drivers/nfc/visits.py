"""What a reader makes of the devices held to it, one after the other; its clocks and its chance are given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tilltap_drivers.contract import Observer, PassRead, ReadFailure
from tilltap_drivers.nfc.converse import card_by_uid, prepare, present, unknown_card
from tilltap_drivers.nfc.errors import Removed
from tilltap_drivers.nfc.wallet import Wallet

# Seconds until a phone that was locked, or that lost contact and is still there, is tried again (contract
# 3.3: every second).
AGAIN = 1.0

# Seconds a device may seem gone after it was read and still be the same one: the field reset that ends a
# reading takes it away for as long as the reader needs to find it again. pcscd looks only every 0.4 s at
# readers that do not tell, an iPhone comes back after four polls of a PN532. Nobody exchanges two phones that
# fast, and a pass that wants a fingerprint for each reading would be `locked` the second time.
BLINK = 0.6

# Seconds within which a device must have said nothing twice to count as one without a pass. Once is a hand
# with a ring on it, or a phone at the edge of the field.
SILENCE = 3 * AGAIN

# An APDU in, its answer with the status word out; nothing at all if the device has left.
Transmit = Callable[[bytes], bytes]


class Visits:
    """The conversations of one run of a reader, in its thread.

    `random` and `now` as in `prepare`; `clock` gives seconds that no clock change moves (`time.monotonic`).
    """

    def __init__(
        self,
        wallet: Wallet,
        random: Callable[[int], bytes],
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._wallet = wallet
        self._prepare = partial(prepare, wallet, random, now)
        self._prepared = self._prepare()
        self._clock = clock
        self._silent = float("-inf")  # when a device last said nothing

    def read(self, transmit: Transmit, uid: Callable[[], bytes]) -> PassRead | ReadFailure | None:
        """One conversation with a device that takes APDUs; None if there is nothing to tell of it yet.

        `uid` is asked for the chip's number only where that may count.
        """
        conversation, answered = present(self._wallet, self._prepared), False
        try:
            command = next(conversation)
            while True:
                response = transmit(command)
                answered = answered or bool(response)
                command = conversation.send(response)
        except StopIteration as end:
            result: PassRead | ReadFailure = end.value
        finally:
            self._prepared = self._prepare()
        if not answered:
            return self.silence()
        if self._wallet.cards.uid and result == unknown_card():
            return card_by_uid(self._wallet, unknown_card(), uid())
        return result

    def silence(self) -> ReadFailure | None:
        """What to tell of a device that was there and said nothing."""
        before, self._silent = self._silent, self._clock()
        if self._silent - before > SILENCE:
            return None
        self._silent = float("-inf")
        return unknown_card()


def again_after(result: PassRead | ReadFailure | None) -> float | None:
    """Seconds until the same device, left where it is, is tried again; None: not before it has left."""
    if result is None or (isinstance(result, ReadFailure) and _changes_by_itself(result)):
        return AGAIN
    return None


def _changes_by_itself(result: ReadFailure) -> bool:
    return result.status == "locked" or result.reason == Removed.reason


def observed(transmit: Transmit, observe: Observer | None) -> Transmit:
    """The same, telling the observer both APDUs."""
    if observe is None:
        return transmit

    def told(command: bytes) -> bytes:
        observe(">", command)
        response = transmit(command)
        observe("<", response)
        return response

    return told
