"""The replay driver: a tape as a reader, for demonstrations, training and tests. Shipped, not a mock."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio

from tilltap_drivers.contract import DriverEvent, Health, ReaderFault
from tilltap_drivers.io.files import read_file
from tilltap_drivers.replay.play import play
from tilltap_drivers.replay.settings import ReplaySettings
from tilltap_drivers.replay.tape import Tape, TapeError, parse_tape

# Seconds between the end of a looped tape and its next beginning; longer than the daemon folds
# presentations of one pass (2 s, contract 3.3), so that a tape of one tap still gives a tap each round.
LOOP_PAUSE = 3.0


# A recording ends at a megabyte of what was sent (record.py), each byte of it three characters at most.
TAPE_LIMIT = 8 << 20


class ReplayDriver:
    """Gives what a tape's reader gave, in its time."""

    def __init__(self, settings: ReplaySettings) -> None:
        self.settings = settings

    def present(self) -> bool:
        return Path(self.settings.tape).is_file()

    async def reads(self) -> AsyncGenerator[DriverEvent, None]:
        tape = self._load()
        yield Health("up", identity=tape.identity)
        while True:
            for wait, taps in play(tape):
                await anyio.sleep(wait / self.settings.speed)
                for tap in taps:
                    yield tap
            if not self.settings.loop:
                await anyio.sleep_forever()
            await anyio.sleep(LOOP_PAUSE / self.settings.speed)

    def _load(self) -> Tape:
        path = Path(self.settings.tape)
        try:
            return parse_tape(read_file(path, TAPE_LIMIT).decode("utf-8"), str(path))
        except FileNotFoundError:
            raise ReaderFault("unplugged", f"{path} does not exist: correct `tape`") from None
        except TapeError as error:
            raise ReaderFault("wrong-device", str(error)) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ReaderFault("wrong-device", f"{path} cannot be read ({error}): correct `tape`") from None
