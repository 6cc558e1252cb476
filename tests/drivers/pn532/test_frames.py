"""The frames of the chip's serial line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap_drivers.pn532.frames import ACK, BODY_LIMIT, Frames, body, frame

bodies = st.binary(min_size=1, max_size=BODY_LIMIT)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("d402", "0000ff02fed4022a00"),
        ("d503 32010607", "0000ff06fad50332010607e800"),
        ("7f", "0000ff01ff7f8100"),
    ],
)
def test_frames_are_those_of_the_manual(content: str, line: str) -> None:
    assert frame(bytes.fromhex(content)) == bytes.fromhex(line)


@given(st.lists(bodies, max_size=4), st.integers(1, 9))
def test_whatever_is_cut_comes_out_whole(contents: list[bytes], step: int) -> None:
    line = b"".join(ACK + frame(content) for content in contents)
    frames, found = Frames(), []
    for at in range(0, len(line), step):
        found += frames.feed(line[at : at + step])
    assert found == [whole for content in contents for whole in (ACK, frame(content))]
    assert [body(whole) for whole in found] == [part for content in contents for part in (b"", content)]


@given(st.binary(max_size=40).filter(lambda noise: b"\x00\xff" not in noise + b"\x00\x00"), bodies)
def test_noise_before_a_frame_is_passed_over(noise: bytes, content: bytes) -> None:
    assert Frames().feed(noise + frame(content)) == [frame(content)]


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_any_bytes_may_come_and_little_is_kept(line: list[bytes]) -> None:
    frames = Frames()
    for data in line:
        for whole in frames.feed(data):
            assert 0 <= len(body(whole)) <= BODY_LIMIT
        assert len(frames._bytes) <= BODY_LIMIT + 8


@given(bodies, st.data())
def test_a_frame_with_one_wrong_byte_is_none(content: bytes, data: st.DataObject) -> None:
    right = frame(content)
    at = data.draw(st.integers(3, len(right) - 2))
    wrong = bytearray(right)
    wrong[at] ^= data.draw(st.integers(1, 255))
    assert right not in Frames().feed(bytes(wrong))
