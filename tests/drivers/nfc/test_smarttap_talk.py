"""Conversations with a simulated Android phone, and with one that misbehaves."""

import zlib
from random import Random

import pytest

from rigs.taps import COLLECTOR, KEYS, hold, script, tap, wallet
from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.nfc import smarttap, words
from tilltap_drivers.nfc.apdu import APDU_LIMIT
from tilltap_drivers.nfc.ndef import Record, encode
from tilltap_drivers.nfc.phones import Android, GooglePass
from tilltap_drivers.nfc.phones.android import AndroidSettings
from tilltap_drivers.nfc.prepared import prepare
from tilltap_drivers.nfc.wallet import OBJECT_TYPES, GoogleKey, GoogleWallet

COLLECTORS = {COLLECTOR: {1: KEYS[0].public}}
PASS = GooglePass(COLLECTOR, "MEMBER-1")
G = "google-smart-tap"


def android(*passes, collectors=COLLECTORS, customer_id=b"", unlocked=True, **settings):
    return Android(
        passes or (PASS,),
        collectors,
        random=Random(4).randbytes,
        unlocked=unlocked,
        customer_id=customer_id,
        settings=AndroidSettings(**settings),
    )


def google(**changes):
    keys = (GoogleKey(1, KEYS[0]), GoogleKey(2, KEYS[1]))
    return wallet(google=GoogleWallet(**({"collector_id": COLLECTOR, "keys": keys} | changes)))


def sequences(done):
    """Session sequence numbers of the commands that carry one."""
    return [c[c.index(b"ses") + 11] for c in done.commands if b"ses" in c]


def instructions(done):
    return [c[:2].hex() for c in done.commands]


def test_a_pass_costs_four_exchanges():
    done = hold(wallet(), android())
    assert done.outcome == PassRead(b"MEMBER-1", G, index=1, slot=1)
    assert instructions(done) == ["00a4", "00a4", "9053", "9050"]
    assert sequences(done) == [1, 3]


def test_the_second_select_may_be_left_out():
    done = hold(google(skip_select=True), android())
    assert done.value == b"MEMBER-1"
    assert instructions(done) == ["00a4", "9053", "9050"]
    for more in ({"may_skip": False}, {"nonce_in": ("select",)}, {"directory": False}):
        done = hold(google(skip_select=True), android(**more))
        assert done.value == b"MEMBER-1"
        assert done.cost == 4, more
    assert hold(google(skip_select=True), android(nonce_in=("directory",))).cost == 3


