"""What is taken off a recording, and what stays."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.tapes import load
from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.nfc import ose
from tilltap_drivers.nfc.tlv import encode
from tilltap_drivers.replay.play import play
from tilltap_drivers.replay.scrub import StandIns, scrub_apdus, scrub_frames
from tilltap_drivers.replay.tape import Step, Tape, Told
from tilltap_drivers.vtap.config_txt import frame_spec

PREFIX, POSTFIX = "%02$t$n%1F$u%1F", "%03%0A"


def stand_ins() -> StandIns:
    return StandIns(random.Random(1).choice)


def scrubbed(*data: bytes, prefix: str = PREFIX, postfix: str = POSTFIX) -> list[bytes]:
    steps = [Step(0.001, "<", part) for part in data]
    return [step.data for step in scrub_frames(steps, frame_spec(prefix, postfix), stand_ins())]


@given(st.text(min_size=1) | st.binary(min_size=1))
def test_a_stand_in_is_as_long_and_another(value: str | bytes) -> None:
    raw = value.encode() if isinstance(value, str) else value
    known = stand_ins()
    assert len(known.of(raw)) == len(raw)
    assert known.of(raw) != raw or set(raw) == {ord("x")}
    assert known.of(raw) == known.of(raw)


@pytest.mark.parametrize("value", ["MEMBER-0042", "member 0042", "08E9460F", "08e9460f", "Zoë", "客户-7"])
def test_a_stand_in_has_the_shape_of_its_value(value: str) -> None:
    other = stand_ins().of(value.encode()).decode()
    assert [shape(char) for char in other] == [shape(char) for char in value]
    if value.upper() == "08E9460F":
        assert bytes.fromhex(other)


def shape(char: str) -> tuple[object, ...]:
    return char.isdigit(), char.isalpha(), char.isupper(), len(char.encode()), char.isalnum() or char


def test_many_values_of_one_digit_each_have_their_own() -> None:
    known = stand_ins()
    assert len({known.of(str(digit).encode()) for digit in range(5)}) == 5


def test_values_and_chip_numbers_go_the_frame_stays() -> None:
    (first, second) = scrubbed(
        b"\x02A11\x1f08E9460F\x1fMEMBER-0042\x03\n", b"\x02G16\x1f\x1fMEMBER-0042\x03\n"
    )
    assert (first[:5], first[-2:], len(first)) == (b"\x02A11\x1f", b"\x03\n", 27)
    assert (second[:6], second[-2:], len(second)) == (b"\x02G16\x1f\x1f", b"\x03\n", 19)
    assert first[14:-2] == second[6:-2] != b"MEMBER-0042"
    assert b"08E9460F" not in first


def test_a_value_in_many_pieces_and_in_the_middle_of_an_answer() -> None:
    whole = b"Firmware: V2.\x02A11\x1f\x1fMEMBER-0042\x03\n2.8.2\r\n"
    pieces = [whole[n : n + 1] for n in range(len(whole))]
    out = scrubbed(*pieces)
    assert [len(piece) for piece in out] == [1] * len(whole)
    text = b"".join(out)
    assert b"MEMBER" not in text
    assert text.startswith(b"Firmware: V2.\x02A11\x1f\x1f")
    assert text.endswith(b"\x03\n2.8.2\r\n")


@pytest.mark.parametrize(
    "line", [b"VTAP100", b"Firmware: V2.2.8.2", b"Hardware: V4", b"OSDP:Enabled,SecureOnly", b"OK", b"?b"]
)
def test_what_the_reader_says_of_itself_stays(line: bytes) -> None:
    assert scrubbed(line + b"\r\n") == [line + b"\r\n"]


@pytest.mark.parametrize(
    "data",
    [
        b"MEMBER-0042\r\n",
        b"VTAP LABEL: MEMBER-0042\r\n",
        b"Serial: MEMBER-0042\r\n",
        b"\x02A11\x1f\x1fMEMBER-0042",
        b"\x02A11\x1fMEMBER-0042\x03\n",
        b"\x02A11\x1f\x1fMEMBER-0042\x02A11\x1f\x1ftwo\x03\n",
    ],
)
def test_what_is_broken_or_unknown_goes_too(data: bytes) -> None:
    (out,) = scrubbed(data)
    assert len(out) == len(data)
    assert b"MEMBER" not in out
    assert b"0042" not in out


@pytest.mark.parametrize("name", ["mixed-framed", "mixed-bare", "odd-framed"])
def test_every_tape_gives_the_same_taps_with_other_values(name: str) -> None:
    tape, known = load(name), stand_ins()
    steps = [step for step in tape.steps if isinstance(step, Step)]
    other = Tape(tuple(scrub_frames(steps, tape.spec, known)), tape.prefix, tape.postfix)
    before = [tap for _, taps in play(tape) for tap in taps]
    after = [tap for _, taps in play(other) for tap in taps]
    assert after == [known.tap(tap) for tap in before]
    text = b"".join(step.data for step in other.steps if isinstance(step, Step) and step.direction == "<")
    assert not [tap.value for tap in before if len(tap.value) > 8 and tap.value in text]


def test_of_apdus_the_names_of_applications_and_the_status_stay() -> None:
    select = ose.SELECT.encode()
    about = encode(0x50, b"ApplePay") + encode(0x9F21, b"\x01\x00") + encode(0x9F24, b"NONC")
    ask = b"\x80\xca\x01\x01" + bytes((len(query := encode(0x9F22, b"\x01\x00") + encode(0x9F25, b"SHOP")),))
    steps = [
        Step(0.0, ">", select),
        Step(0.1, "<", encode(0x6F, about) + b"\x90\x00"),
        Step(0.1, ">", ask + query + b"\x00"),
        Step(0.1, "<", encode(0x70, encode(0x9F2A, b"TIME") + encode(0x9F27, b"SECRET")) + b"\x90\x00"),
        Step(0.1, ">", b"\xff\xca\x00\x00\x00"),
        Step(0.1, "<", b"CHIP\x90\x00"),
        Told(0.1, PassRead(b"MEMBER-0042", "apple-vas", index=1, uid="08E9460F")),
        Told(0.1, ReadFailure("locked", "Unlock the phone.", "apple-vas")),
    ]
    out = scrub_apdus(steps, stand_ins())
    zeros = encode(0x50, b"ApplePay") + encode(0x9F21, b"\x01\x00") + encode(0x9F24, bytes(4))
    assert out[:6] == [
        steps[0],
        Step(0.1, "<", encode(0x6F, zeros) + b"\x90\x00"),
        Step(0.1, ">", ask + encode(0x9F22, b"\x01\x00") + encode(0x9F25, bytes(4)) + b"\x00"),
        Step(0.1, "<", encode(0x70, encode(0x9F2A, bytes(4)) + encode(0x9F27, bytes(6))) + b"\x90\x00"),
        steps[4],
        Step(0.1, "<", bytes(4) + b"\x90\x00"),
    ]
    assert out[7] == steps[7]
    assert isinstance(out[6], Told)
    assert isinstance(tap := out[6].tap, PassRead)
    assert (len(tap.value), tap.source, tap.index) == (11, "apple-vas", 1)
    assert tap.value != b"MEMBER-0042"
    assert tap.uid != "08E9460F"


@given(st.binary(max_size=60), st.binary(max_size=60), st.booleans())
def test_of_any_answer_only_its_length_and_what_is_public_stays(
    command: bytes, answer: bytes, asked: bool
) -> None:
    asks = ose.SELECT.encode() if asked else command
    out = scrub_apdus([Step(0.0, ">", asks), Step(0.0, "<", answer)], stand_ins())
    assert [len(step.data) for step in out if isinstance(step, Step)] == [len(asks), len(answer)]
    if not asked and command[:2] != b"\x80\xca":
        assert out[1] == Step(0.0, "<", bytes(len(answer[:-2])) + answer[-2:])
