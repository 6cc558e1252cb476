from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rigs.clock import BACKEND
from rigs.postgres import Postgres
from rigs.till import House


@pytest.fixture
def anyio_backend() -> Any:
    return BACKEND


@pytest.fixture(scope="session")
def shared_url(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """One till in moved time, on each kind of ledger."""
    house = House(tmp_path, durable=False)
    if request.param == "postgresql":
        url = request.getfixturevalue("shared_url")
        request.getfixturevalue("postgres").empty(url)
        house.share(url)
    house.time.loop = asyncio.get_running_loop()  # type: ignore[assignment]
    yield house
    house.stop()
    assert house.store.wrong == []
