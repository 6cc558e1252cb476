"""One device after the other at a reader: when silence is an answer, and who is tried again."""

from random import Random

import pytest

from rigs.taps import APPLE_ID, COLLECTOR, KEYS, NOW, wallet
from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.nfc.converse import unknown_card
from tilltap_drivers.nfc.phones import Android, ApplePass, GooglePass, IPhone, PaymentCard
from tilltap_drivers.nfc.visits import Visits, again_after, observed
from tilltap_drivers.nfc.wallet import CardReading

NUMBER = bytes.fromhex("04a1b2c3d4e580")


def android():
    google = {COLLECTOR: {2: KEYS[1].public}}
    return Android([GooglePass(COLLECTOR, "G")], google, random=Random(5).randbytes)


def iphone(**ways):
    held = [ApplePass(APPLE_ID, KEYS[0].public, b"A")]
    return IPhone(held, random=Random(3).randbytes, now=lambda: NOW, **ways)


class Desk:
    """A reader with a clock that is set by hand."""

    def __init__(self, **settings):
        self.at = 1000.0
        self.asked = 0
        self.visits = Visits(wallet(**settings), Random(1).randbytes, lambda: NOW, lambda: self.at)

    def read(self, transmit):
        return self.visits.read(transmit, self.number)

    def number(self):
        self.asked += 1
        return NUMBER


def lifted_after(device, answers):
    left = iter(range(answers))
    return lambda command: device.answer(command) if next(left, None) is not None else b""


def test_who_says_nothing_twice_in_time_has_no_pass():
    desk = Desk()
    said = []
    for pause in (0.0, 3.0, 3.0, 3.1, 0.5, 0.5, 3.0):
        desk.at += pause
        said.append(desk.read(lambda _: b""))
    assert said == [None, unknown_card(), None, None, unknown_card(), None, unknown_card()]
    assert desk.asked == 0


def test_who_never_connected_is_as_silent():
    desk = Desk()
    assert [desk.visits.silence() for _ in range(3)] == [None, unknown_card(), None]


def test_who_has_said_anything_and_left_is_told_at_once():
    for answers in (1, 2, 3):
        done = Desk().read(lifted_after(android(), answers))
        assert (done.status, done.reason) == ("unreadable", "removed")
    assert Desk().read(lifted_after(iphone(), 2)) == PassRead(b"A", "apple-vas", index=1, slot=1)


def test_no_two_conversations_use_the_same_numbers():
    desk, sent = Desk(), []

    def transmit(command):
        sent.append(command)
        if len(sent) == 3:
            raise ConnectionError
        return phone.answer(command)

    phone = android()
    with pytest.raises(ConnectionError):
        desk.read(transmit)
    for _ in range(2):
        phone.field_off()
        assert desk.read(transmit).value == b"G"
    sessions = {command.partition(b"ses")[2][:8] for command in sent if command[:2] == b"\x90\x53"}
    assert len(sessions) == 3


@pytest.mark.parametrize(
    ("make", "cards", "asked", "outcome"),
    [
        (PaymentCard, CardReading(uid=True), 1, PassRead(b"04A1B2C3D4E580", "card", uid="04A1B2C3D4E580")),
        (PaymentCard, CardReading(), 0, unknown_card()),
        (iphone, CardReading(uid=True), 0, PassRead(b"A", "apple-vas", index=1, slot=1)),
    ],
)
def test_the_chip_is_asked_for_its_number_only_where_it_may_count(make, cards, asked, outcome):
    desk = Desk(cards=cards)
    assert desk.read(make().answer) == outcome
    assert desk.asked == asked


@pytest.mark.parametrize(
    ("result", "again"),
    [
        (None, 1.0),
        (ReadFailure("locked", "Unlock it.", "apple-vas"), 1.0),
        (ReadFailure("unreadable", "removed", "apple-vas"), 1.0),
        (ReadFailure("unreadable", "tampered", "apple-vas"), None),
        (unknown_card(), None),
        (PassRead(b"A", "apple-vas"), None),
    ],
)
def test_who_is_tried_again(result, again):
    assert again_after(result) == again


def test_an_observer_hears_both_sides_in_order():
    heard = []
    transmit = observed(lambda command: command[::-1], lambda *what: heard.append(what))
    assert transmit(b"12") == b"21"
    assert transmit(b"34") == b"43"
    assert heard == [(">", b"12"), ("<", b"21"), (">", b"34"), ("<", b"43")]
    assert observed(max, None) is max
