"""The file a Unix socket lives at: taken safely at start, given back at stop."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tilltap.errors import StartError

MODE = 0o660  # the daemon's user and group: contract section 3
LONGEST_PATH = 107  # bytes a client can connect to: unix(7), sun_path less its final zero
# Connections waiting to be accepted. Beyond it a client with a timeout set gets EAGAIN instead of its turn: a
# burst, or a loop busy for 100 ms, must not look like a dead daemon. The kernel cuts it to somaxconn.
BACKLOG = 1024
# Two daemons starting together take a few milliseconds each; two seconds are a fault.
CLAIM_TRIES, CLAIM_PAUSE = 20, 0.1


class SocketFile:
    """A listening stream socket at `path`. Every fault is a StartError with its remedy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode: tuple[int, int] | None = None

    def listen(self) -> socket.socket:
        """Non-blocking and listening. Replaces what a dead daemon left; refuses a live one and foreign files.

        Bound under another name and renamed: at `path` there is never a socket with a looser mode, nor one
        that nobody serves yet. The folder is locked meanwhile: of two daemons starting together one gives up.
        """
        if len(os.fsencode(self.path)) > LONGEST_PATH:
            raise StartError(f"{self.path}: longer than {LONGEST_PATH} bytes; set a shorter pos.socket")
        listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            with self._claimed():
                self._refuse_unless_free()
                self._place(listener)
        except BaseException:
            listener.close()
            raise
        return listener

    def remove(self) -> None:
        """Only if it is still ours: whoever replaced it keeps theirs."""
        with suppress(OSError):
            if self._inode == _inode(self.path):
                self.path.unlink()
        self._inode = None  # its number may be given to the next daemon's socket

    def _place(self, listener: socket.socket) -> None:
        temporary = self.path.with_name(f".{os.getpid()}")
        with suppress(FileNotFoundError):
            temporary.unlink()
        try:
            listener.bind(str(temporary))
            temporary.chmod(MODE)
            listener.listen(BACKLOG)
            temporary.rename(self.path)
            self._inode = _inode(self.path)
        except OSError as problem:
            with suppress(OSError):
                temporary.unlink()
            raise self._cannot(problem) from problem

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        try:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as problem:
            raise self._cannot(problem) from problem
        try:
            for _ in range(CLAIM_TRIES):
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(CLAIM_PAUSE)
            else:
                raise StartError(
                    f"{self.path}: another process keeps {self.path.parent} locked; end it and try again"
                )
            yield
        finally:
            os.close(folder)

    def _refuse_unless_free(self) -> None:
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return
        except OSError as problem:
            raise self._cannot(problem) from problem
        if not stat.S_ISSOCK(found.st_mode):
            raise StartError(f"{self.path}: is not a socket; move it away or choose another pos.socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            try:
                probe.connect(str(self.path))
            except (ConnectionRefusedError, FileNotFoundError):
                return  # nobody behind it
            except BlockingIOError:
                pass  # somebody, with a full queue
            except OSError as problem:
                raise self._cannot(problem) from problem
        raise StartError(f"another tilltap serves {self.path}; stop it first or choose another pos.socket")

    def _cannot(self, problem: OSError) -> StartError:
        folder = self.path.parent
        if problem.errno == errno.ENOENT:
            return StartError(
                f"{self.path}: no such folder {folder}; create it, or set pos.socket to another path"
            )
        if problem.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            return StartError(
                f"{self.path}: not allowed; make {folder} writable for this user or set pos.socket"
            )
        return StartError(
            f"{self.path}: cannot listen there: {problem.strerror}; set pos.socket to another path"
        )


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
