"""docs/sandbox.md says what the sandbox does: names in its tables are the names in the code."""

from __future__ import annotations

import re
from pathlib import Path

from tilltap.sandbox.door import NAMES
from tilltap.sandbox.faults import MENU

TEXT = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()


def test_every_fault_is_explained_with_its_default() -> None:
    told: dict[str, str] = {}
    section = TEXT.partition("## Faults")[2].partition("## By HTTP")[0]
    for names, default in re.findall(r"^\| ((?:`[\w-]+` ?)+) \|.*\| (\w+) \|$", section, re.MULTILINE):
        told |= dict.fromkeys(re.findall(r"`([\w-]+)`", names), default)
    assert told == {fault.name: fault.endpoint for fault in MENU.values()}


def test_every_endpoint_is_listed() -> None:
    listed = TEXT.partition("## What it knows")[2].partition("## Faults")[0]
    for name in NAMES:
        method, path = name.split(" ")
        assert re.search(rf"^\| .*{method}.*/api/v1{re.escape(path)}` \|", listed, re.MULTILINE), name
