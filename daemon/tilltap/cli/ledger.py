"""`tilltap ledger`: the care of the ledger, by whoever keeps the tills."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tilltap.cli.reach import Config
from tilltap.errors import StartError

if TYPE_CHECKING:
    from tilltap.config.settings import Settings
    from tilltap.ledger.health import Health, Spool
    from tilltap.ledger.postgres import Unreachable

Json = Annotated[bool, typer.Option("--json", help="One JSON object on one line.")]


def _named(text: str) -> Path:
    """A Path would take "" for the folder one is in."""
    if not text.strip():
        raise typer.BadParameter("is empty (name a new file or a folder, or leave --to out)")
    return Path(text)


To = Annotated[
    Path | None,
    typer.Option(
        parser=_named,
        metavar="FILE",
        help="A new file, or a folder. Default: beside the ledger, with the time.",
    ),
]
Names = Annotated[list[str], typer.Argument(metavar="[OLD] NEW", help="OLD can be left out: it is known.")]


def register(app: typer.Typer) -> None:
    ledger = typer.Typer(
        help="Look after the ledger: is it whole, copy it, bring it up to date, rename a till.\n\n"
        "Example: tilltap ledger status --config /etc/tilltap/tilltap.toml",
        short_help="Look after the ledger.",
        no_args_is_help=True,
    )
    for name, command in (
        ("status", status),
        ("backup", backup),
        ("upgrade", upgrade),
        ("rename-till", rename_till),
    ):
        ledger.command(name)(command)
    app.add_typer(ledger, name="ledger")


# -- status -------------------------------------------------------------------------------------------------


def status(config: Config = None, as_json: Json = False) -> None:
    """Is the ledger whole? Adds up every balance; changes nothing; the daemon may be running.

    Exit code 0: it is; 1: something is wrong; 3: there is none, or it cannot be read. While a shared ledger's
    server does not answer, it still tells what waits in this till's spool.

    Example: tilltap ledger status --config /etc/tilltap/tilltap.toml
    """
    from dataclasses import asdict

    from tilltap.ledger import health
    from tilltap.ledger.postgres import Unreachable
    from tilltap.stores import server_of, spool_of

    settings = _settings(config)
    if settings.ledger.path is not None:
        found = health.of_file(settings.ledger.path)
    else:
        try:
            found = health.of_server(server_of(settings), settings.ledger.url, spool_of(settings))
        except Unreachable as error:
            _tell_the_spool(settings, error, as_json=as_json)
    print(json.dumps(asdict(found), ensure_ascii=False) if as_json else "\n".join(lines(found)))
    if found.wrong:
        raise typer.Exit(1)


def _tell_the_spool(settings: Settings, error: Unreachable, *, as_json: bool) -> NoReturn:
    """What can be said without the server, and then that it is out of reach."""
    from dataclasses import asdict

    from tilltap.ledger import health
    from tilltap.stores import spool_of

    unreached = _out_of_reach(error)
    try:
        left = health.of_spool(spool_of(settings))
    except StartError as broken:
        raise StartError(*unreached.lines, *broken.lines) from None
    print(
        json.dumps({"ledger": settings.ledger.url, **asdict(left)}, ensure_ascii=False)
        if as_json
        else f"spool  {_spool(left)}"
    )
    raise unreached from None


def lines(found: Health) -> list[str]:
    """What a person reads."""
    from tilltap.ledger.tables import SCHEMA

    old = "" if found.schema == SCHEMA else f" (this tilltap's is {SCHEMA}: tilltap ledger upgrade)"
    rows = [
        ("ledger", found.ledger),
        ("schema", f"{found.schema}{old}"),
        ("size", _size(found.size)),
        ("entries", f"{found.entries}, of {found.customers} customers"),
        ("sales", f"{found.open_sales} open, {found.unanswered} closed that the service has not answered"),
        ("passes", f"{found.waiting} waiting, {found.parked} parked, {found.foreign} changed by others"),
    ]
    if found.spooled is not None:
        rows.append(("spool", _spool(found)))
    if found.restored:
        rows.append(("put back", f"from a backup, noticed {found.restored}"))
    rows += [("wrong", line) for line in found.wrong] or [
        ("check", "fine: every balance is the sum of its entries")
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {text}" for name, text in rows]


def _spool(found: Health | Spool) -> str:
    of_these = f" since {found.spooled_since} (closed sales: {found.spooled_sales})" if found.spooled else ""
    return f"{found.spooled} waiting{of_these}, {found.spool_parked} parked"


def _size(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"


# -- backup -------------------------------------------------------------------------------------------------


def backup(config: Config = None, to: To = None) -> None:
    """Copy the ledger while the daemon goes on selling; never overwrites anything.

    A ledger on a server is PostgreSQL's to copy: then this says with which command, and exit code 1 that it
    did nothing. Exit code 2: FILE is there already, or cannot be made.

    Example: tilltap ledger backup --to /media/stick
    """
    from tilltap.ledger.backup import TargetError, checked_copy
    from tilltap.ledger.faults import told_in_one_line

    settings = _settings(config)
    path = settings.ledger.path
    if path is None:
        file = to or Path(f"tilltap-{_now()}.dump")
        command = ["pg_dump", "--format=custom", f"--file={file}", f"--dbname={settings.ledger.url}"]
        print(
            "a ledger on a server is copied by PostgreSQL's own tool, which asks for the password"
            " (or takes it from $PGPASSFILE):",
            file=sys.stderr,
        )
        print(shlex.join(command))
        raise typer.Exit(1)
    try:
        target = _new_file(path, to)
        with told_in_one_line(f"ledger {path}"):
            checked_copy(path, target)
    except TargetError as error:
        if to is not None:
            error.exit_code = 2  # it is the command that names it
        raise
    print(f"{target}: {_size(target.stat().st_size)}")


def _new_file(path: Path, to: Path | None) -> Path:
    from tilltap.ledger.backup import TargetError, free_name, is_there, no_such_file

    if not (is_there(path) or path.parent.is_dir()):
        raise no_such_file(path)
    target = to or path.parent
    try:
        return free_name(target / path.name) if target.is_dir() else target
    except OSError as error:
        raise TargetError(target, error) from None


def _now() -> str:
    from datetime import UTC, datetime

    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


# -- upgrade ------------------------------------------------------------------------------------------------


def upgrade(config: Config = None) -> None:
    """Bring an older ledger to this tilltap's schema; done again, it does nothing.

    A file is checked and copied before; its daemon also copies it when it starts. A ledger on a server is
    upgraded by this command only, once all its tills have the new tilltap; they may be running.

    Example: tilltap ledger upgrade --config /etc/tilltap/tilltap.toml
    """
    from tilltap.ledger.tables import SCHEMA
    from tilltap.ledger.upgrade import upgrade_server
    from tilltap.stores import server_of

    settings = _settings(config)
    path, copy = settings.ledger.path, None
    if path is None:
        with _in_reach():
            found = upgrade_server(server_of(settings))
    else:
        found, copy = _upgrade_file(path)
    name = path or settings.ledger.url
    if not found:
        print(f"{name}: no ledger in it yet (tilltap run makes it)")
    elif found == SCHEMA:
        print(f"{name}: schema {SCHEMA}, nothing to do")
    else:
        print(f"{name}: schema {found} -> {SCHEMA}" + (f"; as it was: {copy}" if copy else ""))


def _upgrade_file(path: Path) -> tuple[int, Path | None]:
    from tilltap.ledger.backup import refuse_damaged
    from tilltap.ledger.engine import sqlite_engine
    from tilltap.ledger.faults import told_in_one_line
    from tilltap.ledger.upgrade import upgrade_file

    _must_be_ours(path)
    engine, lock = sqlite_engine(path)
    try:
        with told_in_one_line(f"ledger {path}"):
            refuse_damaged(path)
        return upgrade_file(engine, path)
    finally:
        engine.dispose()
        lock.release()


# -- rename-till --------------------------------------------------------------------------------------------


def rename_till(names: Names, config: Config = None) -> None:
    """Give this till another name, under which all it ever did is found again; its daemon must be stopped.

    Then put the new name into the configuration: [till] name.

    Example: tilltap ledger rename-till till-1 counter
    """
    from tilltap.ledger import rename
    from tilltap.ledger.faults import told_in_one_line
    from tilltap.stores import server_of

    *before, new = names
    if len(before) > 1:
        raise typer.BadParameter("[OLD] NEW is one name or two", param_hint="NAMES")
    old = before[0] if before else None
    for name in names:
        _must_be_a_name(name)
    settings = _settings(config)
    path = settings.ledger.path
    if path is not None:
        _must_be_ours(path)
        with told_in_one_line(f"ledger {path}"):
            done = rename.rename_in_file(path, old, new)
    else:
        old = old or settings.till
        if settings.till not in (old, new):
            raise rename.RefusedError(
                f'ledger: the configuration is of till "{settings.till}" (do this on "{old}", with its own)'
            )
        move = _spool_to_move(settings, old, new)
        with _in_reach():
            done = rename.rename_on_server(server_of(settings), old, new)
        move()
    how = "had that name already" if done.sales is None else f"{done.sales} sales are its own as before"
    print(f'"{done.old}" is now "{done.new}": {how}')
    if settings.till != done.new:
        print(f'{settings.file}: now set [till] name = "{done.new}"')


def _spool_to_move(settings: Settings, old: str, new: str) -> Callable[[], None]:
    """The spool is its till's, and named by it unless the configuration does; what waits in it goes along."""
    from dataclasses import replace

    from tilltap.ledger.backup import is_there
    from tilltap.ledger.spool_book import move_spool
    from tilltap.stores import spool_of

    source, target = (spool_of(replace(settings, till=name)) for name in (old, new))
    if not is_there(source, "spool"):
        return lambda: None
    return move_spool(source, target, new)


