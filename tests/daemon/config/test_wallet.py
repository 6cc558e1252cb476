"""The keys of the wallet: read from files nobody else can read, all mistakes told by `check`, none aloud."""

from __future__ import annotations

import sys
import time
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tilltap.config.check import check
from tilltap.config.mistakes import ConfigError
from tilltap.config.secrets import SecretError, load_key_file
from tilltap.config.settings import AppleSettings, GoogleSettings, WalletSettings
from tilltap.config.wallet import load_wallet
from tilltap_drivers.nfc.keys import Key

APPLE, GOOGLE = (ec.derive_private_key(number, ec.SECP256R1()) for number in (7, 11))
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SEC1, PKCS8 = serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8
NONE = serialization.NoEncryption()

CONFIG = """
[program.earn]
spend = "10.00"
[loyalty]
provider = "sandbox"
[wallet.apple]
pass_type_id = "pass.com.example.coffee"
keys = ["apple.pem"]
[wallet.google]
collector_id = "20180608"
key = "google.der"
"""


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def key_file(path, key=APPLE, encoding=PEM, form=SEC1, mode=0o600):
    path.write_bytes(key if isinstance(key, bytes) else key.private_bytes(encoding, form, NONE))
    path.chmod(mode)
    return path


def refused(name, base_dir):
    with pytest.raises(SecretError) as caught:
        load_key_file(name, base_dir)
    assert "BEGIN" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


@pytest.mark.parametrize("encoding", [PEM, DER])
@pytest.mark.parametrize("form", [SEC1, PKCS8])
def test_every_way_a_key_is_written(tmp_path, encoding, form):
    key_file(tmp_path / "k", encoding=encoding, form=form)
    assert load_key_file("k", tmp_path) == Key.of(APPLE)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_key_others_may_use_is_refused(tmp_path, mode):
    path = key_file(tmp_path / "k", mode=mode)
    assert refused("k", tmp_path) == f"{path}: others may use it, its mode is {mode:04o} (chmod 600 {path})"


def test_what_is_no_key(tmp_path):
    rsa_key = rsa.generate_private_key(65537, 1024)
    for content, words in [
        (b"", "no readable private key"),
        (b"\x00" * 5000, "is larger than 4096 bytes"),
        (rsa_key, "no elliptic-curve key"),
        (ec.generate_private_key(ec.SECP384R1()), "on curve secp384r1"),
        (APPLE.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo), "public key"),
    ]:
        path = key_file(tmp_path / "k", content)
        said = refused("k", tmp_path)
        assert said.startswith(f"{path}: ")
        assert words in said
        assert said.endswith(")")
        assert "\n" not in said
    assert refused("gone", tmp_path).endswith("no such file (put the private key there and chmod 600 it)")


def test_credentials_come_first(tmp_path, monkeypatch):
    (tmp_path / "c").mkdir()
    key_file(tmp_path / "c" / "k", GOOGLE, mode=0o440)
    key_file(tmp_path / "k")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "c"))
    assert load_key_file("k", tmp_path) == Key.of(GOOGLE)
    assert load_key_file("./k", tmp_path) == Key.of(APPLE)


def test_a_wallet_with_its_keys(tmp_path):
    key_file(tmp_path / "a")
    key_file(tmp_path / "b", GOOGLE)
    apple = AppleSettings(("x", "y"), ("a", "b"), 300)
    google = GoogleSettings(5, ((3, "b"), (1, "a")), ("customer",))
    began = int(time.time())
    wallet = load_wallet(WalletSettings(apple, google), tmp_path)
    assert (wallet.apple.pass_type_ids, wallet.apple.window) == (("x", "y"), 300)
    assert began <= wallet.seen.since <= time.time()
    assert wallet.apple.keys == (Key.of(APPLE), Key.of(GOOGLE))
    assert [(key.version, key.key) for key in wallet.google.keys] == [(3, Key.of(GOOGLE)), (1, Key.of(APPLE))]
    assert (wallet.google.collector_id, wallet.google.objects) == (5, ("customer",))
    assert load_wallet(WalletSettings(), tmp_path).apple is None


def test_a_wallet_without_the_package_for_keys_says_which(tmp_path, monkeypatch):
    key_file(tmp_path / "a")
    monkeypatch.delitem(sys.modules, "tilltap_drivers.nfc.keys")
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(SecretError) as caught:
        load_wallet(WalletSettings(AppleSettings(("x",), ("a",))), tmp_path)
    assert "[wallet] needs the package cryptography" in str(caught.value)


def test_check_opens_every_key_file(tmp_path):
    config = tmp_path / "shop.toml"
    config.write_text(CONFIG)
    with pytest.raises(ConfigError) as caught:
        check(config)
    missing = "no such file (put the private key there and chmod 600 it)"
    assert caught.value.lines == (
        f"{config}:8: wallet.apple.keys[1]: {tmp_path}/apple.pem: {missing}",
        f"{config}:11: wallet.google.key: {tmp_path}/google.der: {missing}",
    )
    key_file(tmp_path / "apple.pem")
    key_file(tmp_path / "google.der", GOOGLE, DER, PKCS8)
    config.write_text(CONFIG.replace('"google.der"', '["google.der", "old.pem"]\nkey_version = [2, 1]'))
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert caught.value.lines == (f"{config}:11: wallet.google.key[2]: {tmp_path}/old.pem: {missing}",)
    config.write_text(CONFIG)
    assert check(config).wallet.google == GoogleSettings(20180608, ((1, "google.der"),), ("loyalty",))
