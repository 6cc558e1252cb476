"""Neighbours that mean no good: a loyalty service that lies, and programs on the machine that are rude.

Whatever they do, the daemon stays up and small, a good POS is answered in time, no wrong balance is taken over,
and the API key goes nowhere but to the service (contract section 3, promises 5 and 6).
"""

from __future__ import annotations

import gzip
import http.client
import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from rigs.daemon import ANNA, BEN, KEY, Shop, wait_until
from rigs.others import OtherUser, can_change
from rigs.pos import Pos
from rigs.raw_service import Drip, Pause, RawService, Request, Script, Step, reply
from tilltap.sandbox.service import NewPass
from tilltap.server.listen import CLIENTS

# Contract section 3: every call answers within this time.
ANSWER = 2.0
# What a daemon may grow by, bytes, while the neighbours do their worst; it has some 70 MB to begin with.
GROWTH = 64 << 20


def most_memory(shop: Shop) -> int:
    """The daemon's largest resident size so far, in bytes."""
    assert shop.daemon is not None
    status = Path(f"/proc/{shop.daemon.popen.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


# -- a loyalty service that lies --------------------------------------------------------------------------

Lie = Callable[[Request, "Liar"], Script]


class Liar:
    """Stands before an honest service and passes everything on, unless told to lie about reads of a balance."""

    def __init__(self, honest: str, elsewhere: str) -> None:
        self.elsewhere = elsewhere
        self.lie: Lie | None = None
        self.told: list[str] = []  # what was asked for when the answer was a lie
        self._honest = honest.removeprefix("http://")

    def __call__(self, request: Request) -> Script:
        if self.lie is not None and "/loyalty/" in request.target:
            self.told.append(request.target)
            return self.lie(request, self)
        status, body = self.ask(request.method, request.target, request)
        return [reply(status, body, headers=[("Content-Type", "application/json")])]

    def ask(self, method: str, target: str, request: Request) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._honest, timeout=5)
        headers = {"Authorization": request.header("authorization") or "", "Content-Type": "application/json"}
        connection.request(method, target, request.body or None, headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def document(self, request: Request, balance: Any, **attributes: Any) -> dict[str, Any]:
        """What the honest service would say, with another balance and other attributes."""
        _, body = self.ask("GET", request.target, request)
        document = json.loads(body)
        if "data" in document:
            document["meta"]["loyalty"] = {"balance": balance}
            document["data"]["attributes"].update(attributes)
        return document


def says(balance: Any) -> Lie:
    return lambda request, liar: [reply(200, liar.document(request, balance))]


def of_another_pass(**attributes: Any) -> Lie:
    def lie(request: Request, liar: Liar) -> Script:
        _, body = liar.ask("GET", f"/api/v1/loyalty/{ANNA}", request)
        document = json.loads(body)
        document["data"]["attributes"].update(attributes)
        return [reply(200, document)]

    return lie


def sends(*script: Any) -> Lie:
    return lambda _request, _liar: script


def leads_away(status: int) -> Lie:
    return lambda request, liar: [
        reply(status, headers=[("Location", f"{liar.elsewhere}{request.target}"), ("Connection", "close")])
    ]


def endless(head: bytes, line: bytes) -> Lie:
    """Megabytes, one at a time, so that the sender sees when nobody listens any more."""
    return sends(head, *[line * ((1 << 20) // len(line))] * 32, Step.CLOSE)


OK = b"HTTP/1.1 200 OK\r\n"
LIES: dict[str, Lie] = {
    "a list": says([4]),
    "an object": says({"balance": 9}),
    "a word": says("nine"),
    "true": says(True),
    "a fraction": says(4.5),
    "far too much": says(10**30),
    "beyond any number": lambda r, liar: [
        reply(200, json.dumps(liar.document(r, 777777)).replace("777777", "1e999999999").encode())
    ],
    "digits without end": lambda r, liar: [
        reply(200, json.dumps(liar.document(r, 777777)).replace("777777", "9" * 900_000).encode())
    ],
    "another pass": of_another_pass(),
    "another pass without a name": of_another_pass(extId=None, nfc=None),
    "10 MB": lambda r, liar: [reply(200, b" " * (10 << 20) + json.dumps(liar.document(r, 9)).encode())],
    "a claim of 1 GB": sends(OK + b"Content-Length: 1000000000\r\n\r\n{", Pause(ANSWER), Step.CLOSE),
    "brackets": sends(reply(200, b"[" * 1_000_000)),
    "a bomb": lambda r, liar: [
        reply(
            200,
            gzip.compress(b" " * (32 << 20) + json.dumps(liar.document(r, 9)).encode()),
            headers=[("Content-Encoding", "gzip")],
        )
    ],
    "headers without end": endless(OK, b"X-More: of this\r\n"),
    "one header without end": endless(OK + b"X-Long: ", b"x"),
    "chunks without end": endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    ),
    "not yet, not yet": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a drip": sends(Drip(OK + b"Content-Length: 2\r\n\r\n{}", 0.05)),
    "go elsewhere": leads_away(307),
    "gone elsewhere": leads_away(301),
}


# What only the service can know it must be believed: whose a value is that nobody has seen before.
BELIEVED = "another pass without a name"


def test_a_service_that_lies_is_down_and_changes_no_balance(open_shop) -> None:
    shop = open_shop(NewPass(BEN, 4), NewPass(ANNA, 30), readers="")
    with RawService.threaded() as elsewhere, ExitStack() as stack:
        liar = Liar(shop.sandbox.url, elsewhere.url)
        service = stack.enter_context(RawService.threaded(answer=liar))
        shop.configure(url=service.url)
        shop.start()
        assert shop.ask("customer.find", value=BEN)["balance"] == 4
        before = most_memory(shop)
        with shop.pos() as pos:
            anew = (pos.call("customer.find", value=f"zz-secret-none-{n}") for n in count())

            def told_the_truth() -> bool:
                """Whoever asks while the passes are still being listed is told `offline`."""
                return next(anew)["error"]["data"]["code"] == "unknown-pass"

            for n, (name, lie) in enumerate(LIES.items()):
                # The truth in between: the mirror need not wait out its patience with one lie after the other.
                liar.lie = None
                wait_until(told_the_truth, 20, "to be told the truth")
                shown(shop, 4 + n)
                liar.lie, liar.told = lie, []
                try:
                    lied_to(shop, pos, liar, name, n)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from error
            liar.lie = None
            wait_until(told_the_truth, 20, "to be told the truth")
            shown(shop, 4 + len(LIES))
            assert pos.result("status")["state"] == "ready"
            assert pos.result("status")["mirror"]["foreign"] == 0
            kinds = {e["kind"] for e in pos.result("customer.history", value=BEN, limit=1000)["entries"]}
            assert kinds == {"opening", "earn"}
        assert elsewhere.connections == 0, "somebody else was sent what is the service's"
        assert all(r.header("authorization") == f"Bearer {KEY}" for r in service.requests)
        assert most_memory(shop) - before < GROWTH
        assert shop.stop() == 0


def lied_to(shop: Shop, pos: Pos, liar: Liar, name: str, n: int) -> None:
    """The lie is told to a cashier who asks and to the mirror that reads; neither is misled."""
    began = time.monotonic()
    ask_anew(pos, f"zz-secret-new-{n}", {"offline", "unknown-pass", *(["found"] if name == BELIEVED else [])})
    assert time.monotonic() - began < ANSWER
    assert pos.result("sale.close", sale_id=name, total="10.00", value=BEN)["earned"] == 1
    pos.result("mirror.retry")
    ben = shop.sandbox.service.find(BEN).id
    wait_until(lambda: any(ben in target for target in liar.told), 20, "to be told")
    if name != BELIEVED:
        wait_until(lambda: pos.result("status")["loyalty"]["state"] == "down", 10, "loyalty to be down")
        assert pos.result("status")["state"] == "degraded"
    assert pos.result("customer.find", value=BEN)["balance"] == 5 + n


def ask_anew(pos: Pos, value: str, answers: set[str]) -> None:
    told = pos.call("customer.find", value=value)
    assert (told["error"]["data"]["code"] if "error" in told else "found") in answers


def shown(shop: Shop, balance: int) -> None:
    wait_until(lambda: shop.sandbox.balance(BEN) == balance, 20, f"the pass to show {balance}")


# -- programs on the machine ------------------------------------------------------------------------------

CONNECTIONS = 500


def rude(path: Path, number: int) -> Pos:
    """One of those that are let in: silent, half a line, a watcher or a caller that never reads."""
    pos = Pos(path, receive_buffer=4096)
    match number % 4:
        case 0:
            pos.send(b'{"jsonrpc": "2.0", "id": 1, "meth')
        case 1:
            pos.write("watch", 1, after=0)
        case 2:
            pos.sock.settimeout(0.05)
            try:
                for _ in range(400):
                    pos.write("customer.history", 1, value=BEN, limit=1000)
            except TimeoutError:
                pass  # it is not read any more, as it should be
    return pos


def test_five_hundred_connections_are_served_or_told_and_a_good_pos_notices_nothing(open_shop) -> None:
    shop = open_shop(NewPass(BEN, 4), readers="")
    shop.start()
    before = most_memory(shop)
    with shop.pos() as good, ExitStack() as stack:
        good.result("hello", client="good")
        waits: list[float] = []

        def sell() -> None:
            began = time.monotonic()
            good.result("sale.close", sale_id=f"s{len(waits)}", total="10.00", value=BEN)
            waits.append(time.monotonic() - began)

        for _ in range(20):
            sell()
        alone = statistics.median(waits)
        inside = [stack.enter_context(rude(shop.socket, n)) for n in range(CLIENTS - 1)]
        sell()
        outside = []
        for n in range(CONNECTIONS - CLIENTS):
            pos = stack.enter_context(shop.pos())
            pos.write("sale.close", f"id-{n}", sale_id=f"outside-{n}", total="10.00", value=BEN)
            outside.append(pos)
            if n % 10 == 0:
                sell()
        answers = [pos.read() for pos in outside]
        assert all(a["error"]["data"] == {"code": "overloaded", "retry": True} for a in answers)
        assert {a["id"] for a in answers} <= {None, *(f"id-{n}" for n in range(CONNECTIONS))}
        for pos in inside[::3]:
            pos.close()  # in the middle of whatever they were doing
        for _ in range(20):
            sell()
        crowded = waits[20:]
        assert max(crowded) < ANSWER
        assert statistics.median(crowded) < max(10 * alone, 0.25)
        with shop.pos() as late:  # there is room again
            assert late.result("sale.get", sale_id="s0")["state"] == "closed"
        assert len(good.result("customer.history", value=BEN, limit=1000)["entries"]) == len(waits) + 1
    assert most_memory(shop) - before < GROWTH
    assert shop.stop() == 0


LINES = {
    "brackets": b"[" * 65_000 + b"\n",
    "objects": b'{"a":' * 12_000 + b"\n",
    "digits": b'{"jsonrpc":"2.0","id":' + b"9" * 65_000 + b',"method":"status"}\n',
    "a large exponent": b'{"jsonrpc":"2.0","id":1e999999999,"method":"status"}\n',
    "keys": b"{" + b",".join(b'"%d":0' % n for n in range(7000)) + b"}\n",
    "escapes": b'{"jsonrpc":"2.0","id":1,"method":"' + b"\\ud800" * 10_000 + b'"}\n',
    "zeros": bytes(65_000) + b"\n",
}


def test_heavy_lines_cost_no_time_and_no_memory(open_shop) -> None:
    shop = open_shop(NewPass(BEN, 4), readers="")
    shop.start()
    before = most_memory(shop)
    with shop.pos() as good, shop.pos() as bad:
        for name, line in LINES.items():
            for _ in range(20):
                began = time.monotonic()
                bad.send(line)
                assert "error" in bad.read(), name
                assert good.result("status")["state"] in ("starting", "ready", "degraded")
                assert time.monotonic() - began < ANSWER, name
        with shop.pos() as endless:
            endless.send_until_closed(b"x" * (1 << 20))
    assert most_memory(shop) - before < GROWTH
    assert shop.stop() == 0


def test_a_program_outside_the_group_looks_and_does_not_sell(open_shop) -> None:
    shop = open_shop(NewPass(BEN, 4), readers="")
    sellers, lookers = 1, 54_321  # of Debian's groups, the one every machine has
    shop.config.write_text(shop.config.read_text().replace("[pos]", '[pos]\nwrite_group = "daemon"'))
    shop.start()
    shop.folder.chmod(0o711)
    shop.socket.chmod(0o666)
    sale = {"sale_id": "s1", "total": "10.00", "value": BEN}
    with OtherUser(shop.socket, lookers) as display, OtherUser(shop.socket, lookers, [sellers]) as pos:
        assert display.call("hello", client="display")["result"]["till"] == "till-1"
        refused = display.call("sale.close", **sale)
        if can_change():
            assert refused["error"]["data"] == {"code": "unauthorised", "retry": False}
            assert display.call("sale.get", sale_id="s1")["error"]["data"]["code"] == "unknown-sale"
        else:  # then it runs as the daemon's own user, who always may
            assert refused["result"]["state"] == "closed"
        assert pos.call("sale.close", **sale)["result"]["earned"] == 1
        assert display.call("sale.get", sale_id="s1")["result"]["state"] == "closed"
    assert shop.stop() == 0