@pytest.mark.parametrize(
    "places",
    [
        ("select",),
        ("directory",),
        ("wallet",),
        ("directory", "wallet"),
        ("select", "wallet"),
        ("select", "directory", "wallet"),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_nonces_in_any_place(places, skip):
    """Each place has another nonce here: the phone accepts a signature over the best one only."""
    assert hold(google(skip_select=skip), android(nonce_in=places, fresh_nonces=True)).value == b"MEMBER-1"


def test_no_nonce():
    assert hold(google(), android(nonce_in=())).outcome == ReadFailure("unreadable", "no-nonce", G)
    done = hold(google(presign=True), android(nonce_in=()))
    assert done.value == b"MEMBER-1"
    assert done.responses[2][-2:].hex() == "9002"
    assert hold(google(presign=True), android()).responses[2][-2:].hex() == "9000"


def test_a_nonce_of_a_wrong_length_is_none():
    phone = android(nonce_in=("select", "wallet"), fresh_nonces=True)
    phone._session.nonces["select"] = b"short"
    phone._nonce = lambda: phone._session.nonces["wallet"]
    assert tap(google(), phone.answer).value == b"MEMBER-1"


def test_phones_that_list_nothing():
    assert hold(wallet(), android(directory=False)).value == b"MEMBER-1"


@pytest.mark.parametrize(("version", "slot", "cost"), [(1, 1, 4), (2, 2, 5)])
def test_keys_are_tried_in_order(version, slot, cost):
    done = hold(wallet(), android(collectors={COLLECTOR: {version: KEYS[version - 1].public}}))
    assert done.outcome == PassRead(b"MEMBER-1", G, index=1, slot=slot)
    assert done.cost == cost
    assert sequences(done) == [1, 3, 5][: cost - 2]


@pytest.mark.parametrize(
    "collectors",
    [
        {},
        {COLLECTOR: {}},
        {COLLECTOR: {9: KEYS[0].public}},
        {COLLECTOR: {1: KEYS[4].public, 2: KEYS[4].public}},
    ],
)
def test_no_key_is_known(collectors):
    done = hold(wallet(), android(collectors=collectors))
    assert done.outcome == ReadFailure("unreadable", "wrong-key", G)
    assert done.cost == 4


def test_transient_errors_are_retried_with_fresh_numbers():
    done = hold(wallet(), android(transient=1))
    assert done.value == b"MEMBER-1"
    assert sequences(done) == [1, 3, 5, 7]
    assert sequences(hold(wallet(), android(transient=2))) == [1, 3, 5, 7, 9, 11]


def test_transient_errors_have_an_end():
    done = hold(wallet(), android(transient=3))
    assert done.outcome == ReadFailure("unreadable", "transient", G)
    assert done.cost == 5
    phone = android()
    ose, selected = (phone.answer(c) for c in hold(wallet(), android()).commands[:2])
    assert tap(wallet(), script([ose, "9200", "9201", "9203"])).reason == "transient"
    assert tap(wallet(), script([ose, "9200", "9201", "9400"])).reason == "refused-9400"
    assert tap(wallet(), script([ose, "9200", selected, "9200", "9200", "9400"])).reason == "refused-9400"


def test_locked_and_unlocked():
    phone = android(unlocked=False)
    assert hold(wallet(), phone).outcome == ReadFailure("locked", words.UNLOCK, G)
    phone.unlocked = True
    assert hold(wallet(), phone).value == b"MEMBER-1"


def test_choose_a_pass():
    phone = android(PASS, GooglePass(COLLECTOR, "MEMBER-2"))
    assert hold(wallet(), phone).outcome == ReadFailure("locked", words.CHOOSE, G)
    phone.choose(1)
    assert hold(wallet(), phone).value == b"MEMBER-2"


def test_no_pass():
    done = hold(wallet(), android(GooglePass(1, "X")))
    assert done.outcome == ReadFailure("no-pass", "no-pass", G)
    assert done.responses[-1][-2:].hex() == "9001"


@pytest.mark.parametrize("chunk", [19, 50, 255, 256])
@pytest.mark.parametrize("zlib_on", [False, True])
def test_parts_cut_anywhere(chunk, zlib_on):
    done = hold(wallet(), android(GooglePass(COLLECTOR, "A" * 200), chunk=chunk, zlib=zlib_on))
    assert done.value == b"A" * 200
    parts = instructions(done).count("90c0")
    assert done.cost == 4 + parts
    assert sum(len(r) - 2 for r in done.responses[3:]) > chunk * parts


def test_compression_only_if_the_terminal_understands_it():
    long = android(GooglePass(COLLECTOR, "A" * 200))
    packed = hold(wallet(), long)
    plain = hold(google(pos_capabilities=bytes.fromhex("0000000001")), long)
    silent = hold(google(pos_capabilities=b""), long)
    assert packed.value == plain.value == silent.value == b"A" * 200
    assert len(packed.responses[3]) < 200
    assert len(plain.responses[3]) == len(silent.responses[3]) == 202
    assert b"pcr" not in silent.commands[3]


@pytest.mark.parametrize("language", ["", "en", "de-AT"])
def test_language_codes_stay_out_of_the_value(language):
    assert hold(wallet(), android(GooglePass(COLLECTOR, "Ä-1", language=language))).value == "Ä-1".encode()


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, k in OBJECT_TYPES.items() if k != "cus"])
def test_kinds_of_passes(name, kind):
    phone = android(GooglePass(COLLECTOR, "V", kind))
    assert hold(google(objects=(name,)), phone).value == b"V"
    other = "offer" if name != "offer" else "loyalty"
    assert hold(google(objects=(other,)), phone).reason == "no-pass"
    assert hold(google(objects=(other, name)), phone).value == b"V"


def test_a_customer_alone_or_beside_a_pass():
    phone = android(GooglePass(1, "X"), customer_id=bytes(range(16)))
    done = hold(google(objects=("loyalty", "customer")), phone)
    assert done.value == b"000102030405060708090a0b0c0d0e0f"
    assert done.responses[-1][-2:].hex() == "9001"
    assert hold(google(), phone).reason == "no-pass"
    both = android(customer_id=bytes(16))
    assert hold(google(objects=("loyalty", "customer")), both).value == b"MEMBER-1"
    assert hold(google(objects=("customer", "loyalty")), both).value == b"0" * 32


