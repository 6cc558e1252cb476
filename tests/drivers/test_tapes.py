"""The committed tapes are what their generator says, and give their golden events however they are cut."""

from __future__ import annotations

import pytest

from rigs.make_tape import TAPS, texts
from rigs.tapes import TAPES, as_golden, golden, load, pieces
from tilltap_drivers.contract import PassRead
from tilltap_drivers.vtap.frames import Framer

NAMES = ["mixed-framed", "mixed-bare", "odd-framed"]


def test_the_files_are_what_the_generator_writes() -> None:
    assert {name: (TAPES / name).read_text(encoding="utf-8") for name in texts()} == texts()


@pytest.mark.parametrize("size", [None, 1, 2, 3, 64])
@pytest.mark.parametrize("name", NAMES)
def test_golden_events_in_pieces_of_any_size(name: str, size: int | None) -> None:
    tape = load(name)
    framer, now, got = Framer(tape.spec), 0.0, []
    for wait, data in pieces(tape, size):
        now += wait
        got += [as_golden(event) for event in framer.feed(data, now) if isinstance(event, PassRead)]
    assert got == golden(name)


@pytest.mark.parametrize("name", ["mixed-framed", "mixed-bare"])
def test_a_mixed_tape_holds_500_taps_that_differ(name: str) -> None:
    values = {event["value"] for event in golden(name)}
    assert len(values) == len(golden(name)) == TAPS
    assert all(1 <= len(value) <= 256 and value.isprintable() for value in values)


def test_the_framed_tape_mixes_every_source() -> None:
    assert {event["source"] for event in golden("mixed-framed")} == {
        "apple-vas",
        "google-smart-tap",
        "card",
        "scanner",
        "unknown",
    }
