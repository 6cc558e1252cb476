"""Other users of the machine: a process that becomes one of them and talks to a socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

NOBODY = 65_534

# Started as we are and changed from within: another user may have no way to this Python.
_BECOME = """
import json, os, socket, sys
path, who = sys.argv[1], json.loads(sys.argv[2])
if who:
    os.setgroups(who["groups"]); os.setgid(who["gid"]); os.setuid(who["uid"])
s = socket.socket(socket.AF_UNIX)
s.connect(path)
lines = s.makefile("rw")
for line in sys.stdin:
    lines.write(line); lines.flush()
    print(lines.readline(), end="", flush=True)
"""


class OtherUser:
    """Connects to `path` as user 65534 with these groups (needs root; otherwise as the user we are)."""

    def __init__(self, path: Path, gid: int, groups: Iterable[int] = ()) -> None:
        who = {"uid": NOBODY, "gid": gid, "groups": list(groups)} if can_change() else None
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BECOME, str(path), json.dumps(who)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, method: str, **params: object) -> dict:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        print(json.dumps(call), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=10)


def can_change() -> bool:
    return os.geteuid() == 0
