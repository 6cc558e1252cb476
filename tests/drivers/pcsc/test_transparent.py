"""The words of a transparent session, as the manuals print them, and whatever a reader may answer."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilltap_drivers.pcsc import transparent
from tilltap_drivers.pcsc.transparent import Answer, Refused, Talk, parse

ECP = bytes.fromhex("6A01000002E4D2")
OK, NOBODY, UNKNOWN = "C0030090009000", "C0030164019000", "C003016A819000"
END, START, RF_OFF, RF_ON = (f"FFC20000 02 {tag} 00 00" for tag in ("82", "81", "83", "84"))
ACTIVATE, RAW = "FFC20002 04 8F020004 00", "FFC20002 04 8F020002 00"
ENDED = "its transparent session does not last ({})"
FRAME = "FFC20001 0E 5F4604 88130000 9505 6A01000002 00"


def play(talk: Talk[object], answers: Iterable[str | bytes]) -> tuple[list[str], object]:
    """What the reader was sent, and what came of it: a value, or the words of the refusal."""
    sent: list[str] = []
    replies = iter(answers)
    try:
        sent.append(next(talk).hex().upper())
        while True:
            reply = next(replies)
            command = talk.send(bytes.fromhex(reply) if isinstance(reply, str) else reply)
            sent.append(command.hex().upper())
    except StopIteration as end:
        return sent, end.value
    except Refused as refused:
        return sent, str(refused)


def with_flags(flags: str) -> str:
    return f"FFC20001 12 9002 {flags} 5F4604 88130000 9505 6A01000002 00"


TALKS = {
    "opening": (transparent.opening(), ["6982", OK], [END, START], None),
    "opening what does not begin": (
        transparent.opening(),
        [OK, "C0030169009000"],
        [END, START],
        "it begins no transparent session (6900)",
    ),
    "no flags": (transparent.find_flags(ECP), [OK, NOBODY], [RAW, FRAME], b""),
    "flags in the first byte": (
        transparent.find_flags(ECP),
        [OK, UNKNOWN, OK, NOBODY],
        [RAW, FRAME, RAW, with_flags("1000")],
        b"\x10\x00",
    ),
    "flags in the second byte": (
        transparent.find_flags(ECP),
        [OK, UNKNOWN, OK, "C003016A809000", OK, OK],
        [RAW, FRAME, RAW, with_flags("1000"), RAW, with_flags("0010")],
        b"\x00\x10",
    ),
    "no flags that the reader takes": (
        transparent.find_flags(ECP),
        [OK, UNKNOWN, OK, UNKNOWN, OK, "C0030167009000"],
        [RAW, FRAME, RAW, with_flags("1000"), RAW, with_flags("0010")],
        "it does not send Apple's polling frame (6700)",
    ),
    "finding nobody": (transparent.find(), [NOBODY], [ACTIVATE], False),
    "finding nobody, as RC-S660 puts it": (transparent.find(), ["C003016A819000"], [ACTIVATE], False),
    "finding nobody, in the status of the command": (transparent.find(), ["6300"], [ACTIVATE], False),
    "finding a phone": (transparent.find(), ["C003009000 5F51053B80800101 9000"], [ACTIVATE], True),
    "finding no session": (transparent.find(), ["6982"], [ACTIVATE], ENDED.format("6982")),
    "finding no session, as the object's status": (
        transparent.find(),
        ["C0030169859000"],
        [ACTIVATE],
        ENDED.format("6985"),
    ),
    "announcing": (transparent.announce(ECP, b""), [OK, NOBODY], [RAW, FRAME], 0x6401),
    "announcing without a session": (transparent.announce(ECP, b""), ["6986"], [RAW], ENDED.format("6986")),
    "announcing when the session ends": (
        transparent.announce(ECP, b""),
        [OK, "6982"],
        [RAW, FRAME],
        ENDED.format("6982"),
    ),
    "field off without a session": (transparent.field(on=False), ["6900"], [RF_OFF], ENDED.format("6900")),
    "an APDU without a session": (
        transparent.exchange(b"\x00", b""),
        ["6982"],
        ["FFC20001 0A 5F4604 80841E00 950100 00"],
        ENDED.format("6982"),
    ),
    "announcing with a CRC of our own": (
        transparent.announce(ECP, b"\x00\x11"),
        [OK, NOBODY],
        [RAW, "FFC20001 14 90020011 5F4604 88130000 9507 6A01000002E4D2 00"],
        0x6401,
    ),
    "field off": (transparent.field(on=False), [OK], [RF_OFF], None),
    "field on": (transparent.field(on=True), [OK], [RF_ON], None),
    "closing": (transparent.closing(), [""], [END], None),
    "an APDU": (
        transparent.exchange(bytes.fromhex("00A40400"), b""),
        ["C003009000 920100 96020000 97026A82 9000"],
        ["FFC20001 0D 5F4604 80841E00 9504 00A40400 00"],
        b"\x6a\x82",
    ),
    "an APDU where flags are sent": (
        transparent.exchange(bytes.fromhex("00A40400"), b"\x10\x00"),
        ["C003009000 97026A82 9000"],
        ["FFC20001 11 90020000 5F4604 80841E00 9504 00A40400 00"],
        b"\x6a\x82",
    ),
    "an APDU that needs an extended length": (
        transparent.exchange(bytes(250), b""),
        [NOBODY],
        [f"FFC20001 00 0104 5F4604 80841E00 9581FA {bytes(250).hex()} 0000"],
        b"",
    ),
    "an answer that came damaged": (
        transparent.exchange(b"\x00", b""),
        ["C003009000 96020100 97026A82 9000"],
        ["FFC20001 0A 5F4604 80841E00 950100 00"],
        b"",
    ),
}


@pytest.mark.parametrize(("talk", "answers", "sent", "result"), TALKS.values(), ids=TALKS.keys())
def test_talks(talk: Talk[object], answers: list[str], sent: list[str], result: object) -> None:
    assert play(talk, answers) == ([command.replace(" ", "").upper() for command in sent], result)


# Answers, and what they are: those of the wild first.
@pytest.mark.parametrize(
    ("answer", "parsed"),
    [
        ("C003009000 920100 960200 00 9708 0053040201001303 9000", Answer(0x9000, bytes.fromhex("0053040201001303"))),
        ("C0030164019000", Answer(0x6401)),
        ("9000", Answer(0x9000)),
        ("6300", Answer(0x6300)),
        ("6401", Answer(0x6401)),
        ("97009000", Answer(0x9000, b"")),
        ("6D00", "it answers 6D00"),
        ("6A81", "it answers 6A81"),
        ("", "its answer is cut off"),
        ("90", "its answer is cut off"),
        ("C0039000", "its answer cannot be understood: data object C0 ends early"),
        ("C002009000", "its answer cannot be understood: data object C0 ends early"),
        ("C002 6401 9000", "its answer cannot be understood: a status of 2 bytes"),
        ("97849000", "its answer cannot be understood: a length that is indefinite or absurd"),
        ("97 81 05 0000 9000", "its answer cannot be understood: data object 97 ends early"),
        ("9700" * 65 + "9000", "its answer cannot be understood: more than 64 data objects"),
    ],
)  # fmt: skip
def test_answers(answer: str, parsed: Answer | str) -> None:
    try:
        found: Answer | str = parse(bytes.fromhex(answer))
    except Refused as refused:
        found = str(refused)
    assert found == parsed


# Bytes that are nearly an answer: cut, lengthened, or with one byte changed.
@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    whole = bytearray.fromhex(
        draw(st.sampled_from([OK, NOBODY, UNKNOWN, "C003009000920100960200009702900090009000"]))
    )
    whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    return bytes(whole[: draw(st.integers(0, len(whole)))]) + draw(st.binary(max_size=4))


@settings(deadline=None)
@given(st.binary() | nearly())
@example(b"")
def test_any_bytes_are_an_answer_or_refused(answer: bytes) -> None:
    found = None
    with suppress(Refused):
        found = parse(answer)
    if found is not None:
        assert 0 <= found.status <= 0xFFFF
        assert found.response is None or found.response in answer


@settings(deadline=None)
@given(
    st.sampled_from(
        [
            lambda: transparent.find_flags(ECP),
            transparent.find,
            lambda: transparent.announce(ECP, b"\x10\x00"),
            lambda: transparent.exchange(bytes(300), b""),
            lambda: transparent.field(on=False),
            transparent.closing,
        ]
    ),
    st.lists(
        st.binary(max_size=300) | nearly() | st.sampled_from([bytes.fromhex(OK), bytes.fromhex(NOBODY)]),
        min_size=9,
        max_size=9,
    ),
)
def test_no_reader_can_keep_a_talk_going(talk: object, answers: list[bytes]) -> None:
    sent, _ = play(talk(), answers)  # type: ignore[operator]
    assert len(sent) <= 9


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=1000), st.binary(min_size=2, max_size=1000))
def test_what_goes_into_a_session_comes_out(apdu: bytes, response: bytes) -> None:
    talk = transparent.exchange(apdu, b"")
    command = next(talk)
    size, data = (
        (command[4], command[5:-1]) if command[4] else (int.from_bytes(command[5:7], "big"), command[7:-2])
    )
    assert len(data) == size
    assert data.endswith(apdu)
    length = b"\x82" + len(response).to_bytes(2, "big")
    with pytest.raises(StopIteration) as ended:
        talk.send(b"\xc0\x03\x00\x90\x00\x97" + length + response + b"\x90\x00")
    assert ended.value.value == response
