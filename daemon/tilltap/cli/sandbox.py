"""`tilltap sandbox`: a stand-in for the loyalty service, with the customers' phones as web pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tilltap.sandbox.server import SandboxServer
    from tilltap.sandbox.service import NewPass

DEFAULT_PORT = 7447
MAX_PASS = 512  # characters of a --pass: an ext id and a reader value at their longest

# An ext id may hold "@" (an e-mail address), so a reader value needs the balance before it. No "=": else
# "ben=4x" would make a customer of that name instead of saying what is wrong.
PASS = re.compile(r"(?P<ext>[^=]+)(?:=(?P<balance>-?\d{1,9})(?:@(?P<nfc>.+))?)?")

EXAMPLE = """Example:

  tilltap sandbox --port 7447 --pass anna --pass ben=4 --pass carl=12@04A2B3C4

Prints its address once it listens, then the passes; open the address in a browser."""


def register(app: typer.Typer) -> None:
    app.command(name="sandbox", epilog=EXAMPLE)(sandbox)


def sandbox(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes any free one.")] = DEFAULT_PORT,
    passes: Annotated[
        list[str] | None,
        typer.Option(
            "--pass",
            metavar="EXT[=BALANCE[@NFC]]",
            help="Ext id, points, and what the reader gets (default: the pass id). Default: anna and ben=4.",
        ),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the only API key to accept; without it any key is.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The shop's name on the pass.")] = None,
) -> None:
    """A stand-in for the PassEntry API with the customer's phone as a web page, for training and tests."""
    from tilltap.config.secrets import load_secret
    from tilltap.sandbox.server import DEFAULT_PASSES, PROGRAMME, SandboxServer
    from tilltap.sandbox.service import RefusedError

    wanted = [parse_pass(text) for text in passes] if passes else DEFAULT_PASSES
    key = load_secret(str(key_file), Path.cwd()) if key_file else None
    try:
        server = SandboxServer(wanted, port=port, key=key, programme=name or PROGRAMME)
    except RefusedError as error:
        raise typer.BadParameter(str(error), param_hint="--pass") from None
    _serve(server)


def parse_pass(text: str) -> NewPass:
    """`EXT[=BALANCE[@NFC]]`; BadParameter (exit 2) for anything else."""
    from tilltap.sandbox.service import NewPass

    found = PASS.fullmatch(text)
    if not found or not text.isprintable() or len(text) > MAX_PASS:
        raise typer.BadParameter("a pass is EXT[=BALANCE[@NFC]]", param_hint="--pass")
    return NewPass(found["ext"], int(found["balance"] or 0), found["nfc"])


def _serve(server: SandboxServer) -> None:
    import asyncio
    import signal

    def ready() -> None:
        print(f"sandbox ready: {server.url}", flush=True)
        for state in server.service.passes():
            phone = f"{server.url}{phone_path(state.name)}"
            print(
                f"  {state.name}: {state.balance} points, reader value {state.nfc}, phone {phone}", flush=True
            )

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.serve(ready)

    from tilltap.sandbox.desk import phone_path

    asyncio.run(main())
