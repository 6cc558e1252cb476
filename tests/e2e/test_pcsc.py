"""Phones at a plain PC/SC reader: the real daemon, a real pcscd, passes that are really decrypted."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives import serialization

from rigs import escape, pcsc
from rigs.daemon import ANNA, BEN, START, Logs, Process, Shop, wait_until
from tilltap.sandbox.service import NewPass
from tilltap_drivers.nfc.keys import Key
from tilltap_drivers.nfc.words import AUTHENTICATE
from tilltap_drivers.pcsc import polled
from tilltap_drivers.pcsc.virtual import Slot, VirtualReaders

READERS = f"""
[wallet.apple]
pass_type_id = "{pcsc.PASS_TYPE_ID}"
keys = ["apple.pem"]
[wallet.google]
collector_id = "{pcsc.COLLECTOR}"
key = "google.der"
[[reader]]
name = "desk"
driver = "pcsc"
match = "tilltap virtual 0 00 00"
"""
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SEC1, PKCS8 = serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8


@pytest.fixture
def readers() -> Iterator[VirtualReaders]:
    with pcsc.pcscd() as running:
        yield running


@pytest.fixture
def shop(open_shop: Callable[..., Shop], readers: VirtualReaders) -> Shop:
    return opened(open_shop, READERS)


def opened(open_shop: Callable[..., Shop], config: str) -> Shop:
    shop = open_shop(NewPass(BEN, 4), NewPass(ANNA, 0), readers=config)
    write(shop, "apple.pem", pcsc.APPLE_KEY, PEM, SEC1)
    write(shop, "google.der", pcsc.GOOGLE_KEY, DER, PKCS8)
    shop.start()
    shop.ready()
    return shop


def write(shop: Shop, name: str, key: Key, encoding: serialization.Encoding, form: object) -> None:
    path = shop.folder / name
    path.touch(0o600)
    path.write_bytes(key.private.private_bytes(encoding, form, serialization.NoEncryption()))


def show(slot: Slot, device: object) -> None:
    """As long as the reader needs."""
    slot.present(device)
    assert slot.until_read(pcsc.READ)


def test_an_iphone_and_an_android_phone_each_find_their_customer(shop: Shop, readers: VirtualReaders) -> None:
    find = shop.sandbox.service.find
    visits = (("apple-vas", ANNA, pcsc.iphone), ("google-smart-tap", BEN, pcsc.android))
    for number, (source, customer, phone) in enumerate(visits):
        shop.ask("sale.open", sale_id=f"s{number}", total="20.00")
        mark = shop.events.mark()
        show(readers.slots[0], phone(find(customer).nfc))
        tap = shop.events.wait(lambda e: e.method == "tap", after=mark).params
        assert (tap["reader"], tap["source"], tap["status"]) == ("desk", source, "identified")
        assert tap["customer"]["ext_id"] == customer
        assert tap["sale_id"] == f"s{number}"
        pcsc.take_away(readers)
    for number, after in ((0, 2), (1, 6)):
        assert shop.ask("sale.close", sale_id=f"s{number}")["balance_after"] == after
    assert shop.balance(ANNA) == 2


def test_a_locked_phone_is_one_event_and_the_opened_one_another(shop: Shop, readers: VirtualReaders) -> None:
    phone = pcsc.iphone(shop.sandbox.service.find(ANNA).nfc, unlocked=False)
    mark = shop.events.mark()
    readers.slots[0].present(phone)
    locked = shop.events.wait(lambda e: e.method == "tap", after=mark).params
    assert (locked["status"], locked["reason"], locked["customer"]) == ("locked", AUTHENTICATE, None)
    wait_until(lambda: phone.shown is not None, START, "a phone that asks for its owner")
    phone.authenticate()
    shop.events.wait(lambda e: e.params.get("status") == "identified", after=mark)
    assert [e.params["status"] for e in shop.events.of("tap")] == ["locked", "identified"]


def test_apples_polling_frame_where_it_can_be_had_and_a_remedy_where_not(
    open_shop: Callable[..., Shop],
) -> None:
    with_frame = 'ecp = "transparent"\n'
    frame = f'[[reader]]\nname = "frame"\ndriver = "pcsc"\nmatch = "{escape.READER}"\n'
    firmware = escape.Transparent()
    with escape.pcscd(escape.Reader(firmware)) as readers:
        shop = opened(open_shop, READERS + with_frame + frame + with_frame)
        find = shop.sandbox.service.find
        remedy = polled.WITHOUT + polled.NOT_ALLOWED
        wait_until(lambda: "remedy" in shop.ask("status")["readers"][0], START, "a remedy")
        told = [{"reader": "desk", "state": "up", "remedy": remedy}, {"reader": "frame", "state": "up"}]
        assert shop.ask("status")["readers"] == told
        mark = shop.events.mark()
        firmware.field.present(pcsc.iphone(find(ANNA).nfc), waits=True)
        tap = shop.events.wait(lambda e: e.method == "tap", after=mark).params
        assert (tap["reader"], tap["customer"]["ext_id"]) == ("frame", ANNA)
        mark = shop.events.mark()
        readers.slots[0].present(pcsc.android(find(BEN).nfc))
        tap = shop.events.wait(lambda e: e.method == "tap", after=mark).params
        assert (tap["reader"], tap["customer"]["ext_id"]) == ("desk", BEN)
        assert shop.stop() == 0
        assert [remedy in line for line in shop.daemon.said()].count(True) == 1
        assert not firmware.session


def test_pcscd_killed_and_started_again(shop: Shop, readers: VirtualReaders) -> None:
    mark = shop.events.mark()
    readers.stop(signal.SIGKILL)
    lost = shop.events.wait(lambda e: e.method == "reader", within=5, after=mark).params
    assert (lost["reader"], lost["state"]) == ("desk", "unplugged")
    assert lost["remedy"] == "pcscd is not running: start it (systemctl enable --now pcscd.socket)"
    assert shop.ask("sale.close", sale_id="1", total="5.00")["state"] == "closed"
    readers.start()
    shop.events.wait(lambda e: e.method == "reader" and e.params["state"] == "up", within=10, after=mark)
    readers.slots[0].present(pcsc.android(shop.sandbox.service.find(BEN).nfc))
    shop.events.wait(lambda e: e.params.get("status") == "identified", after=mark)


def test_a_phone_that_hangs_does_not_hold_up_the_stop(shop: Shop, readers: VirtualReaders) -> None:
    phone = pcsc.Stuck(pcsc.iphone("x"), 0)
    readers.slots[0].present(phone)
    wait_until(lambda: phone.commands, START, "a conversation")
    shop.daemon.signal(signal.SIGTERM)
    assert shop.daemon.ended(2.0) == 0
    phone.released.set()


def test_a_key_that_others_may_read_is_refused_at_the_start(shop: Shop) -> None:
    assert shop.stop() == 0
    (shop.folder / "apple.pem").chmod(0o644)
    refused = shop.launch()
    assert refused.ended() == 3
    assert refused.said()[-1].endswith(f"(chmod 600 {shop.folder}/apple.pem)")
    assert "others may use it" in refused.said()[-1]


@pytest.mark.parametrize("reader", ["pcsc", "pn532"])
def test_the_demo_with_phones_of_its_own(logs: Logs, reader: str) -> None:
    demo = Process(logs, f"demo-{reader}", "demo", "--auto", "--reader", reader, stdout=subprocess.PIPE)
    try:
        out, _ = demo.popen.communicate(timeout=60)
        assert demo.popen.returncode == 0, demo.said()
        assert "Every balance and message was right." in out
    finally:
        demo.end()
