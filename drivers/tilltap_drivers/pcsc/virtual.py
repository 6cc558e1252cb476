"""PC/SC readers without hardware: a pcscd of one's own with the vpcd driver, and cards for its readers.

For tests and demonstrations; shipped, not a mock: pcscd, its library and the driver under test are the real
ones. Source of the wire format: the project's PC/SC notes (ecp-and-pcsc.md, section 4).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tilltap_drivers.nfc.phones import Device, Lifted

# Where pcscd listens; the path is built into it.
RUN = Path("/run/pcscd")

# Puts the folder $1 there, which takes a namespace, and becomes the command that follows.
IN_NAMESPACE = """
[ -d /run/pcscd ] || { mount -t tmpfs none /run && mkdir /run/pcscd; }
mount --bind "$1" /run/pcscd && shift && exec "$@"
"""

# Where Debian's vsmartcard-vpcd puts the driver.
VPCD = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
INSTALL = "apt install pcscd vsmartcard-vpcd util-linux"

# A contactless card without historical bytes (ecp-and-pcsc.md, 3.2).
ATR = bytes.fromhex("3B80800101")

# Readers of one loaded vpcd, on consecutive ports.
SLOTS = 2

# Seconds pcscd may take until it listens; it needs 0.05.
START = 10.0

# Ports tried for the virtual readers; vpcd listens on all addresses.
FIRST_PORT, LAST_PORT = 36000, 60000

# Seconds a reader waits for a card that says nothing: its frame waiting time (ISO/IEC 14443-4), some frames.
TIME_LIMIT = 0.2

# What it gives back then. vpcd has no word for that, but less than a status word is no response either; it
# waits for ever on no bytes at all.
NOTHING = b"\x00"

# A reader's own command (PC/SC part 3, 3.2.2.1.3): the number of the chip.
GET_UID = bytes.fromhex("FFCA000000")

# What vpcd asks with a message of one byte.
POWER_OFF, POWER_ON, RESET, GET_ATR = 0, 1, 2, 4


class VirtualError(Exception):
    """The virtual readers cannot be had; one line with the remedy."""


class VirtualReaders:
    """A private pcscd with `count` readers; `slots[n]` is the field of the reader `names[n]`.

    It runs in a mount namespace of its own, so that it neither meets nor disturbs the machine's pcscd; a
    process reaches it through `environment`, which its PC/SC library reads once, at its first call. Where the
    machine allows no namespaces (some containers) it takes the machine's place, if that is free.
    """

    def __init__(self, folder: Path, count: int = 1, name: str = "tilltap virtual") -> None:
        self._pcscd = _program("pcscd")
        self._unshare = [_program("unshare"), "--mount", *(["--map-root-user"] if os.geteuid() else [])]
        if not VPCD.exists():
            raise VirtualError(f"virtual PC/SC readers need vsmartcard-vpcd: {INSTALL}")
        self.folder = folder
        self.names = [f"{name} {n // SLOTS} 00 {n % SLOTS:02}" for n in range(count)]
        ports = free_ports(-(-count // SLOTS))
        self.slots = [Slot(ports[n // SLOTS] + n % SLOTS) for n in range(count)]
        self._process: subprocess.Popen[bytes] | None = None
        trial = subprocess.run([*self._unshare, "true"], check=False, capture_output=True)  # noqa: S603 - our own
        self._private = trial.returncode == 0
        self._run = folder / "run" if self._private else RUN
        try:
            self._run.mkdir(parents=True, exist_ok=not self._private)
        except PermissionError:
            raise VirtualError("virtual PC/SC readers need namespaces (unshare), or root") from None
        self._config = _configure(folder, name, ports)

    @property
    def environment(self) -> dict[str, str]:
        return {"PCSCLITE_CSOCK_NAME": str(self._run / "pcscd.comm")}

    def start(self) -> None:
        """VirtualError if pcscd does not come up."""
        if self._answers():
            raise VirtualError(
                "this machine's pcscd is in the way: systemctl stop pcscd.socket pcscd.service"
            )
        for left in ("pcscd.comm", "pcscd.pid"):
            (self._run / left).unlink(missing_ok=True)
        pcscd = [self._pcscd, "--foreground", "--config", str(self._config)]
        if self._private:
            pcscd = [*self._unshare, "sh", "-c", IN_NAMESPACE, "sh", str(self._run), *pcscd]
        with (self.folder / "pcscd.log").open("ab") as log:
            self._process = subprocess.Popen(pcscd, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - our own
        until = time.monotonic() + START
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise VirtualError(f"pcscd did not start: {self._last_words()}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.environment["PCSCLITE_CSOCK_NAME"]) == 0

    def _is_ready(self) -> bool:
        # Its readers must wait for cards too; to connect to one would put a card into it.
        return self._answers() and not any(_is_free(slot.port) for slot in self.slots)

    def _last_words(self) -> str:
        lines = (self.folder / "pcscd.log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ends pcscd, with `SIGKILL` as a crash would."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for slot in self.slots:
            slot.remove()
        self.stop()


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        raise VirtualError(f"virtual PC/SC readers need {name}: {INSTALL}")
    return found


def _configure(folder: Path, name: str, ports: list[int]) -> Path:
    """The folder of pcscd's configuration, one file for each pair of readers."""
    config = folder / "readers"
    config.mkdir(parents=True)
    for number, port in enumerate(ports):
        # A loaded driver serves one entry; a copy of its file is another driver.
        library = shutil.copy(VPCD, folder / f"vpcd{number}.so")
        (config / str(number)).write_text(
            f'FRIENDLYNAME "{name} {number}"\nDEVICENAME /dev/null:{port:#x}\n'
            f"LIBPATH {library}\nCHANNELID {port:#x}\n"
        )
    return config


