from __future__ import annotations

from typing import Any

import pytest

from rigs.clock import BACKEND


@pytest.fixture
def anyio_backend() -> Any:
    return BACKEND
