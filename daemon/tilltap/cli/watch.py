"""`tilltap watch`: what happens at the till, as it happens."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tilltap.cli.reach import Config, Socket, in_words, not_had, socket_path


def register(app: typer.Typer) -> None:
    app.command()(watch)


def watch(
    config: Config = None,
    socket: Socket = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, as on the socket.")
    ] = False,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="SEQ", help="Begin with what came after this `seq`.")
    ] = None,
) -> None:
    """Show events of the running daemon until it stops (exit 0) or is lost (exit 4).

    The first line is the state now; with --json as an object with method "snapshot". Ctrl-C ends it.

    Example: tilltap watch --json | jq 'select(.method == "tap")'
    """
    from tilltap.client import Till, TillError

    till = Till(socket_path(config, socket), patience=0)
    try:
        now = 0
        for event in till.watch(after, resume=False):
            if event.method == "snapshot":
                now = event.seq
            if as_json:
                body = {"jsonrpc": "2.0", "method": event.method, "params": event.params}
                print(json.dumps(body, ensure_ascii=False), flush=True)
            else:
                print(in_words(till.path, line, event.method, event.params), flush=True)
            if event.method == "bye" and event.seq > now:  # an older one is history, sent again
                return
    except TillError as problem:
        not_had(problem, till.path)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # `tilltap watch | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def line(method: str, params: dict[str, Any]) -> str:
    """One event -> one line for a person. Times are shown as the daemon sends them, in UTC."""
    if method == "snapshot":
        return f"{'now':12}  {'state':7}  {_snapshot(params)}"
    time = str(params.get("at", ""))[11:23]
    tell = _TELL.get(method)
    detail = tell(params) if tell else json.dumps(params, ensure_ascii=False)
    return f"{time:12}  {method:7}  {detail}".rstrip()


def _snapshot(p: dict[str, Any]) -> str:
    readers = ", ".join(f"{r['reader']} {r['state']}" for r in p["readers"]) or "no readers"
    gap = "; events before this were lost" if p["gap"] else ""
    return f"{p['state']}; {readers}; {len(p['sales'])} open sales{gap}"


def _tap(p: dict[str, Any]) -> str:
    words = [p.get("reader"), p["status"], _customer(p), _balance(p)]
    words.append(f"reason: {p['reason']}" if p.get("reason") else None)
    words.append(f"sale {p['sale_id']}" if p.get("sale_id") else None)
    words.append("(replayed: do not act)" if p.get("stale") else None)
    return "  ".join(str(w) for w in words if w)


def _sale(p: dict[str, Any]) -> str:
    words = [p["sale_id"], p["state"], f"total {p['total']}", f"due {p['due']}", _customer(p), _balance(p)]
    words += [f"{o['reward']} {o['state']}" for o in p.get("offers", [])]
    words.append(f"earned {p['earned']}" if p["state"] != "open" and p.get("earned") else None)
    return "  ".join(str(w) for w in words if w)


def _pass(p: dict[str, Any]) -> str:
    if p.get("parked"):
        return f"{_customer(p)}  parked: {p['parked']}"
    return f"{_customer(p)}  {_balance(p)}  notification {p['notification']}"


def _program(p: dict[str, Any]) -> str:
    if p.get("refused"):
        return "refused, the old rules go on: " + "; ".join(p["refused"])
    return f"version {p.get('version')}: {', '.join(p.get('changed') or ['nothing'])} changed"


def _customer(p: dict[str, Any]) -> str:
    ids = p.get("customer") or {}
    return str(ids.get("ext_id") or ids.get("pass_id") or "")


def _balance(p: dict[str, Any]) -> str:
    return "" if p.get("balance") is None else f"balance {p['balance']}"


_TELL: dict[str, Callable[[dict[str, Any]], str]] = {
    "tap": _tap,
    "sale": _sale,
    "pass": _pass,
    "reader": lambda p: "  ".join(filter(None, [p["reader"], p["state"], p.get("remedy")])),
    "program": _program,
    "bye": lambda _: "the daemon is stopping",
}
