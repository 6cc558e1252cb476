"""`tilltap status`: how a running daemon is, at a glance or as JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tilltap.cli.reach import Config, Socket, in_words, not_had, socket_path


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    config: Config = None,
    socket: Socket = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The protocol's `status` result as one line.")
    ] = False,
) -> None:
    """Show how the running daemon is: readers, loyalty service, ledger, passes waiting.

    Example: tilltap status --config /etc/tilltap/tilltap.toml
    """
    from tilltap.client import Till, TillError

    with Till(socket_path(config, socket), patience=0) as till:
        try:
            state = till.status()
            about = till.hello("tilltap status")
        except TillError as problem:
            not_had(problem, till.path)
    said = in_words(till.path, lines, about, state)  # also before passing it on to a program
    print(json.dumps(state, ensure_ascii=False) if as_json else "\n".join(said))


def lines(about: dict[str, Any], state: dict[str, Any]) -> list[str]:
    """The results of `hello` and `status` -> what a person reads."""
    title = " ".join(filter(None, [about["till"], f"({about['store']})" if about.get("store") else ""]))
    rows = [(title, state["state"])]
    rows += [(f"reader {r['reader']}", _with(r["state"], r.get("remedy"))) for r in state["readers"]]
    loyalty, mirror = state["loyalty"], state["mirror"]
    last = loyalty.get("last_ok")
    rows.append(
        ("loyalty service", _with(loyalty["state"], f"last answer {last}" if last else "no answer yet"))
    )
    rows.append(("ledger", state["ledger"]["state"]))
    rows.append(("passes", _passes(mirror)))
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {text}" for name, text in rows]


def _passes(mirror: dict[str, Any]) -> str:
    parts = []
    if mirror["waiting"]:
        age = mirror["oldest_age_s"]
        parts.append(f"{mirror['waiting']} waiting" + ("" if age is None else f" (oldest {age:.0f} s)"))
    if mirror["parked"]:
        parts.append(f"{mirror['parked']} parked (the call mirror.list says why)")
    if mirror["foreign"]:
        parts.append(f"{mirror['foreign']} changed by others")
    return ", ".join(parts) or "all up to date"


def _with(state: str, detail: str | None) -> str:
    return f"{state}: {detail}" if detail else state
