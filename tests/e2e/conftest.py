"""End to end: the real daemon as a process, real sockets, ptys and HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rigs.daemon import ANNA, BEN, Logs, Shop
from tilltap.sandbox.service import NewPass


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logs]:
    """Where every process of the session logs. At its end no secret used in any test may be in there."""
    logs = Logs(tmp_path_factory.mktemp("logs"))
    yield logs
    assert logs.leaks() == [], f"secrets in the logs under {logs.folder}"


@pytest.fixture
def open_shop(logs: Logs) -> Iterator[Callable[..., Shop]]:
    """Shops that are closed after the test."""
    with ExitStack() as stack:

        def make(*passes: NewPass, **options: Any) -> Shop:
            return stack.enter_context(Shop(logs, *passes, **options))

        yield make


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    """One customer with 4 points and one with none; the daemon runs and its reader is up."""
    shop = open_shop(NewPass(BEN, 4), NewPass(ANNA, 0))
    shop.start()
    shop.ready()
    return shop
