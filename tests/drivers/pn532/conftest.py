from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tilltap_drivers.pn532.simulator import Pn532Simulator


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Pn532Simulator]:
    """An emulated PN532, plugged in."""
    with Pn532Simulator(tmp_path / "pn532") as running:
        yield running
