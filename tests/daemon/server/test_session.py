"""One client on a real socket: order, ends, limits, and what a fault costs."""

import os
import socket
import time

import pytest

from rigs.pos import Pos, by_id, call_line
from tilltap.errors import CallError, ParamError
from tilltap.server import outbox, session
from tilltap.server.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, LINE_LIMIT, METHOD_NOT_FOUND, PARSE_ERROR


def eventually(condition, within=5.0):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def methods(served):
    return [name for name, _ in served.desk.calls]


def test_a_sale_goes_through(pos):
    assert pos.result("hello", client="test")["till"] == "till-1"
    assert pos.result("sale.open", sale_id="1", total="8", value="cust-17")["total"] == "8.00"
    closed = pos.result("sale.close", sale_id="1", total="8.00", paid="3")
    assert (closed["state"], closed["paid"], closed["customer"]["ext_id"]) == ("closed", "3.00", "cust-17")
    assert pos.result("sale.close", sale_id="1", total="8.00") == closed


def test_the_desk_can_tell_whose_call_it_is(served, pos):
    pos.result("status")
    pos.result("sale.open", sale_id="1", total="8")
    assert served.desk.callers == {os.geteuid()}


def test_errors_of_every_kind_leave_the_connection_open(served, pos):
    assert pos.error("sale.get", sale_id="9") == {
        "code": -32000,
        "message": "This till does not know that sale.",
        "data": {"code": "unknown-sale", "retry": False},
    }
    assert pos.error("sale.close", sale_id="1", total=8)["data"] == {"field": "total"}
    assert pos.error("sale.close", sale_id="1")["code"] == INVALID_PARAMS  # only the desk can know
    assert pos.error("nonsense")["code"] == METHOD_NOT_FOUND
    served.desk.faults["status"] = CallError("ledger-down", "The till's memory is out of reach.")
    assert pos.error("status")["data"] == {"code": "ledger-down", "retry": True}
    pos.send(b"}{\n")
    assert pos.read()["error"]["code"] == PARSE_ERROR
    assert pos.result("mirror.list") == []


def test_an_unexpected_fault_is_answered_without_a_detail_and_logged_without_a_value(served, pos, capsys):
    served.desk.faults["customer.find"] = RuntimeError("secret-value-4711")
    error = pos.error("customer.find", value="secret-value-4711")
    assert error["code"] == INTERNAL_ERROR
    assert "RuntimeError" not in error["message"]
    assert "4711" not in str(error)
    served.desk.faults.clear()
    assert pos.result("customer.find", value="cust-17")["balance"] == 5
    logged = capsys.readouterr()
    assert "RuntimeError" in logged.out
    assert "4711" not in logged.out + logged.err


def test_nobody_looks_for_a_client_that_hung_up_but_what_he_sold_is_sold(served):
    served.gate("status")  # for ever
    with Pos(served.path) as gone:
        for n in range(5):
            gone.write("status", n)
        gone.write("sale.open", sale_id="1", total="8")
        eventually(lambda: served.desk.running == 5)
    eventually(lambda: served.desk.running == 0)
    assert list(served.desk.sales) == ["1"]


def test_calls_that_wait_behind_others_of_a_client_that_hung_up_are_not_looked_at(served):
    gate = served.gate("sale.get")
    with Pos(served.path) as gone:
        for n in range(session.IN_FLIGHT):
            gone.write("sale.get", n, sale_id=f"{n}")
        for n in range(9):
            gone.write("status", n)
        gone.write("sale.open", sale_id="1", total="8")
        eventually(lambda: served.desk.running == session.IN_FLIGHT)
    served.do(gate.set)
    eventually(lambda: list(served.desk.sales) == ["1"])
    assert "status" not in methods(served)


def test_a_call_without_id_is_executed_and_never_answered(served, pos):
    pos.write("sale.open", sale_id="1", total="8")
    pos.write("sale.open", sale_id="2", total=8)  # a bad one
    pos.write("no.such.method")
    pos.send(b'{"jsonrpc":"2.0","method":"status","params":[]}\n')
    served.desk.faults["mirror.list"] = ParamError("x", "x: bad")
    pos.write("mirror.list")
    assert pos.result("sale.get", sale_id="1")["total"] == "8.00"
    assert pos.idle()


