"""docs/pos-protocol.md, executed: its conversations and its clients, against the real daemon."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.daemon import Logs, Shop
from rigs.pos import Pos
from rigs.transcripts import matches, parse, pattern, run_transcripts
from tilltap.errors import RETRYABLE, Code
from tilltap.sandbox.service import NewPass

DOCUMENT = Path(__file__).parents[3] / "docs/pos-protocol.md"


@pytest.fixture
def shop(tmp_path):
    with Shop(Logs(tmp_path), NewPass("cust-16", 0), NewPass("cust-17", 5)) as shop:
        shop.start()
        shop.ready()
        yield shop


def test_every_conversation_goes_as_it_is_written(shop):
    def act(text):
        customer, mark = re.fullmatch(r"customer (\S+) taps", text)[1], shop.events.mark()
        shop.tap(customer)
        shop.events.wait(
            lambda e: e.method == "tap" and e.params["customer"]["ext_id"] == customer, after=mark
        )

    assert shop.events.mark()  # watching before the first tap
    assert run_transcripts(DOCUMENT, shop.pos, act) >= 10


def test_what_the_protocol_itself_says_needs_no_till(served):
    assert run_transcripts(DOCUMENT, lambda: Pos(served.path), tag="protocol") >= 3


@pytest.mark.parametrize("tag", ["client", "plain"])
def test_the_clients_in_the_document_work(shop, tag):
    code = re.search(rf"```python {tag}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[1]
    command = [sys.executable, "-c", f"SOCKET = {str(shop.socket)!r}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("closed\n", "")


def test_every_error_code_is_explained_with_its_retry():
    rows = re.findall(r"^\| `([a-z-]+)` \| (yes|no) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert {code: retry == "yes" for code, retry in rows} == {
        code: code in RETRYABLE for code in Code.__args__
    }


@pytest.mark.parametrize(
    ("shown", "came", "fits"),
    [
        ('{"a":1}', {"a": 1}, True),
        ('{"a":1}', {"a": True}, False),
        ('{"a":1}', {"a": 1, "b": 2}, False),
        ('{"a":1,…}', {"a": 1, "b": 2}, True),
        ('{"a":1, …}', {"b": 2}, False),
        ('{"a":…}', {"a": None}, True),
        ('{"a":…}', {}, False),
        ('{"a":"x…z"}', {"a": "xyz"}, True),
        ('{"a":"x…z"}', {"a": "xyzq"}, False),
        ('{"a":[…]}', {"a": [1, 2]}, True),
        ('{"a":[…]}', {"a": {}}, False),
        ('{"a":[1,…]}', {"a": [1, 2, 3]}, False),
        ('{"a":[1,…]}', {"a": [1, 2]}, True),
        ("…", {}, True),
    ],
)
def test_the_reading_of_transcripts(shown, came, fits):
    assert matches(pattern(shown) if shown != "…" else "…", came) is fits


def test_a_transcript_that_is_wrong_is_noticed(served, tmp_path):
    good = '-> {"jsonrpc":"2.0","id":1,"method":"sale.get","params":{"sale_id":"1"}}\n'
    for bad in (
        '<- {"jsonrpc":"2.0","id":1,"result":{…}}\n',
        '<- {"jsonrpc":"2.0","id":2,"error":{…}}\n',
        "",  # the answer is not shown
        '<- {"jsonrpc":"2.0","id":1,"error":{…}}\n** customer cust-16 taps\n',
    ):
        document = tmp_path / "wrong.md"
        document.write_text(f"```transcript\n{good}{bad}```\n")
        with pytest.raises(AssertionError, match=r"wrong\.md:\d+"):
            run_transcripts(document, lambda: Pos(served.path))
    with pytest.raises(ValueError, match="line 2"):
        parse("```transcript\nwhat is this\n```\n")
