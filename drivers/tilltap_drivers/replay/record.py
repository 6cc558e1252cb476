"""Records a live reader as a tape. What was heard stays in memory until it is scrubbed."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from tilltap_drivers.contract import (
    Direction,
    Driver,
    DriverEvent,
    Health,
    Observer,
    PassRead,
    ReaderFault,
    ReadFailure,
)
from tilltap_drivers.nfc.wallet import Wallet
from tilltap_drivers.pcsc.settings import PcscSettings
from tilltap_drivers.pn532.settings import Pn532Settings
from tilltap_drivers.replay.golden import Tap, to_json
from tilltap_drivers.replay.play import play
from tilltap_drivers.replay.scrub import StandIns, scrub_apdus, scrub_frames
from tilltap_drivers.replay.tape import MAX_WAIT, Step, Tape, Told, dump_tape, parse_tape
from tilltap_drivers.vtap.settings import VtapSettings

# Bytes and lines of one tape: a morning at a busy till, and still a file that can be mailed and read.
BYTES_LIMIT = 1_000_000
STEPS_LIMIT = 50_000

# Sets of stand-ins tried until the tape gives what the reader gave: one may look like a frame's mark.
DRAWS = 20

RECORDABLE = ("vtap", "pcsc", "pn532")


class RecordError(Exception):
    """The recording cannot be written; one line."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The text of a tape and of its golden events. `odd`: what the bytes alone give is not what the driver
    gave while they came.
    """

    tape: str
    events: str
    taps: int
    odd: bool


def recorded_driver(settings: Any, wallet: Wallet, observe: Observer) -> Driver:
    """The driver of one reader's settings with an observer; RecordError for one that cannot be recorded."""
    if isinstance(settings, VtapSettings):
        from tilltap_drivers.vtap.reader import VtapDriver

        return VtapDriver(settings, observe)
    try:
        if isinstance(settings, PcscSettings):
            from tilltap_drivers.pcsc.reader import PcscDriver

            return PcscDriver(settings, wallet, observe)
        if isinstance(settings, Pn532Settings):
            from tilltap_drivers.pn532.reader import Pn532Driver

            return Pn532Driver(settings, wallet, observe)
    except ImportError as error:
        kind = "pcsc" if isinstance(settings, PcscSettings) else "pn532"
        package = (error.name or "").partition(".")[0]
        raise RecordError(f"driver {kind} lacks {package}: pip install 'tilltap[{kind}]'") from None
    *others, last = RECORDABLE
    raise RecordError(f"reader {settings.name}: only {', '.join(others)} and {last} readers can be recorded")


class Recorder:
    """Collects what one run of a driver says; `heard` is its observer, from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._entries: list[tuple[float, Direction, bytes] | tuple[float, Tap]] = []
        self._bytes = 0
        self._identity = ""
        self.full = False

    @property
    def empty(self) -> bool:
        return not self._entries

    def heard(self, direction: Direction, data: bytes) -> None:
        self.full = self.full or self._bytes + len(data) > BYTES_LIMIT or len(self._entries) >= STEPS_LIMIT
        if data and not self.full:
            self._bytes += len(data)
            self._entries.append((self._clock(), direction, data))

    async def follow(self, driver: Driver, up: Callable[[], None]) -> ReaderFault | None:
        """One run of the driver, until it ends or is cancelled; `up` is called once the reader is."""
        said = False
        try:
            async with aclosing(driver.reads()) as events:
                async for event in events:
                    self._take(event)
                    if not said and isinstance(event, Health) and event.state == "up":
                        said = True
                        up()
        except ReaderFault as fault:
            return fault
        return None

    def _take(self, event: DriverEvent) -> None:
        if isinstance(event, Health):
            self._identity = event.identity or self._identity
        elif not self.full:
            self._entries.append((self._clock(), event))

    def finish(self, settings: Any, date: str, choose: Callable[[str], str] = secrets.choice) -> Recording:
        """What was recorded, scrubbed. `date` is for people."""
        headers = {**_about(self._identity), "Date": date}
        steps = self._steps(frames=isinstance(settings, VtapSettings))
        if isinstance(settings, VtapSettings):
            return self._frames(steps, settings, headers, choose)
        tape = Tape(tuple(scrub_apdus(steps, StandIns(choose))), "", "", headers, "apdus")
        return _recording(tape, odd=False)

    def _steps(self, *, frames: bool) -> list[Step | Told]:
        """With the waits between them. The outcomes of frames are left out: the bytes give them again."""
        steps: list[Step | Told] = []
        last = self._began
        for at, *what in self._entries:
            wait = min(MAX_WAIT, round(max(0.0, at - last), 3))
            match what:
                case [("<" | ">") as direction, bytes(data)]:
                    steps.append(Step(wait, direction, data))
                case [PassRead() | ReadFailure() as tap] if not frames:
                    steps.append(Told(wait, tap))
                case _:
                    continue
            last = at
        return steps

    def _frames(
        self,
        steps: list[Step | Told],
        settings: VtapSettings,
        headers: Mapping[str, str],
        choose: Callable[[str], str],
    ) -> Recording:
        heard = [step for step in steps if isinstance(step, Step)]
        given = _taps(Tape(tuple(heard), settings.prefix, settings.postfix))
        live = [what[0] for _, *what in self._entries if isinstance(what[0], PassRead)]
        for _ in range(DRAWS):
            stand_ins = StandIns(choose)
            scrubbed = scrub_frames(heard, settings.spec, stand_ins)
            tape = Tape(tuple(scrubbed), settings.prefix, settings.postfix, headers)
            if _taps(tape) == [stand_ins.tap(tap) for tap in given]:
                return _recording(tape, odd=given != live)
        raise RecordError("the taps cannot be replaced by others of the same length: nothing was written")


def _recording(tape: Tape, *, odd: bool) -> Recording:
    text = dump_tape(tape)
    taps = _taps(parse_tape(text, "the recording"))
    return Recording(text, "".join(f"{to_json(tap)}\n" for tap in taps), len(taps), odd)


def _taps(tape: Tape) -> list[Tap]:
    return [tap for _, taps in play(tape) for tap in taps]


def _about(identity: str) -> dict[str, str]:
    """Headers from what a reader says of itself, without its serial number."""
    line = " ".join(identity.split())
    found = re.match(r"(.*?)(?: firmware (\S+))?(?: hardware .*| serial .*)?$", line)
    assert found is not None
    return {key: text for key, text in (("Reader", found[1]), ("Firmware", found[2])) if text}
