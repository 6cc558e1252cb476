"""What the configuration says of one PC/SC reader (contract section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from tilltap_drivers.nfc.wallet import CARDS


@dataclass(frozen=True, slots=True)
class PcscSettings:
    """One `[[reader]]` with `driver = "pcsc"`; ValueError (`field: what is wrong`) for what cannot work.

    `match` is a part of the reader's name in pcscd, in any case. `cards`: what of an ordinary card counts as
    a customer's value, beside the passes of the wallet: the text of an NFC Forum tag (`ndef`), its chip's
    number (`uid`).
    """

    name: str
    match: str
    cards: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.match.strip():
            raise ValueError('match: is empty (a part of the reader\'s name, such as "ACR1252")')
        for card in self.cards:
            if card not in CARDS:
                raise ValueError(f"cards: unknown kind '{card}' (one of: {', '.join(CARDS)})")
