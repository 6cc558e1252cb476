"""The `tilltap` command: one small module per command, heavy imports inside them."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer

app = typer.Typer(
    name="tilltap",
    help="A phone tapped at a shop's till becomes points on its wallet pass.\n\nExample: tilltap demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

COMMANDS = (
    "demo",
    "run",
    "check",
    "explain",
    "status",
    "watch",
    "report",
    "simulate",
    "record",
    "sandbox",
    "ledger",
    "later",
)

for _name in COMMANDS:
    import_module(f"tilltap.cli.{_name}").register(app)


# What the framework raises for wrong words on the command line: BadParameter is a UsageError, which is one of
# these. It brings a click of its own since 0.20, so the class is asked for by way of its public name.
_WrongCall: type[Exception] = typer.BadParameter.__mro__[2]


def main() -> None:
    from tilltap.errors import StartError

    try:
        sys.exit(app(standalone_mode=False))
    except _WrongCall as wrong:
        sys.exit(_say(wrong))
    except StartError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)


def _say(wrong: Any) -> int:
    """One line: what, where, remedy. A bare `tilltap` is answered with its help."""
    path = wrong.ctx.command_path if getattr(wrong, "ctx", None) else "tilltap"
    text: str = wrong.format_message()
    if type(wrong).__name__ == "NoArgsIsHelpError":
        print(text)
    else:
        print(f"{path}: {' '.join(text.split())} (see {path} --help)", file=sys.stderr)
    code: int = wrong.exit_code
    return code
