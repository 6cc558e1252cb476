"""How the commands that talk to a running daemon find it, and what they say when nobody is there."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from tilltap.errors import StartError

if TYPE_CHECKING:
    from tilltap.client import TillError

T = TypeVar("T")

Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Default $TILLTAP_CONFIG, then /etc/tilltap/tilltap.toml."),
]


def _named(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("is empty (name the POS socket, or leave --socket out)")
    return text


Socket = Annotated[
    str | None,
    typer.Option(
        "--socket", parser=_named, metavar="PATH", help="The POS socket itself; then no --config is read."
    ),
]


class NotReachedError(StartError):
    """The daemon cannot be reached: exit 4 (contract section 1)."""

    exit_code = 4


class TurnedAwayError(StartError):
    """The daemon was reached, and its answer is no: exit 1 (contract section 1)."""

    exit_code = 1


def socket_path(config: str | None, socket: str | None) -> str:
    """The running daemon's socket; StartError for a configuration that cannot be read.

    Only `pos.socket` is looked at: a mistake elsewhere in an edited file must not hide how the daemon is that
    still runs on the old one, and checking the whole file would take longer than asking.
    """
    if socket is not None:
        return socket
    from tilltap.client import DEFAULT_SOCKET
    from tilltap.config.files import locate_config, read_text

    file = locate_config(config)
    try:
        named = tomllib.loads(read_text(file)).get("pos", {}).get("socket", DEFAULT_SOCKET)
        return str(file.absolute().parent / named)
    except (ValueError, TypeError, AttributeError, RecursionError):
        from tilltap.config.load import load

        return str(load(file).pos.socket)  # says what is wrong, and where


def not_had(problem: TillError, path: str) -> NoReturn:
    """Ends the command for which the daemon at `path` gave no result."""
    from tilltap.client import Unreachable

    if isinstance(problem, Unreachable):
        raise NotReachedError(str(problem)) from problem
    raise TurnedAwayError(f"the daemon at {path} is running and says no: {problem}") from problem


def in_words(path: str, told: Callable[..., T], *answers: object) -> T:
    """`told(*answers)`: what a person reads of what was answered at `path`. NotReachedError if nothing can be
    made of it: whatever answers there speaks JSON-RPC, and is not this tilltap.
    """
    try:
        return told(*answers)
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise NotReachedError(
            f"{path}: what answers there is not this tilltap (see [pos] socket for its own; after an upgrade,"
            " restart the daemon)"
        ) from problem
