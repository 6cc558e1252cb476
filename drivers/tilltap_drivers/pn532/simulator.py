"""A PN532 on a pty: what a till opens as its reader when there is no reader.

A thread serves the line, so that tests and the demo need no event loop. Pulling the plug takes both ends
of the pty, as with a real device, and a new one appears under the old name.
"""

from __future__ import annotations

import os
import select
import termios
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tilltap_drivers.nfc.phones import Device
from tilltap_drivers.pn532.virtual import VirtualPn532

# Seconds between two looks whether the plug was pulled.
_LOOK = 0.02

_SPEEDS = {
    getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()
}


class _Watched:
    """A device that tells when a conversation with it is over."""

    def __init__(self, device: Device, over: Callable[[], None]) -> None:
        self._device = device
        self._over = over
        self._talked = False

    @property
    def uid(self) -> bytes:
        return self._device.uid

    def answer(self, command: bytes) -> bytes:
        self._talked = True
        return self._device.answer(command)

    def field_off(self) -> None:
        self._device.field_off()
        if self._talked:
            self._over()


class Pn532Simulator:
    """`link` is what a driver opens. `delay`: seconds each frame is late; `noise`: bytes before each."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.chip = VirtualPn532()
        self.delay = 0.0
        self.noise = b""
        self._lock = threading.Lock()
        self._pulled = threading.Event()
        self._read = threading.Event()
        self._thread: threading.Thread | None = None

    def present(self, device: Device, *, iso_dep: bool = True, waits: bool = False) -> None:
        with self._lock:
            self._read.clear()
            self.chip.present(_Watched(device, self._read.set), iso_dep=iso_dep, waits=waits)

    def remove(self) -> None:
        with self._lock:
            self.chip.remove()

    def until_read(self, within: float) -> bool:
        """Until the reader has ended its conversation by resetting the field, or the device has left."""
        return self._read.wait(within)

    def plug(self) -> None:
        """Power on, and the link is there when this returns."""
        self.chip.power_on()
        self._pulled.clear()
        master, slave = os.openpty()
        tty.setraw(slave)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(slave))
        self._thread = threading.Thread(target=self._serve, args=(master, slave), name="virtual pn532")
        self._thread.start()

    def unplug(self) -> None:
        if self._thread is not None:
            self.link.unlink(missing_ok=True)
            self._pulled.set()
            self._thread.join()
            self._thread = None

    def _serve(self, master: int, slave: int) -> None:
        # The till's end is held open too: without it every close by the till would hang up the pty.
        try:
            while not self._pulled.is_set():
                if not select.select([master], [], [], _LOOK)[0]:
                    continue
                data = os.read(master, 4096)
                with self._lock:
                    heard = _SPEEDS.get(termios.tcgetattr(slave)[4]) == self.chip.speed
                    for said in self.chip.receive(data) if heard else ():
                        time.sleep(self.delay)
                        os.write(master, self.noise + said)
        finally:
            os.close(master)
            os.close(slave)

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
