"""Every parser of what others wrote keeps to a bound of time and memory, whatever comes."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
# Seconds of processor time for one case, of up to megabytes: what a till may stand still at the very worst.
# The slowest takes a third of it here.
MOST = 2.0


def test_no_input_costs_much_time_or_memory():
    path = os.pathsep.join(str(TESTS.parent / name) for name in ("daemon", "drivers", "tests"))
    done = subprocess.run(
        [sys.executable, "-m", "rigs.heavy"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    costs = {name: float(cost) for name, _, cost in (x.rpartition(": ") for x in done.stdout.splitlines())}
    assert len(costs) > 40
    assert {name: cost for name, cost in costs.items() if cost > MOST} == {}
