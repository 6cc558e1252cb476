from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rigs.till import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """One till in moved time; needs `anyio_backend` to be `rigs.clock.BACKEND`."""
    house = House(tmp_path, durable=False)
    house.time.loop = asyncio.get_running_loop()  # type: ignore[assignment]
    yield house
    house.stop()
    assert house.store.wrong == []
