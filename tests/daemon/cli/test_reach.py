"""What the commands that ask a running daemon say when it is somebody else who answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rigs.rude import Rude, always

FOREIGN = "something other than tilltap answers there; see [pos] socket for the daemon's own"
ODD = "what answers there is not this tilltap (see [pos] socket for its own; after an upgrade, restart the daemon)"


def tilltap(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tilltap", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("command", "result", "says"),
    [
        ("status", "null", FOREIGN),
        ("status", "{}", ODD),
        ("status --json", "{}", ODD),
        ("status", '{"till":"till-1","state":"ready","readers":"none","loyalty":{},"mirror":1}', ODD),
        ("watch", "null", FOREIGN),
        ("watch", '{"seq":1,"gap":false}', ODD),
        ("report", "null", FOREIGN),
        ("report", "[]", ODD),
        ("report --csv", '{"tills":[{}]}', ODD),
        ("report", '{"day":"today","tills":[],"currency":"GBP","sales":{},"money":{}}', ODD),
    ],
)
def test_an_answer_that_is_not_tilltaps_is_one_line(
    tmp_path: Path, command: str, result: str, says: str
) -> None:
    path = tmp_path / "pos.sock"
    with Rude(path, always(f'{{"jsonrpc":"2.0","id":ID,"result":{result}}}')):
        done = tilltap(*command.split(), "--socket", path)
    assert (done.returncode, done.stdout, done.stderr) == (4, "", f"{path}: {says}\n")


def test_an_answer_in_the_middle_of_a_stream_is_one_line(tmp_path: Path) -> None:
    snapshot = '{"seq":1,"gap":false,"state":"ready","readers":[],"sales":[],"mirror":{}}'
    said = f'{{"jsonrpc":"2.0","id":ID,"result":{snapshot}}}\n{{"jsonrpc":"2.0","id":9,"result":{{}}}}'
    path = tmp_path / "pos.sock"
    with Rude(path, always(said)):
        done = tilltap("watch", "--socket", path)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert done.stderr.startswith(f"{path}: ")
