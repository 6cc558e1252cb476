"""Readers that take commands for themselves, behind a real pcscd: what vpcd's virtual readers cannot.

The driver that pcscd loads is ifd.c, which passes everything on to a socket; the reader's firmware is here. It is
written apart from the driver under test: its own formats, and as strict as a manual.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rigs.pcsc import FOLDER
from tilltap_drivers.nfc.phones import Device
from tilltap_drivers.pcsc.virtual import ATR, GET_UID, Lifted, VirtualReaders
from tilltap_drivers.pn532.frames import body, frame
from tilltap_drivers.pn532.virtual import FIRMWARE, POLLS, VirtualPn532
from tilltap_drivers.polling.ecp import crc_a

NAME = "tilltap escape"
READER = f"{NAME} 0 00 00"

SUCCESS, NOT_SUPPORTED, COMMUNICATION_ERROR, PRESENT, ABSENT = 0, 606, 612, 615, 616
POWER_DOWN = 501
CTL_CODE = 0x42000000

# ECP for VAS, its CRC included: the published bytes, not what the driver makes.
PASSES_ONLY = bytes.fromhex("6A01000002E4D2")

_HEAD = struct.Struct("=cII")


class Field:
    """The air over a reader: at most one device."""

    def __init__(self) -> None:
        self.device: Device | None = None
        self.announced: list[bytes] = []
        self.active = False
        self._waits = False
        self._asked = 0

    def present(self, device: Device, *, waits: bool = False) -> None:
        """`waits`: it answers only where passes are asked for, as an iPhone whose pass was not chosen."""
        self.device, self._waits, self._asked, self.active = device, waits, 0, False

    def remove(self) -> None:
        device, self.device = self.device, None
        self.active = False
        if device is not None:
            device.field_off()

    @property
    def answers(self) -> bool:
        return self.device is not None and not (self._waits and self._asked < POLLS)

    def activate(self) -> bool:
        """A WUPA and what follows; who is active already does not answer one."""
        self.active = self.answers and not self.active
        return self.active

    def raw(self, sent: bytes) -> None:
        self.announced.append(sent)
        self._asked += sent == PASSES_ONLY

    def off(self) -> None:
        self._asked = 0
        if self.active and self.device is not None:
            self.device.field_off()
        self.active = False

    def exchange(self, apdu: bytes) -> bytes:
        if self.device is None:
            return b""
        try:
            return self.device.answer(apdu)
        except Lifted as lifted:
            self.remove()
            return lifted.last


class Plain:
    """A reader that polls by itself and knows no commands: what all of them do."""

    def __init__(self) -> None:
        self.field = Field()
        self.escapes: list[bytes] = []

    def escape(self, command: bytes) -> bytes:
        self.escapes.append(command)
        return b"\x6a\x81"

    def sees_card(self) -> bool:
        self.field.active = self.field.answers
        return self.field.active

    def answer(self, command: bytes) -> bytes:
        if command == GET_UID and self.field.device:
            return self.field.device.uid + b"\x90\x00"
        return self.field.exchange(command)

    def power_up(self) -> None:
        """pcscd does so as soon as it sees a card."""

    def power_down(self) -> None:
        self.field.off()


class Configurable(Plain):
    """A reader with ECP in its firmware: it polls with the frame once it was told all of `wanted`."""

    def __init__(self, wanted: list[bytes]) -> None:
        super().__init__()
        self._wanted = wanted

    def escape(self, command: bytes) -> bytes:
        self.escapes.append(command)
        return b"\xe1\x00\x00\x00\x01" + command[-1:]

    def sees_card(self) -> bool:
        if self.escapes == self._wanted:
            self.field.raw(PASSES_ONLY)
        return super().sees_card()


class Transparent(Plain):
    """PC/SC part 3, supplement 2. `flags`: the only ones (90 02) it takes a raw frame with, None for any.

    `garble` may change any answer.
    """

    def __init__(self, flags: bytes | None = None) -> None:
        super().__init__()
        self._flags = flags
        self.garble: Callable[[bytes, bytes], bytes] = lambda _command, answer: answer
        self.session = self.on = False
        self._layer = 0

    def sees_card(self) -> bool:
        return not self.session and super().sees_card()

    def escape(self, command: bytes) -> bytes:
        self.escapes.append(command)
        return self.garble(command, self._escape(command))

    def _escape(self, command: bytes) -> bytes:
        if command == GET_UID and self.field.active and self.field.device:
            return self.field.device.uid + b"\x90\x00"
        if command[:3] != b"\xff\xc2\x00":
            return b"\x6d\x00"
        part, data = command[3], self._data(command)
        if part == 0:
            status, more = self._manage(data), b""
        elif not self.session:
            return b"\x69\x82"
        elif part == 2:
            status, more = self._switch(data), b""
        else:
            status, more = self._exchange(data)
        failed = 0 if status == b"\x90\x00" else 1
        return b"\xc0\x03" + bytes((failed,)) + status + more + b"\x90\x00"

    def _data(self, command: bytes) -> list[tuple[bytes, bytes]]:
        if command[4]:
            size, data = command[4], command[5:]
        else:
            size, data = int.from_bytes(command[5:7], "big"), command[7:]
        assert len(data) - size == (1 if command[4] else 2), "Lc and Le are as they must be"
        return list(_objects(data[:size]))

    def _manage(self, data: list[tuple[bytes, bytes]]) -> bytes:
        (tag, value), *others = data
        assert value == b"", others == []
        if tag == b"\x81":
            if self.session:
                return b"\x69\x00"
            self.session = True
        elif tag == b"\x82":
            self.field.off()
            self.session = self.on = False
        elif not self.session:
            return b"\x69\x82"
        else:
            self.on = tag == b"\x84"
            if not self.on:
                self.field.off()
        return b"\x90\x00"

    def _switch(self, data: list[tuple[bytes, bytes]]) -> bytes:
        [(tag, value)] = data
        assert (tag, value[:1]) == (b"\x8f", b"\x00"), "Type A"
        self._layer = value[1]
        if self._layer < 3:
            return b"\x90\x00"
        return b"\x90\x00" if self.on and self.field.activate() else b"\x64\x01"

    def _exchange(self, data: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        given = dict(data)
        sent, flags = given[b"\x95"], given.get(b"\x90", b"")
        assert len(given[b"\x5f\x46"]) == 4
        if self._layer == 4 and self.field.active:
            assert not any(flags), "the prologue is the reader's"
            response = self.field.exchange(sent)
            if not response:
                return b"\x64\x01", b""
            return b"\x90\x00", b"\x92\x01\x00\x96\x02\x00\x00\x97" + _size(response) + response
        if self._layer != 2 or (self._flags is not None and flags != self._flags):
            return b"\x6a\x81", b""
        if self.on:
            self.field.raw(sent + crc_a(sent))
        return b"\x64\x01", b""


class Meddlesome(Transparent):
    """Shows pcscd the phone that the session holds, and lets it power that up: the phone starts anew."""

    def sees_card(self) -> bool:
        return self.field.active if self.session else super().sees_card()

    def power_up(self) -> None:
        if self.session:
            self.field.off()


class Acr122u(Plain):
    """A PN532 behind commands; while the reader polls with it, it is the reader's."""

    def __init__(self, chip: bytes = FIRMWARE) -> None:
        super().__init__()
        self.chip = VirtualPn532()
        self.chip.firmware = chip
        self.chip.asleep = False
        self.polls = True

    def escape(self, command: bytes) -> bytes:
        self.escapes.append(command)
        if command == bytes.fromhex("FF00480000"):
            return b"ACR122U215"
        if command[:3] == b"\xff\x00\x51":
            self.polls = bool(command[3] & 0x80)
            return b"\x90" + command[3:4]
        assert command[:4] == b"\xff\x00\x00\x00"
        assert len(command) == 5 + command[4]
        _ack, answer = self.chip.receive(frame(command[5:]))
        return body(answer) + b"\x90\x00" if answer else b"\x63\x00"

    def sees_card(self) -> bool:
        return self.polls and super().sees_card()