def free_ports(count: int) -> list[int]:
    """`count` ports, each free with those of the further slots above it."""
    start = FIRST_PORT + os.getpid() * 64 % (LAST_PORT - FIRST_PORT)
    found: list[int] = []
    for port in range(start, LAST_PORT + 2000, SLOTS):
        if all(_is_free(port + slot) for slot in range(SLOTS)):
            found.append(port)
        if len(found) == count:
            return found
    raise VirtualError("no free ports for virtual readers on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


class Slot:
    """One virtual reader's field: at most one device is in it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._read = threading.Event()

    def present(self, device: Device) -> None:
        """Puts the device into the field, where it answers from a thread until it is removed."""
        assert self._thread is None, "there is a device in the field"
        self._read.clear()
        self._connection = socket.create_connection(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._live, args=(self._connection, device), daemon=True)
        self._thread.start()

    def remove(self) -> None:
        """Takes the device out of the field; without one, nothing happens."""
        if self._connection is None or self._thread is None:
            return
        _shut(self._connection)
        self._thread.join()
        self._connection = self._thread = None

    def until_read(self, within: float) -> bool:
        """Until the reader has ended its conversation by resetting the field, or the device has left."""
        return self._read.wait(within)

    def _live(self, connection: socket.socket, device: Device) -> None:
        with connection, suppress(OSError):  # the reader, or pcscd as a whole, went away
            self._serve(connection, device)
        self._read.set()

    def _serve(self, connection: socket.socket, device: Device) -> None:
        talked = False
        while (message := _receive(connection)) is not None:
            if len(message) > 1:
                talked = True
                try:
                    _send(connection, _answer(device, message))
                except Lifted as lifted:
                    if lifted.last:
                        _send(connection, lifted.last)
                    return
            elif message[0] == GET_ATR:
                _send(connection, ATR)
            elif message[0] in (POWER_OFF, RESET):
                device.field_off()
                if talked:
                    self._read.set()


def _answer(device: Device, command: bytes) -> bytes:
    """What comes out of the reader: some things it knows by itself, and it waits for nobody for ever."""
    if command == GET_UID:
        return device.uid + b"\x90\x00"
    answer = device.answer(command)
    if not answer:
        time.sleep(TIME_LIMIT)
    return answer or NOTHING


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # the other end was faster
        connection.shutdown(socket.SHUT_RDWR)


def _receive(connection: socket.socket) -> bytes | None:
    size = _exactly(connection, 2)
    return _exactly(connection, int.from_bytes(size, "big")) if size else None


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        # vpcd sends length and data apart, and the second only once the first is acknowledged: without this
        # every APDU costs the 40 ms of a delayed acknowledgement. The kernel forgets it, so it is said again.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = connection.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(len(data).to_bytes(2, "big") + data)
