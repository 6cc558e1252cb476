"""`tilltap record`: what a live reader says as a tape, for support."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tilltap.cli.reach import Config
from tilltap.errors import StartError

if TYPE_CHECKING:
    from tilltap.config.settings import Settings
    from tilltap_drivers.contract import Driver, ReaderFault
    from tilltap_drivers.replay.record import Recorder


class RecordingError(StartError):
    """Nothing could be recorded: exit 1, as for a reader that is not there."""

    exit_code = 1


def register(app: typer.Typer) -> None:
    app.command()(record)


def record(
    reader: Annotated[str, typer.Option(metavar="NAME", help="The reader's name in the configuration.")],
    out: Annotated[Path, typer.Option(metavar="X.tape", help="The tape; X.events comes beside it.")],
    config: Config = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="How long; without it until Ctrl-C.")] = None,
) -> None:
    """Record what a reader says, with pass values, chip numbers and everything encrypted taken off.

    For vtap, pcsc and pn532 readers. The daemon must be stopped meanwhile: a reader serves one program. The
    tape is a text file for support, and plays with driver = "replay".

    Example: tilltap record --config tilltap.toml --reader counter --out counter.tape --seconds 60
    """
    import anyio

    from tilltap.config.files import locate_config
    from tilltap.config.load import load
    from tilltap.config.wallet import load_wallet
    from tilltap_drivers.replay.record import Recorder, RecordError, recorded_driver

    if out.suffix != ".tape":
        raise typer.BadParameter(f"{out}: the name of a tape ends in .tape", param_hint="--out")
    settings = load(locate_config(config))
    chosen = _reader(settings, reader)
    _check_nobody_else(settings)
    recorder = Recorder()
    try:
        driver = recorded_driver(chosen, load_wallet(settings.wallet, settings.base_dir), recorder.heard)
    except RecordError as error:
        raise RecordingError(str(error)) from None
    files = _Files(out)
    try:
        fault = anyio.run(_follow, recorder, driver, reader, seconds)
        if fault is None or not recorder.empty:
            _write(files, recorder, chosen)
    finally:
        files.close()
    if fault is not None:
        raise RecordingError(f"reader {reader}: {fault.remedy}")


def _reader(settings: Settings, name: str) -> Any:
    found = next((one for one in settings.readers if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in settings.readers)
        raise typer.BadParameter(
            f"{settings.file}: no reader is named {name} (there is: {names})", param_hint="--reader"
        )
    return found


def _check_nobody_else(settings: Settings) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(settings.pos.socket)) == 0:
            raise RecordingError(
                "the daemon is running and holds the reader: stop it first (systemctl stop tilltap)"
            )


class _Files:
    """The tape and its golden events: for their owner only, and nothing is written over."""

    def __init__(self, tape: Path) -> None:
        self.tape, self.events = tape, tape.with_suffix(".events")
        self._open: list[tuple[Path, int]] = []
        for path in (self.tape, self.events):
            try:
                self._open.append((path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)))
            except OSError as error:
                self.close()
                reason = error.strerror or type(error).__name__
                raise RecordingError(f"{path}: {reason} (choose another --out)") from None
        self._written = False

    def write(self, tape: str, events: str) -> None:
        for (_, number), text in zip(self._open, (tape, events), strict=True):
            with open(number, "w", encoding="utf-8", closefd=False) as file:
                file.write(text)
        self._written = True

    def close(self) -> None:
        """What was not written to is removed."""
        for path, number in self._open:
            os.close(number)
            if not self._written:
                path.unlink(missing_ok=True)
        self._open.clear()


async def _follow(
    recorder: Recorder, driver: Driver, reader: str, seconds: float | None
) -> ReaderFault | None:
    import anyio

    fault: ReaderFault | None = None

    def up() -> None:
        until = "Ctrl-C ends it" if seconds is None else f"for {seconds:g} s, or until Ctrl-C"
        print(f"recording {reader}: {until}", flush=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_signal, tasks.cancel_scope)
        with anyio.move_on_after(seconds):
            fault = await recorder.follow(driver, up)
        tasks.cancel_scope.cancel()
    return fault


async def _until_signal(scope: Any) -> None:
    import signal

    import anyio

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _write(files: _Files, recorder: Recorder, settings: Any) -> None:
    from datetime import datetime

    from tilltap_drivers.replay.record import RecordError

    try:
        done = recorder.finish(settings, datetime.now().astimezone().date().isoformat())
    except RecordError as error:
        raise RecordingError(str(error)) from None
    files.write(done.tape, done.events)
    print(
        f"{files.tape}: {done.taps} presentations, their values replaced; {files.events} says what they are"
    )
    if recorder.full:
        print(f"{files.tape}: full, what came later is missing", file=sys.stderr)
    if done.odd:
        print(f"{files.tape}: the live reader gave other taps than the tape does", file=sys.stderr)
