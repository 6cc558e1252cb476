"""Who is it? And how a conversation ends when the device goes."""

from random import Random

import pytest

from rigs.taps import APPLE_ID, COLLECTOR, KEYS, NOW, hold, script, tap, wallet
from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.nfc import converse
from tilltap_drivers.nfc.converse import Removed, card_by_uid, prepare, present, unknown_card
from tilltap_drivers.nfc.phones import (
    Android,
    ApplePass,
    GooglePass,
    IPhone,
    MuteCard,
    NdefTag,
    PaymentCard,
)
from tilltap_drivers.nfc.tlv import encode
from tilltap_drivers.nfc.wallet import CardReading, Wallet

UNKNOWN = ReadFailure("no-pass", "unknown-card", "card")
TEXT = bytes.fromhex("d1010a5402656e") + b"MEMBER1"


def devices():
    random = Random(11).randbytes
    return {
        "iphone": IPhone([ApplePass(APPLE_ID, KEYS[0].public, b"A")], random=random, now=lambda: NOW),
        "android": Android(
            [GooglePass(COLLECTOR, "G" * 300)], {COLLECTOR: {2: KEYS[1].public}}, random=random
        ),
        "tag": NdefTag(TEXT),
        "bank card": PaymentCard(),
    }


GOOD = {
    "iphone": PassRead(b"A", "apple-vas", index=1, slot=1),
    "android": PassRead(b"G" * 300, "google-smart-tap", index=1, slot=2),
    "tag": PassRead(b"MEMBER1", "card"),
    "bank card": UNKNOWN,
}


def test_one_after_the_other():
    """Many presentations in turn: each gives exactly its outcome, whatever came before."""
    settings, held = wallet(), devices()
    for n in range(50):
        for name, device in held.items():
            assert hold(settings, device, seed=n).outcome == GOOD[name]


@pytest.mark.parametrize(
    ("changes", "name", "cost", "outcome"),
    [
        ({"apple": None}, "iphone", 1, ReadFailure("no-pass", "other-wallet")),
        ({"google": None}, "android", 1, ReadFailure("no-pass", "other-wallet")),
        ({"google": None}, "bank card", 3, UNKNOWN),
        ({"cards": CardReading()}, "bank card", 2, UNKNOWN),
        ({"cards": CardReading()}, "tag", 2, UNKNOWN),
        ({"cards": CardReading(), "google": None}, "tag", 1, UNKNOWN),
    ],
)
def test_only_what_is_configured_is_asked(changes, name, cost, outcome):
    done = hold(wallet(**changes), devices()[name])
    assert done.outcome == outcome
    assert done.cost == cost


def test_other_wallets_are_no_cards():
    answer = encode(0x6F, encode(0x50, b"SamsungWallet")) + b"\x90\x00"
    assert tap(wallet(), script([answer])).outcome == ReadFailure("no-pass", "other-wallet")


def test_cards_that_accept_any_name():
    for answer in ("9000", "6f009000", "6f0284009000"):
        assert tap(Wallet(), script([answer])).outcome == UNKNOWN


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("6f0550009000", "truncated"), ("61", "malformed"), ("", "removed"), ("50809000", "malformed")],
)
def test_nonsense_at_the_first_step(answer, reason):
    assert tap(wallet(), script([answer])).outcome == ReadFailure("unreadable", reason)


@pytest.mark.parametrize("name", GOOD)
def test_removal_at_every_exchange(name):
    """Closed: no outcome. Thrown, or answered with nothing: `removed`. The next presentation is whole."""
    settings, held = wallet(), devices()[name]
    cost = hold(settings, held).cost
    for last in range(cost):
        for way in ("close", "throw", "nothing"):
            conversation = present(settings, prepare(settings, Random(last).randbytes, lambda: NOW))
            command = next(conversation)
            for _ in range(last):
                command = conversation.send(held.answer(command))
            held.field_off()
            if way == "close":
                conversation.close()
                assert conversation.gi_frame is None
                continue
            with pytest.raises(StopIteration) as end:
                conversation.throw(Removed()) if way == "throw" else conversation.send(b"")
            assert end.value.value.status == "unreadable"
            assert end.value.value.reason == "removed"
            assert end.value.value.source in (GOOD[name].source, "unknown", "google-smart-tap")
    assert hold(settings, held, seed=77).outcome == GOOD[name]


def test_a_mute_card():
    assert hold(wallet(), MuteCard()).outcome == ReadFailure("unreadable", "removed")


@pytest.mark.parametrize(
    ("uid", "outcome"),
    [
        ("12345678", PassRead(b"12345678", "card", uid="12345678")),
        ("04a1b2c3d4e580", PassRead(b"04A1B2C3D4E580", "card", uid="04A1B2C3D4E580")),
        ("08a1b2c3d4e580", PassRead(b"08A1B2C3D4E580", "card", uid="08A1B2C3D4E580")),
        ("08123456", ReadFailure("no-pass", "random-uid", "card")),
        ("", UNKNOWN),
    ],
)
def test_chip_numbers(uid, outcome):
    assert card_by_uid(wallet(), unknown_card(), bytes.fromhex(uid)) == outcome
    assert card_by_uid(wallet(cards=CardReading(ndef=True)), unknown_card(), bytes.fromhex(uid)) == UNKNOWN


@pytest.mark.parametrize("reason", ["no-pass", "removed", "empty-tag", "other-wallet"])
def test_chip_numbers_of_what_is_no_plain_card(reason):
    failure = ReadFailure("no-pass", reason, "card")
    assert card_by_uid(wallet(), failure, b"1234") is failure


def test_phones_have_random_numbers():
    for name in ("iphone", "android"):
        device = devices()[name]
        first = device.uid
        device.field_off()
        assert first[0] == device.uid[0] == 0x08
        assert len(first) == 4
        assert first != device.uid


def test_the_way_to_use_it_is_importable_from_one_place():
    assert set(converse.__all__) == {
        "Conversation", "Prepared", "Removed", "card_by_uid", "prepare", "present", "unknown_card",
    }  # fmt: skip
    assert all(hasattr(converse, name) for name in converse.__all__)
