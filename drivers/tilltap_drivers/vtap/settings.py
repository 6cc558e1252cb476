"""What the configuration says of one VTAP reader (contract section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from tilltap_drivers.vtap.config_txt import FrameSpec, frame_spec

# The frame of profile A (VTAP notes, section 11.1): each tap is atomic, carries its type, and cannot be
# mistaken for a command reply.
DEFAULT_PREFIX = "%02$t$n%1F$u%1F"
DEFAULT_POSTFIX = "%03%0A"

# The factory setting of the reader's RS-232 and RS-485 ports (VTAP notes, section 2.2); USB ignores it.
DEFAULT_BAUD = 9600


@dataclass(frozen=True, slots=True)
class VtapSettings:
    """One `[[reader]]` with `driver = "vtap"`; ValueError (`field: what is wrong`) for what cannot work.

    `port` is a device or a glob that must match exactly one. `prefix` and `postfix` are written exactly as
    in the reader's `config.txt`; an empty prefix means bare lines.
    """

    name: str
    port: str
    baud: int = DEFAULT_BAUD
    mode: str = "active"
    prefix: str = DEFAULT_PREFIX
    postfix: str = DEFAULT_POSTFIX

    def __post_init__(self) -> None:
        if not self.port:
            raise ValueError("port: is empty (a device such as /dev/ttyACM0, or a pattern)")
        if self.baud <= 0:
            raise ValueError(f"baud: {self.baud} is not a line speed (9600 unless the reader was changed)")
        if self.mode == "passive":
            raise ValueError("mode: passive is not available yet (use active)")
        if self.mode != "active":
            raise ValueError(f"mode: unknown mode '{self.mode}' (active)")
        frame_spec(self.prefix, self.postfix)

    @property
    def spec(self) -> FrameSpec:
        return frame_spec(self.prefix, self.postfix)
