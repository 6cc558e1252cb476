"""`python -m crash` (from tests/): kills the daemon at every crash point, in every story, with every fault.

The last line says how many runs there were, and how many sales were lost, counted twice, or wrong, and how many
texts were sent twice. Exit 1 if any of these is not zero.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from crash import plan
from crash.plan import Case
from crash.run import play
from crash.stage import Scene
from crash.verdict import Verdict
from rigs.daemon import Logs
from rigs.postgres import Postgres
from rigs.warm import Nursery

# A run waits most of its time, for the settle time and for faults that take theirs.
IN_FLIGHT_PER_CORE = 4
PROGRESS_EVERY = 100


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="crash", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cores to use (default: all)")
    parser.add_argument("--only", action="append", default=[], help="cases whose name has this in it")
    parser.add_argument("--seed", type=int, default=plan.SEED)
    parser.add_argument("--sample", type=int, help="so many, every point of every story first")
    chosen = parser.parse_args(arguments)
    cases = [case for case in plan.matrix(chosen.seed) if all(word in str(case) for word in chosen.only)]
    if chosen.sample:
        cases = plan.sample(chosen.sample, cases, chosen.seed)
    began, total, runs = time.monotonic(), Verdict(), 0
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        for case, verdict in played(cases, Logs(Path(folder)), jobs=chosen.jobs * IN_FLIGHT_PER_CORE):
            runs += 1
            add(total, verdict)
            if not verdict.right:
                print(f"{case}: {'; '.join(verdict.why)}", flush=True)
            if runs % PROGRESS_EVERY == 0:
                print(f"... {runs} of {len(cases)} in {time.monotonic() - began:.0f} s", flush=True)
    print(
        f"runs {runs}, lost {total.lost}, double {total.double}, wrong {total.wrong},"
        f" texts sent twice {total.texts} ({time.monotonic() - began:.0f} s)"
    )
    return 0 if runs and total.right else 1


def played(cases: Sequence[Case], logs: Logs, *, jobs: int) -> Iterator[tuple[Case, Verdict]]:
    """Every case with its verdict, as they end; `jobs` at a time."""
    with ExitStack() as stack:
        needs_server = any(case.story in plan.SHARED for case in cases)
        server = stack.enter_context(Postgres()) if needs_server else None
        scene = Scene(stack.enter_context(Nursery()), server)
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        found: dict[Future[Verdict], Case] = {pool.submit(play, scene, logs, case): case for case in cases}
        try:
            for done in as_completed(found):
                yield found[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def add(total: Verdict, verdict: Verdict) -> None:
    total.lost += verdict.lost
    total.double += verdict.double
    total.wrong += verdict.wrong
    total.texts += verdict.texts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
