"""Outcomes as JSON lines: what is written is read, anything else is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.replay.golden import from_json, to_json

NUMBERS = st.none() | st.integers(0, 9)
TAPS = st.builds(
    PassRead, st.binary(), st.sampled_from(["apple-vas", "card"]), st.text(), NUMBERS, NUMBERS, st.text()
) | st.builds(ReadFailure, st.sampled_from(["locked", "no-pass"]), st.text(), st.just("google-smart-tap"))


@given(TAPS)
def test_what_is_written_is_read(tap: PassRead | ReadFailure) -> None:
    text = to_json(tap)
    assert text.isascii()
    assert text.isprintable()
    assert from_json(text) == tap


GOOD = '{"value": "a", "source": "card", "kind": "", "index": null, "slot": 1, "uid": ""}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        "{}",
        GOOD.replace('"a"', "1"),
        GOOD.replace('"card"', '"tarot"'),
        GOOD.replace('"card"', "[]"),
        GOOD.replace("null", "true"),
        GOOD.replace(', "uid": ""', ""),
        GOOD.replace('"uid": ""', '"uid": "", "more": 1'),
        GOOD.replace('"kind"', '"value_hex": "00", "kind"'),
        GOOD.replace('"value": "a"', '"value_hex": "0g"'),
        '{"status": "fine", "reason": "", "source": "card"}',
        '{"status": "locked", "reason": 1, "source": "card"}',
        '{"status": "locked", "source": "card"}',
    ],
)
def test_anything_else_is_a_value_error_of_one_line(text: str) -> None:
    assert from_json(GOOD) == PassRead(b"a", "card", slot=1)
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        from_json(text)
