"""What a VTAP says of itself when asked; pure reading of reply lines.

Source: the project's VTAP notes, sections 5.1 (data requests), 8.3 (BOOT.TXT) and 13 (what nobody outside
the vendor knows: order and wording of the lines, echo, letter case). So everything here is lenient:
`key: value` lines with any case, an echoed command ignored, the rest kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

# Commands end with CR or LF, never both (VTAP notes, 4.2); CR throughout.
END = b"\r"
BOOT = b"?b"
EVENTS = b"?events"
SERIAL = b"?getserial"

Osdp = Literal["off", "enabled", "secure-only"]

_OSDP = re.compile(r"OSDP:\s*Enabled(\s*,\s*SecureOnly)?\b", re.IGNORECASE)
_KEY_VALUE = re.compile(r"\s*([A-Za-z][A-Za-z _-]{0,30}?)\s*:\s*(.*?)\s*")
_SERIAL_KEYS = ("serial", "serial number", "serialno", "vtap label", "label")


@dataclass(frozen=True, slots=True)
class Boot:
    """The answer to `?b`. `model` is the line before `Firmware:`; unknown fields are empty.

    `vtap` is None when the answer does not settle it: only a clean model line of another make is False.
    """

    model: str
    firmware: str
    hardware: str = ""
    serial: str = ""
    api_level: str = ""
    osdp: Osdp = "off"
    vtap: bool | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """One line for the log, without pass data."""
        named = (("firmware", self.firmware), ("hardware", self.hardware), ("serial", self.serial))
        return " ".join([self.model or "VTAP?", *(f"{name} {value}" for name, value in named if value)])


def parse_boot(lines: Sequence[bytes]) -> Boot | None:
    """None unless the lines hold a `Firmware:` line or an OSDP notice: they may be anything on the port."""
    texts = [line.decode("ascii", "replace").strip() for line in lines]
    fields: dict[str, str] = {}
    osdp: Osdp = "off"
    for text in texts:
        if found := _OSDP.match(text):
            osdp = "secure-only" if found[1] else "enabled"
        elif pair := _KEY_VALUE.fullmatch(text):
            fields.setdefault(pair[1].lower(), pair[2])
    firmware = fields.get("firmware", "")
    if not firmware and osdp == "off":
        return None
    model = _model(texts)
    return Boot(
        model=model,
        firmware=firmware,
        hardware=fields.get("hardware", ""),
        serial=next((fields[key] for key in _SERIAL_KEYS if fields.get(key)), ""),
        api_level=fields.get("api level", fields.get("api", "")),
        osdp=osdp,
        vtap=_is_vtap(texts, model),
        fields=fields,
    )


def _model(texts: Sequence[str]) -> str:
    """The line right before `Firmware:`, if it looks like a name and not like an echo or noise."""
    for before, text in pairwise(texts):
        if text.lower().startswith("firmware:") and re.fullmatch(r"[A-Za-z][A-Za-z0-9 ._/-]{1,31}", before):
            return before
    return ""


def _is_vtap(texts: Sequence[str], model: str) -> bool | None:
    # Bytes of a tap or noise may have run into the model line, so the name anywhere in the answer counts.
    if any("vtap" in text.lower() for text in texts):
        return True
    return False if model else None


def is_failure(line: bytes) -> bool:
    """Only `OK` is known as success of a `$` or dynamic command; silence is for the caller to notice."""
    return line.strip().upper() != b"OK"


def parse_setting(name: str, line: bytes) -> str:
    """The answer to `%name`: a bare value or `name=value`, both are possible (VTAP notes, 13 row 8)."""
    text = line.decode("utf-8", "replace").strip()
    head, equals, value = text.partition("=")
    return value if equals and head.strip().lower() == name.lower() else text


def parse_events(line: bytes) -> int | None:
    """The answer to `?events`: hex digits, bit 0 = configuration changed; None if it is not that."""
    text = line.strip()
    return int(text, 16) if re.fullmatch(rb"[0-9A-Fa-f]{1,8}", text) else None