def test_blank_lines_and_crlf_are_tolerated(pos):
    pos.send(b"\n\r\n  \n" + call_line("status", "a").replace(b"\n", b"\r\n"))
    assert pos.read()["id"] == "a"
    assert pos.idle()


def test_calls_may_arrive_in_any_pieces(pos):
    for byte in call_line("status", 1):
        pos.send(bytes([byte]))
    assert pos.read()["id"] == 1
    pos.send(call_line("status", 2) + call_line("status", 3) + call_line("status", 4)[:10])
    assert set(by_id([pos.read(), pos.read()])) == {2, 3}
    assert pos.idle()
    pos.send(call_line("status", 4)[10:])
    assert pos.read()["id"] == 4


def test_an_id_that_cannot_be_written_in_utf8_comes_back_all_the_same(pos):
    pos.send(b'{"jsonrpc":"2.0","id":"\\ud83d","method":"status"}\n')
    assert pos.read()["id"] == "\ud83d"
    assert pos.result("status")["state"] == "ready"


def test_calls_about_one_sale_keep_their_order_and_others_overtake(served, pos):
    gate = served.gate("sale.open")
    pos.write("sale.open", 1, sale_id="1", total="1")
    pos.write("sale.update", 2, sale_id="1", total="2")
    pos.write("sale.get", 3, sale_id="1")
    pos.write("customer.find", 4, value="cust-17")
    assert pos.read()["id"] == 4
    assert methods(served) == ["sale.open", "customer.find"]
    served.do(gate.set)
    replies = [pos.read() for _ in range(3)]
    assert [r["id"] for r in replies] == [1, 2, 3]
    assert replies[2]["result"]["total"] == "2.00"


def test_a_failing_call_does_not_hold_up_its_sale(served, pos):
    served.desk.faults["sale.open"] = RuntimeError()
    pos.write("sale.open", 1, sale_id="1", total="1")
    pos.write("sale.close", 2, sale_id="1", total="2")
    assert [pos.read()["id"] for _ in range(2)] == [1, 2]
    assert served.desk.sales["1"]["state"] == "closed"


def test_at_most_32_calls_of_one_client_are_in_progress(served, pos):
    gate = served.gate("customer.find")
    for i in range(100):
        pos.write("customer.find", i, value="cust-17")
    eventually(lambda: served.desk.running == session.IN_FLIGHT)
    with Pos(served.path) as other:
        assert other.result("status")["state"] == "ready"  # the flood is the flooder's own queue
    assert len([m for m in methods(served) if m == "customer.find"]) == session.IN_FLIGHT
    served.do(gate.set)
    assert by_id(pos.read() for _ in range(100)).keys() == set(range(100))


def test_a_thousand_calls_in_one_go(pos):
    for i in range(500):
        pos.send(call_line("sale.open", f"o{i}", sale_id=f"s{i}", total="8", value="cust-17"))
        pos.send(call_line("sale.close", f"c{i}", sale_id=f"s{i}"))
    replies = [pos.read() for _ in range(1000)]
    assert all("result" in r for r in replies)
    assert len(by_id(replies)) == 1000


def test_end_of_input_is_answered_to_the_last_call_then_closed(served, pos):
    gate = served.gate("sale.close")
    pos.write("sale.close", 1, sale_id="1", total="8")
    pos.write("status", 2)
    pos.send(call_line("sale.close", 3, sale_id="2", total="8")[:-5])  # half a line: never was a call
    pos.end_of_input()
    assert pos.read()["id"] == 2
    served.do(gate.set)
    assert pos.read()["id"] == 1
    with pytest.raises(EOFError):
        pos.read()
    assert list(served.desk.sales) == ["1"]


def test_what_was_sent_before_leaving_is_executed(served):
    with Pos(served.path) as pos:
        for i in range(200):
            pos.write("sale.close", i, sale_id=str(i), total="8")
    eventually(lambda: len(served.desk.sales) == 200)
    assert list(served.desk.sales) == [str(i) for i in range(200)]


