"""Apple's polling frame at PC/SC readers: the driver, a real pcscd, and readers that take commands (rigs/ifd.c)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from functools import partial

import anyio
import pytest
from anyio import to_thread

from drivers.contract_suite import DriverContract, Rig
from rigs import escape, pcsc, reading
from rigs.escape import PASSES_ONLY, READER, Acr122u, Configurable, Meddlesome, Plain, Reader, Transparent
from rigs.pcsc import READ, Counting, LiftedAt, android, iphone
from rigs.reading import NO_PASS, Run, apple, google
from tilltap_drivers.contract import DriverEvent, Health, PassRead, ReadFailure
from tilltap_drivers.nfc.phones import Device, PaymentCard
from tilltap_drivers.nfc.visits import BLINK
from tilltap_drivers.nfc.wallet import Wallet
from tilltap_drivers.nfc.words import AUTHENTICATE
from tilltap_drivers.pcsc import polled
from tilltap_drivers.pcsc.reader import BUSY, PcscDriver
from tilltap_drivers.pcsc.scard import Context
from tilltap_drivers.pcsc.settings import FLOMIO, PcscSettings
from tilltap_drivers.pcsc.virtual import Lifted
from tilltap_drivers.pn532 import virtual as pn532
from tilltap_drivers.replay.record import Recorder, recorded_driver

pytestmark = pytest.mark.anyio

running = partial(reading.running, ends_within=0.5)


def driver(
    ecp: str = "transparent", *, name: str = READER, own: Wallet | None = None, **more: object
) -> PcscDriver:
    return PcscDriver(PcscSettings("desk", name, ecp=ecp, **more), own or pcsc.wallet())  # type: ignore[arg-type]


@contextmanager
def plugged(firmware: Plain) -> Iterator[Reader]:
    reader = Reader(firmware)
    with escape.pcscd(reader):
        yield reader


async def each(visits: Iterable[tuple[Reader, Callable[[Run], Awaitable[None]], PcscSettings]]) -> list[Run]:
    """One visit to each reader, all at once: pcscd looks at a reader only every 0.4 s."""
    readers, visitors, settings = zip(*visits, strict=True)
    runs: list[Run] = []

    async def one(number: int) -> None:
        named = replace(settings[number], match=readers[number].name)
        async with running(PcscDriver(named, pcsc.wallet())) as run:
            runs[number] = run
            await visitors[number](run)

    with escape.pcscd(*readers):
        runs = [Run() for _ in readers]
        async with anyio.create_task_group() as group:
            for number in range(len(readers)):
                group.start_soon(one, number)
    return runs


async def gone(air: escape.Field) -> None:
    """Until the driver takes the next for another."""
    air.remove()
    await anyio.sleep(1.6 * BLINK)


class TestContract(DriverContract):
    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        firmware = Transparent()
        with escape.pcscd(Reader(firmware)) as readers:
            customers = Customers(firmware.field)
            yield Rig(driver(), [b"one", b"two"], customers.come, readers.stop, readers.start)
            customers.leave()


class Customers:
    """Two of them come, one after the other, with their phones."""

    def __init__(self, air: escape.Field) -> None:
        self._air = air
        self._thread: threading.Thread | None = None

    def come(self) -> None:
        self.leave()
        self._thread = threading.Thread(target=self._tap)
        self._thread.start()

    def leave(self) -> None:
        if self._thread:
            self._thread.join()
            self._thread = None

    def _tap(self) -> None:
        for phone in (Counting(iphone("one")), Counting(android("two"))):
            self._air.present(phone, waits=True)
            until = time.monotonic() + READ
            while len(phone.sessions) < 2 and time.monotonic() < until:
                time.sleep(0.005)
            self._air.remove()
            time.sleep(1.6 * BLINK)


async def test_an_iphone_that_waits_for_the_frame_brings_its_pass_up_by_itself() -> None:
    firmware = Transparent()
    with plugged(firmware):
        async with running(driver()) as run:
            await run.until(lambda: firmware.field.announced)
            phone = Counting(iphone("one"))
            firmware.field.announced.clear()
            firmware.field.present(phone, waits=True)
            await run.until(lambda: run.taps)
            assert run.taps == [apple("one")]
            assert len(phone.commands) == 2
            await anyio.sleep(3 * BLINK)  # left where it is
            assert run.taps == [apple("one")]
            assert len(phone.commands) == 2
            await gone(firmware.field)
            firmware.field.present(iphone("two"), waits=True)
            await run.until(lambda: len(run.taps) == 2)
            assert run.taps[1] == apple("two")
        assert run.events[:2] == [Health("up"), Health("up", identity=READER)]
        assert run.remedies == []
        assert set(firmware.field.announced) == {PASSES_ONLY}
        assert not firmware.session  # the stop has given the reader back


async def test_phones_and_cards_each_give_exactly_their_event() -> None:
    visitors: list[tuple[Device, DriverEvent]] = [
        (iphone("one"), apple("one")),
        (android("t" * 250), google("t" * 250)),
        (PaymentCard(), NO_PASS),
        (iphone("four", unlocked=False), ReadFailure("locked", AUTHENTICATE, "apple-vas")),
    ]

    def comes(air: escape.Field, device: Device) -> Callable[[Run], Awaitable[None]]:
        async def visit(run: Run) -> None:
            air.present(device, waits=True)
            await run.until(lambda: run.taps)
            await gone(air)

        return visit

    firmwares = [Transparent() for _ in visitors]
    runs = await each(
        (Reader(firmware), comes(firmware.field, device), PcscSettings("desk", "x", ecp="transparent"))
        for firmware, (device, _) in zip(firmwares, visitors, strict=True)
    )
    assert [run.taps for run in runs] == [[event] for _, event in visitors]


class LiftedFromChip(LiftedAt):
    def answer(self, command: bytes) -> bytes:
        try:
            return super().answer(command)
        except Lifted as lifted:
            raise pn532.Lifted(lifted.last) from None


async def test_a_phone_lifted_at_any_apdu_leaves_a_reader_that_works() -> None:
    def lifts(held: Acr122u | Transparent, index: int) -> Callable[[Run], Awaitable[None]]:
        async def visit(run: Run) -> None:
            air, phone = (held.chip, LiftedFromChip) if isinstance(held, Acr122u) else (held.field, LiftedAt)
            lifted = phone(iphone("one"), index, answered=False)
            air.present(lifted)
            await run.until(lambda: len(lifted.commands) > index)
            await anyio.sleep(1.6 * BLINK)
            air.present(iphone("two"), waits=True)
            await run.until(lambda: apple("two") in run.taps)

        return visit

    cases = [
        (held, ecp, at)
        for at in (0, 1)
        for held, ecp in ((Transparent(), "transparent"), (Acr122u(), "acr122u"))
    ]
    runs = await each(
        (Reader(held), lifts(held, at), PcscSettings("desk", "x", ecp=ecp)) for held, ecp, at in cases
    )
    removed = ReadFailure("unreadable", "removed", "apple-vas")
    assert [run.taps for run in runs] == [[apple("two")]] * 2 + [[removed, apple("two")]] * 2


class Slow(Counting):
    def answer(self, command: bytes) -> bytes:
        answer = super().answer(command)
        time.sleep(0.3)
        return answer


async def test_a_session_is_given_up_where_pcscd_powers_up_the_phones_in_it() -> None:
    firmware = Meddlesome()
    with plugged(firmware):
        async with running(driver()) as run:
            firmware.field.present(Slow(android("one")))
            await run.until(lambda: google("one") in run.taps)
            removed = ReadFailure("unreadable", "removed", "google-smart-tap")
            assert run.taps == [removed, removed, google("one")]
            assert run.remedies == [polled.WITHOUT + polled.MEDDLED + ANOTHER]


async def test_a_chip_number_counts_where_it_is_asked_for() -> None:
    firmware = Transparent()
    with plugged(firmware):
        async with running(driver(cards=("uid",))) as run:
            firmware.field.present(PaymentCard())
            await run.until(lambda: run.taps)
            assert isinstance(run.taps[0], PassRead)
            assert run.taps[0].value == PaymentCard().uid.hex().upper().encode()


# The flags a reader wants, and those that are configured.
FLAGS = [(b"", None), (b"\x10\x00", None), (b"\x00\x10", None), (b"\x00\x1c", b"\x00\x1c"), (b"", b"")]

# Under which functions a driver lets commands through, which it names when asked, and which is configured.
FUNCTIONS = [((3500,), 0, None), ((1,), 0, None), ((77,), 77, None), ((2000,), 0, 2000)]


async def test_flags_and_the_drivers_function_are_found_or_configured() -> None:
    def brings_a_pass(air: escape.Field) -> Callable[[Run], Awaitable[None]]:
        async def visit(run: Run) -> None:
            air.present(iphone("one"), waits=True)
            await run.until(lambda: run.taps)

        return visit

    visits: list[tuple[Reader, Callable[[Run], Awaitable[None]], PcscSettings]] = []
    for wanted, flags in FLAGS:
        firmware = Transparent(wanted)
        settings = PcscSettings("desk", "x", ecp="transparent", ecp_flags=flags)
        visits.append((Reader(firmware), brings_a_pass(firmware.field), settings))
    # As one of Sony's is reported to say that nobody answers; then only the configured flags can be right.
    odd = Transparent()
    odd.garble = lambda _, answer: answer.replace(b"\x64\x01", b"\x6a\x81")
    settings = PcscSettings("desk", "x", ecp="transparent", ecp_flags=b"")
    visits.append((Reader(odd), brings_a_pass(odd.field), settings))
    for functions, feature, code in FUNCTIONS:
        firmware = Transparent()
        settings = PcscSettings("desk", "x", ecp="transparent", ecp_code=code)
        visits.append((Reader(firmware, functions, feature), brings_a_pass(firmware.field), settings))
    for run in await each(visits):
        assert (run.taps, run.remedies) == ([apple("one")], [])


class Refusing(Transparent):
    """Says `status` to commands that contain `part`, in the status of the command or in that of the object."""

    def __init__(self, part: str, status: str) -> None:
        super().__init__()
        self.garble = lambda command, answer: (
            bytes.fromhex(status) if bytes.fromhex(part) in command else answer
        )


START, FRAME = "FFC20000028100", "95056A01000002"
ANOTHER = polled.ANOTHER
# The reader, `ecp`, and what is said.
REFUSALS: dict[str, tuple[Reader, str, str]] = {
    "a driver that lets nothing through": (Reader(Transparent(), ()), "transparent", polled.NOT_ALLOWED),
    "the same, ACR122U": (Reader(Acr122u(), ()), "acr122u", polled.NOT_ALLOWED),
    "the same, firmware": (Reader(Plain(), ()), "flomio", polled.NOT_ALLOWED),
    "a reader that knows no sessions": (Reader(Plain()), "transparent", f"it answers 6A81{ANOTHER}"),
    "one that is no ACR122U": (Reader(Plain()), "acr122u", f"the PN532 in it does not answer{ANOTHER}"),
    "one with another chip": (Reader(Acr122u(b"\x33\x01\x06\x07")), "acr122u", f"a PN533v1.6 is in it, not a PN532{ANOTHER}"),
    "one that is no Flomio": (Reader(Plain()), "flomio", f"it answers 6A81 to {FLOMIO[0].hex().upper()}{ANOTHER}"),
    "6D00": (Reader(Refusing(START, "6D00")), "transparent", f"it answers 6D00{ANOTHER}"),
    "a session that does not begin": (Reader(Refusing(START, "C003016900 9000")), "transparent", f"it begins no transparent session (6900){ANOTHER}"),
    "a session that does not last": (Reader(Refusing("FFC20002048F020004", "6982")), "transparent", f"its transparent session does not last (6982){ANOTHER}"),
    "frames that it does not send": (Reader(Transparent(b"\x77\x77")), "transparent", f"it does not send Apple's polling frame (6A81){ANOTHER}"),
    "an answer that ends early": (Reader(Refusing(FRAME, "C003019000")), "transparent", f"its answer cannot be understood: data object C0 ends early{ANOTHER}"),
    "a status that is none": (Reader(Refusing(START, "C001019000")), "transparent", f"its answer cannot be understood: a status of 1 bytes{ANOTHER}"),
    "no answer": (Reader(Refusing(START, "")), "transparent", f"its answer is cut off{ANOTHER}"),
}  # fmt: skip


async def test_readers_that_refuse_say_so_once_and_go_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polled, "AGAIN", 0.05)

    def reads_nevertheless(air: escape.Field) -> Callable[[Run], Awaitable[None]]:
        async def visit(run: Run) -> None:
            await run.until(lambda: run.remedies)
            air.present(iphone("one"))  # the customer has opened the pass
            await run.until(lambda: run.taps)
            await anyio.sleep(0.1)

        return visit

    runs = await each(
        (reader, reads_nevertheless(reader.firmware.field), PcscSettings("desk", "x", ecp=ecp))
        for reader, ecp, _ in REFUSALS.values()
    )
    said = {case: (run.remedies, run.taps, run.fault) for case, run in zip(REFUSALS, runs, strict=True)}
    assert said == {
        case: ([polled.WITHOUT + why], [apple("one")], None) for case, (_, _, why) in REFUSALS.items()
    }


async def test_an_acr122u_without_the_package_for_its_chip_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polled, "AGAIN", 0.05)
    monkeypatch.delitem(sys.modules, "tilltap_drivers.pn532.chip", raising=False)
    monkeypatch.setitem(sys.modules, "nfc.clf", None)
    with plugged(Acr122u()):
        async with running(driver("acr122u")) as run:
            await run.until(lambda: run.remedies)
        assert f"package nfc is missing: pip install 'tilltap[pn532]'{ANOTHER}" in run.remedies[0]


async def test_vpcds_reader_refuses_and_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polled, "AGAIN", 0.05)
    with pcsc.pcscd() as readers:
        this = PcscDriver(PcscSettings("desk", readers.names[0], ecp="transparent"), pcsc.wallet())
        async with running(this) as run:
            await run.until(lambda: run.remedies)
            await to_thread.run_sync(readers.slots[0].present, android("one"))
            await run.until(lambda: run.taps)
        assert (run.remedies, run.taps) == ([polled.WITHOUT + polled.NOT_ALLOWED], [google("one")])


async def test_nothing_is_sent_to_a_reader_that_was_not_configured_for_it() -> None:
    firmware = Plain()
    no_apple = Wallet(google=pcsc.wallet().google)
    with plugged(firmware):
        for this in (driver("off"), driver("transparent", own=no_apple)):
            async with running(this) as run:
                firmware.field.present(android("one"))
                await run.until(lambda run=run: run.taps)
                firmware.field.remove()
        assert firmware.escapes == []


async def test_a_session_that_fails_is_begun_again_and_given_up_when_it_always_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(polled, "AGAIN", 0.05)
    firmware = Transparent()
    failing = 1

    def fails(command: bytes, answer: bytes) -> bytes:
        nonlocal failing
        if command[3] == 2 and command[8] == 4 and failing and firmware.field.announced:
            failing -= 1
            return b"\xc0"
        return answer

    with plugged(firmware):
        async with running(driver()) as run:
            firmware.garble = fails
            await run.until(lambda: not failing)
            firmware.field.present(iphone("one"), waits=True)
            await run.until(lambda: run.taps)
            assert run.remedies == []
            failing = 1000
            await run.until(lambda: run.remedies)
            assert run.remedies == [f"{polled.WITHOUT}its answer is cut off{ANOTHER}"]
            await gone(firmware.field)
            firmware.field.present(android("two"))
            await run.until(lambda: len(run.taps) == 2)
        assert run.taps == [apple("one"), google("two")]


@pytest.mark.parametrize("status", ["6982", "C003016985 9000"])
async def test_a_session_that_ends_midway_is_begun_again_and_the_next_phone_is_read(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled, "AGAIN", 0.05)
    monkeypatch.setattr(polled, "CALM", 0.2)  # each session below lasts longer
    firmware = Transparent()
    firmware.garble = lambda _, answer: bytes.fromhex(status) if answer == b"\x69\x82" else answer
    with plugged(firmware):
        async with running(driver()) as run:
            for _ in range(polled.TRIES + 1):
                firmware.field.announced.clear()
                await run.until(lambda: len(firmware.field.announced) > 8)
                firmware.session = firmware.on = False  # another program
                await run.until(lambda: firmware.session)
            firmware.field.present(iphone("one"), waits=True)
            await run.until(lambda: run.taps)
        assert (run.taps, run.remedies) == ([apple("one")], [])


async def test_a_reader_that_takes_no_more_commands_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polled, "AGAIN", 0.05)
    firmware = Transparent()
    with plugged(firmware) as reader:
        async with running(driver()) as run:
            await run.until(lambda: firmware.field.announced)
            reader.functions = ()
            firmware.session = False
            await run.until(lambda: run.remedies)
            firmware.field.present(android("one"))
            await run.until(lambda: run.taps)
    assert (run.remedies, run.taps) == ([polled.WITHOUT + polled.SILENT + ANOTHER], [google("one")])


@pytest.mark.parametrize("left_in_a_session", [False, True])
async def test_a_reader_is_taken_over_with_the_phone_that_lies_on_it(left_in_a_session: bool) -> None:
    firmware = Transparent()
    firmware.session = left_in_a_session
    firmware.field.present(iphone("one"))
    with plugged(firmware):
        await anyio.sleep(0.5)  # pcscd looks every 0.4 s, and activates what it finds
        assert firmware.field.active is not left_in_a_session
        async with running(driver()) as run:
            await run.until(lambda: run.taps)
        assert (run.taps, run.remedies) == ([apple("one")], [])


async def test_a_reader_pulled_out_in_the_middle_is_a_fault() -> None:
    firmware = Transparent()
    with plugged(firmware) as reader:
        async with running(driver()) as run:
            await run.until(lambda: firmware.field.announced)
            await to_thread.run_sync(reader.unplug)
            await run.until(lambda: run.fault)
        assert run.fault is not None
        assert run.fault.state == "unplugged"


async def test_a_reader_that_another_program_holds_is_silent_until_it_lets_go() -> None:
    firmware = Transparent()
    with plugged(firmware), Context() as context:
        firmware.field.present(android("other"))
        await to_thread.run_sync(time.sleep, 1.0)  # pcscd looks every 0.4 s
        other = context.connect(READER)
        async with running(driver()) as run:
            await run.until(lambda: run.events[-1] == Health("silent", BUSY))
            await anyio.sleep(1.5)  # some more tries
            other.__exit__()
            firmware.field.remove()
            await run.until(lambda: firmware.field.announced)
            assert run.events[2:] == [Health("silent", BUSY), Health("up")]


async def test_a_stop_ends_a_conversation() -> None:
    firmware = Transparent()
    phone = Slow(android("one"))
    with plugged(firmware):
        async with running(driver()) as run:
            firmware.field.present(phone)
            await run.until(lambda: phone.commands)
        await anyio.sleep(1.0)
        assert len(phone.commands) == 1
        assert not firmware.session


async def test_an_acr122u_polls_with_its_pn532_and_is_given_back() -> None:
    firmware = Acr122u()
    with plugged(firmware):
        async with running(driver("acr122u")) as run:
            await run.until(lambda: firmware.chip.announced)
            assert not firmware.polls
            phone = Counting(iphone("one"))
            firmware.chip.present(phone, waits=True)
            await run.until(lambda: run.taps)
            assert len(phone.commands) == 2
            firmware.chip.remove()
            await anyio.sleep(1.6 * BLINK)
            firmware.chip.present(android("t" * 250))
            await run.until(lambda: len(run.taps) == 2)
            firmware.chip.remove()
        assert run.taps == [apple("one"), google("t" * 250)]
        assert set(firmware.chip.announced) == {PASSES_ONLY}
        assert firmware.polls
        assert not firmware.chip.asleep
        assert run.remedies == []


async def test_readers_with_the_frame_in_their_firmware_are_told_to_use_it() -> None:
    own = (bytes.fromhex("E000003B03010101"), bytes.fromhex("E00000200145"))

    async def visit(run: Run) -> None:
        await run.until(lambda: run.taps)

    visits: list[tuple[Reader, Callable[[Run], Awaitable[None]], PcscSettings]] = []
    for commands, settings in (
        (FLOMIO, PcscSettings("desk", "x", ecp="flomio")),
        (own, PcscSettings("desk", "x", ecp="commands", ecp_commands=own)),
    ):
        firmware = Configurable(list(commands))
        firmware.field.present(iphone("one"), waits=True)
        visits.append((Reader(firmware), visit, settings))
    for run, (reader, _, settings) in zip(await each(visits), visits, strict=True):
        assert run.taps == [apple("one")]
        assert reader.firmware.escapes == list(settings.commands)
        said = [event.identity for event in run.events if isinstance(event, Health) and event.identity]
        answers = ", ".join(f"E100000001{command[-1]:02X}" for command in settings.commands)
        assert said == [reader.name, f"{reader.name}, its answers: {answers}"]


async def test_a_recording_holds_the_phones_apdus_and_none_of_the_readers() -> None:
    firmware = Transparent()
    recorder = Recorder()
    settings = PcscSettings("desk", READER, ecp="transparent")
    phone = Counting(iphone("one"))
    with plugged(firmware):
        firmware.field.present(phone)
        this = recorded_driver(settings, pcsc.wallet(), recorder.heard)
        with anyio.move_on_after(READ):
            async with aclosing(this.reads()) as reads:
                async for event in reads:
                    recorder._take(event)
                    if isinstance(event, PassRead):
                        break
    tape = recorder.finish(settings, "2026-11-22").tape
    assert [line.split(" ")[1] for line in tape.splitlines() if line[:1].isdigit()] == [
        ">",
        "<",
        ">",
        "<",
        "read",
    ]
    assert len(phone.commands) == 2
    assert "%FF%C2" not in tape
