"""What a status word or a failure means, and what the cashier should be told.

Sources: apple-vas.md 3.6, google-smart-tap.md 11.
"""

from __future__ import annotations

from tilltap_drivers.contract import ReadFailure, Source

UNLOCK = "Ask the customer to unlock the phone and hold it to the reader again."
AUTHENTICATE = (
    "Ask the customer to confirm with Face ID, Touch ID or the code and hold the phone to the reader again."
)
CHOOSE = "Ask the customer to choose the pass on the phone and hold it to the reader again."
LOOK = "Ask the customer to do what the phone asks for and hold it to the reader again."

_AGAIN = "Hold the phone to the reader again, a little longer."
_COPY = "This is a copy of an earlier tap and does not count. Ask the customer to tap again."
_SUPPORT = "The pass could not be read. Sell without it, and tell the manager."
_SETTINGS = "The pass could not be read with this shop's settings. Sell without it, and tell the manager."
_OPEN = "No pass of this shop was shown. Ask the customer to open the pass on the phone and tap again."

# GET DATA of Apple VAS: status word -> its name in Apple's documentation.
VAS_STATUS = {
    0x9000: "success",
    0x6A83: "dataNotFound",
    0x6287: "dataNotActivated",
    0x6984: "userIntervention",
    0x6A80: "incorrectData",
    0x6B00: "wrongParameters",
    0x6700: "wrongLCField",
    0x6340: "unsupportedApplicationVersion",
}

# Smart Tap: status word -> meaning. Only the first byte decides what a terminal does; others may come.
SMART_TAP_STATUS = {
    0x9000: "success",
    0x9001: "success, no passes",
    0x9002: "pre-signed authentication accepted",
    0x9100: "more data",
    0x9101: "success, not ready for payment",
    0x9102: "success without passes, not ready for payment",
    0x9200: "transient: unknown",
    0x9201: "transient: crypto failure",
    0x9203: "transient: execution failure",
    0x9300: "unlock the device",
    0x9302: "choose a pass",
    0x9400: "unknown command",
    0x9402: "parsing failure",
    0x9403: "bad crypto input",
    0x9404: "more not applicable",
    0x9405: "no more data",
    0x9406: "too many requests",
    0x9407: "no merchant",
    0x9408: "bad push address",
    0x9500: "authentication failed",
    0x9502: "version not supported",
    0x6A82: "application absent",
}

# Reasons of `ReadFailure` -> what the cashier should be told. Reasons `refused-XXXX` and `session-XX` carry a
# number for support and share one sentence; a `locked` reason is a sentence itself.
_TELL = {
    "no-pass": _OPEN,
    "pass-without-value": "The pass has no number on it. Sell without it, and tell the manager.",
    "other-wallet": "This phone's wallet cannot hold the shop's pass, or is not accepted here.",
    "no-smart-tap": _OPEN,
    "sign-up-sent": "The phone has been given the address to sign up.",
    "unknown-card": _OPEN,
    "random-uid": _OPEN,
    "empty-tag": "There is nothing on this tag.",
    "removed": _AGAIN,
    "malformed": _AGAIN,
    "truncated": _AGAIN,
    "too-long": _SUPPORT,
    "endless-parts": _SUPPORT,
    "compression-bomb": _SUPPORT,
    "tampered": _SUPPORT,
    "transient": _AGAIN,
    "replayed": _COPY,
    "outdated": "The phone's clock is wrong, or this is a copy of an earlier tap.",
    "wrong-key": _SETTINGS,
    "unencrypted": _SETTINGS,
    "no-nonce": _SETTINGS,
    "unsupported-version": _SETTINGS,
}


def tell(failure: ReadFailure) -> str:
    """One sentence for the cashier for any failure that a conversation of this package ends with."""
    if failure.status == "locked":
        return failure.reason
    return _TELL.get(failure.reason, _SUPPORT)


def meaning(status: int, source: Source) -> str:
    """The published name of a status word, or its number."""
    table = VAS_STATUS if source == "apple-vas" else SMART_TAP_STATUS
    return table.get(status, f"status {status:04X}")
