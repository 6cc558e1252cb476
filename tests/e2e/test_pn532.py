"""Phones at a PN532 board: the real daemon, nfcpy, an emulated chip on a pty, passes really decrypted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from rigs import pcsc
from rigs.daemon import ANNA, BEN, Shop
from tilltap.sandbox.service import NewPass
from tilltap_drivers.nfc.keys import Key
from tilltap_drivers.pn532.simulator import Pn532Simulator

READERS = f"""
[wallet.apple]
pass_type_id = "{pcsc.PASS_TYPE_ID}"
keys = ["apple.pem"]
[wallet.google]
collector_id = "{pcsc.COLLECTOR}"
key = "google.pem"
[[reader]]
name = "counter"
driver = "pn532"
port = "{{link}}"
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Pn532Simulator]:
    with Pn532Simulator(tmp_path / "ttyPN532") as running:
        yield running


@pytest.fixture
def shop(open_shop: Callable[..., Shop], board: Pn532Simulator) -> Shop:
    shop = open_shop(NewPass(BEN, 4), NewPass(ANNA, 0), readers=READERS.format(link=board.link))
    write(shop, "apple.pem", pcsc.APPLE_KEY)
    write(shop, "google.pem", pcsc.GOOGLE_KEY)
    shop.start()
    shop.ready()
    return shop


def write(shop: Shop, name: str, key: Key) -> None:
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = shop.folder / name
    path.touch(0o600)
    path.write_bytes(key.private.private_bytes(pem, form, serialization.NoEncryption()))


def tap(shop: Shop, board: Pn532Simulator, phone: object, *, waits: bool = False) -> dict[str, Any]:
    mark = shop.events.mark()
    board.present(phone, waits=waits)
    told = shop.events.wait(lambda e: e.method == "tap", after=mark).params
    board.remove()
    return told


def test_phones_find_their_customers_before_and_after_the_board_was_pulled(
    shop: Shop, board: Pn532Simulator
) -> None:
    """The iPhone answers only because it is asked for a pass."""
    find = shop.sandbox.service.find
    shop.ask("sale.open", sale_id="s0", total="20.00")
    told = tap(shop, board, pcsc.iphone(find(ANNA).nfc), waits=True)
    assert (told["reader"], told["source"], told["status"]) == ("counter", "apple-vas", "identified")
    assert (told["customer"]["ext_id"], told["sale_id"]) == (ANNA, "s0")
    assert shop.ask("sale.close", sale_id="s0")["balance_after"] == 2

    mark = shop.events.mark()
    board.unplug()
    shop.events.wait(lambda e: e.method == "reader" and e.params["state"] == "unplugged", after=mark)
    mark = shop.events.mark()
    board.plug()
    shop.events.wait(lambda e: e.method == "reader" and e.params["state"] == "up", after=mark)

    shop.ask("sale.open", sale_id="s1", total="20.00")
    told = tap(shop, board, pcsc.android(find(BEN).nfc))
    assert (told["source"], told["customer"]["ext_id"]) == ("google-smart-tap", BEN)
    assert shop.ask("sale.close", sale_id="s1")["balance_after"] == 6
    assert shop.stop() == 0
    assert board.chip.asleep
