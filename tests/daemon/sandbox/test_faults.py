"""Every fault of the menu on a real socket: what the caller meets, and what the service did meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from rigs.sandbox import READ_POINTS, WRITE_PASS, WRITE_POINTS, SandboxRig
from tilltap.sandbox.door import NAMES
from tilltap.sandbox.faults import GROUPS, MENU, Switchboard, matches

BEN = "/api/v1/loyalty/ben"
WRITE = {"balance": 1, "message": "You've earned 1 point!"}  # a delta: every application shows


def ask(http: httpx.Client, method: str = "PATCH", timeout: float = 5) -> httpx.Response:
    return http.request(method, BEN, json=WRITE if method == "PATCH" else None, timeout=timeout)


def after(sandbox: SandboxRig, balance: int, seconds: float = 3.0) -> bool:
    """Whether the balance becomes `balance` within `seconds`."""
    until = time.monotonic() + seconds
    while sandbox.balance("ben") != balance and time.monotonic() < until:
        time.sleep(0.01)
    return sandbox.balance("ben") == balance


# name -> (what the caller meets, balance afterwards; it was 4)
LOST: dict[str, tuple[type[Exception], int]] = {
    "down": (httpx.ReadError, 4),
    "drop-before": (httpx.RemoteProtocolError, 4),
    "hang": (httpx.ReadTimeout, 4),
    "apply-then-drop": (httpx.RemoteProtocolError, 5),
    "apply-late": (httpx.RemoteProtocolError, 4),
    "reset-mid-body": (httpx.ReadError, 5),
}
ANSWERED: dict[str, tuple[Callable[[httpx.Response], bool], int]] = {
    "apply-twice": (lambda a: a.json()["meta"]["loyalty"]["balance"] == 6, 6),
    "late-second-copy": (lambda a: a.json()["meta"]["loyalty"]["balance"] == 5, 5),
    "500-after-apply": (lambda a: a.status_code == 500, 5),
    "500": (lambda a: a.status_code == 500, 4),
    "502": (lambda a: a.status_code == 502, 4),
    "503": (lambda a: a.status_code == 503, 4),
    "504": (lambda a: a.status_code == 504, 4),
    "401": (lambda a: a.status_code == 401 and "errors" in a.json(), 4),
    "404": (lambda a: a.status_code == 404 and "errors" in a.json(), 4),
    "422": (lambda a: a.status_code == 422 and "errors" in a.json(), 4),
    "429": (lambda a: a.status_code == 429 and 0 < float(a.headers["x-rate-limit-retry-after"]) < 1, 4),
    "redirect": (lambda a: a.status_code == 307 and a.headers["location"].startswith("/api/"), 4),
    "slow": (lambda a: a.json()["meta"]["loyalty"]["balance"] == 5, 5),
    "slow-drip": (lambda a: a.json()["meta"]["loyalty"]["balance"] == 5, 5),
    "truncate-json": (lambda a: a.status_code == 200 and not is_json(a), 5),
    "html-body": (lambda a: a.status_code == 200 and a.text.startswith("<!doctype"), 5),
    "wrong-content-type": (lambda a: is_json(a) and a.headers["content-type"].startswith("text/plain"), 5),
    "balance-string": (lambda a: a.json()["meta"]["loyalty"]["balance"] == "5", 5),
    "balance-float": (lambda a: '"balance": 5.0' in a.text, 5),
    "balance-missing": (lambda a: a.json()["meta"]["loyalty"] == {}, 5),
    "wrong-balance": (lambda a: a.json()["meta"]["loyalty"]["balance"] == 6, 5),
    "no-notification-status": (
        lambda a: (
            a.json()["meta"] == {"loyalty": {"balance": 5}} and "x-notification-status" not in a.headers
        ),
        5,
    ),
}


def is_json(answer: httpx.Response) -> bool:
    try:
        answer.json()
    except ValueError:
        return False
    return True


def test_every_fault_of_the_menu_is_tried_here() -> None:
    assert set(LOST) | set(ANSWERED) == set(MENU)


@pytest.mark.parametrize("name", sorted(LOST))
def test_the_answer_is_lost(http: httpx.Client, sandbox: SandboxRig, name: str) -> None:
    meets, balance = LOST[name]
    sandbox.fault(name, endpoint=WRITE_POINTS, seconds=0.3)
    with pytest.raises(meets):
        ask(http, timeout=0.2 if name == "hang" else 5)
    assert sandbox.balance("ben") == balance
    [answer] = [entry for entry in sandbox.service.journal() if entry.kind == "answer"]
    assert (answer.data["status"], answer.data["fault"]) == (None, name)
    assert ask(http).status_code == 200  # one fault, one request
    assert after(sandbox, balance + (2 if name == "apply-late" else 1))


@pytest.mark.parametrize("name", sorted(ANSWERED))
def test_the_answer_is_odd(http: httpx.Client, sandbox: SandboxRig, name: str) -> None:
    as_told, balance = ANSWERED[name]
    sandbox.fault(name, endpoint=WRITE_POINTS, seconds=0.3)
    answer = ask(http)
    assert as_told(answer), (answer.status_code, answer.headers, answer.text)
    assert sandbox.balance("ben") == balance
    if name == "late-second-copy":
        assert after(sandbox, balance + 1)
        assert [entry.data["copy"] for entry in sandbox.service.applied("ben")] == [False, True]
    shown = [n.text for n in sandbox.service.find("ben").notifications if n.shown]
    assert len(shown) == (0 if balance == 4 else 1), "a second copy changes no field of the pass"


@pytest.mark.parametrize("name", sorted(set(MENU) - {"slow", "slow-drip", "hang"}))
def test_a_read_changes_nothing_whatever_happens_to_it(
    http: httpx.Client, sandbox: SandboxRig, name: str
) -> None:
    sandbox.fault(name, endpoint=READ_POINTS, seconds=0.01)
    try:
        ask(http, "GET")
    except httpx.TransportError:
        assert name in LOST
    assert sandbox.service.applied("ben") == []
    assert ask(http, "GET").json()["meta"]["loyalty"] == {"balance": 4}


@pytest.mark.parametrize("name", ["slow", "slow-drip"])
def test_slow_means_slow(http: httpx.Client, sandbox: SandboxRig, name: str) -> None:
    sandbox.fault(name, seconds=0.4)
    began = time.monotonic()
    assert ask(http, "GET").json()["meta"]["loyalty"] == {"balance": 4}
    assert time.monotonic() - began >= 0.35


def test_a_late_change_comes_after_what_was_written_meanwhile(
    http: httpx.Client, sandbox: SandboxRig
) -> None:
    sandbox.fault("apply-late", endpoint=WRITE_POINTS, seconds=0.3)
    with pytest.raises(httpx.TransportError):
        http.patch(BEN, json={"overrideBalance": 5})
    http.patch(BEN, json={"overrideBalance": 9})
    assert after(sandbox, 5)
    assert [entry.data["balance"] for entry in sandbox.service.applied("ben")] == [[4, 9], [9, 5]]


def test_what_is_wrong_anyway_is_not_applied_under_a_fault(http: httpx.Client, sandbox: SandboxRig) -> None:
    for name in ("apply-twice", "500-after-apply", "late-second-copy"):
        sandbox.fault(name, endpoint=WRITE_POINTS)
        http.patch(BEN, json={"balance": "one"})
    assert sandbox.balance("ben") == 4


def test_dropped_connections_end_with_fin_or_reset_as_the_menu_says(sandbox: SandboxRig) -> None:
    def meet(name: str) -> bytes:
        sandbox.fault(name)
        with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as wire:
            wire.sendall(
                b"GET /api/v1/loyalty/ben HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\n\r\n"
            )
            received = b""
            while data := wire.recv(65536):
                received += data
        return received

    assert meet("drop-before") == b""
    with pytest.raises(ConnectionResetError):
        meet("down")
    with pytest.raises(ConnectionResetError):
        meet("reset-mid-body")
    assert meet_head(sandbox).startswith(b"HTTP/1.1 200")


def meet_head(sandbox: SandboxRig) -> bytes:
    sandbox.fault("reset-mid-body")
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as wire:
        wire.sendall(
            b"GET /api/v1/loyalty/ben HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\n\r\n"
        )
        return wire.recv(65536)


def test_faults_meet_their_endpoint_in_order_and_count_down() -> None:
    board = Switchboard()
    board.arm(MENU["503"], endpoint="reads", count=2)
    board.arm(MENU["500"])
    board.arm(MENU["down"])

    def met(endpoint: str) -> str:
        armed = board.take(endpoint)
        return armed.fault.name if armed else "-"

    met_in_turn = [met(e) for e in (READ_POINTS, WRITE_POINTS, READ_POINTS, READ_POINTS, WRITE_POINTS)]
    assert met_in_turn == ["503", "500", "503", "down", "down"]
    [down] = board.armed()
    board.clear(down.number)
    assert met(READ_POINTS) == "-"


@pytest.mark.parametrize("pattern", [*GROUPS, *NAMES])
def test_every_pattern_means_some_endpoint(pattern: str) -> None:
    meant = [name for name in NAMES if matches(pattern, name)]
    assert meant
    if pattern in NAMES:
        assert meant == [pattern]


def test_switching_faults_over_http(http: httpx.Client, sandbox: SandboxRig) -> None:
    def arm(**body: Any) -> httpx.Response:
        return http.post("/sandbox/faults", json=body)

    first = arm(fault="503").json()
    n = first.pop("number")
    assert first == {"fault": "503", "endpoint": "all", "left": 1, "seconds": 0.0}
    assert arm(fault="slow", endpoint=WRITE_PASS, count=3, seconds=0.5).json()["left"] == 3
    assert arm(fault="422", count=None).json()["left"] is None
    assert arm(fault="down").json()["left"] is None
    assert arm(fault="down", count=2).json()["left"] == 2
    listed = http.get("/sandbox/faults").json()
    assert [a["number"] for a in listed["armed"]] == [n, n + 1, n + 2, n + 3, n + 4]
    assert {f["fault"] for f in listed["menu"]} == set(MENU)
    assert all(f["why"].endswith(".") for f in listed["menu"])
    assert len(http.delete(f"/sandbox/faults?number={n + 3}").json()["armed"]) == 4
    assert ask(http, "GET").status_code == 503
    assert ask(http, "GET").status_code == 422
    assert http.delete("/sandbox/faults").json()["armed"] == []
    assert ask(http, "GET").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"fault": "flood"},
        {"fault": "503", "endpoint": "GET /nothing"},
        {"fault": "503", "count": 0},
        {"fault": "503", "count": "1"},
        {"fault": "slow", "seconds": -1},
        {"fault": "slow", "seconds": True},
        {"fault": "503", "often": 1},
        ["503"],
    ],
)
def test_a_senseless_switch_is_refused(http: httpx.Client, sandbox: SandboxRig, body: Any) -> None:
    answer = http.post("/sandbox/faults", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["detail"]
    assert sandbox.faults.armed() == []
