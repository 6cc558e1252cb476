"""Whatever a client takes and when: what was put comes out whole and in order."""

from __future__ import annotations

import anyio
from hypothesis import given
from hypothesis import strategies as st

from tilltap.server.outbox import CHUNK, Outbox

LINES = st.lists(
    st.tuples(st.binary(min_size=1, max_size=9).map(lambda b: b * (CHUNK // 4)), st.integers(0, CHUNK))
)


@given(LINES, st.lists(LINES, max_size=6))
def test_bytes_leave_in_the_order_they_were_put(
    first: list[tuple[bytes, int]], later: list[list[tuple[bytes, int]]]
) -> None:
    """Each line comes with what the socket would take of it at once; `later` are put while a chunk is written."""
    out, put, takes = bytearray(), bytearray(), 0

    def send(line: bytes) -> int:
        out.extend(line[:takes])
        return min(takes, len(line))

    async def play() -> None:
        nonlocal takes
        outbox = Outbox(send)

        def say(lines: list[tuple[bytes, int]]) -> None:
            nonlocal takes
            for line, takes_now in lines:
                takes = takes_now
                put.extend(line)
                outbox.put(line)

        say(first)
        for lines in later:
            with anyio.move_on_after(0):
                chunk = await outbox.take()
                say(lines)
                out.extend(chunk)
        outbox.close()
        while chunk := await outbox.take():
            out.extend(chunk)

    anyio.run(play)
    assert out == put
