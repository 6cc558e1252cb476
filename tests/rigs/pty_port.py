"""A serial port without hardware: a pty behind a link, pulled out by closing both ends."""

from __future__ import annotations

import os
import select
import time
import tty
from pathlib import Path
from typing import Self


class PtyPort:
    """`link` is what a driver opens; `write` and `read` are the device's side."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.master = self.slave = -1
        self.plug()

    def plug(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.link.symlink_to(os.ttyname(self.slave))

    def unplug(self) -> None:
        if self.master < 0:
            return
        self.link.unlink(missing_ok=True)
        os.close(self.master)
        os.close(self.slave)
        self.master = self.slave = -1

    def write(self, data: bytes) -> None:
        assert os.write(self.master, data) == len(data)

    def read(self, until: bytes, within: float = 3.0) -> bytes:
        """What the driver sent, as soon as it ends with `until`; else AssertionError after `within` seconds."""
        got, deadline = b"", time.monotonic() + within
        while not got.endswith(until):
            left = deadline - time.monotonic()
            assert left > 0, f"waited for {until!r}, got {got!r}"
            if select.select([self.master], [], [], left)[0]:
                got += os.read(self.master, 4096)
        return got

    def sent(self) -> bytes:
        """What the driver sent so far."""
        try:
            return os.read(self.master, 65536)
        except BlockingIOError:
            return b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
