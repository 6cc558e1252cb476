"""A kill at every crash point of every story, with a fault of the service: a seeded sample of `make crash`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from crash import plan
from crash.plan import Case
from crash.run import play
from crash.stage import Scene
from crash.verdict import Verdict
from rigs.daemon import Logs
from rigs.postgres import Postgres
from rigs.warm import Nursery

# Every point of every story once.
SAMPLE = plan.sample(39, plan.matrix())
# Each waits most of its time.
AT_ONCE = 6


@pytest.fixture(scope="module")
def verdicts(logs: Logs, postgres: Postgres) -> Iterator[dict[Case, Future[Verdict]]]:
    with Nursery() as nursery, ThreadPoolExecutor(AT_ONCE) as pool:
        scene = Scene(nursery, postgres)
        yield {case: pool.submit(play, scene, logs, case) for case in SAMPLE}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_a_crash_during_a_fault_counts_once(verdicts: dict[Case, Future[Verdict]], case: Case) -> None:
    assert verdicts[case].result(110).why == []


def test_the_sample_passes_every_point_of_every_story() -> None:
    assert {(case.story, case.point) for case in SAMPLE} == {
        (story, point) for story, points in plan.STORIES.items() for point in points
    }
