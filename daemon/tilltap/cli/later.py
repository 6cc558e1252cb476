"""Commands that the manual names and that do not exist yet: one clear line instead of a pretence."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

NAMES = {
    "doctor": "check ports, keys, clock, ledger and service",
    "customers": "find, show and adjust customers (until then: the calls customer.* of the POS socket)",
    "mirror": "list and retry passes that are behind (until then: the calls mirror.* of the POS socket)",
    "readers": "find, probe and commission readers",
    "display": "the cashier's page",
    "hooks": "the loyalty service's webhooks",
}


def register(app: typer.Typer) -> None:
    for name, what in NAMES.items():
        app.command(
            name,
            help=f"Not available yet: {what}.\n\nExample: tilltap {name}",
            short_help="Not available yet.",
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_refusal(name))


def _refusal(name: str) -> Callable[[typer.Context], None]:
    def refuse(context: typer.Context) -> None:
        del context
        print(f"tilltap {name}: not available yet", file=sys.stderr)
        raise typer.Exit(1)

    return refuse
