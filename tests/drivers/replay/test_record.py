"""A live reader, recorded and replayed: the same events with other values, and nothing of anybody's."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from rigs import pcsc, pn532
from rigs.pcsc import READ
from rigs.pty_port import PtyPort
from rigs.tapes import load, play
from tilltap_drivers.contract import Driver, Health, PassRead, ReaderFault, ReadFailure
from tilltap_drivers.nfc.phones import Device, NdefTag, PaymentCard
from tilltap_drivers.nfc.wallet import AppleWallet, Wallet
from tilltap_drivers.nfc.words import AUTHENTICATE
from tilltap_drivers.pcsc.settings import PcscSettings
from tilltap_drivers.pn532.settings import Pn532Settings
from tilltap_drivers.pn532.simulator import Pn532Simulator
from tilltap_drivers.replay import record
from tilltap_drivers.replay.golden import Tap, from_json
from tilltap_drivers.replay.reader import ReplayDriver
from tilltap_drivers.replay.record import Recorder, RecordError, Recording, recorded_driver
from tilltap_drivers.replay.settings import ReplaySettings
from tilltap_drivers.replay.tape import Step, decode, parse_tape
from tilltap_drivers.vtap.settings import VtapSettings

pytestmark = pytest.mark.anyio

DATE = "2026-11-21"


class Listening(Recorder):
    """A recorder that also keeps what it was told, for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.taps: list[Tap] = []

    def _take(self, event: Any) -> None:
        super()._take(event)
        if not isinstance(event, Health):
            self.taps.append(event)

    async def until(self, count: int) -> None:
        with anyio.fail_after(READ):
            while len(self.taps) < count:  # noqa: ASYNC110 -- told by another task
                await anyio.sleep(0.01)


async def recorded(
    recorder: Recorder, settings: Any, wallet: Wallet, meanwhile: Callable[[], Awaitable[None]]
) -> Recording:
    """What happens once the reader is up, as the command records it."""
    up = anyio.Event()
    driver = recorded_driver(settings, wallet, recorder.heard)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recorder.follow, driver, up.set)
        with anyio.fail_after(10):
            await up.wait()
        await meanwhile()
        tasks.cancel_scope.cancel()
    return recorder.finish(settings, DATE, random.Random(7).choice)


async def replayed(folder: Path, recording: Recording) -> list[Tap]:
    tape = folder / "x.tape"
    tape.write_text(recording.tape, encoding="utf-8")
    driver: Driver = ReplayDriver(ReplaySettings("again", str(tape), speed=100))
    taps: list[Tap] = []
    with anyio.fail_after(20):
        async with aclosing(driver.reads()) as reads:
            assert isinstance(await anext(reads), Health)
            while len(taps) < recording.taps:
                tap = await anext(reads)
                assert not isinstance(tap, Health)
                taps.append(tap)
    assert taps == [from_json(line) for line in recording.events.splitlines()]
    return taps


def without_value(tap: Tap) -> object:
    """All that must be the same in the replay."""
    if isinstance(tap, ReadFailure):
        return tap
    return tap.source, tap.kind, tap.index, tap.slot, len(tap.value), len(tap.uid)


def told(recording: Recording) -> bytes:
    """Everything that stands in the files, also as the bytes that the tape means."""
    data = b"".join(step.data for step in parse_tape(recording.tape, "x").steps if isinstance(step, Step))
    return data + recording.tape.encode() + recording.events.encode()


@pytest.fixture
def pty(tmp_path: Path) -> Iterator[PtyPort]:
    with PtyPort(tmp_path / "vtap") as port:
        yield port


@pytest.mark.parametrize("name", ["mixed-framed", "mixed-bare", "odd-framed"])
async def test_a_vtap(pty: PtyPort, tmp_path: Path, name: str) -> None:
    source = load(name)
    settings = VtapSettings("counter", str(pty.link), prefix=source.prefix, postfix=source.postfix)
    recorder = Listening()

    async def taps() -> None:
        if not settings.spec.bare:
            await to_thread.run_sync(pty.read, b"?b\r")
            pty.write(b"VTAP100\r\nFirmware: V2.2.8.2\r\nSerial: CC123456\r\n")
            await anyio.sleep(0.5)
        # What is odd about a tape may be its pauses.
        speed = 1 if name == "odd-framed" else 4
        await to_thread.run_sync(lambda: play(source, pty.master, speed=speed))
        await recorder.until(len(source_taps(name)))

    recording = await recorded(recorder, settings, Wallet(), taps)
    again = await replayed(tmp_path, recording)
    assert not recording.odd
    assert [without_value(tap) for tap in again] == [without_value(tap) for tap in recorder.taps]
    values = [tap.value for tap in recorder.taps if isinstance(tap, PassRead)]
    assert len(values) == len(source_taps(name))
    uids = [tap.uid.encode() for tap in recorder.taps if isinstance(tap, PassRead)]
    text = told(recording)
    assert not [one for one in (*values, *uids) if len(one) > 6 and one in text]
    assert b"CC123456" not in text
    tape = parse_tape(recording.tape, "x")
    if not settings.spec.bare:
        assert tape.headers == {"Reader": "VTAP100", "Firmware": "V2.2.8.2", "Date": DATE}
        assert b"Firmware: V2.2.8.2" in text


