"""`tilltap status` and `tilltap watch` as a person or a script starts them."""

import json
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.desk import serving
from tilltap.cli import status, watch
from tilltap.server import listen

TILLTAP = [str(Path(sys.executable).with_name("tilltap"))]


def tilltap(*args, **options):
    return subprocess.run(
        [*TILLTAP, *map(str, args)], capture_output=True, text=True, timeout=30, check=False, **options
    )


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path) as served:
        yield served


def test_status_at_a_glance(served):
    done = tilltap("status", "--socket", served.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "till-1 (soho)    ready",
        "reader counter   up",
        "loyalty service  up: last answer 2026-11-21T09:59:58.000Z",
        "ledger           up",
        "passes           all up to date",
    ]


def test_status_says_what_is_wrong_and_the_remedy():
    about = {"till": "till-1", "store": ""}
    state = {
        "state": "degraded",
        "readers": [{"reader": "counter", "state": "unplugged", "remedy": "plug it in"}],
        "loyalty": {"state": "refused", "last_ok": None},
        "ledger": {"state": "up"},
        "mirror": {"waiting": 3, "oldest_age_s": 61, "parked": 1, "foreign": 2},
    }
    assert status.lines(about, state) == [
        "till-1           degraded",
        "reader counter   unplugged: plug it in",
        "loyalty service  refused: no answer yet",
        "ledger           up",
        "passes           3 waiting (oldest 61 s), 1 parked (the call mirror.list says why), 2 changed by others",
    ]


def test_status_as_json_is_the_protocols_answer(served):
    done = tilltap("status", "--json", "--socket", served.path)
    assert json.loads(done.stdout) == served.do(served.desk.status)


def test_the_socket_is_found_in_the_configuration_even_if_another_line_of_it_is_wrong(served):
    config = served.path.parent / "tilltap.toml"
    config.write_text('[pos]\nsocket = "pos.sock"\n[loyalty]\nprovider = "a typing mistake"\n')
    assert tilltap("status", "--config", config).returncode == 0
    assert tilltap("status", env={"TILLTAP_CONFIG": str(config)}).returncode == 0


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (None, 2, "no such file"),
        ("[pos\n", 3, "tilltap.toml:1: syntax"),
        ("[pos]\nsocket = 3\n", 3, "pos.socket"),
        ('[pos]\nsocket = "nobody.sock"\n', 4, "nobody answers at .*/nobody.sock"),
    ],
)
@pytest.mark.parametrize("command", ["status", "watch"])
def test_what_cannot_be_found_is_said_in_a_line_with_its_exit_code(tmp_path, command, text, code, says):
    config = tmp_path / "tilltap.toml"
    if text is not None:
        config.write_text(text)
    done = tilltap(command, "--config", config)
    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert re.search(says, done.stderr)


@pytest.mark.parametrize("command", ["status", "watch"])
def test_a_daemon_with_too_many_clients_is_there_and_says_no(served, monkeypatch, command):
    monkeypatch.setattr(listen, "CLIENTS", 0)
    done = tilltap(command, "--socket", served.path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"the daemon at {served.path} is running and says no:"
        " Too many programs use this till's loyalty service. Try again.\n"
    )


def test_status_starts_within_300_ms(served):
    def once():  # in seconds of the processor: a busy machine takes longer, not more
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert tilltap("status", "--socket", served.path).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(5)) < 0.3  # architecture.md section 4


class Watching:
    """`tilltap watch` as a running process."""

    def __init__(self, served, *args):
        self.process = subprocess.Popen(
            [*TILLTAP, "watch", "--socket", str(served.path), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def line(self):
        return self.process.stdout.readline()

    def end(self):
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


def test_watch_as_json_prints_each_event_as_it_comes_and_ends_with_bye(served):
    with Watching(served, "--json") as watching:
        snapshot = json.loads(watching.line())
        assert (snapshot["method"], snapshot["params"]["seq"]) == ("snapshot", 0)
        served.publish("tap", reader="counter", reason="£")
        tap = json.loads(watching.line())
        assert tap == {
            "jsonrpc": "2.0",
            "method": "tap",
            "params": {
                "seq": 1,
                "at": "2026-11-21T10:00:00.123Z",
                "till": "till-1",
                "reader": "counter",
                "reason": "£",
            },
        }
        served.publish("bye")
        assert json.loads(watching.line())["method"] == "bye"
        assert watching.end() == (0, "", "")


def test_watch_begins_where_it_is_told_to(served):
    for _ in range(3):
        served.publish("tap", status="no-pass", reader="counter")
    with Watching(served, "--after", "1") as watching:
        assert watching.line() == "now           state    ready; counter up; 0 open sales\n"
        assert watching.line() == "10:00:00.123  tap      counter  no-pass  (replayed: do not act)\n"
        watching.line()
        watching.process.send_signal(signal.SIGINT)
        assert watching.end() == (0, "", "")


def test_watch_is_quiet_when_nobody_reads_it_any_more(served):
    with Watching(served, "--json") as watching:
        watching.line()
        watching.process.stdout.close()
        served.publish("tap")
        served.publish("tap")
        assert watching.process.wait(10) == 0
        assert watching.process.stderr.read() == ""


def test_watch_says_when_the_daemon_is_lost_without_a_goodbye(tmp_path):
    with serving(tmp_path) as served, Watching(served) as watching:
        watching.line()
        served.stop()
        code, _, err = watching.end()
        assert code == 4
        assert "nobody answers" in err
        assert err.count("\n") == 1


CUSTOMER = {"pass_id": "p", "ext_id": "cust-17"}
SALE = {
    "sale_id": "1004",
    "state": "open",
    "total": "8.00",
    "due": "3.00",
    "balance": 5,
    "customer": CUSTOMER,
}


@pytest.mark.parametrize(
    ("method", "params", "text"),
    [
        (
            "tap",
            {
                "status": "identified",
                "reader": "counter",
                "customer": CUSTOMER,
                "balance": 5,
                "sale_id": "1004",
            },
            "counter  identified  cust-17  balance 5  sale 1004",
        ),
        ("tap", {"status": "unreadable", "reason": "wrong key"}, "unreadable  reason: wrong key"),
        (
            "tap",
            {"status": "offline", "customer": {"pass_id": None, "ext_id": None}, "balance": None},
            "offline",
        ),
        (
            "sale",
            SALE | {"offers": [{"reward": "five-off", "state": "accepted"}], "earned": 1},
            "1004  open  total 8.00  due 3.00  cust-17  balance 5  five-off accepted",
        ),
        (
            "sale",
            SALE | {"state": "closed", "earned": 1, "customer": None},
            "1004  closed  total 8.00  due 3.00  balance 5  earned 1",
        ),
        (
            "pass",
            {"customer": CUSTOMER, "balance": 0, "notification": "delivered"},
            "cust-17  balance 0  notification delivered",
        ),
        ("pass", {"customer": CUSTOMER, "balance": 0, "parked": "gone"}, "cust-17  parked: gone"),
        (
            "reader",
            {"reader": "counter", "state": "unplugged", "remedy": "plug it in"},
            "counter  unplugged  plug it in",
        ),
        ("program", {"version": 2, "changed": ["earn.spend"]}, "version 2: earn.spend changed"),
        ("program", {"refused": ["a", "b"]}, "refused, the old rules go on: a; b"),
        ("bye", {}, "the daemon is stopping"),
        ("later", {"x": 1}, '{"x": 1}'),
    ],
)
def test_every_event_as_a_line(method, params, text):
    assert watch.line(method, params).strip() == f"{method:7}  {text}"
