"""Who may sell, by what the kernel says of a process that really connects."""

import os
import socket
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rigs.others import NOBODY, OtherUser, can_change
from tilltap.server.peers import peer_of

SELLERS, OTHERS = 54_321, 54_322
MANY = range(100_000, 100_400)  # more groups than the kernel can be asked for at once


@pytest.fixture
def peer():
    """The peer that a process with these groups is."""

    def connect(write_group, gid, groups=()):
        with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            Path(folder).chmod(0o711)
            path = Path(folder, "sock")
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen()
            with OtherUser(path, gid, groups) as other, closing(listener.accept()[0]) as sock:
                found = peer_of(sock, write_group)
            assert found.pid == other.process.pid
            return found

    return connect


@pytest.mark.parametrize(
    ("gid", "groups", "may"),
    [
        (OTHERS, [], False),
        (SELLERS, [], True),
        (OTHERS, [7, SELLERS, 9], True),
        (OTHERS, MANY[:200], False),
        (OTHERS, [SELLERS, *MANY], False),  # not to be found out: nobody gets in by having many
        (SELLERS, MANY, True),
    ],
)
def test_membership_decides(peer, gid, groups, may):
    found = peer(SELLERS, gid, groups)
    if can_change():
        assert (found.uid, found.may_write) == (NOBODY, may)
    else:  # nobody but root can be somebody else, and the daemon's own user always may
        assert (found.uid, found.may_write) == (os.geteuid(), True)


def test_another_user_than_the_daemons_needs_the_group(monkeypatch):
    """Told of ourselves, as if the daemon were another user; root needs no group."""
    ours, theirs = socket.socketpair()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with ours, theirs:
        assert peer_of(ours, os.getegid()).may_write
        assert peer_of(ours, SELLERS).may_write == (uid == 0)


def test_without_a_group_whoever_got_in_may_sell(peer):
    assert peer(None, OTHERS).may_write
