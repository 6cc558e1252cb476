"""Where each key of a TOML text stands: key path -> line.

`tomllib` gives values without positions. This scanner reads only what it needs to find keys again (headers,
dotted and quoted keys, inline tables, arrays) and is run on text that `tomllib` has already accepted.
Grammar: TOML 1.0.0, https://toml.io/en/v1.0.0.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

# Keys are strings, places in an array are integers from 0: ("program", "reward", 0, "cost").
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Positions:
    """`lines`: first mention of every path, from 1. `headers`: the tables that a header or `key =` opens."""

    lines: dict[KeyPath, int] = field(default_factory=dict)
    headers: frozenset[KeyPath] = frozenset()

    def line(self, path: KeyPath) -> int:
        """The line of `path`; of its nearest mentioned parent if it is not in the text; else 1."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def table_line(self, path: KeyPath) -> int:
        """The line of the header of the table `path`, or 1 where nothing in the text opens it."""
        return self.lines[path] if path in self.headers else 1


# A multi-line string may end in up to five quotes, of which two belong to it (TOML 1.0.0, "String"). No
# possessive repeats: those of groups are broken in the Python 3.11.2 of Debian 12. The alternatives exclude
# each other by their first character, so nothing is tried twice.
_TOKEN = re.compile(
    r"""
      (?P<skip> [ \t\r]+ | \#[^\n]* )
    | (?P<string> \"{3} (?: [^"\\] | \\. | \"{1,2}(?!\") )* \"{3,5}
                | '{3}  (?: [^']         | '{1,2}(?!')   )* '{3,5}
                | \"    (?: [^"\\\n] | \\. )* \"
                | '     [^'\n]* ' )
    | (?P<word> [^\s"'\#\[\]{}=,.]+ )
    | (?P<mark> [\[\]{}=,.\n] )
    """,
    re.VERBOSE | re.DOTALL,
)
_END = ("", "", 0)


def scan(text: str) -> Positions:
    """Positions of every key of a valid TOML text; of an invalid one, up to where sense ends."""
    scanner = _Scanner(text)
    with suppress(_EndedError, RecursionError):
        scanner.statements()
    return Positions(scanner.lines, frozenset(scanner.headers))


class _EndedError(Exception):
    """The text ends where TOML would go on."""


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.headers: set[KeyPath] = set()
        self._array_sizes: dict[KeyPath, int] = {}
        self._tokens = _tokens(text)
        self._token = next(self._tokens, _END)

    def statements(self) -> None:
        table: KeyPath = ()
        while self._token is not _END:
            if self._token[1] == "\n":
                self._next()
            elif self._token[1] == "[":
                table = self._header()
            else:
                self._key_value(table)

    def _header(self) -> KeyPath:
        line = self._next()[2]
        is_array = self._token[1] == "["
        if is_array:
            self._next()
        path = self._enter(self._dotted(), line, is_array=is_array)
        self.headers.add(path)
        self._skip_to("\n")
        return path

    def _enter(self, keys: list[str], line: int, *, is_array: bool) -> KeyPath:
        """The full path of a header: through an array of tables it means the array's last table."""
        path: KeyPath = ()
        for depth, key in enumerate(keys, 1):
            path = (*path, key)
            self.lines.setdefault(path, line)
            size = self._array_sizes.get(path, 0)
            if is_array and depth == len(keys):
                self._array_sizes[path] = size = size + 1
            if size:
                path = (*path, size - 1)
                self.lines.setdefault(path, line)
        self.lines[path] = line  # a header outranks an earlier mention of the table in a longer header
        return path

    def _key_value(self, table: KeyPath) -> None:
        line = self._token[2]
        path = table
        for key in self._dotted():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._skip_to("=")
        self._next()
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._token[1] == "{":
            self.headers.add(path)
            self._inline_table(path)
        elif self._token[1] == "[":
            self._array(path)
        else:
            self._next()
            while self._token[1] not in (",", "]", "}", "\n", ""):
                self._next()

    def _inline_table(self, path: KeyPath) -> None:
        self._next()
        while self._token[1] != "}":
            if self._token[1] in (",", "\n"):
                self._next()
            else:
                self._key_value(path)
        self._next()

    def _array(self, path: KeyPath) -> None:
        self._next()
        index = 0
        while self._token[1] != "]":
            if self._token[1] in (",", "\n"):
                self._next()
                continue
            element = (*path, index)
            self.lines[element] = self._token[2]
            self._value(element)
            index += 1
        self._next()

    def _dotted(self) -> list[str]:
        keys = [_key(self._next())]
        while self._token[1] == ".":
            self._next()
            keys.append(_key(self._next()))
        return keys

    def _skip_to(self, mark: str) -> None:
        while self._token[1] not in (mark, ""):
            self._next()

    def _next(self) -> tuple[str, str, int]:
        """Hands out the current token and moves on."""
        if self._token is _END:
            raise _EndedError
        token, self._token = self._token, next(self._tokens, _END)
        return token


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """`(kind, text, line)` of everything but blanks and comments."""
    line_starts = [0, *(m.end() for m in re.finditer("\n", text))]
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        if match.lastgroup != "skip":
            line = bisect_right(line_starts, match.start())
            yield match.lastgroup or "", match.group(), line


def _key(token: tuple[str, str, int]) -> str:
    kind, text, _ = token
    if kind != "string":
        return text
    if text[0] == "'" or "\\" not in text:
        return text[1:-1]
    return str(tomllib.loads(f"k = {text}")["k"])
