"""The steady clock: whatever happens to the clock on the wall, seconds are seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilltap import clock
from tilltap.clock import Anchor, SystemClock

START = 1_760_000_000.0


@dataclass
class Machine:
    """A computer: what is on its wall, and how long it has been on, asleep or awake."""

    wall: float = START
    boottime: float = 1000.0
    boot: int = 1

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.boottime += seconds

    def reboot(self, wall: float) -> None:
        self.wall, self.boottime, self.boot = wall, 20.0, self.boot + 1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return _plugged(Machine(), monkeypatch)


def _plugged(machine: Machine, patch: pytest.MonkeyPatch) -> Machine:
    patch.setattr(time, "time", lambda: machine.wall)
    patch.setattr(time, "clock_gettime", lambda _clock: machine.boottime)
    patch.setattr(clock, "_boot_id", lambda: f"boot-{machine.boot}")
    return machine


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -86400.0, 365 * 86400.0], ids=str)
def test_a_step_of_the_wall_clock_is_not_seen(machine: Machine, step: float) -> None:
    running = SystemClock()
    before = running.steady()
    machine.wall += step
    machine.pass_by(5)
    assert running.steady() == before + 5
    restarted = SystemClock(running.anchor())
    assert restarted.steady() == before + 5


def test_a_restart_goes_on_where_the_ledger_last_saw_the_clock(machine: Machine) -> None:
    """The anchor is half a minute old at most, and a daemon may stay away for long."""
    running = SystemClock()
    kept, before = running.anchor(), running.steady()
    machine.pass_by(29)
    machine.wall -= 7200
    machine.pass_by(4000)
    assert SystemClock(kept).steady() == before + 4029


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        (START + 600, START + 600),  # by the wall, as nothing else knows how long it was off
        (START - 600, START),  # not backwards
        (0.0, START),  # a battery that is empty
    ],
)
def test_a_reboot_goes_by_the_wall_but_never_backwards(
    machine: Machine, wall: float, expected: float
) -> None:
    kept = SystemClock().anchor()
    machine.reboot(wall)
    assert SystemClock(kept).steady() == expected


def test_a_machine_that_cannot_name_its_boot_goes_by_the_wall(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_boot_id", lambda: "")
    kept = Anchor("", 1000.0, START + 50)
    machine.pass_by(10)
    assert SystemClock(kept).steady() == START + 50


_events = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 1e6)),
        st.tuples(st.just("set"), st.floats(0, 4e9)),
        st.tuples(st.just("restart"), st.just(0.0)),
        st.tuples(st.just("reboot"), st.floats(0, 4e9)),
    ),
    max_size=12,
)


@given(_events)
def test_it_never_goes_backwards_and_counts_every_second(events: list[tuple[str, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        machine = _plugged(Machine(), patch)
        running = SystemClock()
        for what, value in events:
            before = running.steady()
            match what:
                case "pass":
                    machine.pass_by(value)
                    assert running.steady() - before == pytest.approx(value, abs=1e-3)
                case "set":
                    machine.wall = value
                    assert running.steady() == before
                case "restart":
                    running = SystemClock(running.anchor())
                    assert running.steady() == pytest.approx(before, abs=1e-3)
                case "reboot":
                    kept = running.anchor()
                    machine.reboot(value)
                    running = SystemClock(kept)
                    assert running.steady() >= before
