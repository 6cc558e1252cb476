from random import Random

from rigs.taps import wallet
from tilltap_drivers.nfc.keys import P256_ORDER, compressed
from tilltap_drivers.nfc.prepared import prepare
from tilltap_drivers.nfc.wallet import GoogleWallet, Wallet


def test_everything_random_is_drawn_before_the_tap():
    drawn = []

    def random(n):
        drawn.append(n)
        return bytes((len(drawn),)) * n

    ready = prepare(wallet(), random, lambda: 5.0)
    assert (ready.nonce, ready.session_id, ready.vas_nonce) == (b"\1" * 32, b"\2" * 8, b"\3" * 4)
    assert ready.now() == 5.0
    assert drawn == [32, 8, 4, 40]
    scalar = int.from_bytes(b"\4" * 40, "big") % (P256_ORDER - 1) + 1
    assert ready.ephemeral.private_numbers().private_value == scalar
    assert ready.ephemeral_public == compressed(ready.ephemeral.public_key())


def test_the_ends_of_the_range():
    for n, scalar in ((0, 1), (P256_ORDER - 2, P256_ORDER - 1), (P256_ORDER - 1, 1)):
        ready = prepare(wallet(), lambda size, n=n: n.to_bytes(40, "big")[-size:], float)
        assert ready.ephemeral.private_numbers().private_value == scalar


def test_no_two_are_alike():
    random = Random(1).randbytes
    first, second = (prepare(wallet(), random, float) for _ in range(2))
    assert first.session_id != second.session_id
    assert first.ephemeral_public != second.ephemeral_public


def test_no_session_key_without_google_keys():
    plain = GoogleWallet(1, (), allow_unencrypted=True)
    for settings in (wallet(google=None), wallet(google=plain), Wallet()):
        ready = prepare(settings, Random(1).randbytes, float)
        assert ready.ephemeral is None
        assert ready.ephemeral_public == b""


def test_it_does_not_show_its_key():
    assert "ECPrivate" not in repr(prepare(wallet(), Random(1).randbytes, float))
