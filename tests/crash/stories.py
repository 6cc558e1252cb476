"""What a POS does in each story, and what must be in the ledger afterwards.

The POS repeats every call with the same ids until it is answered; whoever finds the daemon dead starts it again.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crash.stage import HELD, Stage, wait_until
from rigs.sandbox import READ_POINTS

Json = dict[str, Any]
Fact = tuple[str, str, str, int]


@dataclass
class Told:
    """`answers`: what the POS was last told of each sale, by (till, sale); `entries`: what they must have entered,
    by (till, sale, kind, number of that kind).
    """

    answers: dict[tuple[str, str], Json] = field(default_factory=dict)
    entries: dict[Fact, int] = field(default_factory=dict)

    def entered(self, till: str, sale_id: str, **points: int | tuple[int, ...]) -> None:
        for kind, given in points.items():
            for number, each in enumerate((given,) if isinstance(given, int) else given):
                self.entries[till, sale_id, kind, number] = each


Story = Callable[[Stage, Told], None]


def earn(stage: Stage, told: Told) -> None:
    """Two sales, the second before or after the first has reached the phone."""
    _known(stage)
    for sale_id, total, points in (("s1", "10.00", 1), ("s2", "20.00", 2)):
        _close(stage, told, sale_id, total=total, value=HELD)
        told.entered(stage.till_name, sale_id, earn=points)
        stage.glance()


def redeem(stage: Stage, told: Told) -> None:
    _known(stage)
    _close(stage, told, "s1", total="80.00", value=HELD)  # a reward is left in the end: the pass shows it
    stage.glance()
    stage.call("sale.open", sale_id="s2", total="15.00", value=HELD)
    accepted = stage.call("sale.accept", sale_id="s2", reward="five-off")
    assert accepted["reserved"] == 5, accepted
    _close(stage, told, "s2", total="15.00", paid="10.00")
    told.entered(stage.till_name, "s1", earn=8)
    told.entered(stage.till_name, "s2", redeem=-5, earn=1)


def refund(stage: Stage, told: Told) -> None:
    _known(stage)
    _close(stage, told, "s1", total="30.00", value=HELD)
    told.entered(stage.till_name, "s1", earn=3)
    stage.glance()
    for refund_id, amount in (("r1", "10.00"), ("r2", "5.00")):
        params = {"sale_id": "s1", "refund_id": refund_id, "amount": amount}
        told.answers[stage.till_name, "s1"] = stage.call("sale.refund", **params)
    told.entered(stage.till_name, "s1", refund=(-1, -1))  # of 30.00 paid 20.00 and then 15.00 are left


def late(stage: Stage, told: Told) -> None:
    """Paid first, tapped afterwards."""
    _known(stage)
    _close(stage, told, "s1", total="20.00")
    told.answers[stage.till_name, "s1"] = stage.call("sale.attach", sale_id="s1", value=HELD)
    told.entered(stage.till_name, "s1", earn=2)


def offline(stage: Stage, told: Told) -> None:
    """A customer that this till does not know, while the service is away; then it answers, with the fault."""
    stage.sandbox.fault("down", count=None)
    _close(stage, told, "s1", total="20.00", value=HELD)
    told.entered(stage.till_name, "s1", earn=2)
    stage.sandbox.faults.clear()
    stage.arm()
    stage.glance()
    _close(stage, told, "s2", total="10.00", value=HELD)
    told.entered(stage.till_name, "s2", earn=1)


def reload(stage: Stage, told: Told) -> None:
    """An open sale keeps its rules; what is opened after the reload has the new ones."""
    _known(stage)
    stage.call("sale.open", sale_id="s1", total="10.00", value=HELD)
    stage.configure(stage.program.replace("points = 1", "points = 2"))
    stage.daemon.signal(signal.SIGHUP)
    wait_until(lambda: not stage.running, 10, "killed in the reload")
    _close(stage, told, "s1", total="10.00")
    _close(stage, told, "s2", total="10.00", value=HELD)
    told.entered(stage.till_name, "s1", earn=1)
    told.entered(stage.till_name, "s2", earn=2)


def freeze(stage: Stage, told: Told) -> None:
    """A till freezes with its write under way, another takes the lease, and then the first one wakes."""
    other = stage.other
    assert other is not None
    asked = stage.case.endpoint == READ_POINTS
    _known(stage, fault=not asked)
    _close(stage, told, "s1", total="20.00", value=HELD)
    wait_until(stage.daemon.stopped, 20, "frozen in a write")
    if asked:
        stage.arm()
    _close(other, told, "s1", total="10.00", value=HELD)
    stage.age_leases()
    wait_until(lambda: stage.lease_owner() == other.till_name, 20, "the lease taken over")
    stage.daemon.signal(signal.SIGCONT)
    wait_until(lambda: not stage.running, 20, "the lease found lost")
    told.entered(stage.till_name, "s1", earn=2)
    told.entered(other.till_name, "s1", earn=1)


def spool(stage: Stage, told: Told) -> None:
    """Closes while the ledger is out of reach, and the kill while they are entered."""
    _known(stage)
    stage.cut_off()
    for sale_id, total, points in (("s1", "10.00", 1), ("s2", "20.00", 2)):
        _close(stage, told, sale_id, total=total, value=HELD)
        assert told.answers.pop((stage.till_name, sale_id))["offline"]
        told.entered(stage.till_name, sale_id, earn=points)
    stage.kill()
    stage.reach_again()
    stage.launch(crash_at=stage.crash_at)


STORIES: dict[str, Story] = {
    story.__name__: story for story in (earn, redeem, refund, late, offline, reload, freeze, spool)
}


def _known(stage: Stage, *, fault: bool = True) -> None:
    """The till has met the customer, and all is well so far; then the fault is there."""
    stage.call("customer.find", value=HELD)
    if fault:
        stage.arm()


def _close(stage: Stage, told: Told, sale_id: str, **params: str) -> None:
    told.answers[stage.till_name, sale_id] = stage.call("sale.close", sale_id=sale_id, **params)
