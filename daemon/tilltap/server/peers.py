"""Who is at the other end of the socket, as the kernel tells it, and whether that program may sell."""

from __future__ import annotations

import os
import socket
import struct

from tilltap.model import Peer

_UCRED = struct.Struct("iII")  # pid, uid, gid: unix(7), SO_PEERCRED
_PEERGROUPS = 59  # SO_PEERGROUPS of Linux >= 4.13 (asm-generic/socket.h), which the socket module lacks
_GROUPS_SIZE = 1024  # bytes, the most that getsockopt takes here: 256 groups; a user has a dozen


def peer_of(sock: socket.socket, write_group: int | None) -> Peer:
    """Credentials as they were when it connected. `write_group` None: whoever got in may sell."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    may_write = write_group is None or uid in {0, os.geteuid()} or write_group in {gid, *_groups(sock)}
    return Peer(uid, pid, may_write=may_write)


def _groups(sock: socket.socket) -> list[int]:
    """The supplementary groups; none if the kernel will not say, which lets nobody in."""
    try:
        ids = sock.getsockopt(socket.SOL_SOCKET, _PEERGROUPS, _GROUPS_SIZE)
    except OSError:
        return []
    return [gid for (gid,) in struct.iter_unpack("I", ids)]
