"""The lines typed at a simulated VTAP: a value is a tap, `:word` does something else (VTAP notes, 14)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from tilltap_drivers.vtap.simulator import VtapSimulator
from tilltap_drivers.vtap.virtual import Presented

HELP = """\
VALUE              tap an iPhone whose pass says VALUE
:google VALUE      tap an Android phone
:apple VALUE       tap an iPhone (for values that begin with a colon)
:card VALUE        present a card; :scan VALUE  scan a barcode
:split VALUE       tap, sent one byte at a time
:burst N VALUE     N taps in one write; {n} in VALUE becomes 1, 2, ...
:reply-tap VALUE   a tap in the middle of a command's answer
:cut VALUE         disconnect inside the tap, back after 2 s
:undecryptable     a tap with a wrong key: a real reader sends nothing
:noise [N]         N random bytes (64)
:raw HEX           these bytes as they are
:startup           the text a reader sends when it is switched on
:unplug [SECONDS]  pull the plug, until :plug or for SECONDS; :plug
:lock, :unlock     refuse changes of settings
:osdp off|enabled|secure-only
:help, :quit"""

# Seconds away after `:cut`: longer than it takes a till to notice.
CUT_AWAY = 2.0

# A burst of more is a typing error.
MAX_BURST = 10_000


class ScriptError(Exception):
    """The line was not understood; nothing happened."""


class QuitError(Exception):
    """`:quit` was typed."""


@dataclass(slots=True)
class Script:
    """Performs typed lines on one simulator; `random_bytes` makes UIDs and noise."""

    simulator: VtapSimulator
    random_bytes: Callable[[int], bytes] = random.randbytes

    # What a phone, a card or a scanner shows: type character, index and slot.
    _KINDS: ClassVar[dict[str, tuple[str, int, int]]] = {
        "apple": ("A", 1, 1),
        "google": ("G", 1, 1),
        "card": ("4", 0, 0),
        "scan": ("Q", 0, 0),
    }

    def perform(self, line: str) -> str:
        """Do what a line says and tell it in one line; `ScriptError`, or `QuitError` for `:quit`."""
        line = line.rstrip("\r\n")
        if not line:
            return ""
        word, _, rest = line[1:].partition(" ") if line.startswith(":") else ("apple", "", line)
        always = self._always().get(word)
        if always:
            return always(rest)
        sending = self._sending().get(word)
        if sending is None and word not in self._KINDS:
            raise ScriptError(f"unknown command :{word} (:help lists them)")
        if not self.simulator.plugged:
            return "not sent: unplugged"
        return sending(rest) if sending else self._tap(word, rest)

    def _always(self) -> dict[str, Callable[[str], str]]:
        return {
            "plug": self._plug,
            "lock": lambda _rest: self._lock(locked=True),
            "unlock": lambda _rest: self._lock(locked=False),
            "osdp": self._osdp,
            "help": lambda _rest: HELP,
            "quit": self._quit,
        }

    def _sending(self) -> dict[str, Callable[[str], str]]:
        return {
            "split": lambda value: self._tap("apple", value, single=True),
            "burst": self._burst,
            "reply-tap": self._reply_tap,
            "cut": self._cut,
            "undecryptable": lambda _rest: "not sent: the pass cannot be decrypted, the phone shows success",
            "noise": self._noise,
            "raw": self._raw,
            "startup": self._startup,
            "unplug": self._unplug,
        }

    def _presented(self, word: str, value: str) -> Presented:
        if not value:
            raise ScriptError(f":{word} needs a value")
        kind, index, slot = self._KINDS[word]
        # A phone's UID is random at every tap and begins with 08 (VTAP notes, 3.5).
        uid = (
            "08" + self.random_bytes(3).hex().upper() if index else "04" + self.random_bytes(6).hex().upper()
        )
        return Presented(
            value.encode("utf-8", "surrogateescape"), kind, index, slot, "" if kind == "Q" else uid
        )

    def _tap(self, word: str, value: str, *, single: bool = False) -> str:
        what = self._presented(word, value)
        sent = self.simulator.tap(what, single=single)
        digits = f"{what.index}{what.slot}" if what.index else ""
        return f"{'sent' if sent else 'not sent'} {what.kind}{digits} {value}"

    def _burst(self, rest: str) -> str:
        count, _, value = rest.partition(" ")
        number = _integer(count, "a burst")
        if not 0 < number <= MAX_BURST:
            raise ScriptError(f"a burst has 1 to {MAX_BURST} taps")
        taps = [self._presented("apple", value.replace("{n}", str(n))) for n in range(1, number + 1)]
        self.simulator.tap(*taps)
        return f"sent {number} taps {value}"

    def _reply_tap(self, value: str) -> str:
        reply = self.simulator.reader.boot_text()
        frame = self.simulator.reader.frame(self._presented("apple", value))
        half = len(reply) // 2
        self.simulator.send(reply[:half] + frame + reply[half:])
        return f"sent A11 {value} inside a reply"

    def _cut(self, value: str) -> str:
        frame = self.simulator.reader.frame(self._presented("apple", value))
        self.simulator.send(frame[: len(frame) // 2], away=CUT_AWAY)
        return f"sent half of {value} and disconnected"

    def _noise(self, rest: str) -> str:
        count = _integer(rest, "noise") if rest else 64
        self.simulator.send(self.random_bytes(count))
        return f"sent {count} random bytes"

    def _raw(self, rest: str) -> str:
        try:
            data = bytes.fromhex(rest)
        except ValueError:
            raise ScriptError(":raw needs bytes as hex digits, such as 02 41 03") from None
        self.simulator.send(data)
        return f"sent {len(data)} bytes"

    def _startup(self, _rest: str) -> str:
        text = self.simulator.reader.get("SerialStartup").encode()
        self.simulator.send(text + b"\r\n" if text else self.simulator.reader.boot_text())
        return "sent the start-up text"

    def _unplug(self, rest: str) -> str:
        if not rest:
            self.simulator.unplug()
            return "unplugged until :plug"
        seconds = _integer(rest, ":unplug")
        self.simulator.unplug(seconds)
        return f"unplugged for {seconds} s"

    def _plug(self, _rest: str) -> str:
        self.simulator.plug()
        return ""

    def _lock(self, *, locked: bool) -> str:
        self.simulator.reader.locked = locked
        return "locked" if locked else "unlocked"

    def _osdp(self, rest: str) -> str:
        match rest:
            case "off" | "enabled" | "secure-only":
                self.simulator.reader.osdp = rest
            case _:
                raise ScriptError(":osdp needs off, enabled or secure-only")
        return f"OSDP {rest}"

    def _quit(self, _rest: str) -> str:
        raise QuitError


def _integer(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ScriptError(f"{what} needs a whole number")
    return int(text)
