from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rigs.clock import BACKEND
from rigs.till import House


@pytest.fixture
def anyio_backend() -> Any:
    return BACKEND


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path, durable=False)
    house.time.loop = asyncio.get_running_loop()
    yield house
    house.stop()
    assert house.store.wrong == []