def test_service_types_asked_for():
    phone = android(PASS, GooglePass(COLLECTOR, "OFFER", "of"))
    assert hold(wallet(), phone).outcome.status == "locked"
    assert hold(google(service_types=(3,)), phone).value == b"MEMBER-1"


def test_a_pass_without_a_value():
    assert hold(wallet(), android(GooglePass(COLLECTOR, ""))).outcome == ReadFailure(
        "no-pass", "pass-without-value", G
    )


def test_without_a_session():
    settings = google(keys=(), allow_unencrypted=True)
    done = hold(settings, android(plain_without_session=True))
    assert done.outcome == PassRead(b"MEMBER-1", G, index=1, slot=None)
    assert instructions(done) == ["00a4", "00a4", "9050"]
    assert sequences(done) == [1]
    assert hold(settings, android()).reason == "refused-9500"


@pytest.mark.parametrize("versions", [(0, 0), (2, 3)])
def test_versions_not_spoken(versions):
    outcome = ReadFailure("unreadable", "unsupported-version", G)
    assert hold(wallet(), android(versions=versions)).outcome == outcome
    assert hold(wallet(), android(versions=versions)).cost == 1
    assert hold(wallet(), android(versions=versions, directory=False)).outcome == outcome


def test_a_directory_without_smart_tap():
    ose = "6f1d500a" + b"AndroidPay".hex() + "a50fbf0c0c610a4f08a000000476d00001" + "9000"
    assert tap(wallet(), script([ose])).outcome == ReadFailure("no-pass", "no-smart-tap", G)


STATUS = [
    ("9300", ReadFailure("locked", words.UNLOCK, G)),
    ("9302", ReadFailure("locked", words.CHOOSE, G)),
    ("9377", ReadFailure("locked", words.LOOK, G)),
    ("9400", ReadFailure("unreadable", "refused-9400", G)),
    ("9402", ReadFailure("unreadable", "refused-9402", G)),
    ("9406", ReadFailure("unreadable", "refused-9406", G)),
    ("9407", ReadFailure("unreadable", "refused-9407", G)),
    ("9502", ReadFailure("unreadable", "unsupported-version", G)),
    ("6d00", ReadFailure("unreadable", "refused-6D00", G)),
    ("8f00", ReadFailure("unreadable", "refused-8F00", G)),
    ("6700", ReadFailure("unreadable", "refused-6700", G)),
]


@pytest.mark.parametrize(
    ("step", "status", "outcome"),
    [
        *((step, *row) for step in (1, 2, 3) for row in STATUS),
        (1, "6a82", ReadFailure("no-pass", "no-smart-tap", G)),
        (2, "6a82", ReadFailure("unreadable", "refused-6A82", G)),
    ],
)
def test_status_words_at_each_step(step, status, outcome):
    phone = android()

    def answer(command):
        answered.append(command)
        return bytes.fromhex(status) if len(answered) == step + 1 else phone.answer(command)

    answered = []
    done = tap(wallet(), answer)
    assert done.outcome == outcome
    assert done.cost == step + 1, "it ends at once"


def at_get_data(response, **more):
    """The outcome if the phone answers GET DATA with this (`SES` put in), and what follows."""
    phone = android()
    rest = iter(more.pop("rest", ()))

    def answer(command):
        if command[:2] == b"\x90\x50":
            number = bytes((command[command.index(b"ses") + 11] + 1,))
            session = command[command.index(b"ses") + 3 :][:8]
            return response(session, number)
        return next(rest) if command[:2] == b"\x90\xc0" else phone.answer(command)

    return tap(more.pop("settings", wallet()), answer)


def srs(session, number, *records, status=1):
    ses = Record(4, b"ses", session + number + bytes((status,)))
    return encode([Record(4, b"srs", encode([ses, *records]))])


def reb(flags, content):
    return Record(4, b"reb", bytes((flags,)) + content)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (b"\x90\x01", ReadFailure("no-pass", "no-pass", G)),
        (b"\x91\x02", ReadFailure("no-pass", "no-pass", G)),
        (b"\x91\x01", ReadFailure("no-pass", "no-pass", G)),
        (b"\x90\x00", ReadFailure("unreadable", "malformed", G)),
        (b"\x95\x00", ReadFailure("unreadable", "refused-9500", G)),
    ],
)
def test_success_without_data(status, outcome):
    assert at_get_data(lambda _s, _n: status).outcome == outcome
    if status[0] != 0x95:
        assert at_get_data(lambda s, n: srs(s, n) + status).outcome == outcome


