import sys
from pathlib import Path

import pytest

from tilltap_drivers.contract import ReaderFault
from tilltap_drivers.pcsc.reader import PcscDriver
from tilltap_drivers.pn532.reader import Pn532Driver
from tilltap_drivers.registry import DRIVERS, build, registration
from tilltap_drivers.replay.reader import ReplayDriver
from tilltap_drivers.vtap.reader import VtapDriver


def test_every_registered_driver_can_be_built(tmp_path: Path) -> None:
    vtap = build("vtap", name="counter", port="/dev/null")
    replay = build("replay", name="desk", tape=str(tmp_path / "x.tape"))
    pcsc = build("pcsc", name="desk", match="ACR1252")
    assert isinstance(vtap, VtapDriver)
    assert isinstance(replay, ReplayDriver)
    assert isinstance(pcsc, PcscDriver)
    assert isinstance(build("pn532", name="desk", port="/dev/null"), Pn532Driver)
    assert set(DRIVERS) == {"vtap", "pcsc", "pn532", "replay"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "package", "edge", "options"),
    [
        ("pcsc", "smartcard", "scard", {"match": "ACR1252"}),
        ("pn532", "nfc", "chip", {"port": "/dev/null"}),
    ],
)
async def test_a_driver_without_its_packages_is_a_reader_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str, edge: str, options: dict[str, str]
) -> None:
    for loaded in [module for module in sys.modules if module.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"tilltap_drivers.{name}.reader", raising=False)
    monkeypatch.delitem(sys.modules, f"tilltap_drivers.{name}.{edge}", raising=False)
    driver = build(name, name="desk", **options)
    assert not driver.present()
    with pytest.raises(ReaderFault) as caught:
        await anext(driver.reads())
    assert caught.value.remedy == f"driver {name} lacks {package}: pip install 'tilltap[{name}]'"


def test_an_unknown_driver_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown driver 'vtop' .*vtap, pcsc, pn532, replay"):
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