def _objects(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        width = 2 if data[0] & 0x1F == 0x1F else 1
        tag, size, data = data[:width], data[width], data[width + 1 :]
        if size == 0x81:
            size, data = data[0], data[1:]
        assert len(data) >= size
        yield tag, data[:size]
        data = data[size:]


def _size(data: bytes) -> bytes:
    size = len(data)
    return (
        bytes((size,))
        if size < 0x80
        else b"\x81" + bytes((size,))
        if size < 0x100
        else b"\x82" + size.to_bytes(2, "big")
    )


class Reader:
    """A firmware on a socket. `functions`: those under which its driver lets commands through; `feature`: that
    which it names when asked.
    """

    def __init__(self, firmware: Plain, functions: tuple[int, ...] = (1,), feature: int = 0) -> None:
        self.name = READER
        self.firmware = firmware
        self.functions = functions
        self._feature = feature
        self._socket = socket.socket(socket.AF_UNIX)
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="reader on a socket", daemon=True)

    def plug(self, path: Path) -> None:
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread.start()

    def unplug(self) -> None:
        for one in (self._connection, self._socket):
            with suppress(OSError):
                if one is not None:
                    one.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self._connection, _ = self._socket.accept()
                with self._connection, suppress(OSError, EOFError):
                    while True:
                        operation, code, size = _HEAD.unpack(self._exactly(_HEAD.size))
                        result, data = self._do(operation, code, self._exactly(size))
                        self._connection.sendall(struct.pack("=II", result, len(data)) + data)

    def _exactly(self, size: int) -> bytes:
        assert self._connection is not None
        data = b""
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _do(self, operation: bytes, code: int, data: bytes) -> tuple[int, bytes]:
        match operation:
            case b"i":
                return (PRESENT if self.firmware.sees_card() else ABSENT), b""
            case b"a":
                return SUCCESS, ATR
            case b"p":
                if code == POWER_DOWN:
                    self.firmware.power_down()
                else:
                    self.firmware.power_up()
                return SUCCESS, ATR
            case b"t":
                answer = self.firmware.answer(data)
                return (SUCCESS, answer) if answer else (COMMUNICATION_ERROR, b"")
            case _:
                return self._control(code - CTL_CODE, data)

    def _control(self, function: int, data: bytes) -> tuple[int, bytes]:
        if function == 3400:
            named = b"\x13\x04" + (CTL_CODE + self._feature).to_bytes(4, "big") if self._feature else b""
            return SUCCESS, b"\x12\x04\x42\x33\x00\x12" + named
        if function not in self.functions:
            return (COMMUNICATION_ERROR if function == 1 else NOT_SUPPORTED), b""
        return SUCCESS, self.firmware.escape(data)