def test_not_ready_for_payment_is_no_matter():
    plain = encode([Record(4, b"asv", encode([Record(4, b"ly", encode([Record(4, b"n", b"\1V")]))]))])
    for status in (b"\x90\x00", b"\x90\x02", b"\x91\x01"):
        done = at_get_data(
            lambda s, n, status=status: srs(s, n, reb(0, plain)) + status,
            settings=google(allow_unencrypted=True),
        )
        assert done.value == b"V"


@pytest.mark.parametrize("flags", [0, 2])
def test_unencrypted_only_if_configured(flags):
    plain = encode([Record(4, b"asv", encode([Record(4, b"ly", encode([Record(4, b"n", b"\1V")]))]))])
    record = reb(flags, zlib.compress(plain) if flags else plain)

    def answer(session, number):
        return srs(session, number, record) + b"\x90\x00"

    assert at_get_data(answer).outcome == ReadFailure("unreadable", "unencrypted", G)
    assert at_get_data(answer, settings=google(allow_unencrypted=True)).value == b"V"


def test_an_encrypted_bundle_without_a_key():
    phone_answer = lambda s, n: srs(s, n, reb(1, bytes(60))) + b"\x90\x00"  # noqa: E731
    done = at_get_data(phone_answer, settings=google(keys=(), allow_unencrypted=True))
    assert done.outcome == ReadFailure("unreadable", "wrong-key", G)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(bytes(60), "tampered"), (bytes(44), "tampered"), (bytes(43), "truncated"), (b"", "truncated")],
)
def test_bundles_of_others(content, reason):
    assert at_get_data(lambda s, n: srs(s, n, reb(1, content)) + b"\x90\x00").reason == reason


def test_a_bundle_of_another_session():
    """The whole of an earlier, good conversation played again."""
    earlier = hold(wallet(), android(), seed=5)
    assert tap(wallet(), script(earlier.responses), seed=2).outcome == ReadFailure(
        "unreadable", "replayed", G
    )
    copied = smarttap.parse_served(earlier.responses[3][:-2]).bundle
    assert at_get_data(lambda s, n: srs(s, n, reb(1, copied)) + b"\x90\x00").reason == "tampered"


def test_every_flipped_bit_of_an_answer_is_noticed():
    phone = android()
    good = tap(wallet(), phone.answer)
    answer = good.responses[3]
    start = answer.index(b"reb") + 3
    for place in range(start, len(answer) - 2):
        bad = answer[:place] + bytes((answer[place] ^ 1,)) + answer[place + 1 :]
        done = tap(wallet(), script([*good.responses[:3], bad]))
        assert done.reason == ("unencrypted" if place == start else "tampered")


def test_every_cut_is_noticed():
    good = hold(wallet(), android())
    for step in (2, 3):
        for size in range(1, len(good.responses[step]) - 2):
            cut = good.responses[step][:size] + b"\x90\x00"
            assert tap(wallet(), script([*good.responses[:step], cut])).reason in (
                "truncated",
                "malformed",
                "tampered",
            )


@pytest.mark.parametrize(("shift", "fine"), [(0, True), (1, False), (255, False)])
def test_numbers_must_go_on(shift, fine):
    done = at_get_data(lambda s, n: srs(s, bytes(((n[0] + shift) % 256,))) + b"\x90\x01")
    assert done.reason == ("no-pass" if fine else "replayed")
    assert at_get_data(lambda s, n: srs(s[::-1], n) + b"\x90\x01").reason == "replayed"


@pytest.mark.parametrize(
    ("status", "reason", "cost"),
    [
        (0, "no-pass", 4),
        (1, "no-pass", 4),
        (4, "session-04", 4),
        (0x2A, "session-2A", 4),
        (8, "transient", 6),
        (9, "transient", 6),
    ],
)
def test_session_status(status, reason, cost):
    done = at_get_data(lambda s, n: srs(s, n, status=status) + b"\x90\x01")
    assert done.reason == reason
    assert done.cost == cost


def sealed(settings, plain, flags=1):
    """Answers of a phone that puts any plain bytes into a good bundle."""
    phone = android()
    phone.settings.zlib = False

    def serve(found, *, compress):
        content = phone._seal(plain)
        ses = Record(4, *(x.encode() if isinstance(x, str) else x for x in phone._ses()))
        return encode([Record(4, b"srs", encode([ses, reb(flags, content)]))]) + b"\x90\x00"

    phone._serve = serve
    return tap(settings, phone.answer)


