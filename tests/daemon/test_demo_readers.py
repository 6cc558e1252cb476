"""The demo's readers: what is missing is said in one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tilltap import demo_readers
from tilltap.errors import StartError
from tilltap_drivers.pcsc import virtual


def refused(folder: Path, reader: str = "pcsc") -> str:
    with pytest.raises(StartError) as caught, demo_readers.READERS[reader](folder):
        pass
    (line,) = caught.value.lines
    return line


def test_without_vpcd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "VPCD", tmp_path / "gone")
    assert refused(tmp_path) == (
        "--reader pcsc: virtual PC/SC readers need vsmartcard-vpcd: apt install pcscd vsmartcard-vpcd util-linux"
    )


@pytest.mark.parametrize(
    ("reader", "package"),
    [("pcsc", "smartcard"), ("pcsc", "cryptography"), ("pn532", "nfc"), ("pn532", "cryptography")],
)
def test_without_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, package: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(demo_readers, "find_spec", lambda name: None if name == package else find(name))
    line = f"--reader {reader} needs the package {package}: pip install 'tilltap[{reader}]'"
    assert refused(tmp_path, reader) == line


def test_its_keys_are_nobody_else_s(tmp_path: Path) -> None:
    with demo_readers.pcsc(tmp_path) as counter:
        assert 'driver = "pcsc"' in counter.config
        assert set(counter.environment) == {"PCSCLITE_CSOCK_NAME"}
    for name in ("apple.key", "google.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "apple.key").read_text() != (tmp_path / "google.key").read_text()