def _must_be_a_name(name: str) -> None:
    from pydantic import ValidationError

    from tilltap.config.model import Till

    try:
        Till(name=name)
    except ValidationError as error:
        raise typer.BadParameter(f"{error.errors()[0]['msg']}: {name!r}", param_hint="NEW") from None


# -- common -------------------------------------------------------------------------------------------------


def _settings(config: str | None) -> Settings:
    from tilltap.config.files import locate_config
    from tilltap.config.load import load

    return load(locate_config(config))


@contextmanager
def _in_reach() -> Iterator[None]:
    from tilltap.ledger.postgres import Unreachable

    try:
        yield
    except Unreachable as error:
        raise _out_of_reach(error) from None


def _out_of_reach(error: Unreachable) -> StartError:
    remedy = "" if error.mistake else " (check [ledger] url, the network and the server)"
    return StartError(f"ledger: {error}{remedy}")


def _must_be_ours(path: Path) -> None:
    """What root leaves beside the ledger, its daemon could not use."""
    from tilltap.ledger.backup import refuse_emptied

    refuse_emptied(path)
    try:
        owner = path.stat().st_uid
    except FileNotFoundError:
        raise StartError(
            f"ledger {path}: no such file (tilltap run makes it; or correct [ledger] url)"
        ) from None
    except OSError as error:
        raise StartError(f"ledger {path}: {error.strerror} (run this as the daemon's user)") from None
    if owner != os.geteuid():
        raise StartError(
            f"ledger {path}: belongs to user {owner} (run this as that user: sudo -u '#{owner}' tilltap ...)"
        )
