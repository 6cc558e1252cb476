"""The other side of a tap: an iPhone, an Android phone, and cards, for tests and demonstrations.

They do what the reference files say of real ones (apple-vas 7, google-smart-tap 14), and are written apart
from the terminal's side on purpose: their own formats, their own key derivations, so that a mistake made once
shows. They never raise, whatever they are sent.
"""

from __future__ import annotations

from tilltap_drivers.nfc.phones.android import Android, GooglePass
from tilltap_drivers.nfc.phones.cards import MuteCard, NdefTag, PaymentCard
from tilltap_drivers.nfc.phones.device import Device, Lifted, Random
from tilltap_drivers.nfc.phones.iphone import ApplePass, IPhone

__all__ = [
    "Android",
    "ApplePass",
    "Device",
    "GooglePass",
    "IPhone",
    "Lifted",
    "MuteCard",
    "NdefTag",
    "PaymentCard",
    "Random",
]
