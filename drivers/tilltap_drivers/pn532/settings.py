"""What the configuration says of one PN532 board (contract section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from tilltap_drivers.nfc.wallet import CARDS

# Speeds of the chip's serial line, in the order of its own numbers (UM0701-02, 7.2.7), and its first.
SPEEDS = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
DEFAULT_BAUD = 115200


@dataclass(frozen=True, slots=True)
class Pn532Settings:
    """One `[[reader]]` with `driver = "pn532"`; ValueError (`field: what is wrong`) for what cannot work.

    `port` is a device or a glob that must match exactly one. `cards`: what of an ordinary card counts as a
    customer's value, beside the passes of the wallet: the text of an NFC Forum tag (`ndef`), its chip's
    number (`uid`).
    """

    name: str
    port: str
    baud: int = DEFAULT_BAUD
    cards: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.port:
            raise ValueError("port: is empty (a device such as /dev/ttyUSB0, or a pattern)")
        if self.baud not in SPEEDS:
            raise ValueError(
                f"baud: {self.baud} is not a speed of the chip (115200 unless the line needs less)"
            )
        for card in self.cards:
            if card not in CARDS:
                raise ValueError(f"cards: unknown kind '{card}' (one of: {', '.join(CARDS)})")
