"""The socket as a whole: who gets in, who is told to come back, and how everyone is let go."""

import errno
import os
import socket
import threading
import time
from contextlib import suppress

import pytest

from rigs.desk import serving
from rigs.pos import Pos, call_line
from tilltap.model import Peer
from tilltap.server import listen
from tilltap.server.listen import CLIENTS


def test_two_hundred_connections_are_served_or_told(served, monkeypatch):
    monkeypatch.setattr(listen, "FIRST_CALL", 5.0)
    clients = [Pos(served.path) for _ in range(200)]
    try:
        for i, client in enumerate(clients):
            client.write("status", f"call-{i}")
        replies = [client.read() for client in clients]
        assert [r["id"] for r in replies] == [f"call-{i}" for i in range(200)]
        served_ones = [r for r in replies if "result" in r]
        refused = [r["error"] for r in replies if "error" in r]
        assert len(served_ones) == CLIENTS
        assert [e["data"] for e in refused] == [{"code": "overloaded", "retry": True}] * (200 - CLIENTS)
        for client, reply in zip(clients, replies, strict=True):
            if "error" in reply:
                with pytest.raises((EOFError, ConnectionResetError)):
                    client.read()
        assert clients[0].result("status")["state"] == "ready"
    finally:
        for client in clients:
            client.close()
    with Pos(served.path) as late:  # there is room again
        assert late.result("status")["state"] == "ready"


def test_a_turned_away_client_gets_its_own_id_or_none(served, monkeypatch):
    monkeypatch.setattr(listen, "CLIENTS", 1)
    monkeypatch.setattr(listen, "TURNED_AWAY", 2)
    with Pos(served.path) as only:
        assert only.result("status")
        with Pos(served.path) as asking, Pos(served.path) as silent, Pos(served.path) as one_more:
            assert one_more.read()["id"] is None  # beyond those we listen to: at once
            asking.write("sale.close", "mine", sale_id="1", total="8")
            assert asking.read() == {
                "jsonrpc": "2.0",
                "id": "mine",
                "error": {
                    "code": -32000,
                    "message": "Too many programs use this till's loyalty service. Try again.",
                    "data": {"code": "overloaded", "retry": True},
                },
            }
            assert silent.read()["id"] is None
        assert served.desk.sales == {}
        assert only.result("status")


def test_the_desk_is_told_who_calls(served, pos):
    pos.result("hello", client="back office")
    pos.result("customer.adjust", value="cust-17", points=1, reason="r", request_id="q")
    assert served.desk.calls[-1][1][-1] == Peer(os.geteuid(), os.getpid(), "back office")


def test_the_log_says_which_users_connect_and_says_it_once(served, capsys):
    for _ in range(3):
        with Pos(served.path) as pos:
            pos.result("status")
    said = [line for line in capsys.readouterr().out.splitlines() if "a user's first connection" in line]
    assert len(said) == 1
    assert f"uid={os.geteuid()}" in said[0]
    assert f"pid={os.getpid()}" in said[0]


def test_the_system_running_out_of_descriptors_is_survived(served, monkeypatch, capsys):
    monkeypatch.setattr(listen, "ACCEPT_PAUSE", 0.05)
    failures = iter([errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
    accept = socket.socket.accept

    def scarce(self):
        if (number := next(failures, None)) is not None:
            raise OSError(number, os.strerror(number))
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", scarce)
    with Pos(served.path) as pos:
        assert pos.result("status")["state"] == "ready"
    assert capsys.readouterr().out.count("cannot take a new client") == 3


def test_stopping_sends_bye_answers_what_was_received_and_removes_the_socket(tmp_path):
    with serving(tmp_path) as served, Pos(served.path) as watcher, Pos(served.path) as seller:
        watcher.result("watch")
        gate = served.gate("sale.close")
        seller.write("sale.close", 1, sale_id="1", total="8")
        while not served.desk.running:
            time.sleep(0.005)
        served.publish("bye")
        served.stop()
        assert watcher.read()["method"] == "bye"
        with pytest.raises(EOFError):
            watcher.read()
        assert not served.path.exists()
        served.do(gate.set)
        assert seller.read()["result"]["state"] == "closed"
        with pytest.raises(EOFError):
            seller.read()


def test_stopping_does_not_wait_for_clients_that_do_not_read(tmp_path):
    with serving(tmp_path) as served, Pos(served.path) as stuck:
        stuck.write("watch", 1)
        stuck.read()
        for _ in range(500):
            served.publish("sale", note="x" * 4000)
        began = time.monotonic()
        served.stop()
        threading.Event().wait(0.05)
        assert not served.path.exists()
    assert time.monotonic() - began < listen.DRAIN + 1


def test_stopping_does_not_wait_for_ever_for_a_call(tmp_path, monkeypatch):
    monkeypatch.setattr(listen, "DRAIN", 0.1)
    monkeypatch.setattr(listen, "CALL_DEADLINE", 0.1)
    with serving(tmp_path) as served, Pos(served.path) as pos:
        served.gate("status")
        pos.write("status", 1)
        while not served.desk.running:
            time.sleep(0.005)
        served.stop()
        assert pos.read_all() == []


def test_clients_still_in_the_queue_when_it_stops_are_closed_not_left_hanging(tmp_path):
    with serving(tmp_path) as served:
        blocked = threading.Event()
        served.portal.start_task_soon(blocked.wait, 1.0)  # the loop is busy: nobody is accepted
        with Pos(served.path) as queued:
            queued.send(call_line("status", 1))
            served.portal.start_task_soon(served.stopping.set)
            blocked.set()
            with suppress(ConnectionResetError):  # the same, said more rudely
                assert all("result" in reply for reply in queued.read_all())
