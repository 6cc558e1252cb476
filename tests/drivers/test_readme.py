"""What drivers/README.md shows works: the skeleton through the contract suite, the tape through its parser."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.contract_suite import DriverContract, Rig
from rigs.pty_port import PtyPort
from tilltap_drivers.contract import PassRead
from tilltap_drivers.replay.tape import parse_tape
from tilltap_drivers.vtap.frames import Framer, Reply

README = (Path(__file__).parents[2] / "drivers" / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return text


@pytest.fixture
def skeleton(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("readme_skeleton")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    exec(block("python"), module.__dict__)
    return module


class TestSkeleton(DriverContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, skeleton: types.ModuleType) -> Iterator[Rig]:
        with PtyPort(tmp_path / "scanner") as pty:
            driver = skeleton.ScannerDriver(skeleton.ScannerSettings("desk", str(pty.link)))
            yield Rig(
                driver,
                [b"4006381333931", b"two"],
                lambda: pty.write(b"4006381333931\r\ntwo\r"),
                pty.unplug,
                pty.plug,
            )


def test_the_skeleton_has_about_sixty_lines() -> None:
    assert block("python").count("\n") <= 65


def test_the_tape_is_one() -> None:
    tape = parse_tape(
        re.findall(r"^```\n(# tilltap tape.*?)^```$", README, re.DOTALL | re.MULTILINE)[0], "README.md"
    )
    framer = Framer(tape.spec)
    events = [event for wait, data in tape.sent() for event in framer.feed(data, 0.0)]
    assert events == [PassRead(b"MEMBER-0042", "google-smart-tap", "G", 1, 6, "08E9460F"), Reply(b"CC123456")]
