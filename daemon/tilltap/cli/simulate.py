"""`tilltap simulate vtap`: a reader on a pty, with taps typed on standard input."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from tilltap_drivers.vtap.script import Script
    from tilltap_drivers.vtap.virtual import VirtualVtap

_EPILOG = "Example: printf 'MEMBER-0042\\n' | tilltap simulate vtap --link /tmp/vtap"


def register(app: typer.Typer) -> None:
    simulate = typer.Typer(
        help="Devices that are not there, for a till without hardware.", no_args_is_help=True
    )
    # A callback keeps `vtap` a command of its own while it is the only one.
    simulate.callback()(lambda: None)
    simulate.command("vtap", epilog=_EPILOG)(vtap)
    app.add_typer(simulate, name="simulate")


def vtap(
    link: Annotated[Path, typer.Option(help="Where the reader appears: a link to its pty.")],
    config: Annotated[
        Path | None, typer.Option(help="The reader's config.txt; its prefix and postfix frame the taps.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="TOML file for what VTAP's vendor leaves open (firmware, echo, ...).")
    ] = None,
    exit_at_eof: Annotated[
        bool, typer.Option("--exit-at-eof", help="End with standard input instead of waiting for a signal.")
    ] = False,
) -> None:
    """A VTAP reader on a pty. Each line typed is a pass value tapped with an iPhone; :help lists the rest."""
    import anyio

    from tilltap_drivers.vtap.simulator import LinkError

    reader = _reader(config, profile)
    try:
        anyio.run(_serve, link, reader, exit_at_eof)
    except BaseExceptionGroup as group:
        links, others = group.split(LinkError)
        if others or not links:
            raise
        _fail(str(links.exceptions[0]), code=1)


def _reader(config: Path | None, profile: Path | None) -> VirtualVtap:
    from tilltap_drivers.vtap.config_txt import parse_config
    from tilltap_drivers.vtap.virtual import PROFILE_A, Profile, VirtualVtap

    text = _read(config) if config else PROFILE_A
    try:
        settings = parse_config(text)
        settings.templates("ComPort")
    except ValueError as error:
        _fail(f"{config}: {error}", code=3)
    try:
        return VirtualVtap(settings, Profile(**_profile(profile)))
    except (TypeError, ValueError) as error:
        _fail(f"{profile}: {error}", code=3)


def _profile(path: Path | None) -> dict[str, Any]:
    """Keys and types are those of `Profile`; ValueError names the key that is not."""
    import tomllib
    from dataclasses import fields

    from tilltap_drivers.vtap.virtual import Profile

    if path is None:
        return {}
    values = tomllib.loads(_read(path))
    known = {f.name: type(f.default) for f in fields(Profile)}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"{key}: unknown key (one of: {', '.join(known)})")
        if type(value) is not known[key] and not (known[key] is float and type(value) is int):
            raise ValueError(f"{key}: must be a {known[key].__name__}")
    return values


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        _fail(f"{path}: {error.strerror}", code=2)
    except UnicodeDecodeError:
        _fail(f"{path}: is not UTF-8 text", code=3)


def _fail(line: str, code: int) -> NoReturn:
    print(line, file=sys.stderr)
    raise typer.Exit(code)


async def _serve(link: Path, reader: VirtualVtap, exit_at_eof: bool) -> None:
    import anyio

    from tilltap_drivers.vtap.script import Script
    from tilltap_drivers.vtap.simulator import VtapSimulator

    simulator = VtapSimulator(link, reader, log=_say)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_signal, tasks.cancel_scope)
        await tasks.start(simulator.run)
        _say(f"VTAP simulator ready at {link}")
        done = await _play(Script(simulator))
        if done or exit_at_eof:
            await simulator.drained()
            tasks.cancel_scope.cancel()


async def _until_signal(scope: Any) -> None:
    import signal

    import anyio

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _play(script: Script) -> bool:
    """Perform what is typed; True after `:quit`, False at the end of input."""
    from tilltap_drivers.vtap.script import QuitError, ScriptError

    async for line in _typed():
        try:
            told = script.perform(line.decode("utf-8", "surrogateescape"))
        except ScriptError as error:
            print(error, file=sys.stderr, flush=True)
        except QuitError:
            return True
        else:
            _say(told)
    return False


async def _typed() -> AsyncIterator[bytes]:
    """Lines of standard input, the last one also without its end."""
    import os

    from anyio.lowlevel import checkpoint

    rest = b""
    while True:
        try:
            await checkpoint()
            await _until_typed()
            data = os.read(0, 65536)
        except OSError:
            data = b""  # closed, or a terminal that is not ours any more
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


async def _until_typed() -> None:
    """No thread: one that waits for a line would hold up the end until somebody presses Enter."""
    from contextlib import suppress

    from anyio import wait_readable

    with suppress(PermissionError):  # a file: it cannot be waited for, and need not be
        await wait_readable(0)


def _say(line: str) -> None:
    if line:
        sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape") + b"\n")
        sys.stdout.buffer.flush()