def test_a_zlib_bomb():
    assert sealed(wallet(), zlib.compress(bytes(10**6), 9), flags=3).reason == "compression-bomb"
    assert sealed(wallet(), b"no zlib", flags=3).reason == "malformed"
    assert sealed(wallet(), zlib.compress(b"\xd4"), flags=3).reason == "truncated"
    assert sealed(wallet(), b"").reason == "no-pass"


def test_endless_parts():
    def forever(part):
        return at_get_data(lambda _s, _n: part + b"\x91\x00", rest=iter(lambda: part + b"\x91\x00", None))

    done = forever(b"x")
    assert done.outcome == ReadFailure("unreadable", "endless-parts", G)
    assert done.cost == 3 + smarttap.PARTS_LIMIT == 3 + 32
    assert forever(b"").reason == "endless-parts"
    assert forever(bytes(2000)).outcome == ReadFailure("unreadable", "too-long", G)
    assert forever(bytes(256)).reason == "endless-parts"  # the longest short answers are not too long


def test_as_many_parts_as_allowed():
    size = len(hold(wallet(), android(zlib=False)).responses[3]) - 2
    chunk = -(-size // smarttap.PARTS_LIMIT)
    assert hold(wallet(), android(zlib=False, chunk=chunk)).value == b"MEMBER-1"
    assert (
        hold(wallet(), android(zlib=False, chunk=size // (smarttap.PARTS_LIMIT + 1))).reason
        == "endless-parts"
    )


def test_the_costliest_good_tap_stays_below_the_limit():
    keys = tuple(GoogleKey(n, KEYS[n % 5]) for n in range(8))
    phone = android(collectors={COLLECTOR: {7: KEYS[2].public}}, zlib=False)
    size = len(hold(wallet(), android(zlib=False)).responses[3]) - 2
    phone.settings.chunk = -(-size // smarttap.PARTS_LIMIT)
    done = hold(google(keys=keys), phone)
    assert done.value == b"MEMBER-1"
    assert 3 + 7 + 1 + smarttap.PARTS_LIMIT - 4 < done.cost <= 3 + 7 + 1 + smarttap.PARTS_LIMIT
    retried = smarttap.RETRIES_LIMIT * (2 + smarttap.PARTS_LIMIT)
    assert 3 + 7 + 1 + smarttap.PARTS_LIMIT + retried < APDU_LIMIT


def test_a_transient_error_between_parts_begins_again():
    phone = android(chunk=60)
    troubles = [b"\x92\x00"]

    def answer(command):
        if command[:2] == b"\x90\xc0" and troubles:
            phone._session.next += 2
            return troubles.pop()
        if command[:2] == b"\x90\xc0":
            phone._session.next += 2
        return phone.answer(command)

    done = tap(wallet(), answer)
    assert done.value == b"MEMBER-1"
    assert sequences(done) == [1, 3, 7]


def test_a_phone_without_ose():
    phone = android(nonce_in=("select",))
    directly = lambda c: b"\x6a\x82" if b"OSE" in c else phone.answer(c)  # noqa: E731
    done = tap(wallet(), directly)
    assert done.outcome == PassRead(b"MEMBER-1", G, index=1, slot=1)
    assert done.cost == 4
    assert tap(google(direct=False), directly).reason == "unknown-card"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("9300", ReadFailure("locked", words.UNLOCK, G)),
        ("9400", None),
        ("9000", None),
        ("6f009000", None),
        ("00020003" + "9000", ReadFailure("unreadable", "unsupported-version", G)),
        ("00000001" + "9000", ReadFailure("unreadable", "no-nonce", G)),
    ],
)
def test_probing_a_device_without_ose(answer, outcome):
    unknown = ReadFailure("no-pass", "unknown-card", "card")
    rest = ["6a82", "6a82"] if outcome is None else []
    assert tap(wallet(), script(["6a82", answer, *rest])).outcome == (outcome or unknown)


def test_settings_and_preparation_belong_together():
    ready = prepare(wallet(google=None), Random(1).randbytes, float)
    with pytest.raises(ValueError, match="prepared"):
        tap(wallet(), android().answer, prepared=ready)


def test_session_keys_off_the_curve():
    phone = android()
    good = tap(wallet(), phone.answer)
    at = good.responses[2].index(b"dpk") + 3
    bad = good.responses[2][:at] + b"\x02" + b"\xff" * 32 + b"\x90\x00"
    assert tap(wallet(), script([*good.responses[:2], bad])).reason == "malformed"
