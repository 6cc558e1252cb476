"""`tilltap simulate vtap` as a process: its lines, its link, its end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

READY = 10.0  # seconds for a process to start on a busy machine


class Simulator:
    def __init__(self, link: Path, *options: str, stdin: int = subprocess.PIPE) -> None:
        self.link = link
        self.out = b""
        command = [sys.executable, "-c", "from tilltap.cli import main; main()", "simulate", "vtap"]
        self.process = subprocess.Popen(
            [*command, "--link", str(link), *options],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ready(self) -> None:
        assert self.line() == f"VTAP simulator ready at {self.link}"

    def line(self) -> str:
        assert self.process.stdout
        while b"\n" not in self.out:
            assert select.select([self.process.stdout], [], [], READY)[0], "no line in time"
            data = os.read(self.process.stdout.fileno(), 4096)
            assert data, f"ended after {self.out!r}"
            self.out += data
        line, _, self.out = self.out.partition(b"\n")
        return line.decode()

    def type(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self, how: signal.Signals | None = None) -> tuple[int, str]:
        """Wait, after a signal or after it was told to end; closes everything."""
        if how:
            self.process.send_signal(how)
        with self.process:
            _, errors = self.process.communicate(timeout=READY)
        return self.process.returncode, errors.decode()


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    running: list[Simulator] = []

    def start(*options: str, stdin: int = subprocess.PIPE) -> Simulator:
        running.append(Simulator(tmp_path / "vtap", *options, stdin=stdin))
        return running[-1]

    yield start
    for simulator in running:
        with simulator.process:
            simulator.process.kill()


def read(fd: int, until: bytes) -> bytes:
    got, deadline = b"", time.monotonic() + READY
    while not got.endswith(until):
        assert select.select([fd], [], [], deadline - time.monotonic())[0], f"got {got!r}"
        got += os.read(fd, 4096)
    return got


def test_typed_lines_are_taps(simulate: Callable[..., Simulator]) -> None:
    sim = simulate()
    sim.ready()
    fd = os.open(sim.link, os.O_RDWR | os.O_NOCTTY)
    sim.type("MEMBER-0042\n:bogus\n:google Zoë\n")
    frames = read(fd, "Zoë\x03\n".encode()).split(b"\n")
    assert frames[0][:7] == b"\x02A11\x1f08"
    assert frames[0][7:].endswith(b"\x1fMEMBER-0042\x03")
    assert frames[1].startswith(b"\x02G11\x1f08")
    assert [sim.line(), sim.line()] == ["sent A11 MEMBER-0042", "sent G11 Zoë"]
    os.write(fd, b"?getserial\r")
    assert read(fd, b"\r\n") == b"CC123456\r\n"
    os.close(fd)
    code, errors = sim.end(signal.SIGTERM)
    assert (code, sim.link.is_symlink()) == (0, False)
    assert errors == "unknown command :bogus (:help lists them)\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_at_the_end_of_input_it_waits_for_a_signal(
    simulate: Callable[..., Simulator], how: signal.Signals
) -> None:
    sim = simulate(stdin=subprocess.DEVNULL)
    sim.ready()
    time.sleep(0.3)
    assert sim.process.poll() is None
    assert sim.end(how) == (0, "")
    assert not sim.link.is_symlink()


def test_or_ends_with_it_when_told_so(simulate: Callable[..., Simulator]) -> None:
    sim = simulate("--exit-at-eof")
    sim.ready()
    fd = os.open(sim.link, os.O_RDWR | os.O_NOCTTY)
    sim.type("without a line end")
    assert sim.process.stdin
    sim.process.stdin.close()
    sim.process.stdin = None
    assert b"without a line end" in read(fd, b"\x03\n")
    os.close(fd)
    assert sim.end()[0] == 0


def test_quit_ends_it(simulate: Callable[..., Simulator]) -> None:
    sim = simulate()
    sim.ready()
    sim.type(":quit\n")
    assert sim.end()[0] == 0


def test_its_config_txt_and_profile_decide_what_it_sends(
    tmp_path: Path, simulate: Callable[..., Simulator]
) -> None:
    (tmp_path / "config.txt").write_text("!VTAPconfig\nComPortPostfix=%0D ; bare lines\n")
    (tmp_path / "profile.toml").write_text('model = "VTAP50"\nreboot_seconds = 1\n')
    options = ("--config", str(tmp_path / "config.txt"), "--profile", str(tmp_path / "profile.toml"))
    sim = simulate(*options)
    sim.ready()
    fd = os.open(sim.link, os.O_RDWR | os.O_NOCTTY)
    sim.type("MEMBER-0042\n")
    assert read(fd, b"\r") == b"MEMBER-0042\r"
    os.write(fd, b"?b\r")
    assert read(fd, b"CC123456\r\n").startswith(b"VTAP50\r\n")
    os.close(fd)


@pytest.mark.parametrize(
    ("file", "text", "code", "words"),
    [
        ("config", None, 2, "x: No such file"),
        ("config", "nonsense", 3, "x: line 1: the first line"),
        ("config", "!VTAPconfig\nComPortPrefix=%0\n", 3, "x: ComPortPrefix: '%0'"),
        ("profile", "model = 1", 3, "x: model: must be a str"),
        ("profile", "colour = 1", 3, "x: colour: unknown key"),
        ("profile", "model", 3, "x: "),
        ("profile", 'end = "%"', 3, "x: end: '%'"),
    ],
)
def test_a_bad_file_is_one_line(
    tmp_path: Path, simulate: Callable[..., Simulator], file: str, text: str | None, code: int, words: str
) -> None:
    if text is not None:
        (tmp_path / "x").write_text(text)
    sim = simulate(f"--{file}", str(tmp_path / "x"))
    ended, errors = sim.end()
    assert ended == code
    assert words in errors
    assert errors.count("\n") == 1


def test_it_does_not_overwrite_a_file(tmp_path: Path, simulate: Callable[..., Simulator]) -> None:
    (tmp_path / "vtap").write_text("mine")
    sim = simulate(stdin=subprocess.DEVNULL)
    code, errors = sim.end()
    assert code == 1
    assert errors == f"{tmp_path}/vtap exists and is not a link: remove it or choose another path\n"
    assert (tmp_path / "vtap").read_text() == "mine"
