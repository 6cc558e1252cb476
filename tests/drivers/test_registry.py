import sys
from pathlib import Path

import pytest

from tilltap_drivers.contract import ReaderFault
from tilltap_drivers.pcsc.reader import PcscDriver
from tilltap_drivers.registry import DRIVERS, PLANNED, build, registration
from tilltap_drivers.replay.reader import ReplayDriver
from tilltap_drivers.vtap.reader import VtapDriver


def test_every_registered_driver_can_be_built(tmp_path: Path) -> None:
    vtap = build("vtap", name="counter", port="/dev/null")
    replay = build("replay", name="desk", tape=str(tmp_path / "x.tape"))
    pcsc = build("pcsc", name="desk", match="ACR1252")
    assert isinstance(vtap, VtapDriver)
    assert isinstance(replay, ReplayDriver)
    assert isinstance(pcsc, PcscDriver)
    assert set(DRIVERS) == {"vtap", "pcsc", "replay"}


@pytest.mark.anyio
async def test_a_driver_without_its_packages_is_a_reader_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "smartcard", None)
    monkeypatch.delitem(sys.modules, "tilltap_drivers.pcsc.reader", raising=False)
    monkeypatch.delitem(sys.modules, "tilltap_drivers.pcsc.scard", raising=False)
    driver = build("pcsc", name="desk", match="ACR1252")
    assert not driver.present()
    with pytest.raises(ReaderFault) as caught:
        await anext(driver.reads())
    assert caught.value.remedy == "driver pcsc lacks smartcard: pip install 'tilltap[pcsc]'"


@pytest.mark.parametrize("name", PLANNED)
def test_a_driver_to_come_says_so(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is not available yet"):
        registration(name)


def test_an_unknown_driver_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown driver 'vtop' .*vtap, pcsc, replay, pn532"):
        registration("vtop")


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("vtap", {"port": ""}, "port: is empty"),
        ("vtap", {"port": "/dev/x", "baud": 0}, "baud: 0"),
        ("vtap", {"port": "/dev/x", "mode": "passive"}, "mode: passive is not available yet"),
        ("vtap", {"port": "/dev/x", "mode": "loud"}, "mode: unknown mode 'loud'"),
        ("vtap", {"port": "/dev/x", "prefix": "$t"}, "prefix: begins with"),
        ("vtap", {"port": "/dev/x", "postfix": ""}, "postfix: is empty"),
        ("pcsc", {"match": " "}, "match: is empty"),
        ("pcsc", {"match": "x", "cards": ("ndef", "nfc")}, "cards: unknown kind 'nfc' (one of: ndef, uid)"),
        ("replay", {"tape": ""}, "tape: is empty"),
        ("replay", {"tape": "x", "speed": 0.0}, "speed: 0.0"),
        ("replay", {"tape": "x", "speed": float("inf")}, "speed: inf"),
    ],
)
def test_settings_that_cannot_work_name_the_field(
    driver: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError) as caught:
        build(driver, name="counter", **options)
    assert str(caught.value).startswith(words)
