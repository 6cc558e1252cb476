"""Mistakes in a configuration, each one line for a person: `FILE:LINE: key: what is wrong (hint)`. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tilltap.config.positions import KeyPath, Positions
from tilltap.errors import StartError

# Longest piece of the file that is quoted back; a mistake stays readable in an 80-column terminal.
SHOWN = 40


class ConfigError(StartError):
    """The configuration has mistakes; `lines` holds every one of them, in the order of the file."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake at `path`. `missing`: the key is not there, so the header of its table is where to look.

    `meant`: for an unknown key, the one of the same table that it resembles.
    """

    path: KeyPath
    what: str
    hint: str
    missing: bool = False
    meant: str | None = None

    def line_number(self, positions: Positions) -> int:
        return positions.table_line(self.path[:-1]) if self.missing else positions.line(self.path)

    def text(self, file: str, line: int) -> str:
        return one_line(f"{file}:{line}: {key_text(self.path)}: {self.what} ({self.hint})")


def lines(file: str, mistakes: Iterable[Mistake], positions: Positions) -> list[str]:
    """One printed line per mistake, in the order of the file; what stands on one line, as it was found."""
    numbered = sorted(((m.line_number(positions), m) for m in mistakes), key=lambda pair: pair[0])
    return list(dict.fromkeys(mistake.text(file, line) for line, mistake in numbered))


def key_text(path: KeyPath) -> str:
    """`("reader", 0, "port")` -> `reader[1].port`: places count from 1, odd keys are quoted as in TOML."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[\w-]+", part) else shown(part))
    return text


def shown(value: object) -> str:
    """A value of the file as a mistake quotes it: as TOML writes it, short, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a number of more than 64 bits"
    text = str(value)
    text = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
    return f'"{one_line(text)}"' if isinstance(value, str) else text


def one_line(text: str) -> str:
    """The text with everything unprintable escaped: nothing in a file may break or colour a log line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(word: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word.lower(), known, n=1)), None)


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    near = nearest(word, known)
    return f'did you mean "{near}"?' if near else None
