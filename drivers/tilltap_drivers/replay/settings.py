"""What the configuration says of one replayed reader."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """One `[[reader]]` with `driver = "replay"`: a tape played as if a reader sent it.

    `speed` 2.0 plays twice as fast; `loop` begins again after the end, else the reader stays up and quiet.
    """

    name: str
    tape: str
    loop: bool = False
    speed: float = 1.0

    def __post_init__(self) -> None:
        if not self.tape:
            raise ValueError("tape: is empty (the path of a .tape file)")
        if not (self.speed > 0 and math.isfinite(self.speed)):
            raise ValueError(f"speed: {self.speed} is not a number above zero")
