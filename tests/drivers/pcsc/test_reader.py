"""The PC/SC driver on a real pcscd, with simulated phones in virtual readers."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import anyio
import pytest
from anyio import to_thread

from drivers.contract_suite import DriverContract, Rig
from rigs import pcsc
from rigs.pcsc import READ, Counting, LiftedAt, Stuck, android, iphone
from rigs.reading import NO_PASS, Customers, apdus, apple, google, lifted_at_every_apdu, running, text_record
from tilltap_drivers.contract import DriverEvent, Health, PassRead, ReaderFault, ReadFailure
from tilltap_drivers.nfc.phones import ApplePass, Device, IPhone, MuteCard, NdefTag, PaymentCard
from tilltap_drivers.nfc.visits import AGAIN
from tilltap_drivers.nfc.words import AUTHENTICATE, CHOOSE, UNLOCK
from tilltap_drivers.pcsc.reader import BUSY, PcscDriver
from tilltap_drivers.pcsc.scard import Context, State
from tilltap_drivers.pcsc.settings import PcscSettings
from tilltap_drivers.pcsc.virtual import Slot, VirtualReaders

pytestmark = pytest.mark.anyio


def driver(readers: VirtualReaders, number: int = 0, *cards: str) -> PcscDriver:
    return PcscDriver(PcscSettings("desk", readers.names[number], cards), pcsc.wallet())


async def present(slot: Slot, device: Device) -> None:
    await to_thread.run_sync(slot.present, device)


async def remove(readers: VirtualReaders, number: int = 0) -> None:
    """Until the reader has seen it, and takes the next phone for another."""
    await to_thread.run_sync(pcsc.take_away, readers, number)


async def each(count: int, visit: Callable[[VirtualReaders, int], Awaitable[None]]) -> None:
    """`count` visits at once, each to a reader of its own: pcscd looks at a reader only every 0.4 s."""
    with pcsc.pcscd(count) as readers:
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(visit, readers, number)


class TestContract(DriverContract):
    @pytest.fixture
    def rig(self, readers: VirtualReaders) -> Iterator[Rig]:
        customers = Phones(readers)
        yield Rig(driver(readers), [b"one", b"two"], customers.come, readers.stop, readers.start)
        customers.leave()


class Phones(Customers):
    def __init__(self, readers: VirtualReaders) -> None:
        super().__init__()
        self._readers = readers
        self._phones = iphone("one"), android("two")

    def tap(self) -> None:
        for phone in self._phones:
            self._readers.slots[0].present(phone)
            self._readers.slots[0].until_read(READ)
            pcsc.take_away(self._readers)


# What a reader may meet in turn, and what must come of it.
VISITORS: list[tuple[Callable[[str], Device], Callable[[str], list[DriverEvent]]]] = [
    (iphone, lambda value: [apple(value)]),
    (android, lambda value: [google(value)]),
    (lambda _: PaymentCard(), lambda _: [NO_PASS]),
    (lambda value: NdefTag(text_record(value)), lambda value: [PassRead(value.encode(), "card")]),
    (lambda _: MuteCard(), lambda _: [NO_PASS]),
]


READERS, PRESENTATIONS = 16, 200


async def test_200_presentations_in_turn_each_give_exactly_their_event() -> None:
    said: list[list[DriverEvent]] = [[] for _ in range(READERS)]
    wanted: list[list[DriverEvent]] = [[] for _ in range(READERS)]
    turns = itertools.count()

    async def visits(readers: VirtualReaders, number: int) -> None:
        slot = readers.slots[number]
        async with running(driver(readers, number, "ndef")) as run:
            while (turn := next(turns)) < PRESENTATIONS:
                device, events = VISITORS[turn % len(VISITORS)]
                wanted[number] += events(f"customer-{turn}")
                await present(slot, device(f"customer-{turn}"))
                await run.until(lambda: len(run.taps) >= len(wanted[number]), 4 * READ)
                await remove(readers, number)
            said[number] = run.taps

    await each(READERS, visits)
    assert said == wanted
    assert sum(len(events) for events in said) == PRESENTATIONS


async def test_an_apple_pass_costs_2_apdus_and_a_google_pass_4_and_its_parts(readers: VirtualReaders) -> None:
    async with running(driver(readers)) as run:
        for count, phone, least in ((1, Counting(iphone("a" * 20)), 2), (2, Counting(android("b" * 20)), 4)):
            await present(readers.slots[0], phone)
            await run.until(lambda count=count: len(run.taps) == count)
            await remove(readers)
            parts = [command for command in phone.commands if command[:2] == b"\x90\xc0"]
            assert len(phone.commands) - len(parts) == least
            assert len(parts) <= 2


async def test_a_phone_left_on_the_reader_is_read_once(readers: VirtualReaders) -> None:
    phone = Counting(iphone("one"))
    async with running(driver(readers)) as run:
        await present(readers.slots[0], phone)
        await run.until(lambda: run.taps)
        await anyio.sleep(3 * AGAIN)
        assert len(run.taps) == 1
        assert len(phone.commands) == 2
        assert (
            phone.sessions[-1] == []
        )  # the field was reset after the conversation: the phone knows it is over


async def test_a_locked_phone_is_tried_again_every_second_until_it_is_opened(readers: VirtualReaders) -> None:
    phone = iphone("one", unlocked=False)
    async with running(driver(readers)) as run:
        await present(readers.slots[0], phone)
        await run.until(lambda: len(run.taps) == 3)
        assert set(run.taps) == {ReadFailure("locked", AUTHENTICATE, "apple-vas")}
        phone.authenticate()
        opened = time.monotonic()
        await run.until(lambda: isinstance(run.taps[-1], PassRead))
        assert time.monotonic() - opened < AGAIN + 0.5


async def test_what_the_customer_should_do_comes_as_a_sentence() -> None:
    def two_passes() -> IPhone:
        held = [ApplePass(pcsc.PASS_TYPE_ID, pcsc.APPLE_KEY.public, value) for value in (b"one", b"two")]
        return IPhone(held, random=pcsc.RANDOM, now=time.time)

    def two_google_passes() -> Device:
        phone = android("one")
        phone.passes *= 2
        return phone

    expected = [
        (iphone("one", unlocked=False), ReadFailure("locked", AUTHENTICATE, "apple-vas")),  # 6287
        (two_passes(), ReadFailure("locked", CHOOSE, "apple-vas")),  # 6984
        (android("two", unlocked=False), ReadFailure("locked", UNLOCK, "google-smart-tap")),  # 9300
        (two_google_passes(), ReadFailure("locked", CHOOSE, "google-smart-tap")),  # 9302
    ]

    async def visit(readers: VirtualReaders, number: int) -> None:
        phone, failure = expected[number]
        async with running(driver(readers, number)) as run:
            await present(readers.slots[number], phone)
            await run.until(lambda: run.taps)
            assert set(run.taps) == {failure}

    await each(len(expected), visit)


@pytest.mark.parametrize("make", [iphone, android])
async def test_lifted_at_every_apdu_it_is_unreadable_or_nothing_and_the_next_tap_counts(
    make: Callable[[str], Device],
) -> None:
    """Before each answer and after it, each on a reader of its own."""
    whole = apdus(make("whole"))
    cases = [(index, answered) for index in range(whole) for answered in (False, True)]
    said: list[list[DriverEvent]] = [[] for _ in cases]

    async def visit(readers: VirtualReaders, number: int) -> None:
        index, answered = cases[number]
        slot, phone = readers.slots[number], LiftedAt(make("cut"), index, answered=answered)
        async with running(driver(readers, number)) as run:
            await present(slot, phone)
            await to_thread.run_sync(slot.until_read, READ)
            await remove(readers, number)
            said[number] = run.taps
            await present(slot, make("next"))
            await run.until(lambda: isinstance(run.events[-1], PassRead) and run.events[-1].value == b"next")
        assert len(phone.commands) == index + 1

    await each(len(cases), visit)
    lifted_at_every_apdu(said)


async def test_cards_count_only_when_they_are_asked_for() -> None:
    expected = {
        (): [NO_PASS, NO_PASS],
        ("ndef",): [PassRead(b"member-7", "card"), NO_PASS],
        ("uid",): [PassRead(b"04A1B2C3D4E580", "card", uid="04A1B2C3D4E580")] * 2,
        ("ndef", "uid"): [
            PassRead(b"member-7", "card"),
            PassRead(b"04A1B2C3D4E580", "card", uid="04A1B2C3D4E580"),
        ],
    }

    async def visit(readers: VirtualReaders, number: int) -> None:
        cards, events = list(expected.items())[number]
        async with running(driver(readers, number, *cards)) as run:
            tag, bank = NdefTag(text_record("member-7")), PaymentCard(bytes.fromhex("04a1b2c3d4e580"))
            for count, card in enumerate((tag, bank), 1):
                await present(readers.slots[number], card)
                await run.until(lambda count=count: len(run.taps) == count)
                await remove(readers, number)
            assert run.taps == events

    await each(len(expected), visit)


async def test_a_chip_s_random_number_is_nobody(readers: VirtualReaders) -> None:
    async with running(driver(readers, 0, "uid")) as run:
        await present(readers.slots[0], PaymentCard(bytes.fromhex("08010203")))
        await run.until(lambda: run.taps)
        assert run.taps == [ReadFailure("no-pass", "random-uid", "card")]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_pcscd_may_die_and_come_back(readers: VirtualReaders, how: signal.Signals) -> None:
    """Again and again, leaving nothing behind."""
    phone = iphone("one")
    this = driver(readers)
    async with running(this) as run:
        await present(readers.slots[0], phone)
        await run.until(lambda: run.taps)
        await to_thread.run_sync(readers.stop, how)
        await run.until(lambda: run.fault)
        assert (run.fault.state, "pcscd is not running" in run.fault.remedy) == ("unplugged", True)
    assert not this.present()
    await to_thread.run_sync(readers.slots[0].remove)
    descriptors = []
    for _ in range(5):
        await to_thread.run_sync(readers.start)
        assert this.present()
        async with running(this) as run:
            await to_thread.run_sync(readers.stop, how)
            await run.until(lambda run=run: run.fault)
        descriptors.append(len(os.listdir("/proc/self/fd")))
    assert descriptors[-1] <= descriptors[0]
    await to_thread.run_sync(readers.start)
    async with running(this) as run:
        await present(readers.slots[0], phone)
        await run.until(lambda: run.taps)
        assert isinstance(run.taps[0], PassRead)


async def test_pcscd_that_dies_in_the_middle_of_a_conversation_is_a_fault(readers: VirtualReaders) -> None:
    phone = Stuck(android("one"), 2)
    async with running(driver(readers)) as run:
        await present(readers.slots[0], phone)
        await run.until(lambda: len(phone.commands) == 3)
        await to_thread.run_sync(readers.stop, signal.SIGKILL)
        await run.until(lambda: run.fault)
        assert run.fault.state == "unplugged"
    phone.released.set()


async def test_a_stop_takes_no_longer_for_a_phone_that_hangs(readers: VirtualReaders) -> None:
    phone = Stuck(iphone("one"), 0)
    this = driver(readers)
    async with running(this):
        await present(readers.slots[0], phone)
        with anyio.fail_after(READ):
            while not phone.commands:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 0.6
    phone.released.set()
    await remove(readers)
    async with running(this) as run:  # the thread that was left has let go of the reader
        await present(readers.slots[0], iphone("two"))
        await run.until(lambda: run.taps)
        assert run.taps[0].value == b"two"


async def test_a_reader_that_another_program_holds_is_silent_until_it_lets_go(
    readers: VirtualReaders,
) -> None:
    name = readers.names[0]
    with ExitStack() as other_program:
        context = other_program.enter_context(Context())
        await present(readers.slots[0], iphone("one"))
        state = State()
        while not state.present:
            state = await to_thread.run_sync(context.wait, name, state, READ)
        other_program.enter_context(context.connect(name))
        async with running(driver(readers)) as run:
            await run.until(lambda: run.events[-1] == Health("silent", BUSY))
            assert not run.taps
            other_program.close()
            await run.until(lambda: run.taps)
            assert run.events[-2:] == [Health("up"), run.taps[0]]


async def test_a_name_that_matches_none_or_several_says_which_there_are(readers: VirtualReaders) -> None:
    for match, state, words in (
        ("ACR1252", "unplugged", f"pcscd sees: {readers.names[0]}"),
        ("tilltap", "wrong-device", "2 readers have"),
    ):
        this = PcscDriver(PcscSettings("desk", match), pcsc.wallet())
        assert not this.present()
        with pytest.raises(ReaderFault) as caught:
            await anext(this.reads())
        assert (caught.value.state, words in caught.value.remedy) == (state, True)
