"""Virtual readers: real pcscd where it can be had, and a sentence where it cannot."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from tilltap_drivers.nfc.phones import MuteCard, PaymentCard
from tilltap_drivers.pcsc import virtual
from tilltap_drivers.pcsc.virtual import ATR, Slot, VirtualError, VirtualReaders


@pytest.fixture
def listener() -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(3)
        yield server


def ask(reader: socket.socket, message: bytes) -> bytes:
    """As vpcd does it: length and data in two writes."""
    reader.sendall(len(message).to_bytes(2, "big"))
    reader.sendall(message)
    return reader.recv(2) and reader.recv(300)


def test_a_slot_speaks_vpcd(listener: socket.socket) -> None:
    slot = Slot(listener.getsockname()[1])
    slot.present(PaymentCard(b"\x12\x34\x56\x78"))
    reader, _ = listener.accept()
    with reader:
        assert ask(reader, b"\x04") == ATR
        reader.sendall(b"\x00\x01\x01")  # power on: no answer
        assert ask(reader, bytes.fromhex("00A4040005A000000001")) == b"\x6a\x82"
        assert ask(reader, bytes.fromhex("FFCA000000")) == b"\x12\x34\x56\x78\x90\x00"
        assert not slot.until_read(0.05)
        reader.sendall(b"\x00\x01\x00")  # power off: the conversation is over
        assert slot.until_read(3)
        slot.remove()
        assert reader.recv(1) == b""


def test_a_mute_card_costs_the_reader_its_time_limit_and_gives_no_response(listener: socket.socket) -> None:
    slot = Slot(listener.getsockname()[1])
    slot.present(MuteCard())
    reader, _ = listener.accept()
    with reader:
        assert len(ask(reader, bytes.fromhex("00A4040000"))) < 2
        slot.remove()


def test_a_reader_that_goes_ends_the_slot_s_thread(listener: socket.socket) -> None:
    slot = Slot(listener.getsockname()[1])
    slot.present(PaymentCard())
    listener.accept()[0].close()
    assert slot.until_read(3)
    slot.remove()
    slot.remove()


def test_what_is_missing_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which
    for missing in ("pcscd", "unshare"):
        with monkeypatch.context() as patch:
            patch.setattr(
                shutil,
                "which",
                lambda name, path, missing=missing: None if name == missing else found(name, path=path),
            )
            with pytest.raises(VirtualError, match=f"need {missing}: apt install pcscd vsmartcard-vpcd"):
                VirtualReaders(tmp_path / missing)
    monkeypatch.setattr(virtual, "VPCD", tmp_path / "gone")
    with pytest.raises(VirtualError, match="need vsmartcard-vpcd: apt install"):
        VirtualReaders(tmp_path / "x")


def test_a_driver_that_cannot_be_loaded_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(virtual, "VPCD", broken)
    monkeypatch.setattr(virtual, "START", 0.5)
    with pytest.raises(VirtualError) as caught, VirtualReaders(tmp_path / "x"):
        pass
    assert str(caught.value).startswith("pcscd did not start: ")
    assert "\n" not in str(caught.value)


def test_without_namespaces_the_machine_s_place_must_be_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual, "RUN", tmp_path)
    no_namespaces = tmp_path / "unshare"
    no_namespaces.write_text("#!/bin/sh\nexit 1\n")
    no_namespaces.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    readers = VirtualReaders(tmp_path / "x")
    assert readers.environment == {"PCSCLITE_CSOCK_NAME": str(tmp_path / "pcscd.comm")}
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "pcscd.comm"))
        other.listen()
        with pytest.raises(VirtualError, match="this machine's pcscd is in the way: systemctl stop"):
            readers.start()
