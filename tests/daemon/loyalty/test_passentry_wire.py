"""PassEntry's answers, read tolerantly: tables of shapes, and any JSON at all."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap.loyalty import passentry_wire as wire
from tilltap.loyalty.provider import Outcome, PassState

UUID = "8a0d3b7c-41f2-4a55-9d1e-0c6b2f9e7a11"
HEX = "0123456789abcdef0123456789abcdef01234567"


def doc(balance: Any = 4, **attributes: Any) -> Any:
    return {
        "data": {"id": UUID, "type": "pass", "attributes": attributes},
        "meta": {"loyalty": {"balance": balance}},
    }


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("4", 4), ("0", 0), ("-3", -3), ("-0", 0), ("4.0", 4), ("4.00", 4), ("4e0", 4), ("40e-1", 4), ("1E+3", 1000),
        ('"4"', 4), ('"4.00"', 4), ('" 7 "', 7), ('"-2"', -2), ('"+2"', 2), ("1000000000", 10**9), ("1e9", 10**9),
    ],
)  # fmt: skip
def test_balances_that_count(text: str, points: int) -> None:
    got = wire.balance(wire.load(f'{{"meta":{{"loyalty":{{"balance":{text}}}}}}}'.encode()))
    assert got == points
    assert type(got) is int


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("4.5", "not whole"), ('"4.5"', "not whole"), ("1e-9", "not whole"), ("3.9999999999999999999999", "not whole"),
        ("1000000001", "range"), ("-1e10", "range"), ("1e999999", "range"), ("9" * 4000, "range"),
        ("true", "no balance"), ("false", "no balance"), ("null", "no balance"), ("NaN", "no balance"),
        ("Infinity", "no balance"), ("[4]", "no balance"), ('{"value":4}', "no balance"),
        ('""', "not a number"), ('"four"', "not a number"), ('"NaN"', "not a number"), ('"1,000"', "not a number"),
        ('"1e3"', "not a number"), ('"1_000"', "not a number"), ('"４"', "not a number"), ('"0x4"', "not a number"),
    ],
)  # fmt: skip
def test_balances_that_do_not(text: str, reason: str) -> None:
    with pytest.raises(wire.Unreadable, match=reason):
        wire.balance(wire.load(f'{{"meta":{{"loyalty":{{"balance":{text}}}}}}}'.encode()))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"{'a':1}", b"<html>", b"\xff\xfe", b'{"a": 01}', b'"\xed\xa0\x80"', b"[" * 100_000,
        b'{"a":' * 100_000, b"9" * 5000, b"1e99999999999999999999999999", b'{"a":1}{"a":2}',
    ],
)  # fmt: skip
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(wire.Unreadable):
        wire.load(body)


def test_a_byte_order_mark_is_forgiven() -> None:
    assert wire.load(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_a_pass_in_full() -> None:
    got = wire.pass_state(
        doc(
            extId="cust-17",
            nfc="Custom Value",
            status="ACTIVE",
            passContent={"points": "4", "reward": "x\ud83dy\nz"},
        )
    )
    assert got == PassState(
        UUID,
        "cust-17",
        "Custom Value",
        "active",
        None,
        {"points": "4", "reward": "x\ufffdy z"},
        plain_fields=True,
    )


@pytest.mark.parametrize(
    ("content", "fields", "plain"),
    [
        (None, {}, False),
        ({}, {}, False),
        ([], {}, False),
        ({"points": {"value": "4"}}, {"points": "4"}, False),
        ({"points": {"value": 4, "label": "x"}}, {"points": "4"}, False),
        ({"points": 4, "name": None, "on": True, "list": [1]}, {"points": "4"}, True),
        ({"points": {"label": "no value"}}, {}, False),
    ],
)
def test_pass_content_in_every_form(content: Any, fields: dict[str, str], plain: bool) -> None:
    got = wire.pass_state(doc(passContent=content))
    assert (dict(got.fields), got.plain_fields) == (fields, plain)


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [(UUID.upper(), UUID), (HEX.upper(), HEX), ("Cust-17", "Cust-17"), (17, "17")],
)
def test_ids(given_id: Any, kept: str) -> None:
    assert wire.pass_state({"data": {"id": given_id}}).pass_id == kept


@pytest.mark.parametrize(
    "resource", [None, [], "x", {}, {"id": None}, {"id": ""}, {"id": True}, {"id": "a\x00"}, {"id": "\ud800"}]
)
def test_no_pass_without_an_id(resource: Any) -> None:
    with pytest.raises(wire.Unreadable):
        wire.pass_state({"data": resource})


@pytest.mark.parametrize(
    ("key", "named"),
    [
        (UUID, True), (UUID.upper(), True), ("cust-17", True), ("the value", True), (HEX.upper(), False),
        ("CUST-17", False), ("cust-1", False), ("", False),
    ],
)  # fmt: skip
def test_names_of_a_pass(key: str, named: bool) -> None:
    assert wire.names_pass(PassState(UUID, "cust-17", "the value"), key) is named


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("cust-17", "/p/cust-17"), ("a/b", "/p/a%2Fb"), ("a?b#c", "/p/a%3Fb%23c"), ("ä 1", "/p/%C3%A4%201"),
        ("%2e%2e", "/p/%252e%252e"), ("...", "/p/..."), ("a.b", "/p/a.b"), ("a\nb", "/p/a%0Ab"), ("/", "/p/%2F"),
        ("", None), (" ", None), (".", None), ("..", None), ("../x", None), ("x/..", None), ("x\\..\\y", None),
        ("a/./b", None), ("\ud800", None),
    ],
)  # fmt: skip
def test_paths(key: str, path: str | None) -> None:
    assert wire.target("/p", key) == path


@pytest.mark.parametrize(
    ("told", "header", "status"),
    [
        ({"status": "delivered"}, None, "delivered"),
        ({"status": "Delivered", "message": "x"}, "notDelivered", "delivered"),
        ({"status": "notDelivered", "message": "not in a wallet"}, None, "not-delivered"),
        ({"status": "not_delivered"}, None, "not-delivered"),
        ({"status": "NOT-DELIVERED"}, None, "not-delivered"),
        ([{"status": "notDelivered"}, {"status": "delivered"}], None, "delivered"),
        ([{"status": "notDelivered"}], None, "not-delivered"),
        ("delivered", None, "delivered"),
        (None, "delivered", "delivered"),
        (None, "not delivered", "not-delivered"),
        (None, "queued", "unknown"),
        ([], "delivered", "delivered"),
        ({"status": None}, "delivered", "delivered"),
        ({"status": "maybe"}, "delivered", "unknown"),
        ({"status": "undelivered"}, None, "unknown"),
        ([[{"status": "delivered"}]], None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_what_became_of_a_text(told: Any, header: str | None, status: str) -> None:
    headers = {} if header is None else {"x-notification-status": header}
    assert wire.notification({"meta": {"notifications": told}}, headers) == status


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"errors": ["Rate limited", "slow down"]}, "Rate limited; slow down"),
        ({"errors": [{"title": "Bad", "detail": "balance must be whole", "status": "422"}]}, "Bad; balance must be whole"),
        ({"errors": {"balance": ["must be a number", "is too long"]}}, "must be a number; is too long"),
        ({"errors": "Pass not found"}, "Pass not found"),
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"message": "No such\n\tpass\x07\ud800"}, "No such pass \ufffd"),
        ({"errors": [None, 5, {"x": [{"message": "deep"}]}]}, "deep"),
        ("plain text in quotes", "plain text in quotes"),
        ({"data": {}}, ""),
        ([1, 2], ""),
        (None, ""),
        ({"errors": [f"Pass {UUID} not found"]}, ""),
        ({"errors": ["no pass for cust-17"]}, ""),
        ({"errors": ["no pass for ANNA here"]}, ""),
        ({"errors": ["no pass for a%2fb here"]}, ""),
        ({"errors": ["write to anna@example.com"]}, ""),
        ({"errors": ['no pass "x"']}, ""),
        ({"errors": ["bad key sk_live_****WXYZ4321"]}, ""),
        ({"errors": ["bad key tail is secretwo"]}, ""),
        ({"errors": ["x y " * 500]}, ("x y " * 40)),
    ],
)  # fmt: skip
def test_the_services_own_words(body: Any, said: str) -> None:
    assert wire.sentence(body, ("anna", "a/b", "topsecretword", "")) == said


REFUSALS: list[tuple[int, bytes, dict[str, str], Outcome]] = [
    (400, b'{"errors":["bad"]}', {}, Outcome.REFUSED),
    (422, b'{"errors":["bad"]}', {}, Outcome.REFUSED),
    (404, b'{"errors":["gone"]}', {}, Outcome.GONE),
    (404, b"", {"content-length": "0"}, Outcome.GONE),
    (404, b"", {}, Outcome.UNKNOWN),
    (400, b"<html>proxy</html>", {}, Outcome.UNKNOWN),
    (404, b"<html>captive portal</html>", {"content-type": "application/json"}, Outcome.UNKNOWN),
    (404, b"default backend - 404", {}, Outcome.UNKNOWN),
    (422, b'{"errors":[', {}, Outcome.UNKNOWN),
    (401, b'{"errors":["no"]}', {}, Outcome.KEY_REFUSED),
    (401, b"", {}, Outcome.KEY_REFUSED),
    (401, b"HTTP Token: Access denied.\n", {"content-type": "text/plain"}, Outcome.KEY_REFUSED),
    (401, b"<!DOCTYPE html>log in to the hotel", {}, Outcome.UNKNOWN),
    (401, b"log in", {"content-type": "text/html; charset=utf-8"}, Outcome.UNKNOWN),
    (403, b'{"error":"forbidden"}', {}, Outcome.KEY_REFUSED),
    (403, b"\n <html>blocked</html>", {}, Outcome.UNKNOWN),
    *(
        (status, b'{"errors":["x"]}', {}, Outcome.UNKNOWN)
        for status in (402, 405, 406, 408, 409, 410, 413, 415, 451)
    ),
    *(
        (status, b'{"errors":["x"]}', {}, Outcome.UNKNOWN)
        for status in (301, 302, 304, 307, 500, 502, 503, 504, 599)
    ),
]


@pytest.mark.parametrize(("status", "body", "headers", "outcome"), REFUSALS)
def test_classes_of_section_9(status: int, body: bytes, headers: dict[str, str], outcome: Outcome) -> None:
    answer = wire.refusal(status, headers, body, ())
    assert answer.outcome is outcome
    assert str(status) in answer.reason


def test_a_page_and_its_link() -> None:
    items = [{"id": UUID, "attributes": {"extId": "a"}}, {"id": None}, "x", {"id": "b"}]
    passes, link = wire.page({"data": items, "links": {"next": "/api/v1/passes?page=2"}})
    assert [state.pass_id for state in passes] == [UUID, "b"]
    assert link == "/api/v1/passes?page=2"
    assert wire.page({"data": [], "links": {"next": {"href": "?page=3"}}}) == ([], "?page=3")
    for links in (None, {}, {"next": None}, {"next": ""}, {"next": 5}, {"next": {"href": None}}, []):
        assert wire.page({"data": [], "links": links}) == ([], None)
    assert len(wire.page({"data": [{"id": "a"}] * wire.MOST_ON_PAGE})[0]) == wire.MOST_ON_PAGE
    for data in (None, {}, "x", {"id": UUID}, [{"id": "a"}] * (wire.MOST_ON_PAGE + 1)):
        with pytest.raises(wire.Unreadable):
            wire.page({"data": data})


@pytest.mark.parametrize(
    ("status", "odd"),
    [
        ("active", None),
        ("Active", None),
        (None, None),
        (5, None),
        ("frozen", "frozen"),
        (UUID, None),
        ("x" * 30, None),
    ],
)
def test_an_unknown_status_is_worth_a_line(status: Any, odd: str | None) -> None:
    assert wire.odd_status(doc(status=status)) == odd
    assert wire.pass_state(doc(status=status)).status == (
        "active" if str(status).lower() == "active" else "unknown"
    )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.just(UUID),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "id",
                    "type",
                    "attributes",
                    "meta",
                    "loyalty",
                    "balance",
                    "passContent",
                    "value",
                    "extId",
                    "nfc",
                    "status",
                    "errors",
                    "links",
                    "next",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)
documents = st.one_of(
    json_values,
    st.fixed_dictionaries(
        {
            "data": st.fixed_dictionaries(
                {"id": json_values, "attributes": st.fixed_dictionaries({}, optional=dict.fromkeys(("extId", "nfc", "status", "passContent"), json_values))}
            ),
            "meta": st.fixed_dictionaries({"loyalty": st.fixed_dictionaries({"balance": json_values}), "notifications": json_values}),
        }
    ),
)  # fmt: skip


@given(documents, st.text(max_size=5))
def test_any_json_is_read_or_called_unreadable(value: Any, key: str) -> None:
    body = json.dumps(value).encode()
    loaded = wire.load(body)
    try:
        state = wire.pass_state(loaded)
    except wire.Unreadable:
        pass
    else:
        for text in (
            state.pass_id,
            state.ext_id or "",
            state.nfc or "",
            *state.fields,
            *state.fields.values(),
        ):
            text.encode()
            assert not any(char < " " for char in text)
        wire.names_pass(state, key)
    with suppress(wire.Unreadable):
        assert abs(wire.balance(loaded)) <= wire.MOST_POINTS
    with suppress(wire.Unreadable):
        wire.page(loaded)
    assert wire.notification(loaded, {}) in ("delivered", "not-delivered", "unknown")
    said = wire.sentence(loaded, (key,))
    assert len(said) <= 160
    assert not key or key.lower() not in said.lower()
