"""`tilltap demo`: the worked example with no hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    auto: Annotated[
        bool, typer.Option("--auto", help="Play to the end without waiting for anybody.")
    ] = False,
    reader: Annotated[
        str,
        typer.Option(
            metavar="DRIVER", help="The simulated reader: vtap; pcsc or pn532 with phones of its own."
        ),
    ] = "vtap",
    program: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file of [program] tables to rehearse instead of the example's."),
    ] = None,
    fault: Annotated[
        str, typer.Option(metavar="NAME", help="Let the sandbox have this fault all the while.")
    ] = "",
) -> None:
    """The worked example: simulated reader, sandbox service, daemon and POS, two customers, three sales.

    Exits 0 only if every balance and message was right.

    Example: tilltap demo --auto
    """
    import sys

    from tilltap import demo as story
    from tilltap.demo_readers import READERS
    from tilltap.sandbox.faults import MENU

    if reader not in READERS:
        raise typer.BadParameter(f"no such reader (there is: {', '.join(READERS)})", param_hint="--reader")
    if fault and fault not in MENU:
        raise typer.BadParameter(f"no such fault (there is: {', '.join(MENU)})", param_hint="--fault")
    watched = not auto and sys.stdin is not None and sys.stdin.isatty()
    rules = story.PROGRAM
    if program is not None:
        from tilltap.config.files import read_text

        rules = read_text(program)
    with story.stage(rules, fault or None, reader) as scene:
        _pages(scene, watched)
        wrong = story.play(scene, print, _enter if watched else lambda: None)
        if wrong:
            print("\nNot as it should be:", *wrong, sep="\n  ", file=sys.stderr)
            raise typer.Exit(1)
        print("\nEvery balance and message was right.")
        if watched:
            input("The pages stay open until you press Enter. ")


def _pages(scene: object, watched: bool) -> None:
    import os
    import webbrowser

    from tilltap.demo import Stage

    assert isinstance(scene, Stage)
    url = scene.sandbox.url
    print(f"The loyalty service: {url}/   the phones: {url}/phone/anna and {url}/phone/ben")
    if watched and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(f"{url}/phone/ben")


def _enter() -> None:
    input("\nPress Enter for the next sale. ")
