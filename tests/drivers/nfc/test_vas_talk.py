"""Conversations with a simulated iPhone, and with one that misbehaves."""

from random import Random

import pytest

from rigs.taps import APPLE_ID, KEYS, NOW, hold, script, tap, wallet
from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.nfc import tlv, words
from tilltap_drivers.nfc.phones import ApplePass, IPhone
from tilltap_drivers.nfc.seen import Seen
from tilltap_drivers.nfc.wallet import AppleWallet

OTHER_ID = "pass.com.example.other"
OSE = "6f1d50084170706c655061799f210201009f2404c05d48d09f23040000001e9000"


def iphone(*passes, **more):
    held = passes or (ApplePass(APPLE_ID, KEYS[0].public, b"MEMBER-1"),)
    return IPhone(held, random=Random(3).randbytes, **({"now": lambda: NOW} | more))


def apple(*ids, keys=KEYS[:2], since=None, **more):
    return wallet(apple=AppleWallet(ids or (APPLE_ID,), keys, **more), seen=Seen(since=since))


def modes(done):
    """Byte 3 of the terminal capabilities of each request."""
    return [dict(tlv.parse(c[5:-1]))[0x9F26][3] for c in done.commands[1:]]


def test_a_pass_costs_two_exchanges():
    done = hold(wallet(), iphone())
    assert done.outcome == PassRead(b"MEMBER-1", "apple-vas", index=1, slot=1)
    assert done.cost == 2
    assert modes(done) == [0x02]


def test_the_second_choice_costs_one_more():
    phone = iphone(ApplePass(OTHER_ID, KEYS[1].public, b"OTHER"))
    done = hold(apple(APPLE_ID, OTHER_ID), phone)
    assert done.outcome == PassRead(b"OTHER", "apple-vas", index=2, slot=2)
    assert done.cost == 3
    assert modes(done) == [0x82, 0x02]
    assert modes(hold(apple(APPLE_ID, OTHER_ID, announce_more=False), phone)) == [0x02, 0x02]


def test_the_preference_is_the_shops():
    phone = iphone(ApplePass(OTHER_ID, KEYS[0].public, b"O"), ApplePass(APPLE_ID, KEYS[0].public, b"A"))
    assert hold(apple(APPLE_ID, OTHER_ID), phone).value == b"A"
    assert hold(apple(OTHER_ID, APPLE_ID), phone).value == b"O"


def test_no_pass():
    done = hold(apple(APPLE_ID, OTHER_ID), iphone(ApplePass("pass.x", KEYS[0].public, b"X")))
    assert done.outcome == ReadFailure("no-pass", "no-pass", "apple-vas")
    assert done.cost == 3


def test_locked_then_unlocked():
    phone = iphone(unlocked=False)
    done = hold(apple(APPLE_ID, OTHER_ID), phone)
    assert done.outcome == ReadFailure("locked", words.AUTHENTICATE, "apple-vas")
    assert done.cost == 2, "nothing is released until the customer has authenticated"
    phone.authenticate()
    assert hold(wallet(), phone).value == b"MEMBER-1"


def test_a_pass_that_asks_each_time():
    phone = iphone(ApplePass(APPLE_ID, KEYS[0].public, b"M", requires_authentication=True))
    assert hold(wallet(), phone).outcome.status == "locked"
    phone.authenticate()
    assert hold(wallet(), phone).value == b"M"
    assert hold(wallet(), phone, seed=2).outcome.status == "locked"


def test_choose_a_pass():
    phone = iphone(ApplePass(APPLE_ID, KEYS[0].public, b"A"), ApplePass(APPLE_ID, KEYS[0].public, b"B"))
    assert hold(wallet(), phone).outcome == ReadFailure("locked", words.CHOOSE, "apple-vas")
    phone.choose(1)
    assert hold(wallet(), phone).value == b"B"


