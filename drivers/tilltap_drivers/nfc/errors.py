"""The one family of errors of this package: whatever bytes come in, a value or one of these comes out.

`reason` is short and stable, for support and for `ReadFailure.reason`; the message says more. Neither holds
a key, a pass value or any other byte that was read.
"""

from __future__ import annotations

from typing import Literal


class NfcError(Exception):
    """Something presented could not be used. `outcome` is the status of the `ReadFailure` it becomes."""

    reason = "unusable"
    outcome: Literal["no-pass", "unreadable", "locked"] = "unreadable"


class NoPass(NfcError):
    """There is nothing of this shop's on it."""

    outcome = "no-pass"

    def __init__(self, reason: str = "no-pass") -> None:
        super().__init__(reason)
        self.reason = reason


class Locked(NfcError):
    """The customer has to do something first; `reason` is a sentence that says what."""

    outcome = "locked"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = sentence


class Malformed(NfcError):
    """It does not follow its format."""

    reason = "malformed"


class Truncated(Malformed):
    """It ends before it should."""

    reason = "truncated"


class LimitExceeded(NfcError):
    """More bytes, records or repetitions than any honest device needs."""

    reason = "too-long"


class EndlessParts(LimitExceeded):
    """The device goes on announcing further parts."""

    reason = "endless-parts"


class Bomb(LimitExceeded):
    """A compressed bundle that grows beyond its bound."""

    reason = "compression-bomb"


class WrongKey(NfcError):
    """Made for a key that is not configured here, or refused because of ours."""

    reason = "wrong-key"


class Tampered(NfcError):
    """Its authentication fails: changed on the way, or made for another pass, key or session."""

    reason = "tampered"


class Replayed(NfcError):
    """It was seen before, or belongs to another session."""

    reason = "replayed"


class Stale(NfcError):
    """Its timestamp lies outside the configured window."""

    reason = "outdated"


class Unencrypted(NfcError):
    """Nothing protects it, and the settings do not allow that."""

    reason = "unencrypted"


class UnsupportedVersion(NfcError):
    """A version of the protocol that is not spoken here."""

    reason = "unsupported-version"


class Refused(NfcError):
    """The device answered with a status word that ends the conversation."""

    def __init__(self, step: str, status: int) -> None:
        super().__init__(f"{step}: status {status:04X}")
        self.status = status
        self.reason = f"refused-{status:04X}"


class SessionRefused(NfcError):
    """The device's session record says that something is wrong (google-smart-tap 6)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"session status {status:02X}")
        self.reason = f"session-{status:02X}"


class Transient(NfcError):
    """The device asked to try again until the tries were used up."""

    reason = "transient"


class NoNonce(NfcError):
    """The phone gave no nonce to sign, and the settings do not allow to go without."""

    reason = "no-nonce"


class Removed(NfcError):
    """The device left the field; a driver throws it into a conversation."""

    reason = "removed"


class BadKey(NfcError):
    """A private key could not be loaded; the message names the remedy and nothing of the key."""

    reason = "bad-key"
