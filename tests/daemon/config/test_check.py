"""`tilltap check`, from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tilltap.cli import check as command

GOOD = """\
[till]
name = "till-1"
[program.earn]
spend = "10.00"
visit = 2
minimum = "3"
remainder = "carry"
[[program.reward]]
id = "five-off"
title = "£5 off"
cost = 5
discount = "5.00"
[loyalty]
[[reader]]
name = "counter"
port = "/dev/ttyACM0"
"""
FINE = (
    "shop.toml: fine. Loyalty: 1 point for each full 10.00 GBP, the rest carried on and 2 points for each sale "
    "of at least 3.00; £5 off (5.00 off) from 5 points. Till till-1, readers: counter, service: passentry.\n"
)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with a good shop.toml and its key; the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TILLTAP_CONFIG", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    Path("shop.toml").write_text(GOOD)
    key = Path("passentry.key")
    key.write_text("sk_test\n")
    key.chmod(0o600)
    return tmp_path


def run(*arguments):
    app = typer.Typer()
    command.register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["check", *arguments])


def process(*arguments):
    code = "from tilltap.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "check", *arguments], capture_output=True, text=True, check=False
    )


def test_a_good_file(shop):
    result = run("shop.toml")
    assert (result.exit_code, result.stdout) == (0, FINE)


def test_the_file_may_come_by_option_or_environment(shop, monkeypatch):
    assert run("--config", "shop.toml").stdout == FINE
    monkeypatch.setenv("TILLTAP_CONFIG", "shop.toml")
    assert run().stdout == FINE


def test_mistakes_of_the_text_and_of_its_files_come_together(shop):
    Path("passentry.key").chmod(0o644)
    Path("shop.toml").write_text(
        GOOD.replace("cost = 5", "cost = 0").replace("[loyalty]", '[loyalty]\nca_file = "ca.pem"\nsettle = 0')
    )
    result = run("./shop.toml")
    assert result.exit_code == 1
    key, ca = shop / "passentry.key", shop / "ca.pem"
    assert result.stdout.splitlines() == [
        "./shop.toml:11: program.reward[1].cost: must be at least 1 (it is 0)",
        f"./shop.toml:13: loyalty.api_key_file: {key}: others may use it, its mode is 0644 (chmod 600 {key})",
        f"./shop.toml:14: loyalty.ca_file: {ca}: cannot be read: No such file or directory (check its path and permissions)",
        "./shop.toml:15: loyalty.settle: must be at least 1 (it is 0)",
    ]


def test_a_ca_file_without_a_certificate(shop):
    Path("ca.pem").write_text("nothing\n")
    Path("shop.toml").write_text(GOOD.replace("[loyalty]", '[loyalty]\nca_file = "ca.pem"'))
    assert run("shop.toml").stdout.splitlines() == [
        f"shop.toml:14: loyalty.ca_file: {shop}/ca.pem: holds no certificate (name a PEM file of certificate authorities)"
    ]


def test_the_key_s_file_is_reported_where_it_is_named(shop):
    Path("shop.toml").write_text(GOOD.replace("[loyalty]", '[loyalty]\n\napi_key_file = "other.key"'))
    assert run("shop.toml").stdout.startswith(
        f"shop.toml:15: loyalty.api_key_file: {shop}/other.key: no such"
    )


def test_training_needs_no_key_file(shop):
    Path("passentry.key").unlink()
    Path("shop.toml").write_text(GOOD.replace("[loyalty]", '[loyalty]\nprovider = "sandbox"'))
    result = run("shop.toml")
    assert result.exit_code == 0
    assert "service: training, with the sandbox" in result.stdout


@pytest.mark.parametrize("loyalty", ["[loyalty]\napi_key_file = 5", '[loyalty]\nprovider = "passwerks"', ""])
def test_a_wrong_name_is_one_mistake(shop, loyalty):
    Path("passentry.key").unlink()
    Path("shop.toml").write_text(GOOD.replace("[loyalty]", loyalty))
    assert len(run("shop.toml").stdout.splitlines()) == 1


def test_as_a_process(shop):
    good = process("shop.toml")
    assert (good.returncode, good.stdout, good.stderr) == (0, FINE, "")
    missing = process("nowhere.toml")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("nowhere.toml: no such file (")
    assert missing.stderr.count("\n") == 1


def test_help_has_an_example(shop):
    assert "tilltap check /etc/tilltap/tilltap.toml" in run("--help").stdout


def test_the_ledger_s_password_is_looked_at(shop):
    password = shop / "ledger.password"
    password.write_text("zz-secret-password\n")
    password.chmod(0o644)
    Path("shop.toml").write_text(
        GOOD + '[ledger]\nurl = "postgresql:///loyalty"\npassword_file = "ledger.password"\n'
    )
    assert run("shop.toml").stdout.splitlines() == [
        f"shop.toml:19: ledger.password_file: {password}: others may use it, its mode is 0644 (chmod 600 {password})"
    ]


def test_the_group_of_those_who_may_sell_must_be_there(shop):
    Path("shop.toml").write_text(GOOD + '[pos]\nwrite_group = "no-such-group"\n')
    line = len(GOOD.splitlines()) + 2
    assert run("shop.toml").output == (
        f"shop.toml:{line}: pos.write_group: no group no-such-group on this machine"
        " (groupadd --system no-such-group, or name another)\n"
    )
    Path("shop.toml").write_text(GOOD + '[pos]\nwrite_group = "root"\n')
    assert run("shop.toml").exit_code == 0