def source_taps(name: str) -> list[str]:
    return (Path(__file__).parents[2] / "tapes" / f"{name}.events").read_text(encoding="utf-8").splitlines()


async def test_the_same_value_has_the_same_stand_in(pty: PtyPort) -> None:
    recorder = Listening()

    async def taps() -> None:
        for value in (b"MEMBER-0042", b"MEMBER-0043", b"MEMBER-0042"):
            pty.write(b"\x02A11\x1f08A1B2C3\x1f" + value + b"\x03\n")
        await recorder.until(3)

    recording = await recorded(recorder, VtapSettings("counter", str(pty.link)), Wallet(), taps)
    first, second, third = (from_json(line) for line in recording.events.splitlines())
    assert first == third != second


@dataclass
class Desk:
    """A plain reader: what is held to it and taken away again."""

    settings: PcscSettings | Pn532Settings
    name: str
    hold: Callable[[Device], None]
    clear: Callable[[], None]

    async def visited(self, devices: Sequence[Device], recorder: Listening) -> Recording:
        """One after the other, until each has given its event."""

        async def visits() -> None:
            for number, device in enumerate(devices, start=1):
                await to_thread.run_sync(self.hold, device)
                await recorder.until(number)
                await to_thread.run_sync(self.clear)

        return await recorded(recorder, self.settings, pcsc.wallet(), visits)


@contextmanager
def pcsc_desk(_: Path) -> Iterator[Desk]:
    with pcsc.pcscd() as readers:
        (name,) = readers.names
        settings = PcscSettings("desk", name, ("ndef", "uid"))
        yield Desk(settings, name, readers.slots[0].present, lambda: pcsc.take_away(readers))


@contextmanager
def pn532_desk(folder: Path) -> Iterator[Desk]:
    with Pn532Simulator(folder / "pn532") as board:
        settings = Pn532Settings("desk", str(board.link), cards=("ndef", "uid"))
        yield Desk(settings, "PN532v1.6", board.present, lambda: pn532.take_away(board))


DESKS = pytest.mark.parametrize("desk", [pcsc_desk, pn532_desk])
DeskAt = Callable[[Path], AbstractContextManager[Desk]]


@DESKS
async def test_phones_and_cards_at_a_plain_reader(tmp_path: Path, desk: DeskAt) -> None:
    card_number, said = b"\x04\xa1\xb2\xc3\xd4\xe5\xf6", "a-card-holder"
    come: list[Device] = [
        pcsc.iphone("MEMBER-0042"),
        pcsc.android("MEMBER-0042"),
        pcsc.android("member-0043"),
        PaymentCard(uid=card_number),
        NdefTag(b"\xd1\x01" + bytes((len(said) + 3,)) + b"T\x02en" + said.encode()),
        pcsc.iphone("MEMBER-0044", unlocked=False),
    ]
    recorder = Listening()
    with desk(tmp_path) as reader:
        recording = await reader.visited(come, recorder)
    assert parse_tape(recording.tape, "x").headers == {"Reader": reader.name, "Date": DATE}
    again = await replayed(tmp_path, recording)
    assert [without_value(tap) for tap in again] == [without_value(tap) for tap in recorder.taps]
    sources = ["apple-vas", "google-smart-tap", "google-smart-tap", "card", "card", "apple-vas"]
    assert [tap.source for tap in again] == sources
    assert again[-1] == ReadFailure("locked", AUTHENTICATE, "apple-vas")
    values = [tap.value for tap in again if isinstance(tap, PassRead)]
    assert values[0] == values[1] != values[2]
    text = told(recording)
    secret = [
        b"MEMBER",
        b"0042",
        b"member-0043",
        card_number,
        card_number.hex().upper().encode(),
        said.encode(),
    ]
    assert not [one for one in secret if one in text]


