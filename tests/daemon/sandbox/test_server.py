"""The sandbox as a process and as a thread: start, stop, what it prints."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from rigs.sandbox import running_sandbox
from tilltap.cli.sandbox import parse_pass
from tilltap.errors import StartError
from tilltap.sandbox.server import SandboxServer
from tilltap.sandbox.service import NewPass

TILLTAP = [sys.executable, "-c", "from tilltap.cli import main; main()", "sandbox"]
PROMPT = 2.0  # seconds within which it stops, pages and hanging requests or not


@contextmanager
def command(*args: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`tilltap sandbox` as a process, with its address."""
    process = subprocess.Popen([*TILLTAP, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"sandbox ready: (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


def run(*args: str) -> subprocess.CompletedProcess[str]:
    """`tilltap sandbox` where it is expected to refuse."""
    return subprocess.run([*TILLTAP, *args], capture_output=True, text=True, timeout=20, check=False)


def send(url: str, request: str, *, body: bytes = b"", length: int = 0) -> socket.socket:
    """A request whose answer nobody reads; `length` promises a body that may be longer than the one sent."""
    connection = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    head = f"{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_stops_promptly_with_pages_open_requests_hanging_and_changes_due(number: int) -> None:
    with command("--port", "0", "--pass", "zoe=7@04A2") as (process, url):
        page = send(url, "GET /sandbox/live")
        for fault, seconds in (("apply-late", 60), ("hang", 0), ("slow", 60), ("slow-drip", 60)):
            httpx.post(f"{url}/sandbox/faults", json={"fault": fault, "endpoint": "all", "seconds": seconds})
        for _ in range(4):  # callers that give up
            send(url, "GET /api/v1/loyalty/zoe").close()
        time.sleep(0.2)
        for fault in ("hang", "slow", "slow-drip"):
            httpx.post(f"{url}/sandbox/faults", json={"fault": fault, "seconds": 60})
        requests = [send(url, "GET /api/v1/loyalty/zoe") for _ in range(3)]
        time.sleep(0.2)
        assert httpx.get(f"{url}/sandbox/faults").json()["armed"] == []
        began = time.monotonic()
        process.send_signal(number)
        process.wait(timeout=10)
        assert time.monotonic() - began < PROMPT
        for connection in (page, *requests):
            connection.close()
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, "")
        assert process.stdout.read() == f"  zoe: 7 points, reader value 04A2, phone {url}/phone/zoe\n"


def test_a_port_in_use_is_one_line() -> None:
    with running_sandbox() as sandbox:
        told = subprocess.run(
            [
                sys.executable,
                "-c",
                "from tilltap.cli import main; main()",
                "sandbox",
                "--port",
                str(sandbox.port),
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert (told.returncode, told.stdout) == (3, "")
    assert re.fullmatch(rf"sandbox: port {sandbox.port} of 127\.0\.0\.1: .*--port.*\n", told.stderr)


def test_a_thread_starts_at_once_and_comes_back_under_the_same_address() -> None:
    began = time.monotonic()
    with SandboxServer() as sandbox:
        assert time.monotonic() - began < 1  # it needs 0.03
        url = sandbox.url
        assert httpx.get(f"{url}/").status_code == 200
        sandbox.service.create(NewPass("zoe", 3))
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/")
    with sandbox:
        assert httpx.get(f"{url}/sandbox/passes/zoe").json()["balance"] == 3


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(StartError, match="port"):
        SandboxServer(port=port)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("anna", NewPass("anna", 0)),
        ("ben=4", NewPass("ben", 4)),
        ("ben=-4", NewPass("ben", -4)),
        ("carl=12@04A2", NewPass("carl", 12, "04A2")),
        ("anna@example.com", NewPass("anna@example.com", 0)),
        ("anna@example.com=3@x@y", NewPass("anna@example.com", 3, "x@y")),
        ("carl=1@a=b", NewPass("carl", 1, "a=b")),
    ],
)
def test_a_pass_on_the_command_line(text: str, made: NewPass) -> None:
    assert parse_pass(text) == made


def test_only_the_key_in_the_file_opens_and_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the-key\n")
    file.chmod(0o600)
    with command("--port", "0", "--key-file", str(file)) as (_, url):
        told = [
            httpx.get(f"{url}/api/v1/passes", headers={"Authorization": f"Bearer {key}"}).status_code
            for key in ("the-key", "another")
        ]
    assert told == [200, 401]
    file.chmod(0o640)
    refused = run("--key-file", str(file))
    assert (refused.returncode, refused.stdout) == (3, "")
    assert re.fullmatch(r".*chmod 600.*\n", refused.stderr)
    assert "the-key" not in refused.stderr


@pytest.mark.parametrize(
    "passes", [("a", "a"), ("",), ("a\nb",), ("x" * 600,), ("a=9999999999999@n",), ("ben=4x",), ("ben=",)]
)
def test_senseless_passes_are_a_usage_error(passes: tuple[str, ...]) -> None:
    refused = run(*(word for text in passes for word in ("--pass", text)))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--pass" in refused.stderr


def test_a_request_that_does_not_arrive_whole_changes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A daemon killed while it sends: the journal says that something came, and nobody is told a story."""
    with running_sandbox(NewPass("ben", 4)) as sandbox:
        with send(sandbox.url, "PATCH /api/v1/loyalty/ben", body=b'{"loyalty": ', length=40):
            pass
        until = time.monotonic() + PROMPT
        while not sandbox.service.newest(1)[0].data.get("status") and time.monotonic() < until:
            time.sleep(0.01)
        assert sandbox.service.newest(1)[0].data == {"status": 400}
        assert sandbox.balance("ben") == 4
    assert capfd.readouterr().err == ""
