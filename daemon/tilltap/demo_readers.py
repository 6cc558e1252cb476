"""The simulated readers of the demo: what stands in its configuration, and what a tap is.

They are the ones that the tests use. With `pcsc` and `pn532` the phones are an iPhone and an Android whose
passes the daemon really decrypts, behind a pcscd of the demo's own or a chip on a pty.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tilltap.errors import StartError

if TYPE_CHECKING:
    from tilltap_drivers.nfc.phones import Device

# A reader starts in half a second on a small machine; a slow one may take ten times that.
START_S = 15.0
# pcscd looks into its readers' fields every 0.4 s; a reading that takes much longer is one it has missed.
READ_S = 3.0
# Between two phones the field is empty for as long as a reader and its driver need to tell them apart.
AWAY_S = 1.5
TRIES = 3

TYPE_ID = "pass.com.example.coffee"
COLLECTOR = 20180608


@dataclass(frozen=True)
class Counter:
    """`config`: tables for the daemon; `tap(customer, value)`: that customer's phone, with this pass value,
    is held to the reader; `environment`: what the daemon needs to find it.
    """

    config: str
    tap: Callable[[str, str], None]
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def vtap(folder: Path) -> Iterator[Counter]:
    """`tilltap simulate vtap` on a pty."""
    link = folder / "vtap"
    command = [sys.executable, "-m", "tilltap", "simulate", "vtap", "--link", str(link)]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as reader:
        assert reader.stdin is not None
        keyboard = reader.stdin
        try:
            until = time.monotonic() + START_S
            while not link.exists():
                if reader.poll() is not None or time.monotonic() > until:
                    raise StartError("the demo could not start: no simulated VTAP")
                time.sleep(0.02)
            yield Counter(
                f'[[reader]]\nname = "counter"\ndriver = "vtap"\nport = "{link}"\n',
                lambda _, value: print(value, file=keyboard, flush=True),
            )
        finally:
            reader.terminate()


class Field(Protocol):
    """Of a simulated reader: at most one phone is in it."""

    def present(self, device: Device) -> None: ...
    def until_read(self, within: float) -> bool: ...
    def remove(self) -> None: ...


@contextmanager
def pcsc(folder: Path) -> Iterator[Counter]:
    """A reader of vpcd in a private pcscd; `anna` has an iPhone, everybody else an Android phone."""
    _need("pcsc", "smartcard", "cryptography")
    from tilltap_drivers.pcsc.virtual import VirtualError, VirtualReaders

    try:
        with VirtualReaders(folder / "pcscd") as readers:
            yield _phones(
                folder, "pcsc", f'match = "{readers.names[0]}"', readers.slots[0], readers.environment
            )
    except VirtualError as error:
        raise StartError(f"--reader pcsc: {error}") from None


@contextmanager
def pn532(folder: Path) -> Iterator[Counter]:
    """A chip on a pty; the phones are those of `pcsc`."""
    _need("pn532", "nfc", "cryptography")
    from tilltap_drivers.pn532.simulator import Pn532Simulator

    with Pn532Simulator(folder / "pn532") as board:
        yield _phones(folder, "pn532", f'port = "{board.link}"', board)


def _need(driver: str, *packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            raise StartError(
                f"--reader {driver} needs the package {package}: pip install 'tilltap[{driver}]'"
            )


def _phones(
    folder: Path, driver: str, where: str, reader: Field, environment: Mapping[str, str] | None = None
) -> Counter:
    """Passes and keys of the demo's own at a reader that does not decrypt."""
    from tilltap_drivers.nfc.phones import Android, ApplePass, GooglePass, IPhone

    apple, google = _key(folder / "apple.key"), _key(folder / "google.key")

    def phone(customer: str, value: str) -> Device:
        if customer == "anna":
            held = ApplePass(TYPE_ID, apple, value.encode())
            return IPhone([held], random=secrets.token_bytes, now=time.time)
        passes = [GooglePass(COLLECTOR, value)]
        return Android(passes, {COLLECTOR: {1: google}}, random=secrets.token_bytes)

    def tap(customer: str, value: str) -> None:
        held = phone(customer, value)
        for _ in range(TRIES):
            time.sleep(AWAY_S)
            reader.present(held)
            read = reader.until_read(READ_S)
            reader.remove()
            if read:
                break

    config = (
        f'[wallet.apple]\npass_type_id = "{TYPE_ID}"\nkeys = ["apple.key"]\n'
        f'[wallet.google]\ncollector_id = "{COLLECTOR}"\nkey = "google.key"\n'
        f'[[reader]]\nname = "counter"\ndriver = "{driver}"\n{where}\n'
    )
    return Counter(config, tap, environment or {})


def _key(file: Path) -> bytes:
    """Writes a new private key, as 64 hex digits, and answers the public point that goes into passes."""
    from tilltap_drivers.nfc.keys import P256_ORDER, from_scalar

    scalar = 1 + secrets.randbelow(P256_ORDER - 1)
    file.touch(0o600)
    file.write_text(f"{scalar:064x}\n")
    return from_scalar(scalar).public


READERS = {"vtap": vtap, "pcsc": pcsc, "pn532": pn532}
