"""The contract between a reader driver and whoever runs it: plain values, no loyalty, no callbacks.

A driver is built from its settings and gives one async iterator per run. It yields what happened and
raises `ReaderFault` when the device is gone or is not what it should be; the supervisor waits and runs it
again, for ever. Drivers never sleep through a cancel and never keep state between runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Source = Literal["apple-vas", "google-smart-tap", "card", "scanner", "manual", "unknown"]
ReaderState = Literal["up", "starting", "unplugged", "wrong-device", "silent"]


@dataclass(frozen=True, slots=True)
class PassRead:
    """The NFC value of a pass as the reader said it, undecoded.

    `kind`, `index`, `slot`: the reader's type character, merchant or collector entry and key slot, where it
    says them. `uid` is the chip's, random on phones: never an identity.
    """

    value: bytes
    source: Source = "unknown"
    kind: str = ""
    index: int | None = None
    slot: int | None = None
    uid: str = ""


@dataclass(frozen=True, slots=True)
class ReadFailure:
    """Something was presented that gave no usable value; `reason` is for support, without pass data."""

    status: Literal["no-pass", "unreadable", "locked"]
    reason: str
    source: Source = "unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """The device's state changed while the run goes on; `identity` is what it says of itself, for the log."""

    state: ReaderState
    remedy: str = ""
    identity: str = ""


class ReaderFault(Exception):
    """This run is over. `remedy` is one sentence a store manager can follow."""

    def __init__(self, state: ReaderState, remedy: str) -> None:
        super().__init__(remedy)
        self.state: ReaderState = state
        self.remedy = remedy


DriverEvent = PassRead | ReadFailure | Health

# "<" from the reader or the phone on it, ">" to it.
Direction = Literal["<", ">"]

# Is told what goes over the wire, for recording it: bytes of a port, whole APDUs. Called from wherever the
# driver works, also from its thread; it must be quick and must not raise.
Observer = Callable[[Direction, bytes], None]


class Driver(Protocol):
    def reads(self) -> AsyncGenerator[DriverEvent, None]:
        """One supervised run: opens the device, yields `Health("up")`, then reads; ends by `ReaderFault`."""
        ...

    def present(self) -> bool:
        """Whether opening is worth a try now (the device path exists); cheap, polled during back-off."""
        ...
