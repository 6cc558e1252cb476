"""Taking and giving back the file of the socket."""

import errno
import fcntl
import os
import socket
import stat

import pytest

from tilltap.errors import StartError
from tilltap.server import sockfile
from tilltap.server.sockfile import SocketFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pos.sock"


def connects(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
    return True


def test_the_socket_is_for_user_and_group_alone_and_nothing_else_is_left(path):
    old = os.umask(0)
    try:
        with SocketFile(path).listen():
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert os.listdir(path.parent) == ["pos.sock"]
            assert connects(path)
    finally:
        os.umask(old)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_mode_does_not_hang_on_the_umask(path, umask):
    old = os.umask(umask)
    try:
        with SocketFile(path).listen():
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(old)


def test_what_a_dead_daemon_left_is_replaced(path):
    SocketFile(path).listen().close()
    assert path.exists()
    with SocketFile(path).listen():
        assert connects(path)


def test_a_live_daemon_is_left_alone(path):
    first = SocketFile(path)
    with first.listen():
        with pytest.raises(StartError, match=f"another tilltap serves {path}") as caught:
            SocketFile(path).listen()
        assert caught.value.exit_code == 3
        assert connects(path)


def test_a_live_daemon_with_a_full_queue_is_left_alone(path, monkeypatch):
    monkeypatch.setattr(sockfile, "BACKLOG", 0)
    with SocketFile(path).listen():
        waiting = []
        for _ in range(10):
            waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            if waiting[-1].connect_ex(str(path)) == errno.EAGAIN:
                break
        else:
            pytest.fail("the queue never filled")
        with pytest.raises(StartError, match="another tilltap serves"):
            SocketFile(path).listen()
        for client in waiting:
            client.close()


def test_only_our_own_socket_is_removed(path):
    first, second = SocketFile(path), SocketFile(path)
    first.listen().close()
    with second.listen():
        first.remove()
        assert connects(path)
        second.remove()
        assert not path.exists()
        second.remove()  # twice is nothing


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: p.write_text("notes"), "is not a socket"),
        (lambda p: p.mkdir(), "is not a socket"),
        (lambda p: p.symlink_to("/dev/null"), "is not a socket"),
    ],
)
def test_a_foreign_file_is_never_replaced(path, make, says):
    make(path)
    with pytest.raises(StartError, match=says):
        SocketFile(path).listen()
    assert path.exists()


def test_every_fault_is_one_line_with_a_remedy(path, tmp_path):
    for bad, says in (
        (tmp_path / "missing" / "pos.sock", "no such folder .*; create it"),
        (tmp_path / ("x" * 120), "longer than 107 bytes; set a shorter pos.socket"),
    ):
        with pytest.raises(StartError, match=says) as caught:
            SocketFile(bad).listen()
        assert len(caught.value.lines) == 1
        assert str(bad) in caught.value.lines[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(path):
    path.parent.chmod(0o500)
    with pytest.raises(StartError, match=r"make .* writable"):
        SocketFile(path).listen()


def test_of_two_starting_together_one_waits_and_then_says_so(path, monkeypatch):
    monkeypatch.setattr(sockfile, "CLAIM_PAUSE", 0.01)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(StartError, match="locked"):
            SocketFile(path).listen()
    finally:
        os.close(folder)
    with SocketFile(path).listen():
        assert connects(path)
