"""The trainer's side over HTTP: passes, foreign edits, journal, pages, live streams, and who may use them."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from rigs.sandbox import SandboxRig, running_sandbox
from tilltap.sandbox.feed import MAX_STREAMS

BEN = "/sandbox/passes/ben"


def test_a_pass_is_made_and_found(http: httpx.Client, sandbox: SandboxRig) -> None:
    made = http.post("/sandbox/passes", json={"ext_id": "zoë/1", "nfc": "04A2", "balance": 7})
    assert made.status_code == 201
    assert (made.json()["nfc"], made.json()["phone"]) == ("04A2", "/phone/zo%C3%AB%2F1")
    assert http.get("/sandbox/passes").json()[-1] == made.json()
    assert http.get("/sandbox/passes/zo%C3%AB%2F1").json() == made.json()
    assert http.post("/sandbox/passes", json={"ext_id": "zoë/1"}).status_code == 422
    assert sandbox.balance("zoë/1") == 7


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ext_id": ""},
        {"ext_id": "a\nb"},
        {"ext_id": "a", "balance": "7"},
        {"ext_id": "a", "status": "lost"},
        5,
    ],
)
def test_a_senseless_pass_is_refused(http: httpx.Client, body: Any) -> None:
    assert http.post("/sandbox/passes", json=body).status_code == 422


def test_a_foreign_edit_is_journaled_as_one(http: httpx.Client, sandbox: SandboxRig) -> None:
    http.patch("/api/v1/loyalty/ben", json={"overrideBalance": 6})
    assert http.post(f"{BEN}/balance", json={"delta": -2}).json()["balance"] == 4
    assert http.post(f"{BEN}/balance", json={"balance": 20}).json()["balance"] == 20
    assert http.post(f"{BEN}/status", json={"status": "removed"}).json()["status"] == "removed"
    by = [(entry.data["balance"], entry.request is None) for entry in sandbox.service.applied("ben")]
    assert by == [([4, 6], False), ([6, 4], True), ([4, 20], True), ([20, 20], True)]
    for body in ({}, {"delta": 1, "balance": 1}, {"delta": 1.5}, {"balance": True}):
        assert http.post(f"{BEN}/balance", json=body).status_code == 422
    assert http.post("/sandbox/passes/nobody/balance", json={"delta": 1}).status_code == 404


def test_the_journal_is_told_from_any_point_and_holds_no_key(http: httpx.Client) -> None:
    http.patch("/api/v1/loyalty/ben", json={"balance": 1}, headers={"Authorization": "Bearer very-secret"})
    entries = http.get("/sandbox/journal").json()
    request, applied, answer = entries[-3:]
    assert (request["kind"], request["endpoint"], request["body"]) == (
        "request",
        "PATCH /loyalty/{id}",
        {"balance": 1},
    )
    assert (applied["kind"], applied["request"], applied["balance"]) == ("applied", request["seq"], [4, 5])
    assert (answer["kind"], answer["request"], answer["status"]) == ("answer", request["seq"], 200)
    assert http.get(f"/sandbox/journal?after={request['seq']}").json() == [applied, answer]
    assert "very-secret" not in json.dumps(entries)
    assert http.get("/sandbox/journal?after=x").status_code == 422


def test_start_over(http: httpx.Client, sandbox: SandboxRig) -> None:
    sandbox.fault("apply-late", seconds=0.2)
    with pytest.raises(httpx.TransportError):
        http.patch("/api/v1/loyalty/ben", json={"balance": 1})
    sandbox.fault("down", count=None)
    passes = http.post("/sandbox/reset").json()
    assert [(p["name"], p["balance"]) for p in passes] == [("anna", 0), ("ben", 4)]
    time.sleep(0.3)
    assert http.get("/api/v1/loyalty/ben").json()["meta"] == {"loyalty": {"balance": 4}}


# --- pages ---


def test_pages_load_nothing_from_elsewhere(http: httpx.Client) -> None:
    for path in ("/", "/phone/ben"):
        page = http.get(path)
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert "http" not in re.sub(r"<!doctype html>", "", page.text)
        assert not re.search(r"<script(?! type=\"module\" src=)|style=| on\w+=", page.text)
        found = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
        assert len(found) >= 3
        for asset in found:
            assert http.get(asset).status_code == 200
    assert "http" not in http.get("/static/page.css").text
    for name in ("live.js", "phone.js", "overview.js"):
        script = http.get(f"/static/{name}")
        assert script.headers["content-type"].startswith("text/javascript")
        assert not re.search(r"innerHTML|https?:|eval\(", script.text)


def test_the_phone_is_readable_without_its_script(http: httpx.Client, sandbox: SandboxRig) -> None:
    http.patch("/api/v1/passes/ben", json={"pass": {"reward": "£5 off your next order"}})
    page = http.get("/phone/ben").text
    assert ">4</span>" in page
    assert "£5 off your next order" in page
    assert sandbox.service.find("ben").nfc in page
    assert http.get(f"/phone/{sandbox.service.find('ben').id}").status_code == 200
    assert http.get("/phone/nobody").status_code == 404
    assert http.get("/static/../desk.py").status_code == 404


def test_values_on_a_page_are_escaped(http: httpx.Client) -> None:
    evil = """<script>alert(1)</script>"'&$nfc"""
    made = http.post("/sandbox/passes", json={"ext_id": evil, "nfc": evil}).json()
    http.patch(f"/api/v1/passes/{made['id']}", json={"pass": {"reward": evil}})
    page = http.get(made["phone"]).text
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;$nfc") >= 4


