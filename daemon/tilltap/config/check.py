"""`tilltap check`: the mistakes of a file and of the files it names, all at once."""

from __future__ import annotations

import platform
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tilltap.config.crosscheck import Document
from tilltap.config.files import StrPath, read_text
from tilltap.config.groups import GroupError, group_id
from tilltap.config.load import examine, folder
from tilltap.config.mistakes import Mistake
from tilltap.config.model import DEFAULT_KEY_FILES, Loyalty
from tilltap.config.secrets import SecretError, load_key_file, load_secret
from tilltap.config.settings import Settings
from tilltap.config.types import is_shared, resolve
from tilltap.loyalty.ca import trusting
from tilltap.model import Currency, Earn, Reward


def check(path: StrPath) -> Settings:
    """As `load`, and opens the files with secrets and certificates too; their mistakes are at the key."""
    examined = examine(read_text(path), file=str(path), base_dir=folder(path))
    named = [
        mistake
        for look in (_key_file, _ca_file, _wallet_keys, _ledger, _write_group)
        for mistake in look(examined.written, examined.base_dir)
    ]
    return examined.settings(hostname=platform.node(), more=named)


def _key_file(written: Document, base_dir: Path) -> Iterator[Mistake]:
    path = ("loyalty", "api_key_file")
    if not written.has(("loyalty",)) or written.is_wrong(path):
        return
    provider = written.get(("loyalty", "provider"), str(Loyalty.model_fields["provider"].default))
    default = None if written.is_wrong(("loyalty", "provider")) else DEFAULT_KEY_FILES[provider]
    name = written.get(path, default or "")
    try:
        if name:
            load_secret(name, base_dir)
    except SecretError as error:
        yield Mistake(path, error.what, error.hint)


def _wallet_keys(written: Document, base_dir: Path) -> Iterator[Mistake]:
    apple, google = ("wallet", "apple", "keys"), ("wallet", "google", "key")
    several = [(*keys, place) for keys in (apple, google) for place in written.places(keys)]
    for path in (*several, google):
        try:
            if name := written.get(path, ""):
                load_key_file(name, base_dir)
        except SecretError as error:
            yield Mistake(path, error.what, error.hint)
        except ImportError:
            yield Mistake(path, "the package for keys is not installed", "pip install 'tilltap[pcsc]'")


def _ledger(written: Document, base_dir: Path) -> Iterator[Mistake]:
    path = ("ledger", "password_file")
    try:
        if name := written.get(path, ""):
            load_secret(name, base_dir)
    except SecretError as error:
        yield Mistake(path, error.what, error.hint)
    url = written.get(("ledger", "url"), "")
    if url and is_shared(url) and find_spec("psycopg") is None:
        yield Mistake(
            ("ledger", "url"), "PostgreSQL needs the psycopg package", "pip install 'tilltap[postgres]'"
        )


def _write_group(written: Document, _: Path) -> Iterator[Mistake]:
    path = ("pos", "write_group")
    try:
        if name := written.get(path, ""):
            group_id(name)
    except GroupError as error:
        yield Mistake(path, error.what, error.hint)


def _ca_file(written: Document, base_dir: Path) -> Iterator[Mistake]:
    path = ("loyalty", "ca_file")
    name = written.get(path, "")
    if not name:
        return
    file = resolve(base_dir, name)
    try:
        trusting(file)
    except ssl.SSLError:
        yield Mistake(path, f"{file}: holds no certificate", "name a PEM file of certificate authorities")
    except OSError as error:
        yield Mistake(path, f"{file}: cannot be read: {error.strerror}", "check its path and permissions")


def summary(settings: Settings) -> str:
    """The configuration in a line a manager can compare with what was meant. Pure."""
    program = settings.program
    parts = [_earning(program.earn, program.currency, program.point, program.points)]
    parts += [_reward(reward, program.currency, program.points) for reward in program.rewards]
    readers = ", ".join(reader.name for reader in settings.readers) or "none"
    service = "training, with the sandbox" if program.training else settings.loyalty.provider
    return (
        f"{program.name}: {'; '.join(parts)}. Till {settings.till}, readers: {readers}, service: {service}."
    )


def _earning(earn: Earn, currency: Currency, point: str, points: str) -> str:
    def count(number: int) -> str:
        return f"{number} {point if number == 1 else points}"

    ways: list[str] = []
    if earn.spend is not None:
        carry = ", the rest carried on" if earn.carry else ""
        ways.append(f"{count(earn.points)} for each full {currency.text(earn.spend)} {currency.code}{carry}")
    if earn.visit:
        least = f" of at least {currency.text(earn.minimum)}" if earn.minimum else ""
        ways.append(f"{count(earn.visit)} for each sale{least}")
    return " and ".join(ways)


def _reward(reward: Reward, currency: Currency, points: str) -> str:
    how = ", automatically" if reward.automatic else ""
    return f"{reward.title} ({currency.text(reward.discount)} off) from {reward.cost} {points}{how}"
