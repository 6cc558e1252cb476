"""A loyalty service on a real loopback socket, in a thread, for tests of whatever talks to one.

with running_sandbox(NewPass("ben", 4)) as sandbox:
    sandbox.fault("apply-then-drop", endpoint=WRITE_POINTS)
    ...
    assert sandbox.balance("ben") == 5
    assert sandbox.texts("ben") == ["Thank you ..."]
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tilltap.sandbox.faults import MENU
from tilltap.sandbox.server import DEFAULT_PASSES, SandboxServer
from tilltap.sandbox.service import Change, NewPass

READ_POINTS = "GET /loyalty/{id}"
WRITE_POINTS = "PATCH /loyalty/{id}"
READ_PASS = "GET /passes/{id}"
WRITE_PASS = "PATCH /passes/{id}"


class SandboxRig(SandboxServer):
    """The server with the few questions that tests ask again and again."""

    def fault(
        self, name: str, *, endpoint: str | None = None, count: int | None = 1, seconds: float | None = None
    ) -> None:
        """The next `count` matching requests (None: all, until `self.faults.clear()`) meet the fault `name`."""
        self.faults.arm(MENU[name], endpoint=endpoint, count=count, until_off=count is None, seconds=seconds)

    def foreign(self, key: str, delta: int) -> None:
        """Somebody else changes the balance at the service."""
        self.service.apply(self.service.find(key).id, Change(delta=delta))

    def balance(self, key: str) -> int:
        return self.service.find(key).balance

    def texts(self, key: str) -> list[str]:
        """The push texts asked for, one per request: a duplicated delivery is not the caller's doing."""
        sent = {n.request: n.text for n in self.service.find(key).notifications}
        return list(sent.values())

    def requests(self, endpoint: str | None = None) -> int:
        """How many requests arrived (at `endpoint`)."""
        arrived = [entry for entry in self.service.journal() if entry.kind == "request"]
        return len([entry for entry in arrived if endpoint in (None, entry.data["endpoint"])])


@contextmanager
def running_sandbox(
    *passes: NewPass, rate_limit: bool = False, key: str | None = None
) -> Iterator[SandboxRig]:
    """Default passes: anna with 0 points and ben with 4. No rate limit unless asked for."""
    with SandboxRig(passes or DEFAULT_PASSES, rate_limit=rate_limit, key=key, clock=time.time) as sandbox:
        yield sandbox
