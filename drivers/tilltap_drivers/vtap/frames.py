"""From the bytes of a VTAP's port to taps and reply lines; pure, and at home with any bytes.

Source: the project's VTAP notes, section 11.1. The grammar there, for the default prefix and postfix:

    frame   = 02 type digits 1F uid 1F payload 03 [0A]
    type    = one character    digits = "" or 2 digits    uid = "" or hex

In active mode taps and command replies share the port, and a tap may break into the middle of a reply. So
there are two places a byte can be in:

* outside a frame it belongs to a line, which CR, LF or CRLF ends; empty lines are nothing;
* from the start mark on it belongs to a frame, which the end mark ends. The line that was interrupted
  is kept and goes on behind the frame.

Readers configured without a prefix send bare lines: then every line is a tap, and no reply is ever expected.

The rules that keep bad bytes from costing a good tap: a frame that begins inside another one wins; what is
too long or stays unfinished too long is dropped, but never with a frame that begins behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tilltap_drivers.contract import PassRead, Source
from tilltap_drivers.vtap.config_txt import FrameSpec

# Bytes from start mark to end mark. VTAP notes, 11.1; pass values are at most 256 characters.
FRAME_LIMIT = 4096
# Bytes of a line without its end. The longest documented reply (`?b`) is a few short lines.
LINE_LIMIT = 4096
# Seconds an unfinished frame or line may stay without a further byte. VTAP notes, 11.1, say 1 s for a frame;
# it is counted from the last byte, because 300 bytes at 1200 baud take 2.5 s and are a good tap.
QUIET_LIMIT = 1.0

# Type character -> what was presented (VTAP notes, 3.4); any other single character is passed on as unknown.
SOURCES: dict[str, Source] = {
    "A": "apple-vas",
    "G": "google-smart-tap",
    "Q": "scanner",
    **dict.fromkeys("0246E", "card"),
}

_LINE_END = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True)
class Reply:
    """A line outside frames, without its end: a command's answer, start-up text, or noise."""

    line: bytes


@dataclass(frozen=True, slots=True)
class FrameError:
    """Bytes were dropped, or a frame shows a wrong set-up; `reason` holds none of the bytes."""

    reason: str


FrameEvent = PassRead | Reply | FrameError


