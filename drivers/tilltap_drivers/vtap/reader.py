"""The VTAP driver: a serial port, a conversation, nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio

from tilltap_drivers.contract import DriverEvent, Health, Observer
from tilltap_drivers.io.serial_port import SerialPort, matches
from tilltap_drivers.vtap.conversation import Conversation
from tilltap_drivers.vtap.settings import VtapSettings


class VtapDriver:
    """A Dot Origin VTAP in active mode on USB, RS-232 or anything else that is a tty."""

    def __init__(self, settings: VtapSettings, observe: Observer | None = None) -> None:
        self.settings = settings
        self._observe = observe

    def present(self) -> bool:
        return len(matches(self.settings.port)) == 1

    async def reads(self) -> AsyncGenerator[DriverEvent, None]:
        port = SerialPort.open(self.settings.port, self.settings.baud)
        try:
            yield Health("up")
            # Only time spent listening counts: while a tap is being dealt with its successors wait in the
            # kernel, and bytes that waited there must not look late.
            heard = 0.0
            talk = Conversation(self.settings.spec, heard)
            while True:
                commands, events = talk.due(heard)
                for command in commands:
                    if self._observe:
                        self._observe(">", command)
                    port.write(command)
                for event in events:
                    yield event
                began = anyio.current_time()
                data = await port.read(within=talk.wait(heard))
                heard += anyio.current_time() - began
                if data:
                    if self._observe:
                        self._observe("<", data)
                    for event in talk.received(data, heard):
                        yield event
        finally:
            port.close()
