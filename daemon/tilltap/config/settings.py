"""What the daemon runs on: the checked file as frozen values, amounts in minor units, paths absolute."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path

from tilltap.config import model
from tilltap.config.positions import KeyPath, Positions
from tilltap.config.types import is_shared, ledger_path, resolve
from tilltap.loyalty import DEFAULT_URLS
from tilltap.model import Currency, Earn, Messages, PassFace, Program, Reward
from tilltap_drivers.pcsc.settings import PcscSettings
from tilltap_drivers.pn532.settings import Pn532Settings
from tilltap_drivers.replay.settings import ReplaySettings
from tilltap_drivers.vtap.settings import VtapSettings

ReaderSettings = VtapSettings | PcscSettings | Pn532Settings | ReplaySettings


@dataclass(frozen=True, slots=True)
class LoyaltySettings:
    """`api_key_file` is as written in the file, for `secrets.load_secret`; None: no key is needed."""

    provider: str
    url: str
    api_key_file: str | None
    ca_file: Path | None
    settle: int


@dataclass(frozen=True, slots=True)
class AppleSettings:
    """`keys` are files as written, for `secrets.load_key_file`; `window` in seconds."""

    pass_type_ids: tuple[str, ...]
    keys: tuple[str, ...]
    window: int | None = None


@dataclass(frozen=True, slots=True)
class GoogleSettings:
    """`keys`: (version, file as written, for `secrets.load_key_file`), in the order of trying."""

    collector_id: int
    keys: tuple[tuple[int, str], ...]
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WalletSettings:
    """Whose passes plain readers ask for; None: not for these."""

    apple: AppleSettings | None = None
    google: GoogleSettings | None = None


@dataclass(frozen=True, slots=True)
class PosSettings:
    socket: Path
    write_group: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """`path`: the SQLite file, which `url` names in SQLAlchemy's form with an absolute path; None: `url` is a
    PostgreSQL database. `password_file` is as written in the file, for `secrets.load_secret`.
    """

    url: str
    path: Path | None
    password_file: str | None = None
    spool: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """One configuration. `values`: every key in force, for telling what a reload changed."""

    till: str
    store: str
    day_starts: time
    program: Program
    loyalty: LoyaltySettings
    wallet: WalletSettings
    readers: tuple[ReaderSettings, ...]
    pos: PosSettings
    ledger: LedgerSettings
    base_dir: Path
    file: str
    positions: Positions = field(compare=False, repr=False)
    values: Mapping[KeyPath, object] = field(compare=False, repr=False)


def build(
    document: model.File, *, file: str, base_dir: Path, hostname: str, positions: Positions
) -> Settings:
    """A file that the model and the cross-checks have accepted, as settings. `base_dir` is absolute."""
    till = document.till.name or hostname
    loyalty = _loyalty(document.loyalty, base_dir)
    pos = PosSettings(resolve(base_dir, document.pos.socket), document.pos.write_group)
    ledger = _ledger(document.ledger, base_dir)
    values = dict(_flat(document))
    # What is said by a default or by another way of writing it is no change.
    values |= {
        ("till", "name"): till,
        ("loyalty", "url"): loyalty.url,
        ("loyalty", "api_key_file"): loyalty.api_key_file,
        ("pos", "socket"): pos.socket,
        ("ledger", "url"): ledger.url,
    }
    return Settings(
        till=till,
        store=document.till.store,
        day_starts=time.fromisoformat(document.till.day_starts),
        program=_program(document),
        loyalty=loyalty,
        wallet=_wallet(document.wallet),
        readers=_readers(document.reader, base_dir),
        pos=pos,
        ledger=ledger,
        base_dir=base_dir,
        file=file,
        positions=positions,
        values=values,
    )


def _program(document: model.File) -> Program:
    program = document.program
    face = program.face
    return Program(
        name=program.name,
        currency=Currency(program.currency),
        earn=Earn(
            spend=program.earn.spend,
            points=program.earn.points,
            carry=program.earn.remainder == "carry",
            visit=program.earn.visit,
            minimum=program.earn.minimum,
        ),
        rewards=tuple(_reward(reward) for reward in program.reward),
        point=program.point,
        points=program.points,
        messages=Messages(**program.messages.model_dump()),
        face=PassFace(face.reward_field, face.reward_text, face.no_reward_text) if face else PassFace(),
        store=document.till.store,
        training=document.loyalty.provider == "sandbox",
    )


def _reward(reward: model.Reward) -> Reward:
    return Reward(
        id=reward.id,
        title=reward.title,
        cost=reward.cost,
        discount=reward.discount,
        automatic=reward.offer == "automatic",
        on_redeem=reward.on_redeem,
        minimum=reward.minimum,
    )


def _loyalty(loyalty: model.Loyalty, base_dir: Path) -> LoyaltySettings:
    return LoyaltySettings(
        provider=loyalty.provider,
        url=loyalty.url or DEFAULT_URLS[loyalty.provider],
        api_key_file=loyalty.api_key_file or model.DEFAULT_KEY_FILES[loyalty.provider],
        ca_file=resolve(base_dir, loyalty.ca_file) if loyalty.ca_file else None,
        settle=loyalty.settle,
    )


def _wallet(wallet: model.Wallet | None) -> WalletSettings:
    apple, google = (wallet.apple, wallet.google) if wallet else (None, None)
    return WalletSettings(
        AppleSettings(tuple(apple.pass_type_id), tuple(apple.keys), apple.window) if apple else None,
        _google(google) if google else None,
    )


def _google(google: model.GoogleWallet) -> GoogleSettings:
    keys = tuple(zip(google.key_version, google.key, strict=True))
    return GoogleSettings(int(google.collector_id), keys, tuple(google.objects))


def _ledger(ledger: model.Ledger, base_dir: Path) -> LedgerSettings:
    if is_shared(ledger.url):
        spool = resolve(base_dir, ledger.spool) if ledger.spool else None
        return LedgerSettings(ledger.url, None, ledger.password_file, spool)
    path = ledger_path(base_dir, ledger.url)
    return LedgerSettings(f"sqlite:///{path}", path)


def _readers(readers: list[model.Reader], base_dir: Path) -> tuple[ReaderSettings, ...]:
    taken = {reader.name for reader in readers if reader.name}
    settings: list[ReaderSettings] = []
    for reader in readers:
        name = reader.name or _free_name(reader.driver, taken)
        taken.add(name)
        settings.append(_reader(reader, name, base_dir))
    return tuple(settings)


def _free_name(driver: str, taken: Collection[str]) -> str:
    """The driver's name, or `vtap-2`, `vtap-3` ... where that is taken."""
    name, number = driver, 1
    while name in taken:
        number += 1
        name = f"{driver}-{number}"
    return name