class Framer:
    """Feeds on bytes in pieces of any size; the same bytes give the same events however they are cut.

    `now` is any clock in seconds that never goes back. No input raises, and what is kept between calls
    stays below `FRAME_LIMIT + LINE_LIMIT` bytes.
    """

    def __init__(self, spec: FrameSpec) -> None:
        self.spec = spec
        self._buf = bytearray()  # a frame from its start mark on, or what may be the beginning of one
        self._line = bytearray()
        self._in_frame = False
        self._scanned = 0  # bytes of the frame, or of the bare line, in which no end mark begins
        self._tail = b""  # line end of the last frame's postfix that has not come yet
        self._overlong = False  # the line was too long and is skipped to its end
        self._last = 0.0

    @property
    def held(self) -> int:
        """Bytes kept until more come."""
        return len(self._buf) + len(self._line)

    @property
    def in_line(self) -> bool:
        """Whether a reply has begun and its line end is missing."""
        return bool(self._line) and not self.spec.bare

    def take_line(self) -> list[bytes]:
        """The line that has begun, as if its end had come: some firmware may send none (13 row 1)."""
        if not self.in_line or self._overlong:
            return []
        line = bytes(self._line)
        self._line.clear()
        return [line]

    def feed(self, data: bytes, now: float) -> list[FrameEvent]:
        """What `data` completes, oldest first."""
        events = self.expire(now)
        if data:
            self._last = now
        self._buf += data
        while self._buf:
            step = self._inside() if self._in_frame else self._outside()
            if step is None:
                break
            events.extend(step)
        return events

    def expire(self, now: float) -> list[FrameEvent]:
        """Give up what has been unfinished for too long; a reply without a line end is complete by then."""
        if not (self.held or self._overlong) or now - self._last <= QUIET_LIMIT:
            return []
        events: list[FrameEvent] = []
        line = b"" if self._overlong else bytes(self._line)
        if self._in_frame or (self.spec.bare and line):
            events.append(FrameError("unfinished: its end did not come within a second"))
        elif not self._overlong:
            line += self._buf
        if line and not self.spec.bare:
            events.append(Reply(line))
        self._buf.clear()
        self._line.clear()
        self._in_frame = self._overlong = False
        self._scanned, self._tail = 0, b""
        return events

    # Outside: everything up to the next start mark belongs to a line.

    def _outside(self) -> list[FrameEvent] | None:
        """One step; None when only more bytes can help."""
        self._skip_tail()
        start = self.spec.start
        if not start:
            cut = len(self._buf)
        else:
            at = self._buf.find(start)
            cut = at if at >= 0 else len(self._buf) - _overlap(self._buf, start)
            self._in_frame = at >= 0
        text = bytes(self._buf[:cut])
        del self._buf[:cut]
        if self._in_frame:
            self._scanned = len(start)
        events = list(self._lines(text))
        return events if self._in_frame or events else None

    def _skip_tail(self) -> None:
        while self._tail and self._buf:
            if self._buf[0] == self._tail[0]:
                del self._buf[0]
            self._tail = self._tail[1:]

    def _lines(self, text: bytes) -> Iterator[FrameEvent]:
        """Complete lines of what was kept and `text`; the rest is kept, within its limit."""
        if not text:
            return
        seen = 0 if not self._line else self._scanned_line()
        self._line += text
        begin = 0
        while found := self._line_end(seen):
            line = bytes(self._line[begin : found[0]])
            begin = seen = found[1]
            if self._overlong or len(line) > LINE_LIMIT:
                if not self._overlong:
                    yield _OVERLONG_LINE
                self._overlong = False
            elif line:
                yield self._bare_tap(line) if self.spec.bare else Reply(line)
        del self._line[:begin]
        if len(self._line) > LINE_LIMIT + self.spec.end_len - 1:
            if not self._overlong:
                yield _OVERLONG_LINE
            self._overlong = True
        if self._overlong:
            del self._line[: max(0, len(self._line) - self.spec.end_len + 1)]

    def _scanned_line(self) -> int:
        """Where in the kept line an end can begin that is complete only now."""
        return max(0, len(self._line) - (self.spec.end_len - 1 if self.spec.bare else 0))

    def _line_end(self, pos: int) -> tuple[int, int] | None:
        found = (self.spec.end if self.spec.bare else _LINE_END).search(self._line, pos)
        return found.span() if found else None

    def _bare_tap(self, line: bytes) -> PassRead:
        found = self.spec.body.fullmatch(line)
        return _tap(found.groupdict()) if found else PassRead(line)

    # Inside: the buffer begins with a start mark.

    def _inside(self) -> list[FrameEvent] | None:
        """One step; None when only more bytes can help."""
        found = self.spec.end.search(self._buf, self._scanned, FRAME_LIMIT)
        if found:
            body = bytes(self._buf[: found.start()])
            # Of a CRLF whose CR was the end the LF may still come, whatever the postfix says.
            self._tail = b"\n" if found[0].endswith(b"\r") else self.spec.tail
            del self._buf[: found.end()]
            self._in_frame = False
            return self._frame(body)
        if len(self._buf) >= FRAME_LIMIT:
            self._next_start()
            return [FrameError(f"overlong: no end within {FRAME_LIMIT} bytes")]
        self._scanned = max(len(self.spec.start), len(self._buf) - self.spec.end_len + 1)
        return None

    def _next_start(self) -> None:
        """Give up the frame's start mark, but not a frame that may begin behind it."""
        start = self.spec.start
        # A strict start mark makes all before it void, so only the last one can still become a tap.
        search = self._buf.rfind if self.spec.strict else self._buf.find
        at = search(start, 1, FRAME_LIMIT)
        self._in_frame = at >= 0
        self._scanned = len(start)
        del self._buf[: at if at >= 0 else FRAME_LIMIT - _overlap(self._buf[1:FRAME_LIMIT], start)]

    def _frame(self, body: bytes) -> list[FrameEvent]:
        """`body` is everything from the first start mark to before the end mark."""
        at = self._last_start(body)
        events: list[FrameEvent] = []
        if at > 0:
            events.append(FrameError("broken off: another tap began before its end"))
        found = self.spec.body.fullmatch(body, at)
        if not found:
            events.append(FrameError("malformed: between prefix and postfix is not what they say"))
            return events
        groups = found.groupdict()
        events.extend(
            FrameError(f"token: the reader sent ${token} as text, its firmware does not know it")
            for token in "tnus"
            if groups.get(token) == b"$" + token.encode()
        )
        events.append(_tap(groups))
        return events

    def _last_start(self, body: bytes) -> int:
        """Where the frame begins that this end mark ends.

        A printable start mark may occur in a payload, so it counts only with a whole prefix behind it.
        """
        start = self.spec.start
        at = body.rfind(start)
        while at > 0 and not self.spec.strict and not self.spec.header.match(body, at):
            at = body.rfind(start, 0, at + len(start) - 1)
        return at


_OVERLONG_LINE = FrameError(f"overlong: no line end within {LINE_LIMIT} bytes")


def _overlap(buffer: bytes | bytearray, start: bytes) -> int:
    """How many bytes at the end of `buffer` may be the beginning of a start mark."""
    return next((n for n in range(min(len(start) - 1, len(buffer)), 0, -1) if buffer.endswith(start[:n])), 0)


def _tap(groups: dict[str, bytes]) -> PassRead:
    kind = groups.get("t", b"").decode("latin-1")
    digits = groups.get("n", b"")
    index, slot = (digits[0] - 48, digits[1] - 48) if digits.isdigit() else (None, None)
    uid = groups.get("u", b"")
    return PassRead(
        groups["value"],
        source=SOURCES.get(kind, "unknown"),
        kind="" if kind == "$t" else kind,
        index=index,
        slot=slot,
        uid=uid.decode() if all(byte in b"0123456789abcdefABCDEF" for byte in uid) else "",
    )
