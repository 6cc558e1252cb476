"""Everything random for one presentation, made before the tap: nothing slow stands between two APDUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from tilltap_drivers.nfc.keys import P256_ORDER, compressed, from_scalar
from tilltap_drivers.nfc.wallet import Wallet

# Random bytes behind a private scalar: 64 bits more than the order has, so that the remainder is even enough
# (FIPS 186-5, A.2.1).
_SCALAR_BYTES = 40


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything random for one presentation. Use it once."""

    ephemeral: ec.EllipticCurvePrivateKey | None = field(repr=False)
    """The terminal's session key; None without Google passes."""
    ephemeral_public: bytes
    """Its point, 33 bytes."""
    nonce: bytes
    """32 bytes for Smart Tap."""
    session_id: bytes
    """8 bytes for Smart Tap."""
    vas_nonce: bytes
    """4 bytes for VAS."""
    now: Callable[[], float]
    """Seconds since 1970, asked once, when an Apple pass has been read."""


def prepare(wallet: Wallet, random: Callable[[int], bytes], now: Callable[[], float]) -> Prepared:
    """Make what the next presentation needs; call it while waiting, it takes some 0.1 ms.

    `random(n)` gives n bytes fit for keys (`secrets.token_bytes`), `now()` the wall clock in seconds since
    1970 (`time.time`).
    """
    nonce, session_id, vas_nonce = random(32), random(8), random(4)
    if wallet.google is None or not wallet.google.keys:
        return Prepared(None, b"", nonce, session_id, vas_nonce, now)
    scalar = int.from_bytes(random(_SCALAR_BYTES), "big") % (P256_ORDER - 1) + 1
    ephemeral = from_scalar(scalar).private
    return Prepared(ephemeral, compressed(ephemeral.public_key()), nonce, session_id, vas_nonce, now)