def _reader(reader: model.Reader, name: str, base_dir: Path) -> ReaderSettings:
    if isinstance(reader, model.VtapReader):
        return VtapSettings(
            name, _port(reader.port, base_dir), reader.baud, reader.mode, reader.prefix, reader.postfix
        )
    if isinstance(reader, model.PcscReader):
        return PcscSettings(
            name,
            reader.match,
            tuple(reader.cards),
            reader.ecp,
            reader.ecp_code,
            None if reader.ecp_flags is None else bytes.fromhex(reader.ecp_flags),
            tuple(bytes.fromhex(command) for command in reader.ecp_commands),
        )
    if isinstance(reader, model.Pn532Reader):
        return Pn532Settings(name, _port(reader.port, base_dir), reader.baud, tuple(reader.cards))
    return ReplaySettings(name, str(resolve(base_dir, reader.tape)), reader.loop, reader.speed)


def _port(port: str, base_dir: Path) -> str:
    """`port` may be a pattern; the folder put in front of a relative one is none."""
    return os.path.normpath(Path(glob.escape(str(base_dir))) / port)


def _flat(value: object, path: KeyPath = ()) -> list[tuple[KeyPath, object]]:
    """Every value under the names of the file; what has none is left out."""
    if isinstance(value, model.Table):
        names = {name: field.alias or name for name, field in type(value).model_fields.items()}
        return [leaf for name, key in names.items() for leaf in _flat(getattr(value, name), (*path, key))]
    if isinstance(value, list):
        return [leaf for place, inner in enumerate(value) for leaf in _flat(inner, (*path, place))]
    return [] if value is None else [(path, value)]
