from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from rigs.postgres import Postgres

# Two busy cores: how long an example takes says nothing. Failures print the blob that repeats them.
settings.register_profile(
    "ci",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("ci")

# A run in the background of a shell has it ignored, and so would every process that a test starts and ends by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where a machine allows no namespaces there is one place for a pcscd (see VirtualReaders): these never meet.
ONE_PCSCD = (
    "drivers/pcsc/",
    "drivers/replay/test_record.py",
    "e2e/test_pcsc.py",
    "daemon/test_demo_readers.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`pytest -n 2`: a file stays with one worker, and so do all that start a pcscd. Each worker has a PostgreSQL."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "pcscd" if any(part in file for part in ONE_PCSCD) else file

    return ByFile(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the session; each test takes a database of its own."""
    with Postgres() as server:
        yield server
