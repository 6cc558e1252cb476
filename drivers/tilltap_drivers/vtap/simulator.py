"""A VTAP on a pty: what a till opens as its reader when there is no reader.

A product, used by `tilltap simulate vtap`, the demo and training as much as by tests. The pty's name is put
behind a link that stays the same, so that unplugging and plugging in look as they do with a real device:
both ends of the pty go, then a new one appears under the old name. Nothing here waits for the till: what
nobody reads is lost, as on a real line.
"""

from __future__ import annotations

import math
import os
import tty
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from tilltap_drivers.vtap.virtual import Answer, Presented, VirtualVtap

# Seconds a full pty may stay full before bytes are dropped: a busy till reads by then, a closed one never.
STALL = 2.0

# Seconds the till gets to read what was sent before the plug is pulled in the middle of it.
BEFORE_PULL = 0.1

# Seconds between single bytes of a split write: about what 9600 baud gives.
BYTE_TIME = 0.001


class LinkError(Exception):
    """The link cannot be made; one line with the remedy."""


@dataclass(frozen=True, slots=True)
class _Output:
    data: bytes
    single: bool = False  # one byte at a time
    away: float | None = None  # pull the plug behind it, for so many seconds


class VtapSimulator:
    """`run` serves until cancelled; the other methods may be called from the same event loop meanwhile."""

    def __init__(self, link: Path, reader: VirtualVtap, *, log: Callable[[str], None] | None = None) -> None:
        self.link = link
        self.reader = reader
        self._log = log or (lambda _line: None)
        self._master = self._slave = -1
        self._name = ""
        self._stalled = False
        self._outputs: deque[_Output] = deque()  # not yet wholly on the line; the first is being written
        self._more = anyio.Event()
        self._idle = anyio.Event()
        self._away = 0.0
        self._pull = anyio.Event()
        self._plug = anyio.Event()

    @property
    def plugged(self) -> bool:
        return self._master >= 0 and not self._pull.is_set()

    # What one can do to it

    def tap(self, *what: Presented, single: bool = False) -> bytes:
        """Hold something to the reader; the bytes it sends (none: not admitted, passive, unplugged)."""
        now = anyio.current_time()
        data = b"".join(self.reader.present(one, now) for one in what) if self.plugged else b""
        self.send(data, single=single)
        return data

    def send(self, data: bytes, *, single: bool = False, away: float | None = None) -> None:
        """Put bytes on the line after what is already waiting; `away` pulls the plug behind them."""
        if self.plugged and (data or away is not None):
            self._outputs.append(_Output(data, single, away))
            self._more.set()

    async def drained(self) -> None:
        """Until the till had the chance to read everything sent so far."""
        while self._outputs:
            if self._idle.is_set():
                self._idle = anyio.Event()
            await self._idle.wait()
        await anyio.sleep(BEFORE_PULL)

    def unplug(self, seconds: float = math.inf) -> None:
        """Both ends of the pty and the link go now, and come back after `seconds` or by `plug`."""
        if self.plugged:
            self._away = seconds
            self._plug = anyio.Event()
            self._pull.set()

    def plug(self) -> None:
        """End an `unplug` early."""
        self._plug.set()

    # Serving

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once the link is there. `LinkError` if it cannot be made."""
        started = False
        try:
            while True:
                self._open()
                if not started:
                    task_status.started()
                    started = True
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._listen)
                    tasks.start_soon(self._speak)
                    await self._pull.wait()
                    tasks.cancel_scope.cancel()
                self._close()
                self._log("unplugged")
                with anyio.move_on_after(self._away):
                    await self._plug.wait()
                self._log("plugged in")
        finally:
            self._close()

    def _open(self) -> None:
        self._pull = anyio.Event()
        self._master, self._slave = os.openpty()
        try:
            # Our own hold on the till's end: without it every close by the till would hang up the pty.
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self._name = os.ttyname(self._slave)
            _link(self.link, self._name)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        with suppress(OSError):
            if self._name and self.link.readlink() == Path(self._name):
                self.link.unlink()
        for end in (self._master, self._slave):
            if end >= 0:
                os.close(end)
        self._master = self._slave = -1
        self._name = ""
        self._stalled = False
        self._outputs.clear()
        self._idle.set()

    async def _listen(self) -> None:
        while True:
            await anyio.wait_readable(self._master)
            with suppress(BlockingIOError):
                for answer in self.reader.receive(os.read(self._master, 4096), anyio.current_time()):
                    self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        self.send(answer.data, away=self.reader.profile.reboot_seconds if answer.reboot else None)

    async def _speak(self) -> None:
        while True:
            while self._outputs:
                await self._perform(self._outputs[0])
                self._outputs.popleft()
            self._idle.set()
            self._more = anyio.Event()
            await self._more.wait()

    async def _perform(self, output: _Output) -> None:
        if output.single:
            for byte in output.data:
                await self._write(bytes((byte,)))
                await anyio.sleep(BYTE_TIME)
        else:
            await self._write(output.data)
        if output.away is not None:
            await anyio.sleep(BEFORE_PULL)
            self.unplug(output.away)

    async def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._master, data) :]
                self._stalled = False
            except BlockingIOError:
                if self._stalled:
                    return
                with anyio.move_on_after(STALL) as waiting:
                    await anyio.wait_writable(self._master)
                if waiting.cancelled_caught:
                    self._stalled = True
                    self._log("nobody reads: bytes are lost")
                    return


def _link(link: Path, target: str) -> None:
    """Point `link` at `target` in one step; only ever replaces a link."""
    if link.exists() and not link.is_symlink():
        raise LinkError(f"{link} exists and is not a link: remove it or choose another path")
    new = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(link)
    except OSError as error:
        raise LinkError(f"{link} cannot be made: {error.strerror or error}") from None
