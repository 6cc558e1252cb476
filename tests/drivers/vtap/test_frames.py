"""Whatever bytes come in, taps, replies and errors come out, nothing else, and the buffer stays bounded."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilltap_drivers.contract import PassRead
from tilltap_drivers.vtap.config_txt import FrameSpec, frame_spec
from tilltap_drivers.vtap.frames import FRAME_LIMIT, LINE_LIMIT, FrameError, FrameEvent, Framer, Reply
from tilltap_drivers.vtap.settings import DEFAULT_POSTFIX, DEFAULT_PREFIX

FRAMED = frame_spec(DEFAULT_PREFIX, DEFAULT_POSTFIX)
PRINTABLE = frame_spec("<$t$n~$u~", ">%0A")
WORDY = frame_spec("TAP:$t$n $u ", "%0D%0A")
TRAILER = frame_spec("%02", "%1F$t$n%1F$s%03")
BARE = frame_spec("", "%0D%0A")
BARE_ETX = frame_spec("", "%03%0A")
BARE_MARK = frame_spec("", "END")

PHONE = PassRead(b"ABC", "google-smart-tap", "G", 1, 6, "08E9460F")
FRAME = b"\x02G16\x1f08E9460F\x1fABC\x03\n"
SHOWN = b"<G16~08E9460F~ABC>\n"
BROKEN_OFF = FrameError("broken off: another tap began before its end")
MALFORMED = FrameError("malformed: between prefix and postfix is not what they say")

SAMPLES: list[tuple[str, FrameSpec, bytes, list[FrameEvent]]] = [
    ("the example of the notes", FRAMED, FRAME, [PHONE]),
    ("apple", FRAMED, b"\x02A21\x1f08A1B2C3\x1fx\x03\n", [PassRead(b"x", "apple-vas", "A", 2, 1, "08A1B2C3")]),
    ("scanner without uid", FRAMED, b"\x02Q\x1f\x1f4006\x03\n", [PassRead(b"4006", "scanner", "Q")]),
    *[
        (f"card {kind}", FRAMED, f"\x02{kind}\x1f04A1B2C3D4E5F6\x1fv\x03\n".encode(),
         [PassRead(b"v", "card", kind, None, None, "04A1B2C3D4E5F6")])
        for kind in "0246E"
    ],
    ("a kind nobody knows", FRAMED, b"\x02Z33\x1f\x1fv\x03\n", [PassRead(b"v", "unknown", "Z", 3, 3)]),
    ("no payload", FRAMED, b"\x02A11\x1f\x1f\x03\n", [PassRead(b"", "apple-vas", "A", 1, 1)]),
    ("bytes that are no text", FRAMED, b"\x02A11\x1f\x1f\xff\x00\r\x03\n", [PassRead(b"\xff\x00\r", "apple-vas", "A", 1, 1)]),
    ("separator in the payload", FRAMED, b"\x02A11\x1f\x1fa\x1fb\x03\n", [PassRead(b"a\x1fb", "apple-vas", "A", 1, 1)]),
    ("uid of no known form", FRAMED, b"\x02A11\x1f??\x1fa\x03\n", [PassRead(b"a", "apple-vas", "A", 1, 1)]),
    ("without its line feed", FRAMED, FRAME[:-1] + FRAME, [PHONE, PHONE]),
    ("inside a reply", FRAMED, b"CC12" + FRAME + b"3456\r\nOK\n", [PHONE, Reply(b"CC123456"), Reply(b"OK")]),
    ("between CR and LF of a reply", FRAMED, b"OK\r" + FRAME + b"\nOK\r", [Reply(b"OK"), PHONE, Reply(b"OK")]),
    ("after a whole reply line", FRAMED, b"VTAP100\r\n\r\n" + FRAME, [Reply(b"VTAP100"), PHONE]),
    ("begins twice", FRAMED, b"\x02A11\x1f\x1flost" + FRAME, [BROKEN_OFF, PHONE]),
    ("start mark twice", FRAMED, b"\x02" + FRAME, [BROKEN_OFF, PHONE]),
    ("one digit", FRAMED, b"\x02A1\x1f\x1fv\x03\n" + FRAME, [MALFORMED, PHONE]),
    ("no separators", FRAMED, b"\x02junk\x03\n" + FRAME, [MALFORMED, PHONE]),
    ("end mark alone", FRAMED, b"\x03\n" + FRAME, [Reply(b"\x03"), PHONE]),
    ("old firmware", FRAMED, b"\x02A11\x1f$u\x1fv\x03\n", [
        FrameError("token: the reader sent $u as text, its firmware does not know it"),
        PassRead(b"v", "apple-vas", "A", 1, 1),
    ]),
    ("too long", FRAMED, b"\x02A11\x1f\x1f" + b"x" * FRAME_LIMIT + b"\x03\n" + FRAME, [
        FrameError("overlong: no end within 4096 bytes"),
        Reply(b"x" * 6 + b"\x03"),
        PHONE,
    ]),
    ("begins behind one that is too long", FRAMED, b"\x02" + b"x" * (FRAME_LIMIT - 10) + FRAME, [
        FrameError("overlong: no end within 4096 bytes"), PHONE,
    ]),
    ("a reply that is too long", FRAMED, b"x" * (LINE_LIMIT + 1) + FRAME + b"more\nOK\n", [
        FrameError("overlong: no line end within 4096 bytes"), PHONE, Reply(b"OK"),
    ]),
    ("printable", PRINTABLE, b"OK\n" + SHOWN, [Reply(b"OK"), PHONE]),
    ("printable, with its marks in the payload", PRINTABLE, b"<G16~08E9460F~a<b>c>\n", [
        PassRead(b"a<b>c", "google-smart-tap", "G", 1, 6, "08E9460F")
    ]),
    ("printable, begins twice", PRINTABLE, b"<G16~08E9460F~lost" + SHOWN, [BROKEN_OFF, PHONE]),
    ("printable, stray marks before it", PRINTABLE, b"<< 3 > 2 <" + SHOWN, [BROKEN_OFF, PHONE]),
    ("printable, CRLF", PRINTABLE, b"<G16~08E9460F~ABC>\r\n" + SHOWN, [PHONE, PHONE]),
    ("a word as start mark", WORDY, b"TATAP:G16 08E9460F ABC\r\nTAX\r\n", [PHONE, Reply(b"TATAX")]),
    ("tokens behind the payload", TRAILER, b"\x02ABC\x1fG16\x1fCC12\x03\x02a\x1fb\x1fQ\x1f\x03", [
        PassRead(b"ABC", "google-smart-tap", "G", 1, 6), PassRead(b"a\x1fb", "scanner", "Q"),
    ]),
    ("bare, every line end", BARE, b"a\rb\nc\r\n\r\n\n\rd\r", [PassRead(bytes((c,))) for c in b"abcd"]),
    ("bare, a frame is only a line", BARE, FRAME, [PassRead(FRAME[:-1])]),
    ("bare, too long", BARE, b"x" * (LINE_LIMIT + 1) + b"\nok\n", [
        FrameError("overlong: no line end within 4096 bytes"), PassRead(b"ok"),
    ]),
    ("bare, as long as may be", BARE, b"x" * LINE_LIMIT + b"\n", [PassRead(b"x" * LINE_LIMIT)]),
    ("bare with a mark before the line end", BARE_ETX, b"a\x03\nb\n", [PassRead(b"a"), PassRead(b"b")]),
    ("bare with a mark of its own", BARE_MARK, b"aENDbEN\rEND\nc\n", [
        PassRead(b"a"), PassRead(b"bEN"), PassRead(b"c"),
    ]),
]  # fmt: skip
IDS = [name for name, *_ in SAMPLES]
SPECS = {"framed": (FRAMED, FRAME), "printable": (PRINTABLE, SHOWN), "bare": (BARE, b"ABC\n")}


def fed(spec: FrameSpec, chunks: Iterable[bytes]) -> list[FrameEvent]:
    framer = Framer(spec)
    return [event for chunk in chunks for event in framer.feed(chunk, 0.0)]


def cuts(data: bytes, rng: random.Random) -> list[bytes]:
    marks = sorted(rng.choices(range(len(data) + 1), k=rng.randint(1, 8)))
    return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]


@pytest.mark.parametrize(("name", "spec", "data", "expected"), SAMPLES, ids=IDS)
class TestEverySample:
    def test_whole(self, name: str, spec: FrameSpec, data: bytes, expected: list[FrameEvent]) -> None:
        assert fed(spec, [data]) == expected

    def test_byte_by_byte(self, name: str, spec: FrameSpec, data: bytes, expected: list[FrameEvent]) -> None:
        assert fed(spec, (data[i : i + 1] for i in range(len(data)))) == expected

    def test_cut_anywhere(self, name: str, spec: FrameSpec, data: bytes, expected: list[FrameEvent]) -> None:
        rng = random.Random(name)
        for _ in range(20):
            assert fed(spec, cuts(data, rng)) == expected

    def test_three_in_one_chunk(
        self, name: str, spec: FrameSpec, data: bytes, expected: list[FrameEvent]
    ) -> None:
        clean = data + b"\n"  # ends what the sample may leave open, where that is a line
        again = fed(spec, [clean])
        assert fed(spec, [clean * 3]) == again * 3

    def test_followed_by_garbage(
        self, name: str, spec: FrameSpec, data: bytes, expected: list[FrameEvent]
    ) -> None:
        garbage = random.Random(name).randbytes(200)
        assert fed(spec, [data + garbage])[: len(expected)] == expected


def test_no_event_comes_before_its_last_byte() -> None:
    for at in range(len(FRAME) - 1):
        assert fed(FRAMED, [FRAME[:at]]) == []
    assert fed(FRAMED, [FRAME[:-1]]) == [PHONE]


class TestUnfinished:
    """A second without a byte ends what has begun (VTAP notes, 11.1)."""

    def test_half_a_frame_is_dropped(self) -> None:
        framer = Framer(FRAMED)
        framer.feed(FRAME[:9], 0.0)
        assert framer.feed(FRAME[9:] + FRAME, 1.1) == [
            FrameError("unfinished: its end did not come within a second"),
            Reply(FRAME[9:-1]),
            PHONE,
        ]

    def test_a_slow_line_is_not(self) -> None:
        framer, events = Framer(FRAMED), []
        for i in range(len(FRAME)):
            events += framer.feed(FRAME[i : i + 1], i * 0.9)
        assert events == [PHONE]

    def test_the_reply_it_broke_into_is_told(self) -> None:
        framer = Framer(FRAMED)
        framer.feed(b"CC12\x02A", 0.0)
        assert framer.expire(2.0)[1:] == [Reply(b"CC12")]
        assert framer.held == 0

    def test_a_reply_without_line_end_is_whole(self) -> None:
        framer = Framer(WORDY)
        framer.feed(b"CC123456TA", 0.0)
        assert framer.expire(0.9) == []
        assert framer.expire(1.1) == [Reply(b"CC123456TA")]

    def test_noise_without_line_end_does_not_spoil_the_next_bare_tap(self) -> None:
        framer = Framer(BARE)
        framer.feed(b"\x00\xff", 0.0)
        assert framer.feed(b"ABC\r\n", 5.0)[-1] == PassRead(b"ABC")

    def test_nor_does_noise_that_was_too_long(self) -> None:
        framer = Framer(BARE_MARK)
        framer.feed(b"x" * 5000, 0.0)
        assert framer.feed(b"ABC\n", 5.0) == [PassRead(b"ABC")]


def test_take_line_gives_what_has_begun_once() -> None:
    framer = Framer(FRAMED)
    framer.feed(b"VTAP100\r\nFirm", 0.0)
    assert framer.in_line
    assert (framer.take_line(), framer.take_line()) == ([b"Firm"], [])


# Pieces that matter to some framer, so that random bytes reach every corner.
PIECES = [b"\x02", b"\x03", b"\n", b"\r", b"\r\n", b"\x1f", b"A11\x1f", b"<", b">", b">\n", b"<A11~08A1B2C3~", b"~",
          b"\x02A11\x1f\x1f", FRAME, SHOWN, b"TAP", b"OK"]  # fmt: skip
TIMES = [1, 1, 1, 1, 1, 1, 2, 3, 700, 2100]
ANY_BYTES = st.lists(
    st.tuples(st.one_of(st.sampled_from(PIECES), st.binary(min_size=1, max_size=6)), st.sampled_from(TIMES)),
    max_size=10,
).map(lambda parts: joined(piece * times for piece, times in parts))


def joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts)[: 64 * 1024]


def random_bytes(rng: random.Random) -> bytes:
    """The same kind of bytes as `ANY_BYTES`, made fast."""
    return joined(
        (rng.choice(PIECES) if rng.random() < 0.6 else rng.randbytes(rng.randint(1, 6))) * rng.choice(TIMES)
        for _ in range(rng.randint(0, 8))
    )


def survives(data: bytes, kind: str, rng: random.Random) -> None:
    """No exception, a bounded buffer, the same events however cut, and the next good tap still comes."""
    spec, good = SPECS[kind]
    framer, events = Framer(spec), []
    for chunk in [*cuts(data, rng), b"\n", good]:
        events += framer.feed(chunk, 0.0)
        assert framer.held <= FRAME_LIMIT + LINE_LIMIT
    last = events[-1]
    assert isinstance(last, PassRead)
    assert last.value == b"ABC"
    assert fed(spec, [data + b"\n" + good]) == events


@settings(max_examples=300, deadline=None)
@given(data=ANY_BYTES, kind=st.sampled_from(sorted(SPECS)), seed=st.integers(0, 2**32))
def test_any_bytes(data: bytes, kind: str, seed: int) -> None:
    survives(data, kind, random.Random(seed))


def test_ten_thousand_cases_of_any_bytes() -> None:
    for case in range(10_000):
        rng = random.Random(case)
        data, kind = random_bytes(rng), rng.choice(sorted(SPECS))
        try:
            survives(data, kind, rng)
        except Exception as error:
            raise AssertionError(f"case {case}, {kind}, {len(data)} bytes {data[:80]!r}...") from error


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_64_kib_of_noise(kind: str) -> None:
    spec, good = SPECS[kind]
    noise = random.Random(kind).randbytes(64 * 1024)
    framer = Framer(spec)
    framer.feed(noise, 0.0)
    assert framer.held <= FRAME_LIMIT + LINE_LIMIT
    assert framer.feed(b"\n" + good, 0.0)[-1] in (PHONE, PassRead(b"ABC"))


@settings(max_examples=300, deadline=None)
@given(
    value=st.binary(max_size=300),
    kind=st.sampled_from("AGQ0246EXWSHM?"),
    digits=st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9))),
    uid=st.binary().filter(lambda b: len(b) in (0, 4, 7, 8)),
)
def test_what_a_reader_renders_is_what_the_framer_reads(
    value: bytes, kind: str, digits: tuple[int, int] | None, uid: bytes
) -> None:
    value = value.translate(None, b"\x02\x03")
    tokens = {
        "t": kind.encode(),
        "n": f"{digits[0]}{digits[1]}".encode() if digits else b"",
        "u": uid.hex().encode(),
        "s": b"CC123456",
    }
    for spec in (FRAMED, frame_spec("%02$u%1F$t|", "%03%0A"), frame_spec("%02$s,$t$n,", "%03")):
        data = spec.prefix.render(tokens) + value + spec.postfix.render(tokens)
        (tap,) = fed(spec, [data])
        assert isinstance(tap, PassRead)
        assert (tap.value, tap.kind) == (value, kind)
