"""`tilltap record` as a process, on a simulated VTAP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.pty_port import PtyPort

CONFIG = """
[program.earn]
spend = "10.00"
[loyalty]
[pos]
socket = "pos.sock"
[ledger]
url = "sqlite:///ledger.db"
[[reader]]
name = "counter"
port = "vtap"
[[reader]]
name = "tape"
driver = "replay"
tape = "old.tape"
"""
FRAME = b"\x02A11\x1f08A1B2C3\x1fMEMBER-0042\x03\n"
WITHIN = 20.0


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tilltap.toml").write_text(CONFIG)
    return tmp_path


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tilltap", "record", "--config", "tilltap.toml", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def refused(*options: str) -> tuple[int, str]:
    with start(*options) as process:
        out, errors = process.communicate(timeout=WITHIN)
    assert out == ""
    (line,) = errors.splitlines()
    return process.returncode, line


@pytest.mark.parametrize("how", [None, signal.SIGINT, signal.SIGTERM])
def test_a_tap_becomes_a_tape_without_its_value(shop: Path, how: signal.Signals | None) -> None:
    limit = [] if how else ["--seconds", "1"]
    with (
        PtyPort(shop / "vtap") as pty,
        start("--reader", "counter", "--out", "x.tape", *limit) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline().startswith("recording counter: ")
        pty.write(FRAME)
        if how:
            pty.read(b"?b\r")
            subprocess.run(["sleep", "0.3"], check=True)
            process.send_signal(how)
        out, errors = process.communicate(timeout=WITHIN)
    assert (process.returncode, errors) == (0, "")
    assert out == "x.tape: 1 presentations, their values replaced; x.events says what they are\n"
    assert [os.stat(name).st_mode & 0o777 for name in ("x.tape", "x.events")] == [0o600, 0o600]
    tape = Path("x.tape").read_text(encoding="utf-8")
    assert "%02A11%1F" in tape
    both = tape + Path("x.events").read_text(encoding="utf-8")
    assert not [secret for secret in ("MEMBER", "0042", "08A1B2C3") if secret in both]


def test_while_the_daemon_runs(shop: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind("pos.sock")
        daemon.listen()
        assert refused("--reader", "counter", "--out", "x.tape") == (
            1,
            "the daemon is running and holds the reader: stop it first (systemctl stop tilltap)",
        )


def test_a_port_that_another_program_holds(shop: Path) -> None:
    import serial

    with PtyPort(shop / "vtap") as pty, serial.Serial(os.ttyname(pty.slave), exclusive=True):
        code, line = refused("--reader", "counter", "--out", "x.tape")
    assert code == 1
    assert "is in use: stop the other program" in line
    assert not Path("x.tape").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--reader", "till", "--out", "x.tape"), 2, "no reader is named till (there is: counter, tape)"),
        (
            ("--reader", "tape", "--out", "x.tape"),
            1,
            "reader tape: only vtap, pcsc and pn532 readers can be recorded",
        ),
        (("--reader", "counter", "--out", "x.txt"), 2, "the name of a tape ends in .tape"),
        (("--reader", "counter", "--out", "old.tape"), 1, "old.tape: File exists (choose another --out)"),
        (("--reader", "counter", "--out", "no/x.tape"), 1, "no/x.tape: No such file or directory"),
        (("--reader", "counter", "--out", "x.tape"), 1, "reader counter: "),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_no_file(
    shop: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    Path("old.tape").write_text("mine")
    got, line = refused(*options)
    assert (got, words in line) == (code, True), line
    assert sorted(path.name for path in shop.iterdir()) == ["old.tape", "tilltap.toml"]
    assert Path("old.tape").read_text() == "mine"