@functools.cache
def driver() -> Path:
    """The driver, compiled: the compiler and pcscd's headers come with `make setup`."""
    folder = Path(tempfile.mkdtemp(prefix="tt-ifd-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "ifd.so"
    source = Path(__file__).with_name("ifd.c")
    subprocess.run(
        [
            "gcc",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
            "-shared",
            "-fPIC",
            "-I/usr/include/PCSC",
            "-o",
            library,
            source,
        ],
        check=True,
    )
    return library


@contextmanager
def pcscd(*plugged: Reader) -> Iterator[VirtualReaders]:
    """A pcscd with those readers, and two of vpcd's before them."""
    shutil.rmtree(FOLDER)
    readers = VirtualReaders(FOLDER)
    os.environ.update(readers.environment)
    for number, reader in enumerate(plugged):
        reader.name = f"{NAME} {number} 00 00"
        line = FOLDER / f"ifd{number}"
        # A loaded driver serves one entry; a copy of its file is another driver.
        library = shutil.copy(driver(), FOLDER / f"ifd{number}.so")
        (FOLDER / "readers" / line.name).write_text(
            f'FRIENDLYNAME "{NAME} {number}"\nDEVICENAME {line}\nLIBPATH {library}\nCHANNELID 0\n'
        )
        reader.plug(line)
    try:
        with readers:
            yield readers
    finally:
        for reader in plugged:
            reader.unplug()
