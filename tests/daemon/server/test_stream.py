"""`watch`: the snapshot first, then every event once and in order, whatever happens meanwhile."""

import threading
from math import inf

import anyio
import pytest

from rigs.desk import MemoryDesk, serving
from rigs.pos import Pos
from tilltap.events import RING
from tilltap.server import stream


def seqs(pos, count):
    return [pos.read()["params"]["seq"] for _ in range(count)]


def publish(served, count):
    for _ in range(count):
        served.publish("tap", reader="counter")


def test_a_snapshot_then_what_is_new(served, pos):
    publish(served, 3)
    pos.result("sale.open", sale_id="1", total="8")
    snapshot = pos.result("watch")
    assert (snapshot["seq"], snapshot["gap"], snapshot["state"]) == (4, False, "ready")
    assert [s["sale_id"] for s in snapshot["sales"]] == ["1"]
    assert pos.idle()
    served.publish("tap", reader="counter")
    assert pos.read() == {
        "jsonrpc": "2.0",
        "method": "tap",
        "params": {"seq": 5, "at": "2026-11-21T10:00:00.123Z", "till": "till-1", "reader": "counter"},
    }


def test_missed_events_come_right_after_the_snapshot(served, pos):
    publish(served, 5)
    assert pos.result("watch", after=2) | {"readers": 0, "sales": 0} == {
        "seq": 5,
        "state": "ready",
        "gap": False,
        "readers": 0,
        "sales": 0,
    }
    assert seqs(pos, 3) == [3, 4, 5]
    publish(served, 1)
    assert seqs(pos, 1) == [6]


def test_who_reads_slowly_is_not_held_to_the_time_that_a_call_has(served, pos):
    publish(served, RING + stream.PAGE)
    pos.result("watch", after=0)
    seqs(pos, RING + stream.PAGE)
    assert set(served.desk.patience) == {inf}


def test_a_missed_tap_is_stale_and_a_live_one_is_not(served, pos):
    for _ in range(RING // 2):
        served.publish("tap", reader="counter", reason="£", stale=False)
        served.publish("sale", sale_id="1")
    served.publish("tap", reader="counter", stale=False)  # the first ones are out of the hub's memory
    pos.result("watch", after=0)
    missed = [pos.read()["params"] for _ in range(RING + 1)]
    assert [p.get("stale") for p in missed] == [True, None] * (RING // 2) + [True]
    assert missed[0]["reason"] == "£"
    served.publish("tap", reader="counter", stale=False)
    assert pos.read()["params"]["stale"] is False


@pytest.mark.parametrize(("published", "after", "gap"), [(0, 0, False), (5, 5, False), (5, 0, False)])
def test_nothing_missing_is_no_gap(served, pos, published, after, gap):
    publish(served, published)
    assert pos.result("watch", after=after)["gap"] is gap
    assert seqs(pos, published - after) == list(range(after + 1, published + 1))


@pytest.mark.parametrize("after", [6, 10**30])
def test_a_cursor_of_another_ledger_is_a_gap(served, pos, after):
    publish(served, 5)
    assert pos.result("watch", after=after)["gap"] is True
    assert pos.idle()
    publish(served, 1)
    assert seqs(pos, 1) == [6]


def test_events_older_than_the_memory_are_read_from_the_ledger(served, pos):
    total = RING + 2 * stream.PAGE + 7
    served.do(lambda: [served.desk.publish("tap") for _ in range(total)])
    assert pos.result("watch", after=3)["gap"] is False
    assert seqs(pos, total - 3) == list(range(4, total + 1))
    publish(served, 1)
    assert seqs(pos, 1) == [total + 1]


def test_what_is_no_longer_kept_is_a_gap_and_the_rest_is_sent(tmp_path):
    with serving(tmp_path, MemoryDesk(keep=RING + 50)) as served, Pos(served.path) as pos:
        served.do(lambda: [served.desk.publish("tap") for _ in range(RING + 100)])
        assert pos.result("watch", after=49)["gap"] is True
        assert seqs(pos, 1) == [51]
        assert pos.result("watch", after=50)["gap"] is False


def test_a_second_watch_starts_the_stream_anew(served, pos):
    publish(served, 3)
    pos.result("watch")
    publish(served, 1)
    assert seqs(pos, 1) == [4]
    assert pos.result("watch", after=1)["seq"] == 4
    assert seqs(pos, 3) == [2, 3, 4]
    assert pos.result("watch")["seq"] == 4
    publish(served, 1)
    assert seqs(pos, 1) == [5]
    assert pos.idle()


def test_no_event_is_lost_or_doubled_while_others_happen(served):
    total, watchers = 1500, 5

    def storm():
        for _ in range(total):
            served.publish("tap", reader="counter")

    def follow(results, after):
        with Pos(served.path) as pos:
            reply = pos.result("watch", **({} if after is None else {"after": after}))
            first = reply["seq"] + 1 if after is None else after + 1
            got = []
            while not got or got[-1] < total:
                got += seqs(pos, 1)
                if len(got) % 97 == 0:
                    reply = pos.call("status")  # skips events: count them from where it stands
                    got = [got[0], *range(got[0] + 1, got[-1] + 1)]
                    missed = pos.result("watch", after=got[-1])
                    assert missed["gap"] is False
            results.append((first, got))

    results: list = []
    publisher = threading.Thread(target=storm)
    threads = [
        threading.Thread(target=follow, args=(results, after)) for after in [None, 0, 0, None, 0][:watchers]
    ]
    publisher.start()
    for thread in threads:
        thread.start()
    for thread in [publisher, *threads]:
        thread.join(60)
    assert len(results) == watchers
    for first, got in results:
        assert got == list(range(first, total + 1))


def test_watching_without_an_id_streams_without_a_reply(served, pos):
    publish(served, 2)
    pos.write("watch", after=0)
    assert seqs(pos, 2) == [1, 2]


def test_a_bad_watch_leaves_the_old_one_running(served, pos):
    pos.result("watch")
    assert pos.error("watch", after="1")["data"]["field"] == "after"
    publish(served, 1)
    assert seqs(pos, 1) == [1]


def test_events_already_there_are_sent_to_a_client_that_ends_its_input(served, pos):
    publish(served, 700)
    pos.write("watch", 1, after=0)
    pos.end_of_input()
    lines = pos.read_all()
    assert [line["params"]["seq"] for line in lines[1:]] == list(range(1, 701))


def test_a_watcher_that_falls_behind_what_is_kept_is_told_by_the_end_of_the_connection():
    async def run():
        desk = MemoryDesk(keep=RING)
        for _ in range(RING * 2):
            desk.publish("tap")
        with pytest.raises(stream.FellBehindError):
            await stream.page(desk, 5)
        assert (await stream.page(desk, RING))[0][0] == RING + 1

    anyio.run(run)


def test_a_ledger_that_cannot_be_read_ends_that_watcher_only(served, pos):
    served.do(lambda: [served.desk.publish("tap") for _ in range(RING + 10)])
    served.desk.faults["events"] = OSError("disk on fire")
    pos.write("watch", 1, after=0)
    assert [line["id"] for line in pos.read_all()] == [1]
    with Pos(served.path) as other:
        assert other.result("status")["state"] == "ready"
