"""The reader's own `config.txt`, and the language of its prefixes and postfixes.

Source: the project's VTAP notes, sections 3.2-3.4 (layout of a read, escapes, tokens), 6.1 (file syntax)
and 11.1 (frame). A daemon that is given the same prefix and postfix as the reader derives its parser from
them here; the simulator renders its output with the same `Template`.

    <prefix bytes> <payload bytes> <postfix bytes>

There is no length and no checksum, so a tap can be found only by the literal bytes around it. Which
templates make that impossible is decided here, once, with a sentence for the person who wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

HEADER = "!VTAPconfig"

Token = Literal["t", "n", "u", "s"]
TOKENS: tuple[str, ...] = get_args(Token)

# The vendor names no limit (VTAP notes, section 13 row 15); its own settings are far below this, and the
# longest start mark must stay small beside the frame limit of 4096 bytes.
MAX_TEMPLATE = 200

_NEWLINES = b"\r\n"

# `$u` is 8, 14 or 16 hex digits, or nothing (scanner reads); old firmware leaves the token as it stands.
_UID = rb"(?:[0-9A-Fa-f]{16}|[0-9A-Fa-f]{14}|[0-9A-Fa-f]{8}|\$u|)"
# Free text up to the literal that follows the token. UIDs and serial numbers are shorter than this; a
# reader whose UID has an unheard-of form still delivers its tap, because nothing hangs on the UID.
_FREE = rb"[\x00-\xff]{0,64}?"
_TYPE = rb"(?:\$t|[\x20-\x7e])"
_DIGITS = rb"(?:\$n|[0-9]{2}|)"


@dataclass(frozen=True, slots=True)
class Template:
    """A prefix or postfix: literal bytes and tokens, neighbouring literals joined."""

    parts: tuple[bytes | str, ...]

    def render(self, values: Mapping[str, bytes]) -> bytes:
        """The bytes a reader sends; a token missing from `values` stays as it is written (old firmware)."""
        return b"".join(
            part if isinstance(part, bytes) else values.get(part, b"$" + part.encode()) for part in self.parts
        )


def parse_template(text: str) -> Template:
    """`%XX` is a byte, `$t $n $u $s` are tokens, `$$x` is the text `$x`, anything else is itself.

    ValueError says what cannot stand in a `config.txt` and what to write instead.
    """
    if len(text) > MAX_TEMPLATE:
        raise ValueError(f"is longer than {MAX_TEMPLATE} characters")
    parts: list[bytes | str] = []
    rest = text
    while rest:
        part, rest = _next_part(rest)
        if isinstance(part, bytes) and parts and isinstance(parts[-1], bytes):
            parts[-1] += part
        else:
            parts.append(part)
    return Template(tuple(parts))


def _next_part(text: str) -> tuple[bytes | str, str]:
    char = text[0]
    if char == ";":
        raise ValueError("a ';' starts a comment in config.txt: write %3B")
    if char in "\r\n":
        raise ValueError(f"a line break cannot stand in config.txt: write %{ord(char):02X}")
    if char == "%":
        digits = text[1:3]
        if not re.fullmatch(r"[0-9A-Fa-f]{2}", digits):
            raise ValueError(f"'%{digits}' is not % and two hex digits (a percent sign is %25)")
        return bytes.fromhex(digits), text[3:]
    if char == "$":
        if text[1:2] == "$":
            return b"$", text[2:]
        if text[1:2] not in TOKENS or not text[1:2]:
            raise ValueError(f"unknown token '{text[:2]}' (known: $t $n $u $s; a dollar sign is $$)")
        return text[1], text[2:]
    return char.encode(), text[1:]


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """How taps are found in the byte stream of one reader; built by `frame_spec`.

    `start`: literal bytes a frame begins with (empty: bare lines). `end`: matches where a frame or a bare
    line ends, at most `end_len` bytes. `tail`: bytes of the postfix after `end`, ignored once if they come.
    `strict`: a second `start` always begins a new frame; else only if a whole prefix follows.
    `header`: a whole prefix; `body`: prefix, payload and what precedes `end`, groups t n u s value.
    """

    prefix: Template
    postfix: Template
    start: bytes
    strict: bool
    end: re.Pattern[bytes]
    end_len: int
    tail: bytes
    header: re.Pattern[bytes]
    body: re.Pattern[bytes]

    @property
    def bare(self) -> bool:
        return not self.start


def frame_spec(prefix: str, postfix: str) -> FrameSpec:
    """The parser for `<if>Prefix` and `<if>Postfix`; ValueError in one line if taps could not be found.

    An empty prefix means bare lines: a tap ends at CR, LF or CRLF whatever the postfix is, and at the
    postfix too if that holds no line end.
    """
    head, foot = _named("prefix", prefix), _named("postfix", postfix)
    core, tail = _split_end(foot)
    before = foot.parts[:-1] if foot.parts else ()
    if not head.parts:
        return _bare(head, foot, before, core, tail)
    start = _literal(head.parts[0], "prefix: begins", "start", "%02")
    end, end_len, tail = _end_mark(core, tail)
    for part in head.parts:
        if isinstance(part, bytes) and (end.search(part) or (core and core in part)):
            raise ValueError(
                "postfix: its end also occurs in the prefix, so a tap would end in its own prefix"
            )
    pattern = _regex(head.parts, open_end=True)
    closing = _regex(before, open_end=False, after_payload=True)
    return FrameSpec(
        head,
        foot,
        start,
        strict=not _printable(start),
        end=end,
        end_len=end_len,
        tail=tail,
        header=_compiled(pattern),
        body=_compiled(pattern + _value(before) + closing),
    )


def _named(which: str, text: str) -> Template:
    try:
        return parse_template(text)
    except ValueError as error:
        raise ValueError(f"{which}: {error}") from None


def _literal(part: bytes | str, which: str, mark: str, example: str) -> bytes:
    match part:
        case bytes():
            return part
        case _:
            raise ValueError(
                f"{which} with ${part}, so the {mark} of a tap cannot be found (use a literal: {example})"
            )


def _split_end(foot: Template) -> tuple[bytes, bytes]:
    """The last literal of the postfix as (what marks the end, line end after it)."""
    if not foot.parts:
        return b"", b""
    last = _literal(foot.parts[-1], "postfix: ends", "end", "%03%0A")
    core = last.rstrip(_NEWLINES)
    return core, last[len(core) :]


def _end_mark(core: bytes, tail: bytes) -> tuple[re.Pattern[bytes], int, bytes]:
    """(end, end_len, tail) of a framed spec.

    A control byte cannot occur in a payload and ends the frame alone. A printable mark could, so it needs
    its line end; any line end will do, because readers' files are edited on Windows.
    """
    if not core and not tail:
        raise ValueError(
            "postfix: is empty, so the end of a tap cannot be found (end with a literal such as %03%0A)"
        )
    if core and (not tail or not _printable(core)):
        return re.compile(re.escape(core)), len(core), tail
    return re.compile(re.escape(core) + rb"[\r\n]"), len(core) + 1, b""


def _bare(
    head: Template, foot: Template, before: tuple[bytes | str, ...], core: bytes, tail: bytes
) -> FrameSpec:
    closing = _regex(before, open_end=False, after_payload=True)
    if core and not tail:
        end, end_len = re.compile(re.escape(core) + rb"|[\r\n]"), len(core)
    else:
        end, end_len = re.compile(rb"[\r\n]"), 1
        closing += re.escape(core)
    return FrameSpec(
        head,
        foot,
        start=b"",
        strict=False,
        end=end,
        end_len=end_len,
        tail=b"",
        header=re.compile(b""),
        body=_compiled(_value(before) + closing),
    )


def _printable(literal: bytes) -> bool:
    """Whether every byte of a literal may also occur in a pass value."""
    return all(byte >= 0x20 and byte != 0x7F for byte in literal)


def _value(before: tuple[bytes | str, ...]) -> bytes:
    # A literal behind the payload counts where it stands last. A token there has nothing to hold on to:
    # then it gets as much as it can be.
    return rb"(?P<value>.*?)" if before and isinstance(before[0], str) else rb"(?P<value>.*)"


def _regex(parts: tuple[bytes | str, ...], *, open_end: bool, after_payload: bool = False) -> bytes:
    """Literals and tokens as a pattern; a token with a literal after it may hold anything up to that."""
    out = b""
    for i, part in enumerate(parts):
        if isinstance(part, bytes):
            out += re.escape(part)
            continue
        bounded = isinstance(parts[i + 1], bytes) if i + 1 < len(parts) else not open_end
        bounded = bounded and not (after_payload and i == 0)
        if part == "s" and not bounded:
            side = "postfix" if after_payload else "prefix"
            raise ValueError(f"{side}: $s needs a literal beside it, or it cannot be told from the payload")
        pattern = {"t": _TYPE, "n": _DIGITS, "u": _FREE if bounded else _UID, "s": _FREE}[part]
        out += b"(?P<%s>%s)" % (part.encode(), pattern)
    return out


def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        raise ValueError("prefix, postfix: each of $t $n $u $s may stand once in both together") from None


@dataclass(frozen=True, slots=True)
class ConfigTxt:
    """The settings of one `config.txt` in file order; names are found without regard to case."""

    settings: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        wanted = name.lower()
        return next((value for key, value in self.settings.items() if key.lower() == wanted), default)

    def templates(self, interface: str) -> tuple[Template, Template]:
        """Prefix and postfix of `ComPort`, `Serial` or `Serial2`; ValueError as `parse_template`.

        The postfix of a file that sets none is LF, as the keyboard's is (VTAP notes, section 13 row 14).
        """
        before, after = f"{interface}Prefix", f"{interface}Postfix"
        return _named(before, self.get(before)), _named(after, self.get(after, "%0A"))


def parse_config(text: str) -> ConfigTxt:
    """A `config.txt`: header line, `Name=Value`, `;` comments; the last duplicate wins, `[section]` ends it.

    CR LF and a byte order mark are tolerated, unknown names are kept. ValueError names the line.
    """
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    if lines[0].split(";")[0].strip() != HEADER:
        raise ValueError(f"line 1: the first line of a VTAP config.txt is {HEADER}")
    settings: dict[str, str] = {}
    for number, raw in enumerate(lines[1:], start=2):
        line = raw.split(";", 1)[0].strip()
        if line.startswith("["):
            break
        if not line:
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"line {number}: expected Name=Value")
        name = name.strip()
        for old in [key for key in settings if key.lower() == name.lower()]:
            del settings[old]
        settings[name] = value.strip()
    return ConfigTxt(settings)
