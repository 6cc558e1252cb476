"""What one run says to a VTAP and makes of what comes back; pure: bytes and time in, events and commands out.

Source: the project's VTAP notes, 11.4 (connection sequence) and 11.5. Taps never wait for any of this. A
reader that answers nothing is a good reader: only one that has told who it is can fall silent, and only a
clean answer of another make, given twice, says that the port is wrong.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from tilltap_drivers.contract import DriverEvent, Health, PassRead, ReaderFault
from tilltap_drivers.vtap import commands
from tilltap_drivers.vtap.config_txt import FrameSpec
from tilltap_drivers.vtap.frames import FrameError, Framer, Reply

# Seconds without a byte before the reader is asked whether it is still there (VTAP notes, 11.4 step 5).
CHECK_AFTER = 30.0

# Seconds a reply may take in all, and seconds of silence that end one (VTAP notes, 11.4 step 3).
REPLY_LIMIT = 2.0
REPLY_QUIET = 0.2

# Times `?b` is sent before the reader counts as one that does not answer: at the start, and after each
# of two silences, for readers that are switched on after the till.
BOOT_TRIES = 3

# Checks without an answer before the reader is reported silent.
CHECK_TRIES = 2

# Lines outside frames before the set-up is doubted, and seconds between two that count: start-up text is one
# burst of lines, taps of several customers are not.
LOOSE_LINES = 3
LOOSE_GAP = 1.0

NOT_FRAMED = (
    "lines arrive without the frame of your config: are ComPortPrefix and ComPortPostfix set in the reader?"
)
OLD_FIRMWARE = (
    "the reader's firmware does not know every $ token of its prefix: update it or leave the token out"
)
SILENT = "the reader does not answer: check its power and its cable"
SECURE_ONLY = (
    "the port is set to OSDP secure mode and gives no taps: switch OSDP off in the reader's config.txt"
)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pending:
    """A command on its way: `lines` are what came since, `over` is when nothing more is expected.

    `alive`: any byte came, be it a tap.
    """

    command: bytes
    limit: float
    over: float
    lines: list[bytes] = field(default_factory=list)
    alive: bool = False


class Conversation:
    """Feed it with `received`, send what `due` returns, and call `due` again after `wait` seconds."""

    def __init__(self, spec: FrameSpec, now: float) -> None:
        self._framer = Framer(spec)
        self._talks = not spec.bare  # in line mode every line is a tap, so no command is ever sent
        self._heard = now  # the last byte, or the last check
        self._pending: _Pending | None = None
        self._boot_tries = 0
        self._foreign = 0  # clean answers of another make
        self._identity = ""
        self._check = commands.EVENTS
        self._missed = 0
        self._silent = False
        self._taps = 0
        self._loose = 0
        self._loose_at = float("-inf")
        self._hint = ""

    def wait(self, now: float) -> float:
        """Seconds until `due` may have something to do, without bytes."""
        if not self._talks:
            return CHECK_AFTER
        if self._pending:
            return max(0.0, self._pending.over - now)
        return max(0.0, self._heard + CHECK_AFTER - now) if self._boot_tries else 0.0

    def received(self, data: bytes, now: float) -> list[DriverEvent]:
        """Events of newly read bytes."""
        out: list[DriverEvent] = []
        self._heard = now
        self._missed = 0
        if self._silent:
            self._silent = False
            out.append(self._up())
        for event in self._framer.feed(data, now):
            match event:
                case PassRead():
                    out.extend(self._tap(event))
                case Reply(line):
                    out.extend(self._line(line, now))
                case FrameError(reason):
                    out.extend(self._error(reason))
        if self._pending:
            self._pending.alive = True
            if self._pending.lines or self._framer.in_line:
                self._pending.over = min(self._pending.limit, now + REPLY_QUIET)
        return out

    def due(self, now: float) -> tuple[list[bytes], list[DriverEvent]]:
        """Commands to send now, and what silence itself has told; `ReaderFault` if this is no VTAP."""
        out: list[DriverEvent] = []
        if self._pending and _reached(self._pending.over, now):
            out.extend(self._answered(now))
        if not self._talks or self._pending:
            return [], out
        if not self._boot_tries or (self._foreign and self._boot_tries < BOOT_TRIES):
            return self._ask(commands.BOOT, now), out
        if not _reached(self._heard + CHECK_AFTER, now) and not self._missed:
            return [], out
        if self._identity:
            return self._ask(self._check, now), out
        if self._boot_tries < BOOT_TRIES:
            return self._ask(commands.BOOT, now), out
        self._heard = now
        return [], out

    def _ask(self, command: bytes, now: float) -> list[bytes]:
        self._pending = _Pending(command, limit=now + REPLY_LIMIT, over=now + REPLY_LIMIT)
        self._heard = now
        if command != commands.BOOT:
            return [command + commands.END]
        self._boot_tries += 1
        # A lone CR first ends whatever half command another program left in the reader.
        return [commands.END, command + commands.END]

    def _answered(self, now: float) -> list[DriverEvent]:
        """The time of the pending command is over: what did it bring?"""
        pending, self._pending = self._pending, None
        assert pending is not None
        if pending.command == commands.BOOT:
            lines = [*pending.lines, *self._framer.take_line()]
            return self._booted(
                commands.parse_boot([line for line in lines if line.strip() != commands.BOOT])
            )
        if pending.alive:
            return []
        self._missed += 1
        if self._missed < CHECK_TRIES:
            # Which of the two a firmware answers is not documented: try the other one at once.
            self._check = commands.SERIAL if self._check == commands.EVENTS else commands.EVENTS
            return []
        self._missed = 0
        self._heard = now
        if self._silent:
            return []
        self._silent = True
        return [Health("silent", SILENT)]

    def _booted(self, boot: commands.Boot | None) -> list[DriverEvent]:
        if boot is None:
            return []
        if boot.osdp == "secure-only":
            raise ReaderFault("wrong-device", SECURE_ONLY)
        if boot.vtap is False and not self._taps:
            self._foreign += 1
            if self._foreign >= CHECK_TRIES:
                raise ReaderFault(
                    "wrong-device", f"'{boot.model}' answers on this port, not a VTAP: correct `port`"
                )
            return []
        self._foreign = 0
        if boot.text == self._identity:
            return []
        self._identity = boot.text
        return [self._up()]

    def _up(self) -> Health:
        return Health("up", self._hint, self._identity)

    def _tap(self, tap: PassRead) -> list[DriverEvent]:
        self._taps += 1
        if self._hint == NOT_FRAMED:
            self._hint = ""
            return [self._up(), tap]
        return [tap]

    def _line(self, line: bytes, now: float) -> list[DriverEvent]:
        if self._pending:
            self._pending.lines.append(line)
            return []
        if self._taps or self._hint or now - self._loose_at < LOOSE_GAP:
            return []
        self._loose, self._loose_at = self._loose + 1, now
        if self._loose < LOOSE_LINES:
            return []
        self._hint = NOT_FRAMED
        return [self._up()]

    def _error(self, reason: str) -> list[DriverEvent]:
        _log.debug("dropped bytes from the reader: %s", reason)
        if reason.startswith("token:") and not self._hint:
            self._hint = OLD_FIRMWARE
            return [self._up()]
        return []


def _reached(at: float, now: float) -> bool:
    # A millisecond early is on time: sums of floats must not make a wait of nothing that never ends.
    return now >= at - 0.001
