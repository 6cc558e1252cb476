"""`tilltap run`: the daemon in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Default $TILLTAP_CONFIG, then /etc/tilltap/tilltap.toml."),
]


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(config: Config = None) -> None:
    """The daemon, in the foreground. SIGTERM or Ctrl-C stops it in order, SIGHUP reloads rules and readers.

    Example: tilltap run --config /etc/tilltap/tilltap.toml
    """
    from tilltap import app
    from tilltap.config.files import locate_config

    app.run(locate_config(config))
