"""A configuration's text -> `Settings`, or every mistake in it at once. `parse` is pure; `load` reads."""

from __future__ import annotations

import platform
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tilltap.config import model, translate
from tilltap.config.crosscheck import Document, cross_mistakes
from tilltap.config.files import StrPath, read_text
from tilltap.config.mistakes import ConfigError, Mistake, lines, one_line
from tilltap.config.positions import Positions, scan
from tilltap.config.settings import Settings, build
from tilltap.model import Currency

# A key of the configuration has three parts. One of thousands takes the parser time and memory that grow with
# their square. What is longer than 64 characters is left alone: there cannot be many of those.
_MANY_PARTS = re.compile(r"""(?:(?:[\w-]{1,64}|"[^"\n]{0,64}"|'[^'\n]{0,64}')[ \t]*\.[ \t]*){32}""")


def load(path: StrPath) -> Settings:
    """The settings of a file; `path` appears in mistakes exactly as given.

    ConfigError: mistakes (exit code 3). StartError with exit code 2: there is no such file.
    """
    file = str(path)
    text = read_text(path)
    return parse(text, file=file, base_dir=folder(path), hostname=platform.node())


def folder(path: StrPath) -> Path:
    """Where the relative paths of a file begin."""
    return Path(path).absolute().parent


def parse(text: str, *, file: str, base_dir: Path, hostname: str) -> Settings:
    """The settings of a file's text; ConfigError with all mistakes. Reads nothing, asks no clock."""
    return examine(text, file=file, base_dir=base_dir).settings(hostname=hostname)


@dataclass(frozen=True, slots=True)
class Examined:
    """A file that is TOML: what it says, where, and every mistake that its text alone shows."""

    file: str
    base_dir: Path
    written: Document
    positions: Positions
    mistakes: tuple[Mistake, ...]
    document: model.File | None

    def settings(self, *, hostname: str, more: Iterable[Mistake] = ()) -> Settings:
        """ConfigError if there are mistakes here or in `more`."""
        mistakes = [*self.mistakes, *more]
        if mistakes or self.document is None:
            raise ConfigError(*lines(self.file, mistakes, self.positions))
        return build(
            self.document,
            file=self.file,
            base_dir=self.base_dir,
            hostname=hostname,
            positions=self.positions,
        )


def examine(text: str, *, file: str, base_dir: Path) -> Examined:
    """Judges the text of a file; ConfigError if it is no TOML, which leaves nothing to judge."""
    raw = _toml(text, file)
    document, mistakes = _validated(raw, base_dir)
    written = Document(raw, {mistake.path for mistake in mistakes})
    mistakes += cross_mistakes(written)
    return Examined(file, base_dir, written, scan(text), tuple(mistakes), document)


def _toml(text: str, file: str) -> dict[str, Any]:
    if many := _MANY_PARTS.search(text):
        line = text.count("\n", 0, many.start()) + 1
        raise ConfigError(f"{file}:{line}: syntax: a key of many parts (a configuration needs three)")
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{file}:1: syntax: nested too deeply (a configuration needs two levels)") from None
    except ValueError as error:  # TOMLDecodeError, and int() on numbers of thousands of digits
        raise ConfigError(_syntax_line(file, text, str(error))) from None
    raw.setdefault("program", {})  # so that what is missing is named as program.earn, which is needed
    return raw


def _syntax_line(file: str, text: str, message: str) -> str:
    """`tomllib` says `... (at line 3, column 5)` or `... (at end of document)`."""
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if place is None:
        return one_line(f"{file}:1: syntax: {message[:1].lower() + message[1:]} (see https://toml.io)")
    what = message[: place.start()]
    line = int(place[1] or text.rstrip("\n").count("\n") + 1)
    where = f"at column {place[2]}" if place[2] else "the file ends too early"
    return one_line(f"{file}:{line}: syntax: {what[:1].lower() + what[1:]} ({where})")


def _validated(raw: dict[str, Any], base_dir: Path) -> tuple[model.File | None, list[Mistake]]:
    context = {"currency": _currency(raw), "base_dir": base_dir}
    try:
        return model.File.model_validate(raw, context=context), []
    except ValidationError as error:
        return None, translate.mistakes(error)


def _currency(raw: dict[str, Any]) -> Currency | None:
    """The currency amounts are judged by, before the file as a whole is; None: it is wrong itself."""
    program = raw["program"]
    code = program.get("currency", "GBP") if isinstance(program, dict) else "GBP"
    # "gbp" is a mistake of its own; amounts are judged as if it were written right.
    return Currency(code.upper()) if isinstance(code, str) and re.fullmatch(r"[A-Za-z]{3}", code) else None