def test_an_undecided_first_choice_does_not_hide_the_second():
    twice = [ApplePass(APPLE_ID, KEYS[0].public, b"A"), ApplePass(APPLE_ID, KEYS[0].public, b"B")]
    phone = iphone(*twice, ApplePass(OTHER_ID, KEYS[0].public, b"O"))
    assert hold(apple(APPLE_ID, OTHER_ID), phone).value == b"O"
    phone = iphone(*twice)
    assert hold(apple(APPLE_ID, OTHER_ID), phone).outcome.status == "locked"
    assert hold(apple(OTHER_ID, APPLE_ID), phone).outcome.status == "locked"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("6a83", ReadFailure("no-pass", "no-pass", "apple-vas")),
        ("6287", ReadFailure("locked", words.AUTHENTICATE, "apple-vas")),
        ("6984", ReadFailure("locked", words.CHOOSE, "apple-vas")),
        ("6a80", ReadFailure("unreadable", "refused-6A80", "apple-vas")),
        ("6b00", ReadFailure("unreadable", "refused-6B00", "apple-vas")),
        ("6700", ReadFailure("unreadable", "refused-6700", "apple-vas")),
        ("6340", ReadFailure("unreadable", "unsupported-version", "apple-vas")),
        ("6300", ReadFailure("unreadable", "refused-6300", "apple-vas")),
        ("6982", ReadFailure("unreadable", "refused-6982", "apple-vas")),
        ("9000", ReadFailure("unreadable", "malformed", "apple-vas")),
        ("70059f2702aa9000", ReadFailure("unreadable", "truncated", "apple-vas")),
    ],
)
@pytest.mark.parametrize("url_only", [False, True])
def test_status_words(status, outcome, url_only):
    if url_only and status.endswith("9000"):
        outcome = ReadFailure("no-pass", "sign-up-sent", "apple-vas")
    settings = apple(url_only=url_only, sign_up_url="https://example.com")
    assert tap(settings, script([OSE, status])).outcome == outcome


def test_after_an_error_nothing_more_is_asked():
    assert tap(apple(APPLE_ID, OTHER_ID), script([OSE, "6a80"])).cost == 2


def test_sign_up_address_beside_a_read():
    phone = iphone()
    assert hold(apple(sign_up_url="https://example.com/in"), phone).value == b"MEMBER-1"
    assert phone.urls == ["https://example.com/in"]


def test_sign_up_terminal():
    phone = iphone()
    settings = wallet(apple=AppleWallet((), (), sign_up_url="https://example.com/in", url_only=True))
    done = hold(settings, phone)
    assert done.outcome == ReadFailure("no-pass", "sign-up-sent", "apple-vas")
    assert done.commands[1][:4].hex() == "80ca0100"
    assert phone.urls == ["https://example.com/in"]
    assert 0x9F28 in dict(tlv.parse(done.commands[1][5:-1]))


@pytest.mark.parametrize("url_only", [False, True])
def test_what_each_request_carries(url_only):
    settings = apple(
        mode=1, url_only=url_only, sign_up_url="https://a.b", filter=b"\1\0\0\0\0", send_nonce=False
    )
    fields = dict(tlv.parse(hold(settings, iphone()).commands[1][5:-1]))
    assert 0x9F28 not in fields
    assert (fields[0x9F29], fields[0x9F2B]) == (b"https://a.b", b"\1\0\0\0\0")
    assert fields[0x9F26] == bytes.fromhex("00800001")
    fields = dict(tlv.parse(hold(apple(), iphone(), seed=9).commands[1][5:-1]))
    random = Random(9)
    random.randbytes(32)
    random.randbytes(8)
    assert fields[0x9F28] == random.randbytes(4)


def test_a_copy_is_refused_and_a_second_tap_is_not():
    phone, settings = iphone(), wallet()
    first = hold(settings, phone)
    assert tap(settings, script(first.responses)).outcome == ReadFailure(
        "unreadable", "replayed", "apple-vas"
    )
    assert hold(settings, phone).value == b"MEMBER-1"
    assert tap(wallet(), script(first.responses)).value == b"MEMBER-1", "another shop has not seen it"


