"""A VTAP without its hardware: its configuration, what it answers and what it sends; pure.

Source: the project's VTAP notes, sections 3 (output), 4 (passive mode), 5 (commands) and 14 (simulator).
What nobody outside the vendor knows is a field of `Profile`, with the guesses of section 13 as defaults.
Only the virtual COM port exists: the other ports of a real reader are the same settings under other names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tilltap_drivers.vtap.config_txt import ConfigTxt, parse_config, parse_template

# Profile A of the VTAP notes, 11.1, with cards and a scanner admitted as well (ComPortSource 85).
PROFILE_A = """\
!VTAPconfig
VAS1MerchantID=pass.com.example.loyalty
VAS1KeySlot=1
ST1CollectorID=12345678
ST1KeySlot=1
ST1KeyVersion=1
KBLogMode=0
ComPortEnable=1
ComPortMode=1
ComPortSource=85
ComPortPrefix=%02$t$n%1F$u%1F
ComPortPostfix=%03%0A
ComPortPassMode=0
CommandInterfaces=1
PassiveInterfaces=0
"""

# Bytes of a command that are kept (VTAP notes, section 13 row 30).
COMMAND_LIMIT = 256

_COM_PORT = 1  # bit of CommandInterfaces and PassiveInterfaces (VTAP notes, 4.1)

Osdp = Literal["off", "enabled", "secure-only"]


@dataclass(frozen=True, slots=True)
class Profile:
    """How this reader does what the vendor does not document; rows are of the VTAP notes, section 13."""

    model: str = "VTAP100"
    firmware: str = "V2.2.8.2"
    hardware: str = "5.01"
    api_level: str = "3"
    serial: str = "CC123456"
    end: str = "%0D%0A"  # row 1: reply terminator, in the language of config.txt
    echo: bool = False  # row 2
    empty: str = ""  # rows 3 and 4: the line that means nothing is cached
    named_settings: bool = True  # row 8: `%X` answers `X=value`, else the value alone
    ok: str = "OK"  # row 10
    fail: str = "FAIL"  # row 9
    tokens: str = "tnus"  # row 17: tokens this firmware knows; the others stay literal
    uid_for_scanner: bool = False  # row 16
    reboot_seconds: float = 3.0  # row 26

    def __post_init__(self) -> None:
        try:
            parse_template(self.end)
        except ValueError as error:
            raise ValueError(f"end: {error}") from None


@dataclass(frozen=True, slots=True)
class Presented:
    """What is held to the reader. `kind` is the type character; index and slot 0 for anything but a pass."""

    payload: bytes
    kind: str = "A"
    index: int = 1
    slot: int = 1
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes back to the host, and whether the reader then disappears for a while."""

    data: bytes
    reboot: bool = False


