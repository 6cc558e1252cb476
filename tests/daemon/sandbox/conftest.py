from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from rigs.sandbox import SandboxRig, running_sandbox


@pytest.fixture(scope="session")
def started() -> Iterator[tuple[SandboxRig, httpx.Client]]:
    with running_sandbox() as running:
        headers = {"Authorization": "Bearer k"}
        with httpx.Client(base_url=running.url, headers=headers, timeout=5) as client:
            yield running, client


@pytest.fixture
def sandbox(started: tuple[SandboxRig, httpx.Client]) -> SandboxRig:
    """A sandbox as after the start: anna with 0 points, ben with 4, nothing wrong, nothing under way."""
    running, client = started
    client.post("/sandbox/reset").raise_for_status()
    return running


@pytest.fixture
def http(sandbox: SandboxRig, started: tuple[SandboxRig, httpx.Client]) -> httpx.Client:
    """A till's connection to the service."""
    return started[1]
