"""What the configuration says of one PC/SC reader (contract section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from tilltap_drivers.nfc.wallet import CARDS

# How a reader may be made to send Apple's polling frame; nothing is sent to one that is not told to.
ECP = ("off", "transparent", "acr122u", "flomio", "commands")

# What Flomio's application sends: ECP version 1, terminal type 0, passes only; poll for passes
# (ecp-and-pcsc.md, 3.5).
FLOMIO = (
    bytes.fromhex("E000003B03010101"),
    bytes.fromhex("E000003B03010200"),
    bytes.fromhex("E000003B03010302"),
    bytes.fromhex("E00000200145"),
)

# Commands sent to a reader when it is opened: each may take it a good part of a second.
COMMANDS_LIMIT = 16

# Numbers of functions in Windows' control codes; the drivers use 1 and 3500.
LAST_FUNCTION = 4095


@dataclass(frozen=True, slots=True)
class PcscSettings:
    """One `[[reader]]` with `driver = "pcsc"`; ValueError (`field: what is wrong`) for what cannot work.

    `match` is a part of the reader's name in pcscd, in any case. `cards`: what of an ordinary card counts as
    a customer's value, beside the passes of the wallet: the text of an NFC Forum tag (`ndef`), its chip's
    number (`uid`). `ecp`: one of `ECP`; `ecp_code`: the driver's function for commands to the reader, None to
    find it; `ecp_flags`: of a transparent session, 2 bytes or none, None to find them; `ecp_commands`: 1
    to 261 bytes each. The sizes of these two are checked where the configuration is read.
    """

    name: str
    match: str
    cards: tuple[str, ...] = ()
    ecp: str = "off"
    ecp_code: int | None = None
    ecp_flags: bytes | None = None
    ecp_commands: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not self.match.strip():
            raise ValueError('match: is empty (a part of the reader\'s name, such as "ACR1252")')
        for card in self.cards:
            if card not in CARDS:
                raise ValueError(f"cards: unknown kind '{card}' (one of: {', '.join(CARDS)})")
        if self.ecp not in ECP:
            raise ValueError(f"ecp: there is no '{self.ecp}' (one of: {', '.join(ECP)})")
        if self.ecp_code is not None and not 1 <= self.ecp_code <= LAST_FUNCTION:
            raise ValueError(f"ecp_code: is not a number from 1 to {LAST_FUNCTION}")
        if (self.ecp == "commands") != bool(self.ecp_commands):
            raise ValueError('ecp_commands: goes with ecp = "commands", each needs the other')
        if len(self.ecp_commands) > COMMANDS_LIMIT:
            raise ValueError(f"ecp_commands: has more than {COMMANDS_LIMIT}")

    @property
    def commands(self) -> tuple[bytes, ...]:
        """What is sent to the reader when it is opened."""
        return FLOMIO if self.ecp == "flomio" else self.ecp_commands
