import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap_drivers.replay.tape import Step, Tape, TapeError, decode, dump_tape, encode, parse_tape

HEAD = "# tilltap tape 1\n# Reader: VTAP100\n# Prefix: %02$t$n%1F$u%1F\n# Postfix: %03%0A\n"


def test_a_tape() -> None:
    tape = parse_tape(
        HEAD + "\n# a remark\n0.000 < %02A11%1F%1FABC%03%0A\n0.500 > ?b%0D\n0.25 < VTAP100%0D%0A\n", "x"
    )
    assert tape.headers == {"Reader": "VTAP100"}
    assert (tape.prefix, tape.postfix) == ("%02$t$n%1F$u%1F", "%03%0A")
    assert tape.steps == (
        Step(0.0, "<", b"\x02A11\x1f\x1fABC\x03\n"),
        Step(0.5, ">", b"?b\r"),
        Step(0.25, "<", b"VTAP100\r\n"),
    )
    assert list(tape.sent()) == [(0.0, b"\x02A11\x1f\x1fABC\x03\n"), (0.75, b"VTAP100\r\n")]
    assert tape.identity == "VTAP100 (replayed)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "t.tape:1: a tape begins with"),
        ("# Reader: x\n", "t.tape:1: a tape begins with"),
        (HEAD + "# Color: red\n", "t.tape:5: unknown header 'Color'"),
        (HEAD + "# Reader: again\n", "t.tape:5: header 'Reader' stands twice"),
        (HEAD.replace("# Postfix: %03%0A\n", ""), "'# Postfix:' is missing"),
        (HEAD.replace("# Prefix: %02", "# Prefix: $t%02"), "prefix: begins with $t"),
        (HEAD + "\n0.1 < a\nabc\n", "t.tape:7: expected 'SECONDS < BYTES'"),
        (HEAD + "-1 < a\n", "t.tape:5: expected"),
        (HEAD + "0.1 = a\n", "t.tape:5: expected"),
        (HEAD + "0.1 < \n", "t.tape:5: expected"),
        (HEAD + "0.1 < a%\n", "t.tape:5: '%'"),
        (HEAD + "0.1 < a%0a\n", "t.tape:5: '%'"),
        (HEAD + "0.1 < é\n", "t.tape:5: 'é'"),
        (HEAD + "0.1 < a\x7f\n", "t.tape:5: '\\x7f'"),
        (HEAD + "0.1 < a \n", "written %20"),
        (HEAD + "99999 < a\n", "t.tape:5: waits longer"),
    ],
)
def test_a_mistake_names_file_and_line(text: str, words: str) -> None:
    with pytest.raises(TapeError) as caught:
        parse_tape(text, "t.tape")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(min_size=1))
def test_any_bytes_can_be_written_and_read_back(data: bytes) -> None:
    text = encode(data)
    assert text.isascii()
    assert text.isprintable()
    assert decode(text) == data


@given(
    st.lists(
        st.builds(
            Step, st.integers(0, 5000).map(lambda ms: ms / 1000), st.sampled_from("<>"), st.binary(min_size=1)
        )
    ),
    st.sampled_from(["", "%02$t$n%1F$u%1F"]),
)
def test_what_is_written_is_read(steps: list[Step], prefix: str) -> None:
    tape = Tape(tuple(steps), prefix, "%03%0A", {"Reader": "VTAP100", "Notes": "two: words"})
    assert parse_tape(dump_tape(tape), "x") == tape
