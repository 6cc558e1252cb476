"""Apple's polling frame."""

from __future__ import annotations

import pytest

from tilltap_drivers.polling import ecp


@pytest.mark.parametrize(
    ("mode", "frame"),
    [(0, "6A01000000F6F1"), (1, "6A010000017FE0"), (2, "6A01000002E4D2"), (3, "6A010000036DC3")],
)
def test_the_frames_are_the_published_ones(mode: int, frame: str) -> None:
    assert ecp.frame(mode).hex().upper() == frame


def test_the_crc_is_that_of_readers_in_captures() -> None:
    assert ecp.crc_a(bytes.fromhex("6A01CF0000")).hex().upper() == "ABB1"


@pytest.mark.parametrize("mode", [-1, 4])
def test_there_are_four_modes(mode: int) -> None:
    with pytest.raises(ValueError, match="mode: is not one of 0 to 3"):
        ecp.frame(mode)
