"""What an operator does and meets: starting, stopping, cables, a service that is away, commands, exit codes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time

import pytest

from rigs.daemon import (
    ANNA,
    BEN,
    PROGRAM,
    START,
    Process,
    Shop,
    Watcher,
    run_cli,
    simulator,
    type_line,
    wait_until,
)
from tilltap.sandbox.service import NewPass

# Contract 3.3: a lost reader is noticed within 5 s, a returning one is up within 10 s.
LOST, BACK = 5.0, 10.0


# -- start and stop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_stop_says_bye_and_exits_0(shop: Shop, number: int) -> None:
    with shop.pos() as watching:
        watching.result("watch")
        shop.ask("sale.open", sale_id="open", total="1.00")
        shop.daemon.signal(number)
        assert [line["method"] for line in watching.read_all()][-1] == "bye"
    assert shop.daemon.ended(5) == 0
    assert not shop.socket.exists()
    shop.start()
    assert shop.ask("sale.get", sale_id="open")["state"] == "open"


def test_an_orderly_stop_in_the_middle_of_a_write_leaves_nothing_unknown(shop: Shop) -> None:
    shop.sandbox.fault("slow", endpoint="PATCH /loyalty/{id}", seconds=1.0)
    shop.ask("sale.close", sale_id="s", total="10.00", value=BEN)
    wait_until(lambda: not shop.sandbox.faults.armed(), START, "the write under way")
    assert shop.stop() == 0
    shop.start()
    shop.settled()
    assert shop.sandbox.balance(BEN) == shop.balance(BEN) == 5
    assert len(shop.texts_asked(BEN)) == 1


def test_a_socket_left_by_a_killed_daemon_is_taken_over(shop: Shop) -> None:
    shop.kill()
    assert shop.socket.exists()
    shop.start()
    assert shop.socket.stat().st_mode & 0o777 == 0o660


def refused(shop: Shop, code: int) -> str:
    """The one line with which a daemon that cannot start ends."""
    code_was, lines = shop.launch().ended(), shop.daemon.said()
    assert (code_was, len(lines)) == (code, 1), lines
    assert "Traceback" not in lines[0]
    return lines[0]


def test_a_second_daemon_on_the_same_ledger_is_refused(shop: Shop) -> None:
    first = shop.daemon
    shop.configure(socket=str(shop.folder / "second.sock"))
    line = refused(shop, 3)
    assert str(shop.folder / "ledger.db") in line
    assert "another tilltap is running on it" in line
    shop.daemon = first
    assert shop.ask("status")["state"] == "ready"


def test_a_second_daemon_on_the_same_socket_is_refused(shop: Shop) -> None:
    first = shop.daemon
    shop.configure(ledger="sqlite:///second.db", readers="")
    assert str(shop.socket) in refused(shop, 3)
    shop.daemon = first
    assert shop.ask("status")["state"] == "ready"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.configure(PROGRAM.replace("[program]", '[program]\ncurrency = "EUR"')), "GBP"),
        (lambda s: s.configure(url="http://127.0.0.1:9"), "http://127.0.0.1:9"),
    ],
    ids=["currency", "service"],
)
def test_a_ledger_refuses_another_currency_or_service(open_shop, change, says) -> None:
    shop = open_shop(readers="")
    shop.start()
    assert shop.stop() == 0
    change(shop)
    line = refused(shop, 3)
    assert says in line
    assert "ledger.db" in line


def test_a_ledger_that_became_empty_is_not_begun_anew(shop: Shop) -> None:
    shop.kill()
    ledger = shop.folder / "ledger.db"
    ledger.write_bytes(b"")
    line = refused(shop, 3)
    assert f"ledger {ledger}: it is empty, but ledger.db-wal beside it" in line
    newest = ledger.with_name("ledger.db-wal")
    assert newest.stat().st_size > 0  # and its newest sales can still be got out
    newest.rename(shop.folder / "kept")
    assert "it is empty, but ledger.db.lock beside it" in refused(shop, 3)
    ledger.with_name("ledger.db.lock").unlink()
    shop.start()  # an empty file with nothing beside it is an installer's


def test_mistakes_in_the_configuration_are_told_all_at_once(open_shop, logs) -> None:
    shop = open_shop()
    wrong = PROGRAM.replace("points = 1", "points = 1.5").replace("cost = 5\n", "").replace('"5.00"', "5.0")
    shop.configure(wrong, settle="0", socket="x" * 200)
    numbered = [line.partition(": ")[0] for line in shop.config.read_text().splitlines()]
    daemon = shop.launch()
    assert daemon.ended() == 3
    said = daemon.said()
    assert len(said) == 5
    assert all(line.startswith(f"{shop.config}:") for line in said)
    rows = [int(line.split(":")[1]) for line in said]
    assert rows == sorted(rows)
    assert all(1 <= row <= len(numbered) for row in rows)
    code, out, _ = run_cli(logs, "check", str(shop.config))
    assert (code, out.splitlines()) == (1, said)


def test_a_missing_file_is_exit_2(logs, tmp_path) -> None:
    for command in ("run", "status", "watch"):
        code, _, said = run_cli(logs, command, "--config", str(tmp_path / "none.toml"))
        assert (code, len(said)) == (2, 1), (command, said)
        assert "none.toml" in said[0]
    assert run_cli(logs, "check", str(tmp_path / "none.toml"))[0] == 2


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_file_that_others_may_read_is_refused_with_the_remedy(open_shop, logs, mode) -> None:
    shop = open_shop()
    (shop.folder / "shop.key").chmod(mode)
    line = refused(shop, 3)
    assert "shop.key" in line
    assert "chmod 600" in line
    code, out, _ = run_cli(logs, "check", str(shop.config))
    assert code == 1
    assert "chmod 600" in out


# -- the reader's cable -------------------------------------------------------------------------------------


def test_unplug_and_replug_are_seen_in_time(open_shop, logs) -> None:
    shop = open_shop(NewPass(BEN, 4))
    shop.reader.unplug()

    def wait_for(state: str, within: float, mark: int) -> float:
        began = time.monotonic()
        event = shop.events.wait(
            lambda e: e.method == "reader" and e.params["state"] == state, within, after=mark
        )
        assert bool(event.params.get("remedy")) == (state != "up")
        return time.monotonic() - began

    shop.start()
    wait_until(
        lambda: shop.ask("status")["readers"][0]["state"] == "unplugged", LOST, "a reader known to be away"
    )
    shop.events  # noqa: B018 -- watches from here on
    with simulator(logs, shop.folder / "vtap") as vtap:
        wait_for("up", BACK, 0)
        for _ in range(2):
            mark = shop.events.mark()
            type_line(vtap, ":unplug")
            wait_for("unplugged", LOST, mark)
            assert shop.ask("status")["state"] == "degraded"
            mark = shop.events.mark()
            type_line(vtap, ":plug")
            wait_for("up", BACK, mark)
        type_line(vtap, shop.sandbox.service.find(BEN).nfc)
        assert shop.events.wait(lambda e: e.method == "tap").params["customer"]["ext_id"] == BEN


# -- a loyalty service that is away -------------------------------------------------------------------------


def test_the_service_may_be_away_at_the_start(open_shop) -> None:
    """Sold to a customer nobody knows yet; when the service comes, everything is said again and credited."""
    shop = open_shop(NewPass(ANNA, 0), NewPass(BEN, 4))
    shop.sandbox.__exit__(None, None, None)
    shop.start()
    shop.ready()
    shop.ask("sale.open", sale_id="s", total="10.00")
    mark = shop.events.mark()
    shop.tap(BEN)
    tap = shop.events.wait(lambda e: e.method == "tap", after=mark).params
    assert (tap["status"], tap["balance"], tap["sale_id"]) == ("offline", None, "s")
    assert tap["customer"] == {"pass_id": None, "ext_id": None}
    closed = shop.ask("sale.close", sale_id="s")
    assert (closed["offline"], closed["earned"], closed["balance_after"]) == (True, 1, None)
    wait_until(lambda: shop.ask("status")["loyalty"]["state"] == "down", START, "a service known to be down")
    assert shop.ask("status")["state"] == "degraded"
    with shop.pos() as pos:
        assert pos.error("customer.find", value=ANNA)["data"] == {"code": "offline", "retry": True}

    shop.sandbox.__enter__()
    again = shop.events.wait(
        lambda e: (
            e.method == "tap" and e.params["tap_id"] == tap["tap_id"] and e.params["status"] != "offline"
        )
    ).params
    assert (again["status"], again["customer"]["ext_id"]) == ("identified", BEN)
    shop.settled()
    assert shop.sandbox.balance(BEN) == shop.balance(BEN) == 5
    sale = shop.ask("sale.get", sale_id="s")
    assert (sale["offline"], sale["balance_after"]) == (False, 5)
    assert shop.sandbox.texts(BEN) == ["Congratulations! You've got £5 off on your next order!"]
    assert shop.ask("status")["state"] == "ready"


def test_the_service_may_go_away_and_come_back(shop: Shop) -> None:
    shop.ask("sale.close", sale_id="a", total="10.00", value=ANNA)
    shop.settled()
    shop.sandbox.__exit__(None, None, None)
    for sale_id in "bcd":
        assert not shop.ask("sale.close", sale_id=sale_id, total="10.00", value=ANNA)["offline"]
    assert shop.ask("status")["mirror"]["waiting"] == 1
    assert shop.ask("mirror.list")[0]["customer"]["ext_id"] == ANNA
    shop.sandbox.__enter__()
    shop.settled()
    assert shop.sandbox.balance(ANNA) == shop.balance(ANNA) == 4
    # Sales waiting together share one text.
    assert shop.sandbox.texts(ANNA)[1:] == ["Thank you for your order. You've earned 3 points!"]


# -- commands for a running daemon --------------------------------------------------------------------------


def test_status_and_watch_show_a_running_daemon(shop: Shop, logs) -> None:
    code, out, _ = run_cli(logs, "status", "--config", str(shop.config), "--json")
    assert code == 0
    assert json.loads(out) == {**shop.ask("status"), "loyalty": json.loads(out)["loyalty"]}
    code, out, _ = run_cli(logs, "status", "--socket", str(shop.socket))
    assert (code, "counter" in out) == (0, True)

    watch = Process(logs, "watch", "watch", "--config", str(shop.config), "--json", stdout=subprocess.PIPE)
    try:
        lines = watch.lines()
        assert json.loads(lines.get(timeout=START))["method"] == "snapshot"
        shop.ask("sale.open", sale_id="s", total="1.00")
        shown = json.loads(lines.get(timeout=START))
        assert (shown["method"], shown["params"]["sale_id"]) == ("sale", "s")
        assert shop.stop() == 0
        assert json.loads(lines.get(timeout=START))["method"] == "bye"
        assert watch.ended() == 0
    finally:
        watch.end()


def test_commands_say_in_one_line_that_nobody_is_there(open_shop, logs) -> None:
    shop = open_shop()
    for command in (["status"], ["status", "--json"], ["watch", "--json"]):
        code, out, said = run_cli(logs, *command, "--config", str(shop.config))
        assert (code, out, len(said)) == (4, "", 1), said
        assert str(shop.socket) in said[0]


def test_watch_ends_with_4_when_the_daemon_is_lost(shop: Shop, logs) -> None:
    watch = Process(logs, "watch", "watch", "--socket", str(shop.socket), "--json", stdout=subprocess.PIPE)
    try:
        watch.lines().get(timeout=START)
        shop.kill()
        assert watch.ended() == 4
        assert len(watch.said()) == 1
    finally:
        watch.end()


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
def test_events_resume_by_seq_over_a_restart(shop: Shop, kill: bool) -> None:
    """No event is missing, none comes twice, no seq is used again; what was missed is stale."""
    shop.ask("sale.open", sale_id="s1", total="1.00")
    live = shop.events
    shop.tap(BEN)
    live.wait(lambda e: e.method == "tap")
    seen = live.wait(lambda e: e.method == "sale" and e.params["customer"] is not None).seq
    shop.ask("sale.close", sale_id="s1")
    shop.kill() if kill else shop.stop()
    shop.start()
    shop.ask("sale.open", sale_id="s2", total="1.00")
    live.wait(lambda e: e.method == "sale" and e.params["sale_id"] == "s2")

    every = Watcher(str(shop.socket), after=0)
    last = shop.ask("status") and every.wait(lambda e: e.method == "sale" and e.params["sale_id"] == "s2").seq
    seqs = [e.seq for e in every.events if e.method != "snapshot"]
    assert seqs[: seqs.index(last) + 1] == list(range(1, last + 1))
    went = [e for e in live.events if e.method != "snapshot" and e.seq <= last]
    assert [e.seq for e in went] == list(range(went[0].seq, last + 1))
    told = {e.seq: (e.method, {**e.params, "stale": None}) for e in every.events if e.method != "snapshot"}
    assert all(told[e.seq] == (e.method, {**e.params, "stale": None}) for e in went)
    assert [e.params["stale"] for e in every.of("tap")] == [True]
    assert [e.params["stale"] for e in live.of("tap")] == [False]
    rest = Watcher(str(shop.socket), after=seen)
    rest.wait(lambda e: e.method != "snapshot" and e.seq == last)
    assert min(e.seq for e in rest.events if e.method != "snapshot") == seen + 1


def test_the_sandbox_command_serves_a_till(open_shop, logs) -> None:
    """The parts as an operator starts them: `tilltap sandbox`, `tilltap simulate vtap`, `tilltap run`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--pass", f"{BEN}=4@zz-secret-card-8812"]
    sandbox = Process(logs, "sandbox", "sandbox", *options, stdout=subprocess.PIPE)
    logs.secrets.add("zz-secret-card-8812")
    try:
        ready = sandbox.lines().get(timeout=START)
        assert ready == f"sandbox ready: http://127.0.0.1:{port}"
        shop = open_shop()
        shop.configure(url=f"http://127.0.0.1:{port}")
        shop.reader.unplug()
        with simulator(logs, shop.folder / "vtap") as vtap:
            shop.start()
            shop.ready()
            type_line(vtap, ":google zz-secret-card-8812")
            tap = shop.events.wait(lambda e: e.method == "tap").params
            assert (tap["status"], tap["source"], tap["balance"]) == ("identified", "google-smart-tap", 4)
            assert shop.stop() == 0
            vtap.signal(signal.SIGTERM)
            assert vtap.ended() == 0
        sandbox.signal(signal.SIGTERM)
        assert sandbox.ended() == 0
    finally:
        sandbox.end()
