from __future__ import annotations

from typing import Annotated

import typer

_HELP = """Check a configuration file: every mistake at once, one per line.

A line reads FILE:LINE: key: what is wrong (hint). Opens the key files it names too.

Exit code 0: no mistakes; 1: mistakes; 2: no such file.

Example: tilltap check /etc/tilltap/tilltap.toml
"""


def register(app: typer.Typer) -> None:
    app.command("check", help=_HELP)(check)


def check(
    file: Annotated[str | None, typer.Argument(help="The file; default as for --config.")] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="The same; default $TILLTAP_CONFIG, then /etc/tilltap/tilltap.toml.", metavar="FILE"
        ),
    ] = None,
) -> None:
    from tilltap.config.check import check as check_file
    from tilltap.config.check import summary
    from tilltap.config.files import locate_config
    from tilltap.config.mistakes import ConfigError

    # Mistakes repeat the name as it was given; a Path would lose a leading "./".
    name = file or config or str(locate_config(None))
    try:
        settings = check_file(name)
    except ConfigError as error:
        for line in error.lines:
            print(line)
        raise typer.Exit(1) from None
    print(f"{name}: fine. {summary(settings)}")