# --- live streams ---


class Stream:
    """A page's live stream, read on a thread."""

    def __init__(self, url: str) -> None:
        self.states: list[Any] = []
        self.ended = threading.Event()
        self.status: int | None = None
        self._thread = threading.Thread(target=self._read, args=(url,), daemon=True)
        self._thread.start()

    def _read(self, url: str) -> None:
        try:
            with httpx.stream("GET", url, timeout=30) as answer:
                self.status = answer.status_code
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        self.states.append(json.loads(line[6:]))
        except httpx.TransportError:
            pass
        finally:
            self.ended.set()

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if self.states and wanted(self.states[-1]):
                return self.states[-1]
            time.sleep(0.005)
        raise AssertionError(self.states[-1:])


@pytest.fixture
def own() -> Iterator[SandboxRig]:
    with running_sandbox() as running:
        yield running


def test_a_push_reaches_the_phone_within_a_blink(own: SandboxRig) -> None:
    phone = Stream(f"{own.url}/sandbox/passes/ben/live")
    phone.until(lambda state: state["balance"] == 4)
    began = time.monotonic()
    body = {"overrideBalance": 5, "message": "Congratulations, Ben!"}
    httpx.patch(f"{own.url}/api/v1/loyalty/ben", json=body, headers={"Authorization": "Bearer k"})
    state = phone.until(lambda state: state["balance"] == 5)
    assert time.monotonic() - began < 1
    assert [(n["text"], n["shown"]) for n in state["notifications"]] == [("Congratulations, Ben!", True)]


def test_changes_made_on_another_thread_arrive_and_a_burst_is_not_queued(own: SandboxRig) -> None:
    overview = Stream(f"{own.url}/sandbox/live")
    overview.until(lambda state: bool(state["passes"]))
    for _ in range(300):
        own.foreign("ben", 1)
    last = overview.until(lambda state: state["passes"][1]["balance"] == 304)
    assert len(overview.states) < 60
    assert last["recent"][-1]["balance"] == [303, 304]


def test_the_overview_tells_which_faults_are_on(own: SandboxRig) -> None:
    overview = Stream(f"{own.url}/sandbox/live")
    httpx.post(f"{own.url}/sandbox/faults", json={"fault": "late-second-copy", "seconds": 60})
    overview.until(lambda state: [a["fault"] for a in state["armed"]] == ["late-second-copy"])
    body = {"balance": 1}
    httpx.patch(f"{own.url}/api/v1/loyalty/ben", json=body, headers={"Authorization": "Bearer k"})
    overview.until(lambda state: not state["armed"] and state["late"] == 1)


def test_the_number_of_live_pages_is_bounded(own: SandboxRig) -> None:
    pages = [Stream(f"{own.url}/sandbox/live") for _ in range(MAX_STREAMS)]
    for page in pages:
        page.until(lambda state: bool(state["passes"]))
    one_more = httpx.get(f"{own.url}/sandbox/live")
    assert one_more.status_code == 503
    assert one_more.headers["retry-after"]
    assert httpx.get(f"{own.url}/").status_code == 200


def test_the_phone_of_a_pass_that_went_away_ends(own: SandboxRig) -> None:
    httpx.post(f"{own.url}/sandbox/passes", json={"ext_id": "zoe"})
    phone = Stream(f"{own.url}/sandbox/passes/zoe/live")
    phone.until(lambda state: state["name"] == "zoe")
    httpx.post(f"{own.url}/sandbox/reset")
    assert phone.ended.wait(5)
    assert httpx.get(f"{own.url}/sandbox/passes/zoe/live").status_code == 404


# --- who may ---


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]", "["]
)
def test_foreign_names_are_refused(sandbox: SandboxRig, host: str) -> None:
    for path in ("/", "/sandbox/passes", "/api/v1/passes", "/phone/ben"):
        assert httpx.get(f"{sandbox.url}{path}", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:7447", "[::1]:7447", "LOCALHOST"])
def test_names_of_this_machine_are_served(sandbox: SandboxRig, host: str) -> None:
    assert httpx.get(f"{sandbox.url}/sandbox/passes", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1:1"}, 403),
    ],
)
def test_only_its_own_page_may_change_it(
    sandbox: SandboxRig, http: httpx.Client, headers: dict[str, str], status: int
) -> None:
    answer = http.post(f"{BEN}/balance", json={"delta": 1}, headers=headers)
    assert answer.status_code == status
    assert sandbox.balance("ben") == (5 if status == 200 else 4)
    own_origin = {"Origin": sandbox.url, "Sec-Fetch-Site": "same-origin"}
    assert http.post(f"{BEN}/balance", json={"delta": 1}, headers=own_origin).status_code == 200
    assert http.delete("/sandbox/faults", headers=headers).status_code == status
    assert http.post("/sandbox/reset", headers=headers).status_code == status
