"""Wrong words on the command line: one line that says where and what, exit 2 (contract section 1)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tilltap.cli import COMMANDS

SMALLEST = Path(__file__).parents[3] / "config" / "examples" / "smallest.toml"


def tilltap(*arguments: str, **streams: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tilltap", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **streams)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("frob",), "tilltap: "),
        (("simulate", "vtap"), "tilltap simulate vtap: "),
        (("explain",), "tilltap explain: "),
        (("explain", "--config", str(SMALLEST), "--balance", "5", "--total", "8.001"), "--total"),
        (
            ("explain", "--config", str(SMALLEST), "--balance", "5", "--total", "8", "--redeem", "x"),
            "five-off",
        ),
        (("status", "--socket", ""), "is empty (name the POS socket, or leave --socket out)"),
        (("report", "--socket", " "), "--socket"),
        (("check", "/nonexistent.toml"), "/nonexistent.toml"),
        (("run", "--config", "/nonexistent.toml"), "/nonexistent.toml"),
        (("demo", "--fault", "frob"), "hang"),
    ],
)
def test_one_line_and_exit_2(arguments, says):
    done = tilltap(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert says in done.stderr


@pytest.mark.parametrize("name", [*(c for c in COMMANDS if c not in {"later", "simulate"}), "doctor"])
def test_help_has_an_example(name):
    done = tilltap(name, "--help")
    assert done.returncode == 0
    assert f"Example: tilltap {name}" in done.stdout or f"tilltap {name} " in done.stdout.split("Example")[-1]


@pytest.mark.parametrize("name", ["doctor", "customers", "display", "hooks"])
def test_what_is_not_there_says_so_in_one_line(name):
    done = tilltap(name, "whatever", "--even", "so")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tilltap {name}: not available yet\n"
