"""Which of the PC/SC readers that pcscd lists is the configured one. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tilltap_drivers.contract import ReaderFault

# How readers with several slots name the one that takes phones, and those that do not: a chip card's slot, a
# SAM's. ACS writes `ACS ACR1252 Dual Reader [ACR1252 Dual Reader PICC] 00 00` and `... SAM] 01 00`.
_CONTACTLESS = re.compile(r"\b(PICC|\w*CL|contactless|NFC)\b", re.IGNORECASE)
_CONTACT = re.compile(r"\b(SAM|ICC|contact)\b", re.IGNORECASE)

# Names listed in a remedy: a till has one or two readers.
SHOWN = 4


def matching(names: Sequence[str], match: str) -> list[str]:
    """Readers with `match` in their name; of several slots of a device only the one that takes phones."""
    found = [name for name in names if match.casefold() in name.casefold()]
    if len(found) > 1:
        found = [name for name in found if not _is_contact(name)] or found
    if len(found) > 1 and len({name.partition(" [")[0] for name in found}) == 1:
        contactless = [name for name in found if _CONTACTLESS.search(_slot(name))]
        found = contactless if len(contactless) == 1 else found
    return found


def _is_contact(name: str) -> bool:
    return bool(_CONTACT.search(_slot(name))) and not _CONTACTLESS.search(_slot(name))


def _slot(name: str) -> str:
    """The slot's own label, in brackets; the whole name if there is none."""
    label = re.search(r"\[(.*)\]", name)
    return label[1] if label else name


def find(names: Sequence[str], match: str) -> str:
    """The one reader that `match` means; ReaderFault for none or several."""
    found = matching(names, match)
    if not found:
        seen = f"pcscd sees: {_list(names)}" if names else "pcscd sees no reader at all"
        raise ReaderFault(
            "unplugged", f'no reader has "{match}" in its name: plug it in, or correct `match` ({seen})'
        )
    if len(found) > 1:
        raise ReaderFault(
            "wrong-device",
            f'{len(found)} readers have "{match}" in their names: write more of it in `match` '
            f"({_list(found)})",
        )
    return found[0]


def _list(names: Sequence[str]) -> str:
    more = "; ..." if len(names) > SHOWN else ""
    return "; ".join(names[:SHOWN]) + more