class VirtualVtap:
    """Times are seconds of any one clock."""

    def __init__(self, config: ConfigTxt | None = None, profile: Profile | None = None) -> None:
        self.profile = profile or Profile()
        self.settings = dict((config or parse_config(PROFILE_A)).settings)
        self.locked = False
        self.osdp: Osdp = "off"
        self.feedback: list[tuple[float, str]] = []  # `?led` and `?beep` calls as they came
        self._passive: bool | None = None  # dynamic mode of `?a` and `?p`; None: as configured
        self._cached: tuple[float, Presented] | None = None
        self._typed = bytearray()

    def get(self, name: str, default: str = "") -> str:
        return ConfigTxt(self.settings).get(name, default)

    # Output

    @property
    def passive(self) -> bool:
        if self._passive is not None:
            return self._passive
        return bool(_number(self.get("PassiveInterfaces", "0")) & _COM_PORT)

    def present(self, what: Presented, now: float) -> bytes:
        """What the port sends at once: nothing in passive mode, or if the port does not admit this kind."""
        if self.osdp == "secure-only" or not self.admits(what.kind):
            return b""
        if self.passive:
            self._cached = (now, what)
            return b""
        return self.frame(what)

    def admits(self, kind: str) -> bool:
        """Whether ComPortMode and ComPortSource (hexadecimal, VTAP notes 3.1) let this type character out."""
        source = _number(self.get("ComPortSource", "A5"), 16)
        wanted = {"Q": 0x04, "E": 0x20, **dict.fromkeys("0246", 0x01)}.get(kind, 0x80)
        return self.get("ComPortMode", "1") != "0" and bool(source & wanted)

    def frame(self, what: Presented) -> bytes:
        """Prefix, payload, postfix (VTAP notes, 3.2)."""
        values = {
            "t": what.kind.encode(),
            "n": f"{what.index}{what.slot}".encode() if what.index else b"",
            "u": what.uid.encode() if what.kind != "Q" or self.profile.uid_for_scanner else b"",
            "s": self.profile.serial.encode(),
        }
        known = {token: value for token, value in values.items() if token in self.profile.tokens}
        before, after = ConfigTxt(self.settings).templates("ComPort")
        return before.render(known) + what.payload + after.render(known)

    # Commands

    def receive(self, data: bytes, now: float) -> list[Answer]:
        """Answers to every command that `data` completes; CR or LF ends one, an empty one is nothing."""
        answers = []
        for byte in data:
            if byte not in b"\r\n":
                if len(self._typed) < COMMAND_LIMIT:
                    self._typed.append(byte)
                continue
            line = self._typed.decode("latin-1")
            self._typed.clear()
            if line and _number(self.get("CommandInterfaces", "7")) & _COM_PORT:
                answers.append(self._command(line, now))
        return answers

    def boot_text(self) -> bytes:
        """The text of BOOT.TXT (VTAP notes, 8.3)."""
        p = self.profile
        lines = [p.model, f"Firmware: {p.firmware}", f"Hardware: {p.hardware}"]
        lines += [f"API level: {p.api_level}", f"Serial: {p.serial}"]
        if self.osdp != "off":
            lines.append(f"OSDP:Enabled{',SecureOnly' * (self.osdp == 'secure-only')} OSDP address: 0")
        return self._lines(*lines)

    def _lines(self, *lines: str) -> bytes:
        end = parse_template(self.profile.end).render({})
        return b"".join(line.encode() + end for line in lines)

    def _command(self, line: str, now: float) -> Answer:
        word, _, rest = line.strip().partition(" ")
        word = word.lower()
        echo = self._lines(line) if self.profile.echo else b""
        if self.osdp == "secure-only" and word not in ("?b", "?osdp"):
            return Answer(b"")
        if word == "?reboot":
            self._refresh()
            return Answer(echo, reboot=True)
        if word == "?b":
            return Answer(echo + self.boot_text())
        if line.startswith("%"):
            return Answer(echo + self._read_settings(line[1:].strip()))
        return Answer(echo + self._lines(self._simple(word, rest, line, now)))

    def _simple(self, word: str, rest: str, line: str, now: float) -> str:
        """Commands whose answer is one line."""
        table: dict[str, Callable[[], str]] = {
            "?getserial": lambda: self.profile.serial,
            "?events": lambda: "00000000",
            "?a": lambda: self._switch(passive=False),
            "?p": lambda: self._switch(passive=True),
            "?x": self._refresh,
            "?keyload": lambda: self.profile.ok,
            "?l": lambda: self._lock(rest, locked=True),
            "?u": lambda: self._lock(rest, locked=False),
            "?r": lambda: self._last(now, lambda t: t.payload.decode("utf-8", "replace"), take=True),
            "?t": lambda: self._last(now, lambda t: t.kind),
            "?type": lambda: self._last(now, lambda t: f"{t.kind}{t.index or ''}{t.slot or ''}"),
            "?uid": lambda: self._last(now, lambda t: t.uid),
            "?led": lambda: self._feedback(line, now),
            "?beep": lambda: self._feedback(line, now),
        }
        if line.startswith("$"):
            return self._write_setting(line[1:])
        return table.get(word, lambda: self.profile.fail)()

    def _read_settings(self, names: str) -> bytes:
        wanted = names.split("|") if names else list(self.settings)
        lines = []
        for name in wanted:
            known = next((key for key in self.settings if key.lower() == name.strip().lower()), None)
            value = self.profile.fail if known is None else self.settings[known]
            lines.append(f"{known}={value}" if known and self.profile.named_settings else value)
        return self._lines(*lines)

    def _write_setting(self, text: str) -> str:
        name, equals, value = text.partition("=")
        if self.locked or not equals or not re.fullmatch(r"[A-Za-z0-9]+", name.strip()):
            return self.profile.fail
        key = next((old for old in self.settings if old.lower() == name.strip().lower()), name.strip())
        self.settings[key] = value.split(";")[0].strip()
        return self.profile.ok

    def _switch(self, *, passive: bool) -> str:
        self._passive = passive
        return self.profile.ok

    def _refresh(self) -> str:
        self._passive, self._cached = None, None
        return self.profile.ok

    def _lock(self, password: str, *, locked: bool) -> str:
        if not password:
            return self.profile.fail
        self.locked = locked
        return self.profile.ok

    def _last(self, now: float, tell: Callable[[Presented], str], *, take: bool = False) -> str:
        age_limit = _number(self.get("InvalidDataCacheMS", "3000")) / 1000
        if self._cached is None or now - self._cached[0] > age_limit:
            return self.profile.empty
        what = self._cached[1]
        if take:
            self._cached = None
        return tell(what)

    def _feedback(self, line: str, now: float) -> str:
        self.feedback.append((now, line))
        return self.profile.ok


def _number(text: str, base: int = 10) -> int:
    try:
        return int(text, base)
    except ValueError:
        return 0
