"""Whatever stands where a file should: one clear line, at once, and never more of it read than a file may have."""

import os
import socket
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tilltap.cli.check import check
from tilltap.errors import StartError
from tilltap_drivers.contract import ReaderFault
from tilltap_drivers.replay.reader import ReplayDriver
from tilltap_drivers.replay.settings import ReplaySettings

GIGABYTE = 1 << 30


def folder(path):
    path.mkdir()


def pipe(path):
    os.mkfifo(path, 0o600)


def zeros(path):
    path.symlink_to("/dev/zero")


def huge(path):
    path.touch(0o600)
    os.truncate(path, GIGABYTE)


def circle(path):
    path.symlink_to(path.name)


def dangling(path):
    path.symlink_to("nowhere")


def sock(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    path.chmod(0o600)


def for_the_group(path):
    """A link is as safe as what it leads to."""
    behind = path.with_name("behind")
    behind.write_text("sk_test\n")
    behind.chmod(0o640)
    path.symlink_to(behind)


def latin(path):
    path.write_bytes(b"caf\xe9\n")
    path.chmod(0o600)


def marked(path):
    path.write_bytes(b"\xef\xbb\xbfsk_test\n")
    path.chmod(0o600)


ODD = [folder, pipe, zeros, huge, circle, dangling, sock, latin]
TEXT = """
[till]
name = "till-1"
[program.earn]
spend = "10.00"
[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 5
discount = "5.00"
[loyalty]
{}
[wallet.google]
collector_id = "20180608"
{}
"""
SECRETS = {"api_key_file": 'api_key_file = "odd"', "key": 'key = "odd"', "ca_file": 'ca_file = "odd"'}


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    key = Path("passentry.key")
    key.touch(0o600)
    key.write_text("sk_test\n")


def lines(file):
    app = typer.Typer()
    app.command("check")(check)
    app.callback()(lambda: None)
    began = time.monotonic()
    result = CliRunner().invoke(app, ["check", file])
    assert time.monotonic() - began < 5
    if isinstance(result.exception, StartError):  # said by the program around the commands
        return list(result.exception.lines)
    assert result.exit_code == 1
    return result.output.splitlines()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", ODD)
def test_as_the_configuration(shop, make):
    make(Path("odd"))
    assert len(found := lines("odd")) == 1
    assert found[0].startswith("odd:")
    assert "(" in found[0], "no remedy"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("key", SECRETS)
@pytest.mark.parametrize("make", [*ODD, for_the_group, marked])
def test_as_a_key_or_a_certificate(shop, make, key):
    make(Path("odd"))
    loyalty, google = (SECRETS[key], "") if key != "key" else ("", SECRETS["key"])
    if key != "key":
        google = 'key = "good.pem"'
        _good_wallet_key()
    Path("shop.toml").write_text(TEXT.format(loyalty, google))
    assert len(found := lines("shop.toml")) == 1, found
    assert f".{key}: " in found[0]
    assert str(Path("odd").absolute()) in found[0]
    assert "sk_test" not in found[0]


def _good_wallet_key():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = Path("good.pem")
    path.touch(0o600)
    path.write_bytes(pem)


@pytest.mark.timeout(30)
@pytest.mark.anyio
@pytest.mark.parametrize("make", ODD)
async def test_as_a_tape(shop, make):
    make(Path("odd"))
    began = time.monotonic()
    with pytest.raises(ReaderFault) as fault:
        await anext(ReplayDriver(ReplaySettings("tape", tape="odd")).reads())
    assert time.monotonic() - began < 2
    assert "odd" in str(fault.value)
    assert "\n" not in str(fault.value)
