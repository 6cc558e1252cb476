"""The Python client, against the real server: every call, every kind of error, every way to lose a connection."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from decimal import Decimal

import pytest

from rigs.desk import MemoryDesk, serving
from rigs.rude import Rude, always
from tilltap import client
from tilltap.client import BadCall, Event, Refused, Till, Unreachable
from tilltap.errors import CallError


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path) as served:
        yield served


@pytest.fixture
def till(served):
    with Till(str(served.path)) as till:
        yield till


def test_a_sale_from_open_to_refund(till, served):
    assert till.hello("test")["till"] == "till-1"
    assert till.status()["state"] == "ready"
    till.sale_open("1", Decimal("8.00"), eligible="7")
    till.sale_attach("1", value="cust-17")
    assert till.sale_detach("1")["customer"] is None
    till.sale_update("1", "9")
    till.sale_decline("1", "five-off")
    with pytest.raises(Refused) as caught:
        till.sale_accept("1", "five-off")
    assert (caught.value.code, caught.value.retry) == ("reward-unavailable", False)
    assert till.sale_close("1", paid="9.00")["paid"] == "9.00"
    assert till.sale_get("1", till="till-1")["state"] == "closed"
    assert till.sale_refund("1", "r1", amount="1")["state"] == "refunded"
    till.sale_open("2", "1")
    assert till.sale_cancel("2")["state"] == "cancelled"
    assert till.customer_find("cust-17")["balance"] == 5
    assert till.customer_history("cust-17", limit=3)["entries"] == []
    assert till.customer_adjust("cust-17", 2, "forgot", "q1")["balance"] == 7
    assert till.report("2026-11-20", till="till-1")["day"] == "2026-11-20"
    assert till.mirror_list() == till.mirror_retry() == till.mirror_retry("cust-17") == []
    assert ("sale.open", ("1", 800, 700, None)) in served.desk.calls


def test_a_wrong_call_names_its_parameter(till):
    with pytest.raises(BadCall) as caught:
        till.sale_close("1", 8.0)
    assert (caught.value.code, caught.value.field) == (-32602, "total")
    with pytest.raises(BadCall, match="no such method"):
        till.call("sale.opne", {})
    with pytest.raises(BadCall) as caught:
        till.report("2026-11-31")
    assert caught.value.field == "day"


def test_refusals_that_may_be_repeated_say_so(till, served):
    served.desk.faults["status"] = CallError("ledger-down", "Out of reach.")
    with pytest.raises(Refused, match=r"Out of reach\.") as caught:
        till.status()
    assert caught.value.retry


def test_nobody_there(tmp_path):
    with pytest.raises(Unreachable, match=r"nobody answers at .*none: No such file.*is the daemon running"):
        Till(str(tmp_path / "none"), patience=0).status()


def test_overloaded_is_a_refusal_and_the_next_call_connects_again(till, served, monkeypatch):
    from tilltap.server import listen

    monkeypatch.setattr(listen, "CLIENTS", 0)
    with pytest.raises(Refused) as caught:
        till.status()
    assert caught.value.code == "overloaded"
    monkeypatch.undo()
    assert till.status()["state"] == "ready"


def hang_up(connection, call):
    pass


def half_an_answer(connection, call):
    connection.sendall(b'{"jsonrpc":"2.0","id":1,"resu')


def nonsense(connection, call):
    connection.sendall(b"220 mail.example.com ESMTP\n")


def late(connection, call):
    connection.recv(1)  # until the other side has had enough


def endless_line(connection, call):
    with suppress(OSError):
        while True:
            connection.sendall(b"y" * 1000)


def endless_events(connection, call):
    with suppress(OSError):
        while True:
            connection.sendall(b'{"method":"tap","params":{"seq":1}}\n')


def answer(connection, call):
    reply = {"jsonrpc": "2.0", "id": call["id"], "result": {"state": "closed"}}
    event = {"jsonrpc": "2.0", "method": "tap", "params": {"seq": 1}}
    connection.sendall((json.dumps(event) + "\n" + json.dumps(reply) + "\n").encode())


def test_a_call_is_repeated_word_for_word_until_it_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "PAUSE", 0.01)
    path = tmp_path / "s"
    manners = hang_up, half_an_answer, nonsense, late, answer
    with Rude(path, *manners) as rude, Till(str(path), timeout=0.2) as till:
        assert till.sale_close("1", "8.00") == {"state": "closed"}
    assert len(rude.calls) == 5
    assert len({json.dumps(json.loads(c)["params"]) for c in rude.calls}) == 1


@pytest.mark.parametrize("manner", [hang_up, half_an_answer, nonsense, late, endless_line, endless_events])
def test_patience_ends(tmp_path, manner):
    with Rude(tmp_path / "s", manner), pytest.raises(Unreachable):
        Till(str(tmp_path / "s"), timeout=0.2, patience=0).status()


@pytest.mark.parametrize(
    "said",
    [
        "220 mail.example.com ESMTP",
        "null",
        "{}",
        "[" * 50_000,
        '{"id":ID}',
        '{"id":ID,"result":null}',
        '{"result":{}}',
        '{"id":ID,"error":"no"}',
        '{"id":ID,"error":{"code":"E1","message":"no"}}',
        '{"method":"tap","params":[]}',
    ],
)
def test_who_is_no_tilltap_is_told_from_one_that_is_not_there(tmp_path, said):
    with Rude(tmp_path / "s", always(said)), Till(str(tmp_path / "s"), patience=0) as till:
        with pytest.raises(Unreachable) as caught:
            till.call("status", {})
        assert str(caught.value) == (
            f"{tmp_path}/s: something other than tilltap answers there; see [pos] socket for the daemon's own"
        )


def test_a_snapshot_that_is_none_is_no_tilltaps(tmp_path):
    with (
        Rude(tmp_path / "s", always('{"id":ID,"result":{}}')),
        pytest.raises(Unreachable, match="something other"),
    ):
        next(Till(str(tmp_path / "s"), patience=0).watch())


def test_an_error_may_say_anything(tmp_path):
    """Its text becomes one line; its data may be of any kind."""
    odd = always('{"id":ID,"error":{"code":-32603,"message":"no,\\n never","data":"why"}}')
    with Rude(tmp_path / "s", odd), Till(str(tmp_path / "s"), patience=0) as till:
        with pytest.raises(BadCall) as caught:
            till.status()
        assert (str(caught.value), caught.value.code, caught.value.field) == ("no, never", -32603, None)


def test_a_daemon_that_restarts_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "PAUSE", 0.01)
    desk = MemoryDesk()
    with Till(str(tmp_path / "pos.sock")) as till:
        with serving(tmp_path, desk):
            till.sale_open("1", "8.00")
        closed = []
        caller = threading.Thread(target=lambda: closed.append(till.sale_close("1", "8.00")))
        caller.start()
        threading.Event().wait(0.1)
        fresh = MemoryDesk(sales=desk.sales)
        with serving(tmp_path, fresh):
            caller.join(5)
    assert [s["state"] for s in closed] == ["closed"]


def test_watching_starts_with_a_snapshot_and_goes_on(till, served):
    served.publish("tap", reader="a")
    events = till.watch()
    assert next(events) == Event(
        "snapshot", next_snapshot := served.do(served.desk.snapshot) | {"gap": False}
    )
    assert next_snapshot["seq"] == 1
    served.publish("tap", reader="b")
    event = next(events)
    assert (event.method, event.seq, event.params["reader"]) == ("tap", 2, "b")
    assert till.status()["state"] == "ready"  # on a connection of its own
    events.close()


def test_watching_from_a_cursor(till, served):
    for _ in range(4):
        served.publish("tap")
    events = till.watch(after=2)
    assert [next(events).seq for _ in range(3)] == [4, 3, 4]  # the snapshot's, then what was missed
    events.close()


def test_watching_survives_a_restart_without_losing_or_doubling(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "PAUSE", 0.01)
    desk = MemoryDesk()
    events = Till(str(tmp_path / "pos.sock")).watch()
    with serving(tmp_path, desk) as served:
        assert next(events).method == "snapshot"
        served.publish("tap")
        served.publish("bye")
        assert [next(events).method for _ in range(2)] == ["tap", "bye"]
    with serving(tmp_path, desk) as served:
        served.publish("tap")
        assert (event := next(events)).seq == 3
        assert event.method == "tap"
        served.publish("tap")
        assert next(events).seq == 4
    with serving(tmp_path, MemoryDesk()):  # another ledger
        assert (snapshot := next(events)).method == "snapshot"
        assert snapshot.params["gap"]
        events.close()


def test_watching_without_resuming_ends_with_the_connection(tmp_path):
    with serving(tmp_path) as served:
        events = Till(str(served.path)).watch(resume=False)
        next(events)
    with pytest.raises(Unreachable):
        next(events)


def test_the_client_needs_nothing_but_the_standard_library():
    code = "import sys; before = set(sys.modules); import tilltap.client; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - sys.stdlib_module_names == {"tilltap"}
    assert "tilltap.errors" not in done.stdout  # nor the daemon's inside
