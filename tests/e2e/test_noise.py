"""Random bytes on the serial line and on the POS socket leave the daemon serving.

A few dozen blobs through the whole daemon; ten thousand each go through the parsers, see
drivers/vtap/test_frames.py and daemon/server/test_fuzz.py.
"""

from __future__ import annotations

import os
import random
import select
import threading

import pytest

from rigs.daemon import START, Shop
from rigs.pos import Pos
from rigs.tapes import STALL
from tilltap.sandbox.service import NewPass

BLOB = 64 * 1024
BLOBS = 24
REGULARS = [NewPass(f"zz-secret-noise-{n}", n) for n in range(BLOBS)]


@pytest.fixture
def noisy(open_shop) -> Shop:
    shop = open_shop(*REGULARS)
    shop.start()
    shop.ready()
    return shop


def pour(fd: int, data: bytes) -> None:
    """All of it into a pty, as fast as the daemon reads."""
    left = memoryview(data)
    while left:
        assert select.select([], [fd], [], STALL)[1], "the daemon has stopped reading the line"
        left = left[os.write(fd, left) :]


@pytest.mark.parametrize(
    ("alphabet", "blobs"),
    # What looks like frames is full of taps of passes that nobody knows, and the service is asked for each.
    [(bytes(range(256)), BLOBS), (b"\x02\x03\x1fAG11\r\n %a", 6)],
    ids=["any", "frame-like"],
)
def test_blobs_on_the_serial_line(noisy: Shop, alphabet: bytes, blobs: int) -> None:
    rng = random.Random(64)
    for n, regular in enumerate(REGULARS[:blobs]):
        mark = noisy.events.mark()
        pour(noisy.reader.master, bytes(rng.choices(alphabet, k=BLOB)) + b"\r\n")
        noisy.tap(str(regular.ext_id))
        noisy.events.wait(
            lambda e, n=n: (
                e.method == "tap" and e.params["balance"] == n and e.params["status"] == "identified"
            ),
            after=mark,
        )
    assert [r["state"] for r in noisy.ask("status")["readers"]] == ["up"]
    assert noisy.stop() == 0


def test_blobs_on_the_pos_socket(noisy: Shop) -> None:
    rng = random.Random(65)
    with noisy.pos() as bystander:
        for n in range(BLOBS):
            blob = bytes(rng.choices(range(256) if n % 2 else b'{}[]":,\n0e \\u"jsonrpc', k=BLOB))
            with noisy.pos() as pos:
                sender = threading.Thread(target=_send, args=(pos, blob))
                sender.start()
                assert all(("error" in reply) != ("result" in reply) for reply in pos.read_all())
                sender.join(START)
            assert bystander.result("sale.open", sale_id=f"n{n}", total="1.00")["state"] == "open"
    noisy.events.wait(lambda e: e.method == "sale" and e.params["sale_id"] == f"n{BLOBS - 1}")
    assert len(noisy.events.of("sale")) == BLOBS
    assert noisy.stop() == 0


def _send(pos: Pos, blob: bytes) -> None:
    try:
        pos.send(blob)
        pos.end_of_input()
    except (BrokenPipeError, ConnectionResetError):
        return  # an over-long line ends the connection
