"""The PN532 driver with nfcpy and an emulated chip on a real pty, and simulated phones behind it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from drivers.contract_suite import DriverContract, Rig
from rigs import pn532, reading
from rigs.pcsc import COLLECTOR, GOOGLE_KEY, READ, Counting, LiftedAt, android, iphone, wallet
from rigs.reading import NO_PASS, Customers, Run, apdus, apple, google, lifted_at_every_apdu, text_record
from tilltap_drivers.contract import DriverEvent, Health, PassRead, ReadFailure
from tilltap_drivers.nfc.phones import Device, MuteCard, NdefTag, PaymentCard
from tilltap_drivers.nfc.visits import AGAIN, BLINK
from tilltap_drivers.nfc.wallet import GoogleKey, GoogleWallet, Wallet
from tilltap_drivers.nfc.words import AUTHENTICATE, UNLOCK
from tilltap_drivers.pn532.line import RAISED_BAUD
from tilltap_drivers.pn532.reader import Pn532Driver
from tilltap_drivers.pn532.settings import Pn532Settings
from tilltap_drivers.pn532.simulator import Pn532Simulator
from tilltap_drivers.polling import ecp

pytestmark = pytest.mark.anyio

UP = Health("up", identity="PN532v1.6")


def driver(board: Pn532Simulator, *cards: str, baud: int = 115200, own: Wallet | None = None) -> Pn532Driver:
    return Pn532Driver(Pn532Settings("counter", str(board.link), baud, cards), own or wallet())


@asynccontextmanager
async def running(driver: Pn532Driver) -> AsyncIterator[Run]:
    """It ends at once, whatever the chip is doing; "up" is said again with its name."""
    async with reading.running(driver, passing_over=Health("up"), ends_within=0.5) as run:
        yield run


async def take_away(board: Pn532Simulator) -> None:
    await to_thread.run_sync(pn532.take_away, board)


class TestContract(DriverContract):
    @pytest.fixture
    def rig(self, board: Pn532Simulator) -> Iterator[Rig]:
        customers = Phones(board)
        yield Rig(driver(board), [b"one", b"two"], customers.come, board.unplug, board.plug)
        customers.leave()


class Phones(Customers):
    def __init__(self, board: Pn532Simulator) -> None:
        super().__init__()
        self._board = board

    def tap(self) -> None:
        for phone in (iphone("one"), android("two")):
            self._board.present(LeavesWhenRead(phone, self._board))
            until = time.monotonic() + READ
            while self._board.chip.device is not None and time.monotonic() < until:
                time.sleep(0.005)
            self._board.remove()
            time.sleep(1.4 * BLINK)


class LeavesWhenRead(Counting):
    """A phone that is taken away the moment the reader is done with it."""

    def __init__(self, device: Device, board: Pn532Simulator) -> None:
        super().__init__(device)
        self._board = board

    def field_off(self) -> None:
        super().field_off()
        if self.commands:
            self._board.chip.device = None


async def test_phones_cards_and_tags_in_turn_each_give_exactly_their_event(board: Pn532Simulator) -> None:
    visitors: list[tuple[Device, DriverEvent]] = [
        (iphone("one"), apple("one")),
        (android("two"), google("two")),
        (PaymentCard(), NO_PASS),
        (NdefTag(text_record("three")), PassRead(b"three", "card")),
        (MuteCard(), NO_PASS),
        (iphone("four"), apple("four")),
        (android("x" * 250), google("x" * 250)),
    ]
    async with running(driver(board, "ndef")) as run:
        for count, (device, _) in enumerate(visitors, 1):
            board.present(device)
            await run.until(lambda count=count: len(run.taps) == count)
            await take_away(board)
        assert run.events == [UP, *(event for _, event in visitors)]


async def test_an_iphone_brings_its_pass_up_because_it_is_asked(board: Pn532Simulator) -> None:
    async with running(driver(board)) as run:
        board.present(iphone("one"), waits=True)
        await run.until(lambda: run.taps, 1.0)
        assert run.taps == [apple("one")]
    assert set(board.chip.announced) == {ecp.frame(2)}


async def test_a_shop_without_apple_passes_asks_no_iphone(board: Pn532Simulator) -> None:
    own = Wallet(google=GoogleWallet(COLLECTOR, (GoogleKey(1, GOOGLE_KEY),)))
    async with running(driver(board, own=own)) as run:
        board.present(iphone("one"), waits=True)
        await anyio.sleep(0.5)
        assert run.taps == []
        board.present(android("two"))
        await run.until(lambda: run.taps)
        assert run.taps == [google("two")]
    assert board.chip.announced == []


@pytest.mark.parametrize("waits", [False, True])
async def test_a_phone_left_on_the_reader_is_read_once(board: Pn532Simulator, waits: bool) -> None:
    phone = Counting(iphone("one"))
    async with running(driver(board)) as run:
        board.present(phone, waits=waits)
        await run.until(lambda: run.taps)
        await anyio.sleep(2.5 * AGAIN)
        assert run.taps == [apple("one")]
        assert len(phone.commands) == 2  # an Apple pass costs 2 APDUs
        assert phone.sessions[-1] == []  # the field was reset: the phone knows it is over


@pytest.mark.parametrize(
    ("make", "failure", "read"),
    [
        (iphone, ReadFailure("locked", AUTHENTICATE, "apple-vas"), apple("one")),
        (android, ReadFailure("locked", UNLOCK, "google-smart-tap"), google("one")),
    ],
)
async def test_a_locked_phone_is_tried_again_every_second_until_it_is_opened(
    board: Pn532Simulator, make: Callable[..., Device], failure: ReadFailure, read: PassRead
) -> None:
    phone = make("one", unlocked=False)
    async with running(driver(board)) as run:
        board.present(phone)
        await run.until(lambda: run.taps)
        began = time.monotonic()
        await run.until(lambda: len(run.taps) == 2)
        assert 0.9 * AGAIN < time.monotonic() - began < AGAIN + 0.5
        assert set(run.taps) == {failure}
        phone.unlocked = True
        await run.until(lambda: run.taps[-1] == read, AGAIN + 0.5)


async def test_cards_count_only_when_they_are_asked_for(board: Pn532Simulator) -> None:
    number = PassRead(b"04A1B2C3D4E580", "card", uid="04A1B2C3D4E580")
    card = PaymentCard(bytes.fromhex("04a1b2c3d4e580"))
    for cards, event in ((("uid",), number), ((), NO_PASS)):
        for iso_dep in (True, False):
            async with running(driver(board, *cards)) as run:
                board.present(card, iso_dep=iso_dep)
                await run.until(lambda run=run: run.taps)
                await anyio.sleep(0.5)
                assert run.taps == [event]
            board.remove()


@pytest.mark.parametrize("make", [iphone, android])
async def test_lifted_at_every_apdu_it_is_unreadable_or_nothing_and_the_next_tap_counts(
    tmp_path: Path, make: Callable[[str], Device]
) -> None:
    cases = [(index, answered) for index in range(apdus(make("whole"))) for answered in (False, True)]
    said: list[list[DriverEvent]] = [[] for _ in cases]

    async def visit(number: int) -> None:
        index, answered = cases[number]
        board = Pn532Simulator(tmp_path / str(number))
        board.plug()
        try:
            async with running(driver(board)) as run:
                phone = LiftedAt(make("cut"), index, answered=answered)
                board.present(phone)
                await run.until(lambda: board.chip.device is None)
                await anyio.sleep(2 * BLINK)
                said[number] = run.taps
                board.present(make("next"))
                await run.until(
                    lambda: isinstance(run.events[-1], PassRead) and run.events[-1].value == b"next"
                )
                assert len(phone.commands) == index + 1
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(board.unplug)

    async with anyio.create_task_group() as group:
        for number in range(len(cases)):
            group.start_soon(visit, number)
    lifted_at_every_apdu(said)


@pytest.mark.parametrize("noise", [b"\x00", b"\x00\x00\xff", b"\x00\xff\x00\xff\xff\xff", bytes(range(256))])
async def test_noise_on_the_line_does_no_harm(board: Pn532Simulator, noise: bytes) -> None:
    async with running(driver(board)) as run:
        board.noise = noise
        board.present(iphone("one"))
        await run.until(lambda: run.taps)
        assert run.events == [UP, apple("one")]


async def test_a_chip_that_answers_late_is_still_read(board: Pn532Simulator) -> None:
    board.delay = 0.03
    async with running(driver(board)) as run:
        board.present(android("one"))
        await run.until(lambda: run.taps)
        assert run.events == [UP, google("one")]


async def test_a_chip_that_falls_silent_is_told_once_and_found_again(board: Pn532Simulator) -> None:
    async with running(driver(board)) as run:
        board.chip.muted = True
        await run.until(lambda: len(run.events) == 2)
        await anyio.sleep(1.5)
        silent = run.events[1]
        assert run.events == [UP, silent]
        assert isinstance(silent, Health)
        assert silent.state == "silent"
        assert str(board.link) in silent.remedy
        board.chip.muted = False
        await run.until(lambda: run.events[2:] == [UP])
        board.present(iphone("one"))
        await run.until(lambda: run.taps)
        assert run.taps == [apple("one")]


async def test_a_chip_that_never_answered_is_silent_and_no_fault(board: Pn532Simulator) -> None:
    board.chip.muted = True
    async with running(driver(board)) as run:
        assert [event.state for event in run.events if isinstance(event, Health)] == ["silent"]
        board.chip.muted = False
        await run.until(lambda: run.events[-1] == UP)


async def test_a_chip_that_lost_power_and_its_settings_is_set_up_again(board: Pn532Simulator) -> None:
    async with running(driver(board)) as run:
        board.chip.power_on()
        await run.until(lambda: run.events[-1] == UP and len(run.events) == 3)
        board.present(iphone("one"))
        await run.until(lambda: run.taps)
        assert run.taps == [apple("one")]


async def test_another_chip_is_the_wrong_device(board: Pn532Simulator) -> None:
    board.chip.firmware = bytes.fromhex("33020707")
    async with running(driver(board)) as run:
        await run.until(lambda: run.fault)
        assert run.fault is not None
        assert (run.fault.state, run.events) == ("wrong-device", [])
        assert run.fault.remedy == f"{board.link} is a PN533v2.7, not a PN532: correct `port`"


@pytest.mark.parametrize("baud", [115200, 57600])
async def test_a_chip_at_another_speed_is_brought_to_that_of_the_configuration(
    board: Pn532Simulator, baud: int
) -> None:
    """A program that raised the speed and was killed leaves the chip awake and fast."""
    assert list(board.chip.receive(b"\x55")) == []
    board.chip.speed = RAISED_BAUD
    async with running(driver(board, baud=baud)) as run:
        assert run.events == [UP]
        assert board.chip.speed == baud
        board.present(iphone("one"))
        await run.until(lambda: run.taps)
        assert run.taps == [apple("one")]


async def test_a_run_that_ends_leaves_the_chip_asleep_and_the_field_off(board: Pn532Simulator) -> None:
    phone = Counting(iphone("one"))
    async with running(driver(board)) as run:
        board.present(phone)
        await run.until(lambda: run.taps)
    assert board.chip.asleep
    assert phone.sessions[-1] == []


async def test_it_stops_at_once_in_the_middle_of_an_apdu(board: Pn532Simulator) -> None:
    class Stuck(Counting):
        def answer(self, command: bytes) -> bytes:
            time.sleep(1.0)
            return super().answer(command)

    async with running(driver(board)) as run:  # its end is timed
        board.present(Stuck(iphone("one")))
        await anyio.sleep(0.3)
        assert run.events == [UP]


async def test_the_plug_pulled_with_a_phone_on_the_reader_is_a_fault(board: Pn532Simulator) -> None:
    this = driver(board)
    async with running(this) as run:
        board.present(iphone("one"))
        await run.until(lambda: run.taps)
        await to_thread.run_sync(board.unplug)
        await run.until(lambda: run.fault)
        assert run.fault is not None
        assert (run.fault.state, str(board.link) in run.fault.remedy) == ("unplugged", True)
    assert not this.present()
