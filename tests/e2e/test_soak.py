"""The soak in short: `make soak` runs it for as long as asked."""

from __future__ import annotations

from crash.soak import soak
from rigs.daemon import Logs


def test_two_tills_one_of_which_is_killed_again_and_again(logs: Logs) -> None:
    found = soak(logs, 12.0, kill_every=3.0, passes=10)
    assert found.right, str(found)
    assert found.kills == 3
    assert found.unknown > 0, "the service never left anything open: the test has tested nothing"
