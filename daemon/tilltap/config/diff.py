"""What a reload would change: the programme and readers may change, the rest needs a restart. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tilltap.config.mistakes import key_text, one_line
from tilltap.config.positions import KeyPath
from tilltap.config.settings import Settings

# The one key of [program] that a ledger is bound to (contract section 2).
_CURRENCY: KeyPath = ("program", "currency")


@dataclass(frozen=True, slots=True)
class Changes:
    """`program`: keys that differ. `readers`: names new, gone or changed. `refused`: lines to print."""

    program: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def diff(old: Settings, new: Settings) -> Changes:
    """What differs between the settings in force and those of the file as it is now."""
    paths = [
        path
        for path in dict.fromkeys([*old.values, *new.values])
        if old.values.get(path) != new.values.get(path)
    ]
    elsewhere = [path for path in paths if path == _CURRENCY or path[0] not in ("program", "reader")]
    return Changes(
        program=tuple(key_text(path) for path in paths if path[0] == "program" and path != _CURRENCY),
        readers=_readers(old, new),
        refused=tuple(text for _, text in sorted(_refusal(path, new) for path in elsewhere)),
    )


def _readers(old: Settings, new: Settings) -> tuple[str, ...]:
    before = {reader.name: reader for reader in old.readers}
    after = {reader.name: reader for reader in new.readers}
    return tuple(name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name))


def _refusal(path: KeyPath, new: Settings) -> tuple[int, str]:
    line = new.positions.line(path)
    reason = "restart needed (a reload changes the programme and readers only; the old value goes on)"
    return line, one_line(f"{new.file}:{line}: {key_text(path)}: {reason}")
