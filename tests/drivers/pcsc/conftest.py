from __future__ import annotations

from collections.abc import Iterator

import pytest

from rigs import pcsc
from tilltap_drivers.pcsc.virtual import VirtualReaders


@pytest.fixture
def readers() -> Iterator[VirtualReaders]:
    """A pcscd with one reader."""
    with pcsc.pcscd() as running:
        yield running
