"""The words of the house as frozen values. No I/O, no clock.

Amounts inside the daemon are integers in minor units (pence) of the programme's one currency; they are
decimal strings only on the POS socket and in the configuration. Points are integers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, Self

# ISO 4217 currencies whose minor unit is not 1/100. Everything else has two decimals.
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_DECIMALS = {code: n for n, codes in ((0, _NONE), (3, _THREE)) for code in codes.split()}
_AMOUNT = {n: re.compile(rf"[0-9]{{1,9}}(\.[0-9]{{1,{n}}})?" if n else r"[0-9]{1,9}") for n in (0, 2, 3)}


@dataclass(frozen=True, slots=True)
class Currency:
    """An ISO 4217 code and the decimals of its minor unit; reads and writes amounts."""

    code: str

    @property
    def decimals(self) -> int:
        return _DECIMALS.get(self.code, 2)

    def parse(self, text: object) -> int:
        """`"8"` or `"8.00"` -> 800. ValueError for anything but a decimal string of contract section 3."""
        n = self.decimals
        if not isinstance(text, str) or not _AMOUNT[n].fullmatch(text):
            example = "8" if not n else "8." + "0" * n
            raise ValueError(f'an amount is a decimal string such as "{example}"')
        whole, _, fraction = text.partition(".")
        return int(whole + fraction.ljust(n, "0"))

    def text(self, minor: int) -> str:
        """800 -> `"8.00"`; negative amounts keep their sign."""
        n = self.decimals
        sign, minor = ("-", -minor) if minor < 0 else ("", minor)
        return f"{sign}{minor // 10**n}.{minor % 10**n:0{n}d}" if n else f"{sign}{minor}"


OnRedeem = Literal["reset", "subtract", "keep"]


@dataclass(frozen=True, slots=True)
class Earn:
    """How a paid sale earns. `spend` None: nothing per amount; `visit` 0: nothing per visit."""

    spend: int | None
    points: int = 1
    carry: bool = False
    visit: int = 0
    minimum: int = 0


@dataclass(frozen=True, slots=True)
class Reward:
    """A discount bought with points. `cost` in points, `discount` and `minimum` in minor units."""

    id: str
    title: str
    cost: int
    discount: int
    automatic: bool = False
    on_redeem: OnRedeem = "reset"
    minimum: int = 0


@dataclass(frozen=True, slots=True)
class Messages:
    """Templates; an empty one sends nothing. Placeholders are in contract section 2."""

    earned: str = "Thank you for your order. You've earned {earned} {points}!"
    reached: str = "Congratulations! You've got {reward} on your next order!"
    redeemed: str = "You've used your {reward} discount!"
    prompt: str = "Would you like to get {reward} on this order?"
    receipt: str = "{earned} {points} earned. Balance: {balance}"


@dataclass(frozen=True, slots=True)
class PassFace:
    """The reward on the face of the pass: template key and its two texts. No key: left alone."""

    field: str = ""
    text: str = "{reward} your next order"
    empty: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """The shop's rules as one frozen value; a sale keeps the one it was opened under."""

    name: str
    currency: Currency
    earn: Earn
    rewards: tuple[Reward, ...] = ()
    point: str = "point"
    points: str = "points"
    messages: Messages = field(default_factory=Messages)
    face: PassFace = field(default_factory=PassFace)
    store: str = ""
    training: bool = False

    @property
    def counts_uses(self) -> bool:
        """Whether some reward leaves the points it costs, so that its uses must be counted instead."""
        return any(r.on_redeem == "keep" for r in self.rewards)

    def reward(self, reward_id: str) -> Reward | None:
        return next((r for r in self.rewards if r.id == reward_id), None)

    def to_dict(self) -> dict[str, Any]:
        from dataclasses import asdict

        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(
            **{
                **data,
                "currency": Currency(**data["currency"]),
                "earn": Earn(**data["earn"]),
                "rewards": tuple(Reward(**r) for r in data["rewards"]),
                "messages": Messages(**data["messages"]),
                "face": PassFace(**data["face"]),
            }
        )


TapStatus = Literal["identified", "unknown-pass", "no-pass", "unreadable", "locked", "offline"]
Notification = Literal["delivered", "not-delivered", "suppressed", "unknown", "none"]
LoyaltyHealth = Literal["up", "down", "refused", "limited"]


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a call names: by tap, by value, or (both None) "take the customer off" (`"value": null`)."""

    tap_id: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is on the other end of a connection; `uid` None over TCP. `may_write`: may sell, not only look."""

    uid: int | None = None
    pid: int | None = None
    client: str = ""
    may_write: bool = True
