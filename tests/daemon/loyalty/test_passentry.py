"""PassEntry over real sockets: what goes onto the wire, and what every answer amounts to."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from rigs.raw_service import Drip, Pause, RawService, Script, Step, reply
from tilltap.loyalty.http import Http
from tilltap.loyalty.passentry import PassEntry
from tilltap.loyalty.provider import Answer, Outcome, PassState

pytestmark = pytest.mark.anyio

KEY = "pk_live_Zm9vYmFyYmF6cXV4"
PASS = "8a0d3b7c-41f2-4a55-9d1e-0c6b2f9e7a11"
OTHER = "11111111-2222-4333-8444-555555555555"
TEXT = "Thank you for your order."


def document(balance: Any = 5, *, pass_id: Any = PASS, **attributes: Any) -> dict[str, Any]:
    attributes = {"status": "active", "extId": "cust-17", "nfc": "value-of-it", **attributes}
    return {
        "data": {"id": pass_id, "type": "pass", "attributes": attributes},
        "meta": {"loyalty": {"balance": balance}, "newer": [1]},
    }


@asynccontextmanager
async def passentry(
    *scripts: Script, key: str | None = KEY, prefix: str = "", **options: Any
) -> AsyncIterator[tuple[PassEntry, RawService]]:
    async with RawService(*scripts, **options) as service:
        provider = PassEntry(Http(service.url + prefix), key)
        try:
            yield provider, service
        finally:
            await provider.aclose()


Ask = Callable[[PassEntry], Awaitable[Answer]]


async def read(provider: PassEntry) -> Answer:
    return await provider.read(PASS, deadline=5)


async def write(provider: PassEntry) -> Answer:
    return await provider.write_points(PASS, 5, TEXT, deadline=5)


async def field(provider: PassEntry) -> Answer:
    return await provider.write_field(PASS, "reward", "£5 off", plain=False, deadline=5)


# -- what goes onto the wire


async def test_read_on_the_wire() -> None:
    async with passentry([reply(200, document(), headers=[("Content-Type", "text/html")])]) as (
        provider,
        service,
    ):
        answer = await read(provider)
    assert answer == Answer(
        Outcome.DONE, PassState(PASS, "cust-17", "value-of-it", "active", 5, {}, plain_fields=False)
    )
    (request,) = service.requests
    assert (request.method, request.target, request.body) == ("GET", f"/api/v1/loyalty/{PASS}", b"")
    assert request.header("authorization") == f"Bearer {KEY}"
    assert request.header("content-type") is None


async def test_write_points_on_the_wire() -> None:
    async with passentry([reply(200, document())], [reply(200, document())]) as (provider, service):
        assert (await provider.write_points(PASS, 5, None, deadline=5)).notification == "none"
        assert (await provider.write_points(PASS, 5, "£5 off 🎉", deadline=5)).notification == "unknown"
    assert [(r.method, r.target) for r in service.requests] == [("PATCH", f"/api/v1/loyalty/{PASS}")] * 2
    assert [r.json() for r in service.requests] == [
        {"overrideBalance": 5},
        {"overrideBalance": 5, "message": "£5 off 🎉"},
    ]
    assert service.requests[0].header("content-type") == "application/json"


@pytest.mark.parametrize(("plain", "sent"), [(False, {"value": "£5 off"}), (True, "£5 off")])
async def test_write_field_on_the_wire(plain: bool, sent: Any) -> None:
    async with passentry([reply(200, document())]) as (provider, service):
        answer = await provider.write_field(PASS, "reward", "£5 off", plain=plain, deadline=5)
    assert (answer.outcome, answer.notification) == (Outcome.DONE, "none")
    (request,) = service.requests
    assert (request.method, request.target) == ("PATCH", f"/api/v1/passes/{PASS}")
    assert request.json() == {"pass": {"reward": sent}}


async def test_notify_on_the_wire() -> None:
    told = {**document(), "meta": {"notifications": {"status": "notDelivered", "message": "no wallet"}}}
    async with passentry([reply(200, told)]) as (provider, service):
        answer = await provider.notify(PASS, "Your reward expires", deadline=5)
        assert (await provider.notify(PASS, "tiny", deadline=5)).outcome is Outcome.REFUSED
    assert (answer.outcome, answer.notification) == (Outcome.DONE, "not-delivered")
    (request,) = service.requests
    assert (request.method, request.target) == ("POST", f"/api/v1/passes/{PASS}/notification")
    assert request.json() == {"notification": {"message": "Your reward expires"}}


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("a/b", "a%2Fb"),
        ("a b?c#d&e", "a%20b%3Fc%23d%26e"),
        ("100%", "100%25"),
        ("%2E%2E", "%252E%252E"),
        ("a%2Fb", "a%252Fb"),
        ("né…", "n%C3%A9%E2%80%A6"),
        ("...", "..."),
        ("a;b=c,d:e@f!$'()*+", "a%3Bb%3Dc%2Cd%3Ae%40f%21%24%27%28%29%2A%2B"),
        ('[x]\\|^`{}"<>', "%5Bx%5D%5C%7C%5E%60%7B%7D%22%3C%3E"),
    ],
)
async def test_a_key_stays_one_segment_on_the_wire(key: str, raw: str) -> None:
    async with passentry(answer=lambda _: [reply(200, document(extId=key))]) as (provider, service):
        assert (await provider.read(key, deadline=5)).outcome is Outcome.DONE
        assert (await provider.write_points(key, 5, None, deadline=5)).outcome is Outcome.DONE
        assert (await provider.write_field(key, "f", "x", plain=True, deadline=5)).outcome is Outcome.DONE
    targets = [request.target for request in service.requests]
    assert targets == [f"/api/v1/loyalty/{raw}", f"/api/v1/loyalty/{raw}", f"/api/v1/passes/{raw}"]


@pytest.mark.parametrize("key", ["", " ", ".", "..", "../passes", "x/../..", "a\\..", "\ud800"])
async def test_a_key_that_would_name_another_endpoint_is_never_sent(key: str) -> None:
    async with passentry() as (provider, service):
        for answer in (
            await provider.read(key, deadline=5),
            await provider.write_points(key, 5, None, deadline=5),
            await provider.write_field(key, "f", "x", plain=True, deadline=5),
            await provider.notify(key, TEXT, deadline=5),
        ):
            assert answer.outcome is Outcome.GONE
    assert not service.requests


async def test_a_base_with_a_path_and_a_slash() -> None:
    async with passentry([reply(200, document())], prefix="/gateway/") as (provider, service):
        assert (await read(provider)).outcome is Outcome.DONE
    assert service.requests[0].target == f"/gateway/api/v1/loyalty/{PASS}"


@pytest.mark.parametrize("message", ["", "tiny", "x" * 351])
async def test_a_text_outside_its_limits_is_left_out_and_the_balance_is_not(message: str) -> None:
    async with passentry([reply(200, document())]) as (provider, service):
        answer = await provider.write_points(PASS, 5, message, deadline=5)
    assert answer.outcome is Outcome.DONE
    assert answer.notification == ("suppressed" if message else "none")
    assert service.requests[0].json() == {"overrideBalance": 5}


async def test_half_surrogates_do_not_reach_the_wire() -> None:
    async with passentry([reply(200, document())], [reply(200, document())]) as (provider, service):
        await provider.write_points(PASS, 5, "hello \ud83d", deadline=5)
        await provider.write_field(PASS, "a\ud83d", "b\ud83d", plain=True, deadline=5)
    assert service.requests[0].json()["message"] == "hello \ufffd"
    assert service.requests[1].json() == {"pass": {"a\ufffd": "b\ufffd"}}


async def test_what_the_strict_writer_never_sends() -> None:
    async with passentry() as (provider, service):
        assert (await provider.write_points(PASS, 10**9 + 1, None, deadline=5)).outcome is Outcome.REFUSED
        for key in ("nfc", "barcode", ""):
            answer = await provider.write_field(PASS, key, "x", plain=True, deadline=5)
            assert answer.outcome is Outcome.REFUSED
    assert not service.requests


# -- what an answer amounts to

HTML = b"<!DOCTYPE html><title>Welcome to the hotel</title>"
ERRORS = {"errors": ["nope"]}
BROKEN: list[tuple[str, Script]] = [
    ("close", [Step.CLOSE]),
    ("reset", [Step.RESET]),
    ("reset in the body", [reply(200, document())[:-20], Pause(0.02), Step.RESET]),
    ("truncated", [reply(200, document())[:-20], Step.CLOSE]),
    ("truncated without a length", [b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(document()).encode()[:-9], Step.CLOSE]),
    ("a length too short", [b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n" + json.dumps(document()).encode()]),
    ("ten megabytes", [reply(200, b"[" + b" " * (10 << 20) + b"]")]),
    ("no HTTP", [b"220 mail.example.com ESMTP\r\n\r\n", Step.CLOSE]),
    ("nested", [reply(200, b"[" * 200_000)]),
]  # fmt: skip
BODIES: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("HTML", HTML),
    ("text", b"OK"),
    ("array", b"[]"),
    ("string", b'"ok"'),
    ("null", b"null"),
    ("no data", b'{"meta":{"loyalty":{"balance":5}}}'),
    ("errors in a 200", b'{"errors":["x"]}'),
    ("list of passes", b'{"data":[{"id":"x"}]}'),
    ("not UTF-8", b'{"data":{"id":"\xff"}}'),
]
STATUSES: list[tuple[int, Any, Outcome]] = [
    (200, document(), Outcome.DONE),
    (201, document(), Outcome.DONE),
    (204, b"", Outcome.UNKNOWN),
    (400, ERRORS, Outcome.REFUSED),
    (401, ERRORS, Outcome.KEY_REFUSED),
    (403, ERRORS, Outcome.KEY_REFUSED),
    (404, ERRORS, Outcome.GONE),
    (404, HTML, Outcome.UNKNOWN),
    (400, HTML, Outcome.UNKNOWN),
    (422, ERRORS, Outcome.REFUSED),
    (429, ERRORS, Outcome.LIMITED),
    (429, HTML, Outcome.LIMITED),
    *(
        (status, ERRORS, Outcome.UNKNOWN)
        for status in (301, 302, 307, 405, 408, 409, 410, 500, 502, 503, 504)
    ),
]
TABLE: list[tuple[str, Script, Outcome]] = [
    *((f"{status} {str(body)[:12]}", [reply(status, body)], outcome) for status, body, outcome in STATUSES),
    *((f"200 {name}", [reply(200, body)], Outcome.UNKNOWN) for name, body in BODIES),
    *((name, script, Outcome.UNKNOWN) for name, script in BROKEN),
]


@pytest.mark.parametrize("ask", [read, write, field])
@pytest.mark.parametrize(("script", "outcome"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
async def test_every_answer_has_its_class(script: Script, outcome: Outcome, ask: Ask) -> None:
    async with passentry(script, script) as (provider, service):
        answer = await ask(provider)
        tries = len(service.requests)
    assert answer.outcome is outcome
    assert bool(answer.reason) is (outcome is not Outcome.DONE)
    assert tries == 1 or (ask is read and outcome is Outcome.UNKNOWN), "a write was repeated"
    if ask is write:
        assert answer.notification == ("unknown" if outcome in (Outcome.DONE, Outcome.UNKNOWN) else "none")
    for part in (KEY, KEY[-8:], PASS, "cust-17", TEXT, "£5 off"):
        assert part not in answer.reason


BALANCES = [
    (5, Outcome.DONE), ("5", Outcome.DONE), (5.0, Outcome.DONE), ("5.00", Outcome.DONE), (None, Outcome.UNKNOWN),
    (5.5, Outcome.UNKNOWN), ("5.5", Outcome.UNKNOWN), (True, Outcome.UNKNOWN), ("", Outcome.UNKNOWN),
    (10**12, Outcome.UNKNOWN), (float("nan"), Outcome.UNKNOWN), ([5], Outcome.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize("ask", [read, write])
@pytest.mark.parametrize(("balance", "outcome"), BALANCES)
async def test_balances(balance: Any, outcome: Outcome, ask: Ask) -> None:
    async with passentry([reply(200, document(balance))]) as (provider, _):
        answer = await ask(provider)
    assert answer.outcome is outcome
    if outcome is Outcome.DONE:
        assert answer.state is not None
        assert answer.state.points == 5
    elif ask is read:
        assert answer.state is not None
        assert answer.state.points is None
        assert "balance" in answer.reason


async def test_a_write_answered_with_another_balance_is_unknown() -> None:
    async with passentry([reply(200, document(4))]) as (provider, _):
        answer = await write(provider)
    assert answer.outcome is Outcome.UNKNOWN
    assert answer.state is not None
    assert answer.state.points == 4


@pytest.mark.parametrize(
    ("key", "attributes", "outcome"),
    [
        (PASS.upper(), {}, Outcome.DONE),
        ("cust-17", {}, Outcome.DONE),
        ("value-of-it", {}, Outcome.DONE),
        ("CUST-17", {}, Outcome.UNKNOWN),
        ("someone-else", {}, Outcome.UNKNOWN),
        (OTHER, {}, Outcome.UNKNOWN),
        ("someone-else", {"extId": None}, Outcome.DONE),  # nothing says that this is not its name
    ],
)
async def test_a_read_must_be_about_the_pass_asked_for(
    key: str, attributes: dict[str, Any], outcome: Outcome
) -> None:
    async with passentry([reply(200, document(pass_id=PASS.upper(), **attributes))]) as (provider, _):
        answer = await provider.read(key, deadline=5)
    assert answer.outcome is outcome
    if answer.state:
        assert answer.state.pass_id == PASS


@pytest.mark.parametrize("ask", [write, field])
async def test_a_write_must_be_about_the_pass_written(ask: Ask) -> None:
    async with passentry([reply(200, document(pass_id=OTHER))]) as (provider, _):
        answer = await ask(provider)
    assert answer.outcome is Outcome.UNKNOWN
    assert answer.state is None, "another pass's state must not be taken for this one's"


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        ({"reward": {"value": "£5 off"}}, Outcome.DONE),
        ({"reward": " £5 off "}, Outcome.DONE),
        ({"reward": {"value": ""}}, Outcome.UNKNOWN),
        ({"points": "5"}, Outcome.DONE),
    ],
)
async def test_a_field_answered_with_another_text_is_unknown(content: Any, outcome: Outcome) -> None:
    async with passentry([reply(200, document(passContent=content))]) as (provider, _):
        assert (await field(provider)).outcome is outcome


@pytest.mark.parametrize(
    ("meta", "headers", "notification"),
    [
        ({"notifications": {"status": "delivered"}}, [], "delivered"),
        ({"notifications": [{"status": "notDelivered"}]}, [], "not-delivered"),
        ({}, [("X-Notification-Status", "delivered")], "delivered"),
        ({}, [], "unknown"),
    ],
)
async def test_what_became_of_the_text(meta: Any, headers: Any, notification: str) -> None:
    answered = {**document(), "meta": {"loyalty": {"balance": 5}, **meta}}
    async with passentry([reply(200, answered, headers=headers)]) as (provider, _):
        answer = await write(provider)
    assert (answer.outcome, answer.notification) == (Outcome.DONE, notification)


# -- time


@pytest.mark.parametrize("ask", [read, write])
@pytest.mark.parametrize("script", [[Step.HANG], [Drip(reply(200, document()), 0.02)]], ids=["hang", "drip"])
async def test_the_deadline_ends_everything(script: Script, ask: Ask) -> None:
    async with passentry(script, script) as (provider, service):
        began = time.monotonic()
        call = (
            provider.read(PASS, deadline=0.4)
            if ask is read
            else provider.write_points(PASS, 5, TEXT, deadline=0.4)
        )
        answer = await call
        assert time.monotonic() - began < 2.0
    assert answer.outcome is Outcome.UNKNOWN
    assert answer.notification == ("none" if ask is read else "unknown")
    assert len(service.requests) == 1


async def test_a_read_is_tried_once_more_when_the_connection_breaks() -> None:
    async with passentry([Step.RESET], [reply(200, document())]) as (provider, service):
        assert (await read(provider)).outcome is Outcome.DONE
    assert len(service.requests) == 2


async def test_nobody_there_is_not_sent() -> None:
    async with passentry() as (provider, service):
        pass
    provider = PassEntry(Http(service.url), KEY)
    assert (await read(provider)).outcome is Outcome.NOT_SENT
    answer = await write(provider)
    assert (answer.outcome, answer.notification) == (Outcome.NOT_SENT, "none")
    await provider.aclose()
    assert (await read(provider)).outcome is Outcome.NOT_SENT


async def test_a_429_holds_its_endpoint_for_everybody_and_no_other() -> None:
    limited = reply(429, {"errors": ["slow down"]}, headers=[("X-Rate-Limit-Retry-After", "1.2")])
    async with passentry([limited], answer=lambda _: [reply(200, document())]) as (provider, service):
        answer = await read(provider)
        assert (answer.outcome, answer.retry_after) == (Outcome.LIMITED, 1.2)
        began = time.monotonic()
        held = await provider.read(PASS, deadline=0.2, urgent=True)
        assert held.outcome is Outcome.LIMITED
        assert 0.5 < (held.retry_after or 0) <= 1.2
        assert (await write(provider)).outcome is Outcome.DONE
        assert time.monotonic() - began < 1.0
        assert (await read(provider)).outcome is Outcome.DONE
        assert time.monotonic() - began > 1.0
    assert len(service.requests) == 3


async def test_the_rate_on_the_wire() -> None:
    async with passentry(answer=lambda _: [reply(200, document())]) as (provider, service):
        answers = await asyncio.gather(
            *(provider.read(PASS, deadline=0.9, urgent=n % 2 == 0) for n in range(30))
        )
        urgent = await provider.read(PASS, deadline=3, urgent=True)
    outcomes = [answer.outcome for answer in answers]
    assert outcomes.count(Outcome.DONE) == 9
    assert outcomes.count(Outcome.LIMITED) == 21
    assert urgent.outcome is Outcome.DONE
    assert len(service.requests) == 10


# -- listing


def page(*ids: str, following: Any = None) -> bytes:
    return reply(
        200,
        {"data": [{"id": i, "type": "pass", "attributes": {}} for i in ids], "links": {"next": following}},
    )


async def listed(provider: PassEntry, **options: Any) -> list[Any]:
    return [
        got.outcome if isinstance(got, Answer) else [state.pass_id for state in got]
        async for got in provider.list_passes(**options)
    ]


async def test_a_listing_follows_its_links() -> None:
    async with passentry([page("a", "b", following="/api/v1/passes?page=2&perPage=100")]) as (
        provider,
        service,
    ):
        service.then([page("c", following=f"{service.url}/api/v1/passes?page=3")], [page(following=None)])
        got = await listed(provider, created_after="2026-01-02T03:04:05+00:00")
    assert got == [["a", "b"], ["c"], []]
    assert [request.target for request in service.requests] == [
        "/api/v1/passes?perPage=100&createdAfter=2026-01-02T03%3A04%3A05%2B00%3A00",
        "/api/v1/passes?page=2&perPage=100",
        "/api/v1/passes?page=3",
    ]
    assert {request.header("authorization") for request in service.requests} == {f"Bearer {KEY}"}


async def test_a_listing_never_leaves_the_service() -> None:
    async with RawService([page("z")]) as elsewhere:
        for link in (elsewhere.url + "/api/v1/passes", "https://127.0.0.1/x", "//evil.example/x"):
            async with passentry([page("a", following=link)]) as (provider, _):
                assert await listed(provider) == [["a"], Outcome.UNKNOWN]
    assert not elsewhere.requests


async def test_a_listing_in_circles_ends() -> None:
    async with passentry(answer=lambda _: [page("a", following="?page=2")]) as (provider, service):
        assert await listed(provider) == [["a"], ["a"], Outcome.UNKNOWN]
    assert len(service.requests) == 2


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ([reply(401, ERRORS)], Outcome.KEY_REFUSED),
        ([reply(500, ERRORS)], Outcome.UNKNOWN),
        ([reply(200, document())], Outcome.UNKNOWN),
        ([reply(200, HTML)], Outcome.UNKNOWN),
        ([reply(200, b" " * (9 << 20))], Outcome.UNKNOWN),
    ],
)
async def test_a_page_that_fails_ends_the_listing(script: Script, outcome: Outcome) -> None:
    async with passentry([page("a", following="?page=2")], script) as (provider, _):
        assert await listed(provider) == [["a"], outcome]


async def test_a_page_may_be_larger_than_an_answer_and_waits_out_a_429() -> None:
    limited = reply(429, ERRORS, headers=[("Retry-After", "0.1")])
    big = reply(200, json.dumps({"data": [{"id": "a"}]}).encode() + b" " * (2 << 20))
    async with passentry([limited], [big]) as (provider, service):
        assert await listed(provider) == [["a"]]
    assert len(service.requests) == 2


# -- the key and other secrets


async def test_without_a_key_none_is_sent_and_another_key_can_follow() -> None:
    async with passentry(answer=lambda _: [reply(200, document())], key=None) as (provider, service):
        await read(provider)
        provider.set_key("second")
        await read(provider)
    assert [request.header("authorization") for request in service.requests] == [None, "Bearer second"]


@pytest.mark.parametrize(
    "key", ["", "topsecret\n", "top secret", "topsecret\r\nX: y", "topsécret", "topsecret\x7f"]
)
async def test_a_key_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    async with passentry() as (provider, service):
        with pytest.raises(ValueError, match="API key") as refused:
            provider.set_key(key)
        assert "top" not in str(refused.value)
        with pytest.raises(ValueError, match="API key"):
            PassEntry(Http(service.url), key)


async def test_nothing_secret_in_reasons_or_logs(caplog: pytest.LogCaptureFixture) -> None:
    """A service that echoes all it was sent, in every class of answer."""
    caplog.set_level(logging.DEBUG)
    secrets = (KEY, KEY[:9], KEY[-9:], "cust-17", PASS, "Anna", TEXT)
    echo = {"errors": [f"Bearer {KEY} may not touch {PASS} of Anna (cust-17): {TEXT}"]}
    scripts = [[reply(status, echo)] for status in (200, 400, 401, 403, 404, 422, 429, 500)]
    odd = reply(200, document(status="frozen"))
    with capture_logs() as lines:
        async with passentry(*scripts, [odd], [odd], [Step.CLOSE], [Step.CLOSE]) as (provider, _):
            answers = [await provider.read("Anna", deadline=5) for _ in range(7)]
            answers += [await provider.write_points(PASS, 5, TEXT, deadline=5)]
            answers += [await provider.read("cust-17", deadline=5) for _ in range(3)]
    logged = caplog.text + str(lines)
    for part in secrets:
        assert part not in logged
        assert not [answer.reason for answer in answers if part in answer.reason]
    assert [line["status"] for line in lines] == ["frozen"], "an unknown status is logged once"


# -- anything at all


@pytest.fixture(scope="module")
def echoing() -> Iterator[Callable[[bytes, int], list[Answer]]]:
    """One service and one provider on one loop; answers any status and body to a read and to both writes."""
    script: list[Script] = []

    async def start() -> tuple[RawService, PassEntry]:
        service = await RawService(answer=lambda _: script[0]).__aenter__()
        return service, PassEntry(Http(service.url), KEY)

    async def ask(data: bytes) -> list[Answer]:
        script[:] = [[data, Step.CLOSE]]
        provider._budget.__init__()  # type: ignore[misc]  # the rate is not what is tested here
        return [await read(provider), await write(provider), await field(provider)]

    with asyncio.Runner() as runner:
        service, provider = runner.run(start())
        yield lambda body, status: runner.run(ask(reply(status, body)))
        runner.run(provider.aclose())
        runner.run(service.__aexit__())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([PASS, "cust-17", 5, "5"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["data", "id", "attributes", "meta", "loyalty", "balance", "passContent", "extId", "nfc", "status", "errors"]), inner
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    st.one_of(
        json_values.map(lambda value: json.dumps(value).encode()),
        st.builds(lambda balance, extra: json.dumps({**document(balance), **extra}).encode(), json_values, st.dictionaries(st.sampled_from(["data", "meta", "errors"]), json_values)),
        st.binary(max_size=60),
    ),
    st.sampled_from([200, 200, 200, 201, 302, 400, 401, 403, 404, 409, 422, 429, 500, 503]),
)  # fmt: skip
def test_any_body_ends_in_an_answer(
    echoing: Callable[[bytes, int], list[Answer]], body: bytes, status: int
) -> None:
    for answer in echoing(body, status):
        assert isinstance(answer, Answer)
        assert KEY not in answer.reason
        assert len(answer.reason) < 250
        if answer.outcome is Outcome.DONE:
            assert 200 <= status < 300
            assert answer.state is not None
