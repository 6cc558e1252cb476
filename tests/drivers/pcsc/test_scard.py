"""What cannot be staged with vpcd: a reader pulled out while pcscd lives, refusals, and readers that blink."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

import pytest
from smartcard import scard

from rigs import pcsc
from tilltap_drivers.contract import DriverEvent, PassRead, ReaderFault
from tilltap_drivers.nfc.phones import Device
from tilltap_drivers.nfc.visits import BLINK
from tilltap_drivers.pcsc.reader import _Watch
from tilltap_drivers.pcsc.scard import Card, CardBusy, CardGone, Context, State

PRESENT, EMPTY, CHANGED = scard.SCARD_STATE_PRESENT, scard.SCARD_STATE_EMPTY, scard.SCARD_STATE_CHANGED


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Context]:
    """A context whose pcscd answers each named function so."""

    def make(**results: object) -> Context:
        every = {"SCardEstablishContext": (0, 7), "SCardReleaseContext": 0, **results}
        for name, result in every.items():
            monkeypatch.setattr(scard, name, lambda *_, result=result: result)
        return Context()

    return make


@pytest.mark.parametrize(
    "state", [scard.SCARD_STATE_UNKNOWN | CHANGED, scard.SCARD_STATE_UNAVAILABLE, scard.SCARD_STATE_IGNORE]
)
def test_a_reader_pulled_out_is_unplugged(answers: Callable[..., Context], state: int) -> None:
    context = answers(SCardGetStatusChange=(0, [("desk", state, []), ("list", CHANGED, [])]))
    with pytest.raises(ReaderFault) as caught:
        context.wait("desk", State())
    assert (caught.value.state, caught.value.remedy) == (
        "unplugged",
        "the reader is gone: plug it in again",
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (scard.SCARD_E_UNKNOWN_READER, "the reader is gone"),
        (scard.SCARD_E_READER_UNAVAILABLE, "the reader is gone"),
        (scard.SCARD_E_NO_SERVICE, "pcscd is not running"),
        (scard.SCARD_E_NO_SERVICE - 2**32, "pcscd is not running"),  # signed, as on some platforms
        (scard.SCARD_E_SERVICE_STOPPED, "pcscd is not running"),
        (scard.SCARD_F_COMM_ERROR, "pcscd is not running"),
        (scard.SCARD_W_SECURITY_VIOLATION, "PolicyKit action org.debian.pcsc-lite.access_pcsc"),
        (scard.SCARD_F_INTERNAL_ERROR, "pcscd reports an error (0x80100001)"),
    ],
)
def test_every_refusal_is_a_fault_with_a_remedy(
    answers: Callable[..., Context], code: int, words: str
) -> None:
    context = answers(
        SCardListReaders=(code, []), SCardGetStatusChange=(code, [("desk", 0, []), ("", 0, [])])
    )
    for call in (context.readers, lambda: context.wait("desk", State())):
        with pytest.raises(ReaderFault) as caught:
            call()
        assert caught.value.state == "unplugged"
        assert words in caught.value.remedy
        assert "\n" not in caught.value.remedy


def test_no_readers_is_an_empty_list(answers: Callable[..., Context]) -> None:
    assert answers(SCardListReaders=(scard.SCARD_E_NO_READERS_AVAILABLE, [])).readers() == []


@pytest.mark.parametrize("code", [0, scard.SCARD_E_TIMEOUT, scard.SCARD_E_CANCELLED])
def test_a_state_carries_its_count_and_what_the_next_wait_needs(
    answers: Callable[..., Context], code: int
) -> None:
    raw = 5 << 16 | PRESENT
    context = answers(SCardGetStatusChange=(code, [("desk", raw | CHANGED, []), ("list", 3 << 16, [])]))
    assert context.wait("desk", State()) == State(present=True, count=5, raw=raw, list_raw=3 << 16)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (scard.SCARD_W_REMOVED_CARD, CardGone),
        (scard.SCARD_W_UNRESPONSIVE_CARD, CardGone),
        (scard.SCARD_E_PROTO_MISMATCH, CardGone),
        (scard.SCARD_E_NOT_TRANSACTED, CardGone),
        (scard.SCARD_E_SHARING_VIOLATION, CardBusy),
        (scard.SCARD_E_NO_SERVICE, ReaderFault),
    ],
)
def test_a_card_that_cannot_be_connected(
    answers: Callable[..., Context], code: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        answers(SCardConnect=(code, 0, 0)).connect("desk")


@pytest.mark.parametrize("result", [(0, []), (0, [0x90]), (scard.SCARD_E_NOT_TRANSACTED, [])])
def test_less_than_a_status_word_is_no_answer(answers: Callable[..., Context], result: object) -> None:
    answers(SCardTransmit=result)
    with pytest.raises(CardGone):
        Card(1).transmit(b"\x00\xa4\x04\x00")


class Script:
    """A context in which a phone comes and goes as written: (seconds, present, count)."""

    def __init__(self, phone: Device, *states: tuple[float, bool, int]) -> None:
        self._phone = phone
        self._states = list(states)
        self.over = False

    def wait(self, _reader: str, known: State, seconds: float | None = None) -> State:
        if not self._states:
            self.over = True
            return known
        after, present, count = self._states[0]
        if seconds is not None and seconds < after:
            time.sleep(seconds)
            self._states[0] = (after - seconds, present, count)
            return known
        time.sleep(after)
        del self._states[0]
        return State(present=present, count=count)

    def connect(self, _reader: str) -> Script:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._phone.field_off()

    def transmit(self, command: bytes) -> bytes:
        return self._phone.answer(command)


@pytest.mark.parametrize(
    ("then", "taps"),
    [
        ([], 1),
        ([(0.1, False, 2), (BLINK / 3, True, 3)], 1),  # the field reset, as the reader sees it
        ([(0.1, False, 2), (BLINK / 3, False, 2), (BLINK / 3, True, 3)], 1),
        ([(0.1, True, 3)], 1),  # the same, too fast to be seen apart
        ([(0.1, False, 2), (0.1, True, 3), (0.1, False, 4), (0.1, True, 5)], 1),
        ([(0.1, False, 2), (BLINK * 1.3, True, 3)], 2),  # away long enough: another visit
        ([(0.1, False, 2), (0.1, True, 3), (0.1, False, 4), (BLINK * 1.3, True, 5)], 2),
    ],
)
def test_what_only_blinks_is_the_same_phone(then: list[tuple[float, bool, int]], taps: int) -> None:
    script = Script(pcsc.iphone("one"), (0.0, True, 1), *then)
    said: list[DriverEvent] = []
    _Watch(script, "desk", pcsc.wallet(), said.append).until(lambda: script.over)  # type: ignore[arg-type]
    assert [event.value for event in said if isinstance(event, PassRead)] == [b"one"] * taps
    assert len(said) == taps
