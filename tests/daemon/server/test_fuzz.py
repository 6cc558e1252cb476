"""Whatever bytes come in, the server goes on serving: every line is answered by at most one well-formed reply.

10 000 cases of up to 64 KiB each through codec and method table, and 10 000 through a real socket.
Seeded, so that a failure is the same tomorrow.
"""

import json
import random
import threading

import pytest

from rigs.pos import Pos
from tilltap.errors import ParamError
from tilltap.model import Currency
from tilltap.server import methods
from tilltap.server.jsonrpc import LINE_LIMIT, Fault, Lines, decode

POUNDS = Currency("GBP")
SEEDS = [
    json.dumps({"jsonrpc": "2.0", "id": n, "method": name, "params": params}).encode()
    for n, (name, params) in enumerate(
        [
            ("hello", {"client": "fuzz", "protocol": 1, "token": "x"}),
            ("watch", {"after": 3}),
            ("status", {}),
            ("sale.open", {"sale_id": "1", "total": "8.00", "eligible": "7.00", "value": "cust-17"}),
            ("sale.update", {"sale_id": "1", "total": "8.00"}),
            ("sale.attach", {"sale_id": "1", "value": None}),
            ("sale.accept", {"sale_id": "1", "reward": "five-off"}),
            ("sale.close", {"sale_id": "1", "total": "8", "paid": "3.00", "tap_id": "t"}),
            ("sale.refund", {"sale_id": "1", "refund_id": "r", "till": "till-1", "amount": "1.00"}),
            ("sale.get", {"sale_id": "1"}),
            ("customer.history", {"value": "cust-17", "limit": 10}),
            ("customer.adjust", {"value": "cust-17", "points": 1, "reason": "r", "request_id": "q"}),
            ("mirror.retry", {"value": "cust-17"}),
        ]
    )
]
# What a mutation puts in: the bytes and tokens that parsers trip over.
SPICE = [
    *(bytes([b]) for b in b'{}[]",:\\\n\r\0\x1f\x7f\x80\xc0\xff-+.e019'),
    b"null",
    b"true",
    b"1e999",
    b"NaN",
    b"-0",
    b"\\ud800",
    b"\\u0000",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"9" * 5000,
    b"[" * 5000,
    b'{"a":' * 3000,
    b'"id":null',
    b'"x":1,',
]


def noise(rng):
    return rng.randbytes(int(2 ** rng.uniform(0, 16)))


def mutated(rng):
    data = bytearray(b"\n".join(rng.choice(SEEDS) for _ in range(rng.randint(1, 4))) + b"\n")
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + rng.randint(0, 20)] = rng.choice(SPICE)
            case 1:
                data[at:at] = rng.choice(SPICE)
            case 2:
                del data[at : at + rng.randint(1, 20)]
            case 3:
                data[at:at] = rng.choice(SEEDS)[: rng.randint(1, 60)]
    return bytes(data[:LINE_LIMIT])


def assert_judged(request, method):
    try:
        args = methods.check(method, request.params, POUNDS)
    except ParamError as problem:
        reply = json.loads(methods.refusal(request, problem))
    else:
        assert args.keys() <= method.params.keys()
        return
    assert isinstance(reply["error"]["data"]["field"], str)


@pytest.mark.parametrize("make", [noise, mutated])
def test_bytes_become_requests_faults_or_nothing(make):
    rng, judged = random.Random(4711), 0
    for _ in range(5000):
        lines = Lines()
        for line in lines.feed(make(rng)):
            request = decode(line)
            if isinstance(request, Fault):
                assert json.loads(request.line())["error"]["code"] in {-32700, -32600}
            elif request is not None:
                method = methods.find(request)
                if isinstance(method, methods.Method):
                    assert_judged(request, method)
                    judged += 1
        assert not lines.overlong
    assert judged > (2000 if make is mutated else -1)  # the mutants do reach the table


@pytest.mark.parametrize(("make", "cases"), [(noise, 5000), (mutated, 5000)])
def test_a_server_fed_with_it_goes_on_serving(served, make, cases):
    rng = random.Random(815)
    with Pos(served.path) as bystander:
        for _ in range(cases):
            data = make(rng)
            with Pos(served.path) as pos:
                sender = threading.Thread(target=_send_all, args=(pos, data))
                sender.start()
                replies = [line for line in pos.read_all() if "method" not in line]
                sender.join()
            asked = [decode(line) for line in data.split(b"\n")[:-1]]  # the last is half a line
            answers = sum(1 for a in asked if a is not None and not getattr(a, "notification", False))
            assert len(replies) == answers
            assert all(r["jsonrpc"] == "2.0" and ("result" in r) != ("error" in r) for r in replies)
        assert bystander.result("status")["state"] == "ready"
    assert not [e for e in served.desk.log if e.method != "sale"]


def _send_all(pos, data):
    pos.send(data)
    pos.end_of_input()
