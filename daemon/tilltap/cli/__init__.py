"""The `tilltap` command: one small module per command, heavy imports inside them."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

app = typer.Typer(
    name="tilltap",
    help="A phone tapped at a shop's till becomes loyalty points on its wallet pass.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS = ("demo", "run", "check", "explain", "status", "watch", "simulate", "sandbox", "later")

for _name in COMMANDS:
    import_module(f"tilltap.cli.{_name}").register(app)


def main() -> None:
    from tilltap.errors import StartError

    try:
        app()
    except StartError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
