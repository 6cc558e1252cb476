"""The drivers by the name they have in the configuration: the one place to add a new one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tilltap_drivers.contract import Driver
from tilltap_drivers.replay.settings import ReplaySettings
from tilltap_drivers.vtap.settings import VtapSettings


@dataclass(frozen=True, slots=True)
class Registration:
    """`settings` is a frozen dataclass with plain typed fields, `name` first; it raises ValueError
    (`field: what is wrong`) for what cannot work. `driver` builds a `Driver` from an instance of it.
    """

    settings: type
    driver: Callable[[Any], Driver]


# A driver's module is imported when one is built: checking a configuration needs no serial port.
def _vtap(settings: VtapSettings) -> Driver:
    from tilltap_drivers.vtap.reader import VtapDriver

    return VtapDriver(settings)


def _replay(settings: ReplaySettings) -> Driver:
    from tilltap_drivers.replay.reader import ReplayDriver

    return ReplayDriver(settings)


DRIVERS: dict[str, Registration] = {
    "vtap": Registration(VtapSettings, _vtap),
    "replay": Registration(ReplaySettings, _replay),
}

# Promised by the contract, not built yet.
PLANNED = ("pcsc", "pn532")


def registration(name: str) -> Registration:
    """ValueError for a name that is not (or not yet) a driver."""
    if name in DRIVERS:
        return DRIVERS[name]
    if name in PLANNED:
        raise ValueError(f"driver: {name} is not available yet (now: {', '.join(DRIVERS)})")
    raise ValueError(f"driver: unknown driver '{name}' (one of: {', '.join((*DRIVERS, *PLANNED))})")


def build(driver: str, **options: Any) -> Driver:
    """A driver from its name and its options; ValueError as above and as its settings raise it."""
    entry = registration(driver)
    return entry.driver(entry.settings(**options))
