import subprocess
import sys

import pytest

from rigs.taps import KEYS
from tilltap_drivers.nfc.wallet import (
    CARDS,
    OBJECT_TYPES,
    AppleWallet,
    CardReading,
    GoogleKey,
    GoogleWallet,
    Wallet,
)

ID = "pass.com.example"
GKEY = GoogleKey(1, KEYS[0])


def kept(fields, kind):
    made = kind(**fields)
    assert {name: getattr(made, name) for name in fields} == fields


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mode": 0},
        {"mode": 3},
        {"sign_up_url": "https://a.b/".ljust(64, "x")},
        {"filter": b"\1\0\0\0\0"},
        {"window": 0.5},
        {"pass_type_ids": tuple(f"pass.{n}" for n in range(8))},
        {"pass_type_ids": ("p" * 255,)},
        {"url_only": True, "sign_up_url": "https://a.b", "pass_type_ids": (), "keys": ()},
    ],
)
def test_apple(fields):
    kept({"pass_type_ids": (ID,), "keys": KEYS[:1]} | fields, AppleWallet)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("pass_type_ids", {"pass_type_ids": ()}),
        ("pass_type_ids", {"pass_type_ids": ("",)}),
        ("pass_type_ids", {"pass_type_ids": (ID, "päss")}),
        ("pass_type_ids", {"pass_type_ids": ("pass com",)}),
        ("pass_type_ids", {"pass_type_ids": ("pass\n",)}),
        ("pass_type_ids", {"pass_type_ids": ("p" * 256,)}),
        ("pass_type_ids", {"pass_type_ids": tuple(f"pass.{n}" for n in range(9))}),
        ("keys", {"keys": ()}),
        ("mode", {"mode": 4}),
        ("mode", {"mode": -1}),
        ("sign_up_url", {"sign_up_url": "x" * 65}),
        ("sign_up_url", {"sign_up_url": "https://ä"}),
        ("sign_up_url", {"url_only": True}),
        ("filter", {"filter": b"1234"}),
        ("filter", {"filter": b"123456"}),
        ("window", {"window": 0}),
        ("window", {"window": -1}),
        ("window", {"window": float("inf")}),
        ("window", {"window": float("nan")}),
    ],
)
def test_apple_mistakes(field, fields):
    with pytest.raises(ValueError, match=f"^{field}: "):
        AppleWallet(**({"pass_type_ids": (ID,), "keys": KEYS[:1]} | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"objects": tuple(OBJECT_TYPES)},
        {"pos_capabilities": b""},
        {"keys": (), "allow_unencrypted": True},
        {"keys": (GKEY,) * 8},
        {"service_types": (0, 255)},
        {"service_types": tuple(range(8))},
        {"collector_id": 1},
        {"collector_id": 2**64 - 1},
    ],
)
def test_google(fields):
    kept({"collector_id": 20180608, "keys": (GKEY,)} | fields, GoogleWallet)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("collector_id", {"collector_id": 0}),
        ("collector_id", {"collector_id": 2**64}),
        ("keys", {"keys": ()}),
        ("keys", {"keys": (GKEY,) * 9}),
        ("objects", {"objects": ()}),
        ("objects", {"objects": ("loyalty", "ly")}),
        ("service_types", {"service_types": ()}),
        ("service_types", {"service_types": (256,)}),
        ("service_types", {"service_types": (-1,)}),
        ("service_types", {"service_types": tuple(range(9))}),
        ("pos_capabilities", {"pos_capabilities": b"1234"}),
    ],
)
def test_google_mistakes(field, fields):
    with pytest.raises(ValueError, match=f"^{field}: "):
        GoogleWallet(**({"collector_id": 20180608, "keys": (GKEY,)} | fields))


@pytest.mark.parametrize("version", [-1, 2**32])
def test_key_versions(version):
    GoogleKey(0, KEYS[0])
    GoogleKey(2**32 - 1, KEYS[0])
    with pytest.raises(ValueError, match=r"^key_version: "):
        GoogleKey(version, KEYS[0])


@pytest.mark.parametrize(
    ("number", "collector"),
    [(20180608, "0133ee80"), (13380028, "00cc29bc"), (0x1FFFFFFFE, "fffffffe"), (1, "00000001")],
)
def test_collectors_on_the_wire(number, collector):
    assert GoogleWallet(number, (GKEY,)).collector().hex() == collector


def test_kinds_of_passes_by_their_names():
    """The names of the configuration and the record types of google-smart-tap 5."""
    assert " ".join(f"{name}={kind}" for name, kind in OBJECT_TYPES.items()) == (
        "loyalty=ly offer=of gift-card=gc private-label=pl event-ticket=et flight=fl transit=tr generic=gr "
        "generic-private=gp customer=cus"
    )


def test_merchant_ids_in_order():
    ids = AppleWallet(("pass.com.passkit.pksamples.nfcdemo", ID), KEYS[:1]).merchant_ids()
    assert ids[0].hex() == "03b57cdb3eca0984ba9abdc2fb45d86626d87b39d33c5c6dbbc313a6347a3146"
    assert len(ids) == 2


def test_what_is_off_by_default():
    """Ordinary cards, unauthenticated bundles, and what refuses real phones."""
    apple, google = AppleWallet((ID,), KEYS[:1]), GoogleWallet(1, (GKEY,))
    assert CardReading() == CardReading(ndef=False, uid=False)
    assert Wallet() == Wallet(None, None, CardReading())
    assert (apple.mode, apple.url_only, apple.window, apple.legacy) == (2, False, None, True)
    assert (apple.announce_more, apple.send_nonce, apple.filter, apple.sign_up_url) == (True, True, b"", "")
    assert (google.allow_unencrypted, google.presign, google.skip_select) == (False, False, False)
    assert (google.direct, google.objects, google.service_types) == (True, ("loyalty",), (0,))
    assert google.pos_capabilities.hex() == "4000000001"


def test_equal_settings_are_equal_and_show_no_key():
    first, second = (Wallet(AppleWallet((ID,), KEYS[:1]), GoogleWallet(5, (GKEY,))) for _ in range(2))
    assert first == second
    assert "seen" not in repr(first)
    assert "private" not in repr(first)


def test_settings_and_phones_formats_need_no_crypto_library():
    """A configuration can be checked on a base install."""
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from tilltap_drivers.nfc import apdu, errors, ndef, ose, seen, smarttap, tlv, type4, wallet, words\n"
        "wallet.Wallet(cards=wallet.CardReading(ndef=True))"
    )
    path = ":".join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("names", [(), ("ndef",), ("uid",), ("uid", "ndef")])
def test_cards_by_their_names(names):
    cards = CardReading.of(names)
    assert (cards.ndef, cards.uid) == ("ndef" in names, "uid" in names)
    assert set(names) <= set(CARDS) == {"ndef", "uid"}
