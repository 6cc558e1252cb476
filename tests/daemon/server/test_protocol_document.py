"""docs/pos-protocol.md, executed: its conversations and its clients, against the real till behind the socket."""

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from rigs.desk import serving
from rigs.pos import Pos
from rigs.transcripts import matches, parse, pattern, run_transcripts
from tilltap.clock import SystemClock
from tilltap.errors import RETRYABLE, Code
from tilltap.ledger import book
from tilltap.ledger.engine import Store, create, sqlite_engine
from tilltap.loyalty.health import Watched
from tilltap.loyalty.provider import Answer, Outcome, PassState
from tilltap.model import Currency, Earn, Program, Reward
from tilltap.till.desk import Till
from tilltap.till.shapes import Shop

DOCUMENT = Path(__file__).parents[3] / "docs/pos-protocol.md"
COFFEE = Program(
    name="PassEntry Coffee",
    currency=Currency("GBP"),
    earn=Earn(spend=1000),
    rewards=(Reward("five-off", "£5 off", 5, 500),),
    store="soho",
)


class Passes:
    """A loyalty service with two customers, only read here."""

    points = {"cust-16": 0, "cust-17": 5}  # noqa: RUF012 -- never changed

    async def read(self, key, *, deadline, urgent=False):
        if key not in self.points:
            return Answer(Outcome.GONE)
        return Answer(Outcome.DONE, PassState(f"pass-of-{key}", key, points=self.points[key]))

    async def list_passes(self, *, created_after=None):
        yield []


@contextmanager
def real_till(folder):
    engine, lock = sqlite_engine(folder / "ledger.db")
    create(engine)
    clock = SystemClock()
    store = Store(engine, "till-1", clock, lock)
    try:
        version = store.run_now(lambda tx: book.enter_program(tx, COFFEE))
        till = Till(store, Watched(Passes(), clock.wall), Shop("till-1", COFFEE, version), clock)
        till.phase = "ready"
        with serving(folder, till) as served:
            yield served
    finally:
        store.close()


def test_every_conversation_goes_as_it_is_written(tmp_path):
    with real_till(tmp_path) as served:

        def act(text):
            customer = re.fullmatch(r"customer (\S+) taps", text)[1]
            served.do(served.desk.tap, "counter", "apple-vas", customer, lambda _: True)

        assert run_transcripts(DOCUMENT, lambda: Pos(served.path), act) >= 10


def test_what_the_protocol_itself_says_needs_no_till(served):
    assert run_transcripts(DOCUMENT, lambda: Pos(served.path), tag="protocol") >= 3


@pytest.mark.parametrize("tag", ["client", "plain"])
def test_the_clients_in_the_document_work(tmp_path, tag):
    code = re.search(rf"```python {tag}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[1]
    with real_till(tmp_path) as served:
        command = [sys.executable, "-c", f"SOCKET = {str(served.path)!r}\n{code}"]
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
