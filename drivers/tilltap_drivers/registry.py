"""The drivers by the name they have in the configuration: the one place to add a new one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from tilltap_drivers.contract import Driver, DriverEvent, ReaderFault
from tilltap_drivers.nfc.wallet import Wallet
from tilltap_drivers.pcsc.settings import PcscSettings
from tilltap_drivers.pn532.settings import Pn532Settings
from tilltap_drivers.replay.settings import ReplaySettings
from tilltap_drivers.vtap.settings import VtapSettings


@dataclass(frozen=True, slots=True)
class Registration:
    """`settings` is a frozen dataclass with plain typed fields, `name` first; it raises ValueError
    (`field: what is wrong`) for what cannot work. `driver` builds a `Driver` from an instance of it and the
    shop's wallet, which only readers that do not decrypt by themselves look at.
    """

    settings: type
    driver: Callable[[Any, Wallet], Driver]


# A driver's module is imported when one is built: checking a configuration needs no serial port.
def _vtap(settings: VtapSettings, _: Wallet) -> Driver:
    from tilltap_drivers.vtap.reader import VtapDriver

    return VtapDriver(settings)


def _replay(settings: ReplaySettings, _: Wallet) -> Driver:
    from tilltap_drivers.replay.reader import ReplayDriver

    return ReplayDriver(settings)


def _pcsc(settings: PcscSettings, wallet: Wallet) -> Driver:
    try:
        from tilltap_drivers.pcsc.reader import PcscDriver
    except ImportError as error:
        return Uninstalled(f"driver pcsc lacks {error.name}: pip install 'tilltap[pcsc]'")

    return PcscDriver(settings, wallet)


def _pn532(settings: Pn532Settings, wallet: Wallet) -> Driver:
    try:
        from tilltap_drivers.pn532.reader import Pn532Driver
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        return Uninstalled(f"driver pn532 lacks {package}: pip install 'tilltap[pn532]'")

    return Pn532Driver(settings, wallet)


class Uninstalled:
    """Stands in for a driver whose optional packages are missing: the till goes on without this reader."""

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy

    def present(self) -> bool:
        return False

    async def reads(self) -> AsyncGenerator[DriverEvent, None]:
        raise ReaderFault("unplugged", self._remedy)
        yield  # makes it a generator


DRIVERS: dict[str, Registration] = {
    "vtap": Registration(VtapSettings, _vtap),
    "pcsc": Registration(PcscSettings, _pcsc),
    "pn532": Registration(Pn532Settings, _pn532),
    "replay": Registration(ReplaySettings, _replay),
}


def registration(name: str) -> Registration:
    """ValueError for a name that is not a driver."""
    if name in DRIVERS:
        return DRIVERS[name]
    raise ValueError(f"driver: unknown driver '{name}' (one of: {', '.join(DRIVERS)})")


def build(driver: str, wallet: Wallet | None = None, **options: Any) -> Driver:
    """A driver from its name and its options; ValueError as above and as its settings raise it."""
    entry = registration(driver)
    return entry.driver(entry.settings(**options), wallet or Wallet())
