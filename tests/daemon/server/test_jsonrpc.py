"""Bytes in, requests or faults out; values in, lines out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap.server.jsonrpc import (
    INVALID_REQUEST,
    LINE_LIMIT,
    PARSE_ERROR,
    Fault,
    Lines,
    Request,
    decode,
    error,
    result,
)

CALL = b'{"jsonrpc":"2.0","id":1,"method":"status"}'


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        (CALL, Request(1, "status", {})),
        (CALL + b"\r", Request(1, "status", {})),
        (b" \t" + CALL + b" ", Request(1, "status", {})),
        (b'{"jsonrpc":"2.0","id":"a","method":"m","params":{"x":1}}', Request("a", "m", {"x": 1})),
        (b'{"jsonrpc":"2.0","id":"","method":"m"}', Request("", "m", {})),
        (b'{"jsonrpc":"2.0","id":-7,"method":"m"}', Request(-7, "m", {})),
        (b'{"jsonrpc":"2.0","method":"m"}', Request(None, "m", {}, notification=True)),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}', Request(1, "m", [1])),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":null}', Request(1, "m", None)),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","more":0}', Request(1, "m", {})),
        ('{"jsonrpc":"2.0","id":"£","method":"ü"}'.encode(), Request("£", "ü", {})),
        (b'{"jsonrpc":"2.0","id":"\\ud800","method":"m"}', Request("\ud800", "m", {})),
    ],
)
def test_a_request_is_read(line, request_):
    assert decode(line) == request_


@pytest.mark.parametrize("line", [b"", b" ", b"\r", b"\t \r"])
def test_blank_lines_are_nothing(line):
    assert decode(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"nonsense",
        b"\x00",
        CALL + b"x",
        CALL + CALL,
        b"\xef\xbb\xbf" + CALL,
        CALL.decode().encode("utf-16"),
        CALL.decode().encode("utf-16-le"),
        CALL.decode().encode("utf-32"),
        b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
        b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}',  # a surrogate in UTF-8 is not UTF-8
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":-Infinity}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"total":"1","total":"2"}}',
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}',
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"m"}',
    ],
)
def test_what_is_not_json_is_a_parse_error_without_id(line):
    fault = decode(line)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.id) == (PARSE_ERROR, None)
    assert json.loads(fault.line())["error"]["message"].startswith("not JSON")


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b"[" + CALL + b"]", None),
        (b"[]", None),
        (b"3", None),
        (b"null", None),
        (b'"status"', None),
        (b"{}", None),
        (b'{"jsonrpc":"2.0","id":null,"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":true,"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":1.0,"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":1e400,"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":{},"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":[1],"method":"m"}', None),
        (b'{"jsonrpc":2.0,"id":7,"method":"m"}', 7),
        (b'{"jsonrpc":"1.0","id":7,"method":"m"}', 7),
        (b'{"id":"x","method":"m"}', "x"),
        (b'{"jsonrpc":"2.0","id":7}', 7),
        (b'{"jsonrpc":"2.0","id":7,"method":3}', 7),
        (b'{"jsonrpc":"2.0","id":7,"result":{}}', 7),
        (b'{"jsonrpc":"2.0"}', None),
    ],
)
def test_json_that_is_no_request_keeps_its_id_where_it_has_one(line, request_id):
    fault = decode(line)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.id) == (INVALID_REQUEST, request_id)


SAMPLES = [
    ([CALL], b""),
    ([CALL, CALL + b"\r", b"", b"nonsense"], b""),
    ([CALL], CALL),
    ([b"x" * LINE_LIMIT], b""),
    ([], b"x" * 1000),
]


@pytest.mark.parametrize(("whole", "rest"), SAMPLES)
def test_lines_come_out_the_same_however_they_come_in(whole, rest):
    stream = b"".join(line + b"\n" for line in whole) + rest
    assert Lines().feed(stream) == whole

    lines, out = Lines(), []
    for i in range(len(stream)):
        new = lines.feed(stream[i : i + 1])
        assert not new or stream[i : i + 1] == b"\n"  # never early
        out += new
    assert out == whole
    assert lines.feed(b"\n") == [rest]  # what was left over was left alone


def test_a_line_of_exactly_the_limit_passes_and_one_byte_more_does_not():
    exact = Lines()
    assert exact.feed(b"x" * LINE_LIMIT) == []
    assert not exact.overlong
    assert exact.feed(b"\n") == [b"x" * LINE_LIMIT]

    for stream in (b"x" * (LINE_LIMIT + 1), b"x" * (LINE_LIMIT + 1) + b"\n" + CALL + b"\n"):
        over = Lines()
        assert over.feed(CALL + b"\n" + stream) == [CALL]
        assert over.overlong
        assert over.feed(b"\n" + CALL + b"\n") == []


@given(st.lists(st.binary(max_size=200)), st.data())
def test_no_split_of_the_stream_changes_the_lines(lines, data):
    stream = b"\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    whole, parts = Lines(), Lines()
    expected = whole.feed(stream)
    got = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += parts.feed(stream[begin:end])
    assert got == expected


TEXT = st.text(st.characters(codec=None, exclude_categories=[]))


@given(st.one_of(TEXT, st.integers(), st.none()), st.dictionaries(TEXT, TEXT), TEXT)
def test_every_answer_is_one_line_of_utf8_that_reads_back(request_id, value, message):
    for line, key in (
        (result(request_id, value), "result"),
        (error(request_id, -32000, message, value), "error"),
    ):
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        reply = json.loads(line.decode())
        assert reply["id"] == request_id
        assert reply[key] == (
            value if key == "result" else {"code": -32000, "message": message, "data": value}
        )


def test_answers_are_compact_and_readable():
    assert result(1, {"title": "£5 off"}) == '{"jsonrpc":"2.0","id":1,"result":{"title":"£5 off"}}\n'.encode()


def test_a_result_that_is_no_json_is_our_fault_and_not_sent():
    with pytest.raises(ValueError, match="JSON"):
        result(1, float("nan"))
