"""The endpoints over real sockets, as the documentation of the service has them."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from rigs.sandbox import SandboxRig, running_sandbox
from tilltap.sandbox.service import TEMPLATE_ID, NewPass

LOYALTY = "/api/v1/loyalty/ben"
PASS = "/api/v1/passes/ben"


def attributes(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["attributes"]


def test_reading_a_balance(http: httpx.Client, sandbox: SandboxRig) -> None:
    document = http.get(LOYALTY).json()
    ben = sandbox.service.find("ben")
    assert document["meta"] == {"loyalty": {"balance": 4}}
    assert (document["data"]["type"], document["data"]["id"]) == ("pass", ben.id)
    told = document["data"]["attributes"]
    assert (told["extId"], told["nfc"], told["status"]) == ("ben", ben.id, "active")
    assert told["passContent"] == {"points": {"value": "4"}, "reward": {"value": ""}}
    assert http.get(f"/api/v1/loyalty/{ben.id.upper()}").json() == document


@pytest.mark.parametrize(
    ("body", "balance"),
    [({"balance": 3}, 7), ({"balance": -6}, -2), ({"overrideBalance": 9}, 9), ({"overrideBalance": 0}, 0)],
)
def test_writing_a_balance(http: httpx.Client, sandbox: SandboxRig, body: Any, balance: int) -> None:
    answer = http.patch(LOYALTY, json=body)
    assert answer.json()["meta"] == {"loyalty": {"balance": balance}}
    assert attributes(answer)["passContent"]["points"] == {"value": str(balance)}
    assert "x-notification-status" not in answer.headers
    assert sandbox.balance("ben") == balance


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"balance": 1, "overrideBalance": 1},
        {"balance": "1"},
        {"balance": 1.0},
        {"balance": True},
        {"balance": None},
        {"overrideBalance": -1},
        {"overrideBalance": 10**12},
        {"overrideBalance": 5, "message": "four"[:4]},
        {"overrideBalance": 5, "message": "x" * 351},
        {"overrideBalance": 5, "message": 12345},
        [],
        None,
    ],
)
def test_a_senseless_balance_is_refused_and_changes_nothing(
    http: httpx.Client, sandbox: SandboxRig, body: Any
) -> None:
    answer = http.patch(LOYALTY, json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["status"] == "422"
    assert error["detail"]
    assert sandbox.service.applied("ben") == []


def test_a_text_is_delivered_three_times_a_day_and_then_only_stored(
    http: httpx.Client, sandbox: SandboxRig
) -> None:
    told = []
    for n in range(4):
        answer = http.patch(LOYALTY, json={"overrideBalance": n, "message": f"text number {n}"})
        told.append(answer.json()["meta"]["notifications"]["status"])
        assert answer.headers["x-notification-status"] == told[-1]
        assert attributes(answer)["latestMessage"] == f"text number {n}"
    assert told == ["delivered", "delivered", "delivered", "notDelivered"]
    assert sandbox.balance("ben") == 3


def test_a_loyalty_text_reaches_active_passes_only(http: httpx.Client) -> None:
    http.patch(PASS, json={"passAction": "deactivate"})
    answer = http.patch(LOYALTY, json={"overrideBalance": 5, "message": "hello you"})
    assert answer.json()["meta"] == {"loyalty": {"balance": 5}}
    assert attributes(answer)["latestMessage"] is None


@pytest.mark.parametrize("value", ["£5 off", {"value": "£5 off"}])
def test_a_field_is_written_in_either_form(http: httpx.Client, value: Any) -> None:
    answer = http.patch(PASS, json={"pass": {"reward": value}})
    assert attributes(answer)["passContent"] == {"points": {"value": "4"}, "reward": {"value": "£5 off"}}
    assert attributes(http.get(PASS)) == attributes(answer)
    assert "meta" not in answer.json()


def test_a_pass_is_deactivated_and_comes_back(http: httpx.Client) -> None:
    gone = attributes(http.patch(PASS, json={"passAction": "deactivate", "message": "goodbye you"}))
    assert gone["status"] == "deactivated"
    assert gone["deactivatedAt"]
    back = attributes(http.patch(PASS, json={"passAction": "reactivate"}))
    assert (back["status"], back["deactivatedAt"]) == ("active", None)


@pytest.mark.parametrize(
    "body",
    [
        {"pass": {"points": "9"}},
        {"pass": {"rewards": "misspelt"}},
        {"pass": {"reward": 5}},
        {"pass": {"reward": "x" * 501}},
        {"pass": []},
        {"pass": {"nfc": {"source": "custom", "value": ""}}},
        {"passAction": "burn"},
        {"passAction": ["deactivate"]},
        {"message": ""},
    ],
)
def test_a_senseless_pass_is_refused(http: httpx.Client, sandbox: SandboxRig, body: Any) -> None:
    assert http.patch(PASS, json=body).status_code == 400
    assert sandbox.service.applied("ben") == []


def test_a_notification_of_its_own(http: httpx.Client, sandbox: SandboxRig) -> None:
    answer = http.post(f"{PASS}/notification", json={"notification": {"message": "open until eight"}})
    assert answer.json()["meta"]["notifications"]["status"] == "delivered"
    assert sandbox.texts("ben") == ["open until eight"]
    assert http.post(f"{PASS}/notification", json={"notification": {}}).status_code == 400


def test_creating_a_pass(http: httpx.Client, sandbox: SandboxRig) -> None:
    params = {"passTemplate": TEMPLATE_ID, "extId": "zoe"}
    body = {"pass": {"reward": "welcome", "nfc": {"enabled": True, "source": "extId"}}}
    made = attributes(http.post("/api/v1/passes", params=params, json=body))
    assert (made["extId"], made["nfc"], made["status"]) == ("zoe", "zoe", "issued")
    assert made["passContent"]["reward"] == {"value": "welcome"}
    assert http.post("/api/v1/passes", params=params, json=body).status_code == 400  # ext ids are unique
    assert http.post("/api/v1/passes", params={"extId": "zed"}).status_code == 400  # no template
    nameless = [
        attributes(http.post("/api/v1/passes", params={"passTemplate": TEMPLATE_ID})) for _ in range(2)
    ]
    assert [a["extId"] for a in nameless] == [None, None]
    assert nameless[0]["nfc"] != nameless[1]["nfc"]
    assert sandbox.balance("zoe") == 0


@pytest.mark.parametrize("ext_id", ["a/b", "a b", "Zoë ☕", "50%25", "x?y#z", "ben/notification", "+1"])
def test_any_ext_id_works_in_a_path(sandbox: SandboxRig, http: httpx.Client, ext_id: str) -> None:
    sandbox.service.create(NewPass(ext_id, 7))
    for path in ("api/v1/loyalty", "api/v1/passes"):
        assert attributes(http.get(f"/{path}/{quote(ext_id, safe='')}"))["extId"] == ext_id
    assert http.get(f"/phone/{quote(ext_id, safe='')}").status_code == 200


def test_the_list_comes_in_pages_that_end(sandbox: SandboxRig, http: httpx.Client) -> None:
    for n in range(5):
        sandbox.service.create(NewPass(f"c{n}"))
    seen, url, pages = [], "/api/v1/passes?perPage=3&status=active", 0
    while url:
        page = http.get(url).json()
        seen += [entry["attributes"]["extId"] for entry in page["data"]]
        url, pages = page["links"]["next"], pages + 1
    assert seen == ["anna", "ben", "c0", "c1", "c2", "c3", "c4"]
    assert pages == 3
    assert page["meta"]["totalCount"] == 7


def test_the_list_gives_what_came_after(sandbox: SandboxRig, http: httpx.Client) -> None:
    time.sleep(0.002)  # times are told in milliseconds
    sandbox.service.create(NewPass("late"))
    listed = http.get("/api/v1/passes").json()["data"]
    middle = next(
        entry["attributes"]["createdAt"] for entry in listed if entry["attributes"]["extId"] == "late"
    )
    assert http.get("/api/v1/passes", params={"createdAfter": middle}).json()["data"] == []
    before = http.get("/api/v1/passes", params={"createdBefore": middle}).json()["data"]
    assert [entry["attributes"]["extId"] for entry in before] == ["anna", "ben"]


@pytest.mark.parametrize(
    "query",
    ["perPage=0", "perPage=x", "page=-1", "createdAfter=noon", "status=lost", "perPage=٣", "perPage=501"],
)
def test_a_senseless_list_is_refused(http: httpx.Client, query: str) -> None:
    assert http.get(f"/api/v1/passes?{query}").status_code == 400


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("part", ["loyalty", "passes"])
def test_an_unknown_pass_is_404(http: httpx.Client, method: str, part: str) -> None:
    answer = http.request(method, f"/api/v1/{part}/nobody", json={"overrideBalance": 1})
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["detail"] == "there is no such pass"


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"[" * 60_000, 400), (b'{"balance": NaN}', 400), (b"\xff\xfe", 400), (b" " * 70_000, 413)],
)
def test_what_is_not_json_is_refused(
    http: httpx.Client, sandbox: SandboxRig, content: bytes, status: int
) -> None:
    assert http.patch(LOYALTY, content=content).status_code == status
    assert sandbox.service.applied("ben") == []


def test_paths_and_methods_that_do_not_exist_answer_json(http: httpx.Client) -> None:
    assert http.get("/api/v1/nothing").json()["errors"][0]["status"] == "404"
    assert http.delete(LOYALTY).status_code == 405
    assert http.get("/api/v1/loyalty/%FF").status_code == 400


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic right", "right"])
def test_without_a_bearer_key_nothing_opens(header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    with running_sandbox(key="right") as sandbox:
        answer = httpx.patch(f"{sandbox.url}{LOYALTY}", json={"balance": 1}, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["title"] == "Unauthorized"
        assert sandbox.balance("ben") == 4


def test_a_sandbox_without_a_key_lets_a_till_in_that_has_none(sandbox: SandboxRig) -> None:
    assert httpx.get(f"{sandbox.url}{LOYALTY}").status_code == 200


def test_with_a_key_only_that_key_opens() -> None:
    with running_sandbox(key="right") as sandbox:
        told = {
            key: httpx.get(f"{sandbox.url}{LOYALTY}", headers={"Authorization": f"Bearer {key}"}).status_code
            for key in ("right", "wrong", "righ", "right2")
        }
    assert told == {"right": 200, "wrong": 401, "righ": 401, "right2": 401}


def test_ten_a_second_for_each_endpoint_and_method() -> None:
    with running_sandbox(rate_limit=True) as sandbox:
        sandbox_url = f"{sandbox.url}{LOYALTY}"
        with httpx.Client(headers={"Authorization": "Bearer k"}) as http:
            answers = [http.get(sandbox_url) for _ in range(11)]
            other = http.patch(sandbox_url, json={"balance": 1})
    assert [a.status_code for a in answers] == [200] * 10 + [429]
    first, last = answers[0], answers[-1]
    assert (first.headers["x-rate-limit-limit"], first.headers["x-rate-limit-remaining"]) == ("10", "9")
    assert first.headers["x-rate-limit-url"] == LOYALTY
    assert int(first.headers["x-rate-limit-reset"]) > 1_700_000_000
    assert 0 < float(last.headers["x-rate-limit-retry-after"]) <= 1
    assert all(isinstance(text, str) for text in last.json()["errors"])
    assert other.status_code == 200