def test_leaving_in_the_middle_of_an_answer_troubles_nobody(served):
    served.desk.sales = {
        str(i): {"sale_id": str(i), "state": "open", "why": "x" * 1000} for i in range(1000)
    }  # a megabyte of snapshot
    for _ in range(20):
        with Pos(served.path) as rude:
            rude.write("watch", 1)
            rude.sock.recv(100)
    with Pos(served.path) as pos:
        assert len(pos.result("watch")["sales"]) == 1000


def test_a_line_of_64_kib_is_served_and_a_longer_one_answered_once_and_closed(served):
    call = call_line("status", 1).rstrip()
    with Pos(served.path) as pos:
        pos.send(call + b" " * (LINE_LIMIT - len(call)) + b"\n")
        assert "result" in pos.read()
        pos.send(call_line("sale.close", 2, sale_id="1", total="8"))
        pos.send(call + b" " * (LINE_LIMIT + 1 - len(call)) + b"\n" + call_line("status", 3))
        replies = pos.read_all()
    assert [
        (r["id"], r.get("error", {}).get("code")) for r in sorted(replies, key=lambda r: "error" in r)
    ] == [
        (2, None),
        (None, PARSE_ERROR),
    ]
    assert "sale.close" in methods(served)


def test_the_sender_of_an_endless_line_gets_to_read_why(pos, monkeypatch):
    monkeypatch.setattr(session, "LINGER", 0.2)
    pos.send_until_closed(b"x" * 10_000)
    assert pos.read()["error"]["code"] == PARSE_ERROR
    with pytest.raises((EOFError, ConnectionResetError)):
        pos.read()


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(session, "STUCK", 0.3)


def test_a_client_that_takes_nothing_is_dropped_and_the_others_go_on(hurried, served, pos):
    with Pos(served.path) as stuck:
        stuck.write("watch", 1)
        eventually(lambda: "snapshot" in methods(served))
        for i in range(600):  # more than the socket and the outbox hold
            served.publish("sale", sale_id=str(i), note="x" * 2000)
        assert pos.result("status")["state"] == "ready"
        time.sleep(1.0)
        got = stuck.read_all()  # what was under way in the socket, then the end
    assert 0 < len(got) < 601
    assert pos.result("status")["state"] == "ready"


def test_a_slow_client_is_not_a_stuck_one(hurried, served):
    with Pos(served.path) as slow:
        slow.write("watch", 1)
        slow.read()
        for i in range(600):
            served.publish("sale", sale_id=str(i), note="x" * 2000)
        seqs = []
        while len(seqs) < 600:
            seqs.append(slow.read()["params"]["seq"])
            if len(seqs) % 100 == 0:
                time.sleep(0.2)
    assert seqs == list(range(1, 601))


def test_a_client_that_only_sends_is_no_longer_read_and_costs_no_memory(hurried, monkeypatch, served):
    sizes = []
    put = outbox.Outbox.put

    def measured(self, line):
        put(self, line)
        sizes.append(len(self._waiting))

    monkeypatch.setattr(outbox.Outbox, "put", measured)
    with Pos(served.path) as deaf, pytest.raises((BrokenPipeError, ConnectionResetError)):
        deaf.send(call_line("hello", 1, client="x" * 200) * 20_000)
    answer = 1000
    assert max(sizes) < outbox.HIGH_WATER + session.IN_FLIGHT * answer


def test_a_call_that_takes_too_long_is_noticed(served, pos, monkeypatch, capsys):
    monkeypatch.setattr(session, "CALL_DEADLINE", 0.0)
    assert pos.result("customer.find", value="cust-17")
    assert "customer.find" in (logged := capsys.readouterr().out)
    assert "cust-17" not in logged


def test_half_open_clients_are_still_served(served, pos):
    pos.sock.shutdown(socket.SHUT_RD)  # reads no more, sends on
    pos.write("sale.close", 1, sale_id="1", total="8")
    pos.write("sale.close", 2, sale_id="2", total="8")
    eventually(lambda: len(served.desk.sales) == 2)
    assert list(served.desk.sales) == ["1", "2"]
