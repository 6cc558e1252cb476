"""Recorded bytes through a real pty into the real daemon: every tap on the tape is told, and nothing else.

The golden events beside a tape say what its reader read; what the daemon must make of each is worked out here
from the contract alone: a value of 1-256 printable characters is a customer's, anything else is unreadable.
All values of a tape differ, so nothing is folded.
"""

from __future__ import annotations

from typing import Any

import pytest

from rigs import tapes
from rigs.daemon import Logs, Shop
from tilltap.config.load import load
from tilltap.loyalty.provider import PassState
from tilltap.sandbox.service import NewPass
from tilltap.stores import open_file
from tilltap.till import customers
from tilltap.till.shapes import Shop as Rules

# Every tap of the longest tape is told within this; a tape of 500 plays for about five seconds.
PLAYED = 40.0


def readable(golden: dict[str, Any]) -> bool:
    return 1 <= len(golden.get("value", "")) <= 256 and golden["value"].isprintable()


def expected(golden: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    """(source, status, ext id) of each tap event."""
    return [
        (g["source"], "identified", f"zz-secret-tape-{n}")
        if readable(g)
        else (g["source"], "unreadable", None)
        for n, g in enumerate(golden)
    ]


def regulars(golden: list[dict[str, Any]]) -> list[NewPass]:
    return [NewPass(f"zz-secret-tape-{n}", n, g["value"]) for n, g in enumerate(golden) if readable(g)]


def make_known(shop: Shop) -> None:
    """Enters every pass of the sandbox into the shop's ledger: the service would allow nine a second."""
    settings = load(shop.config)
    store, _ = open_file(settings)
    rules = Rules(settings.till, settings.program, 1)
    states = [PassState(p.id, p.ext_id, p.nfc, points=p.balance) for p in shop.sandbox.service.passes()]
    try:
        store.run_now(lambda tx: [customers.meet(tx, rules, str(s.nfc), s) for s in states])
    finally:
        store.close()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mixed-framed", None),
        ("mixed-framed", 1),
        ("mixed-bare", None),
        ("mixed-bare", 1),
        ("odd-framed", None),
        ("odd-framed", 1),
    ],
    ids=lambda x: x if isinstance(x, str) else "as-recorded" if x is None else f"{x}-byte-at-a-time",
)
def test_every_tap_of_a_tape_is_told_once_and_in_order(logs: Logs, name: str, size: int | None) -> None:
    tape, golden = tapes.load(name), tapes.golden(name)
    reader = (
        f'[[reader]]\nname = "counter"\nport = "vtap"\nprefix = "{tape.prefix}"\npostfix = "{tape.postfix}"\n'
    )
    with Shop(logs, *regulars(golden), readers=reader) as shop:
        make_known(shop)
        shop.start()
        shop.ready()
        tapes.play(tape, shop.reader.master, size=size)
        # A tap behind the tape: when it has been told, everything before it has.
        last = shop.sandbox.service.create(NewPass("zz-secret-tape-end", 1))
        shop.reader.write(b"\r\n")
        if tape.prefix:
            shop.tap_value(last.nfc)
        else:
            shop.reader.write(last.nfc.encode() + b"\r\n")
        shop.events.wait(
            lambda e: e.method == "tap" and (e.params["customer"] or {}).get("ext_id") == last.ext_id, PLAYED
        )
        taps = [e.params for e in shop.events.of("tap")][:-1]
        got = [(p["source"], p["status"], (p["customer"] or {}).get("ext_id")) for p in taps]
        assert got == expected(golden)
        assert len({p["tap_id"] for p in taps}) == len(golden)
        assert [p["balance"] for p in taps] == [n if readable(g) else None for n, g in enumerate(golden)]
        assert shop.stop() == 0