@DESKS
async def test_nothing_of_an_exchange_that_could_be_opened_is_on_the_tape(
    tmp_path: Path, desk: DeskAt
) -> None:
    """Of every APDU only what is the same in every shop, and lengths."""
    heard = pcsc.Counting(pcsc.iphone("MEMBER-0042")), pcsc.Counting(pcsc.android("MEMBER-0042"))
    with desk(tmp_path) as reader:
        recording = await reader.visited(heard, Listening())
    steps = [step for step in parse_tape(recording.tape, "x").steps if isinstance(step, Step)]
    sent = [step.data for step in steps if step.direction == ">"]
    was = [command for device in heard for command in device.commands]
    assert [len(data) for data in sent] == [len(command) for command in was]
    text = told(recording)
    merchant = AppleWallet((pcsc.PASS_TYPE_ID,), (pcsc.APPLE_KEY,)).merchant_ids()[0]
    assert any(merchant in command for command in was)
    assert merchant not in text
    smart_tap = [(ask.data, answer.data) for ask, answer in pairwise(steps) if ask.data[:1] == b"\x90"]
    assert len(smart_tap) >= 2
    for command, answer in smart_tap:  # nonces, signatures, public keys, bundles
        assert set(command[5:]) == set(answer[:-2]) == {0}


async def test_a_card_without_apdus_at_a_pn532(tmp_path: Path) -> None:
    number = bytes.fromhex("04a1b2c3d4e580")
    with pn532_desk(tmp_path) as reader:
        reader.hold = partial(reader.hold, iso_dep=False)
        recording = await reader.visited([PaymentCard(number)], Listening())
    (tap,) = await replayed(tmp_path, recording)
    assert isinstance(tap, PassRead)
    assert (tap.source, len(tap.uid), tap.uid == number.hex().upper()) == ("card", 14, False)
    assert number.hex().upper().encode() not in told(recording)


@pytest.mark.parametrize("limit", ["BYTES_LIMIT", "STEPS_LIMIT"])
async def test_a_full_tape_ends_and_stays_whole(
    pty: PtyPort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(record, limit, {"BYTES_LIMIT": 60, "STEPS_LIMIT": 4}[limit])
    recorder = Listening()

    async def taps() -> None:
        for number in range(1, 6):
            pty.write(b"\x02A11\x1f\x1fMEMBER-004%d\x03\n" % number)
            await recorder.until(number)

    recording = await recorded(recorder, VtapSettings("counter", str(pty.link)), Wallet(), taps)
    assert recorder.full
    assert 1 <= recording.taps < 5
    assert len(await replayed(tmp_path, recording)) == recording.taps


async def test_a_reader_that_goes_ends_the_recording(pty: PtyPort) -> None:
    recorder = Listening()
    driver = recorded_driver(VtapSettings("counter", str(pty.link)), Wallet(), recorder.heard)
    with anyio.fail_after(10):
        fault = await recorder.follow(driver, pty.unplug)
    assert isinstance(fault, ReaderFault)
    assert fault.state == "unplugged"


async def test_a_replay_is_not_recorded() -> None:
    with pytest.raises(RecordError, match="reader desk: only vtap, pcsc and pn532 readers"):
        recorded_driver(ReplaySettings("desk", "x.tape"), Wallet(), lambda _way, _data: None)


async def test_a_tape_of_apdus_is_read_strictly() -> None:
    head = "# tilltap tape 1\n# Form: apdus\n"
    good = head + '0.1 > %00\n0.2 read {"status": "locked", "reason": "Unlock.", "source": "apple-vas"}\n'
    assert list(parse_tape(good, "x").told()) == [
        (pytest.approx(0.3), ReadFailure("locked", "Unlock.", "apple-vas"))
    ]
    frames = "# tilltap tape 1\n# Prefix:\n# Postfix:\n"
    for text, words in {
        good.replace("apdus", "riddles"): "x:4: expected",
        head.replace("apdus", "riddles"): "x:1: unknown form",
        head + "# Prefix: %02\n": "x:1: the header '# Prefix:' has no meaning",
        frames + good.splitlines()[-1]: "x:4: expected",
        good.replace('"locked"', '"shut"'): "x:4: unknown status",
        head + "0.1 read nothing\n": "x:3: what was read is not JSON",
    }.items():
        with pytest.raises(ValueError, match=words):
            parse_tape(text, "x")
    assert decode("%00") == b"\x00"