def test_what_fails_is_not_remembered():
    phone, settings = iphone(), apple(keys=KEYS[3:4])
    first = hold(settings, phone)
    assert first.reason == "wrong-key"
    assert len(settings.seen) == 0


@pytest.mark.parametrize(
    ("behind", "window", "reason"),
    [
        (0, 300, ""),
        (300, 300, ""),
        (-300, 300, ""),
        (301, 300, "outdated"),
        (-301, 300, "outdated"),
        (10**8, None, ""),
    ],
)
def test_window(behind, window, reason):
    done = hold(apple(window=window), iphone(now=lambda: NOW - behind))
    assert (done.value == b"MEMBER-1") if not reason else (done.reason == reason)


@pytest.mark.parametrize(
    ("window", "since", "reason"),
    [
        (300, NOW - 60, ""),
        (300, NOW, ""),
        (300, NOW + 1, "outdated"),
        (300, NOW + 10, "outdated"),
        (300, NOW + 11, ""),  # the clock was set back since: that says nothing
        (300, None, ""),
        (None, NOW + 10, ""),
    ],
)
def test_of_what_was_read_before_the_memory_began_a_copy_may_exist(window, since, reason):
    settings = apple(window=window, since=since)
    done = hold(settings, iphone(), now=NOW + 10)
    assert (done.value == b"MEMBER-1") if not reason else (done.reason == reason)


def test_an_old_copy_is_told_as_a_copy():
    settings = apple(window=300)
    first = hold(settings, iphone())
    assert tap(settings, script(first.responses), now=NOW + 1000).reason == "replayed"
    assert tap(apple(window=300), script(first.responses), now=NOW + 1000).reason == "outdated"


def test_foreign_tampered_and_cut():
    assert hold(apple(keys=KEYS[2:]), iphone()).reason == "wrong-key"
    good = hold(wallet(), iphone()).responses
    answer = good[1][:-2]
    assert (
        tap(wallet(), script([good[0], answer[:-1] + bytes((answer[-1] ^ 1,)) + b"\x90\x00"])).reason
        == "tampered"
    )
    assert tap(wallet(), script([good[0], answer[:-1] + b"\x90\x00"])).reason == "truncated"
    short = bytes((0x70, 58, 0x9F, 0x27, 55)) + answer[-55:]
    assert tap(wallet(), script([good[0], short + b"\x90\x00"])).reason == "truncated"


def test_older_phones_and_the_setting():
    phone = iphone(ApplePass(APPLE_ID, KEYS[0].public, b"OLD", older=True))
    assert hold(apple(), phone).value == b"OLD"
    assert hold(apple(legacy=False), phone).reason == "tampered"


def test_another_version_of_the_protocol():
    assert hold(wallet(), iphone(version=b"\2\0")).outcome == ReadFailure(
        "unreadable", "unsupported-version", "apple-vas"
    )


def test_capabilities_are_not_judged():
    assert hold(wallet(), iphone(capabilities=b"\xff\xff\xff\x00")).value == b"MEMBER-1"


def test_an_empty_message_is_told():
    phone = iphone(ApplePass(APPLE_ID, KEYS[0].public, b""))
    assert hold(wallet(), phone).outcome == PassRead(b"", "apple-vas", index=1, slot=1)


def test_chained_and_corrected_responses():
    good = hold(wallet(), iphone()).responses
    answers = [good[0], "6c60", good[1][:50] + b"\x61\x10", good[1][50:]]
    done = tap(wallet(), script(answers))
    assert done.value == b"MEMBER-1"
    assert done.commands[2] == done.commands[1][:-1] + b"\x60"
    assert done.commands[3].hex() == "00c0000010"
