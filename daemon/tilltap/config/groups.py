"""The machine's groups by name, as the configuration names them."""

from __future__ import annotations

import grp

from tilltap.errors import StartError


class GroupError(StartError):
    """No such group. `what` and `hint` for the line of `tilltap check`."""

    def __init__(self, name: str) -> None:
        self.what = f"no group {name} on this machine"
        self.hint = f"groupadd --system {name}, or name another"
        super().__init__(f"pos.write_group: {self.what} ({self.hint})")


def group_id(name: str) -> int:
    """GroupError if there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise GroupError(name) from None
