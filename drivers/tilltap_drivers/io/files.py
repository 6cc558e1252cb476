"""Files that people name: read whole, but never more than expected and never from what is no file.

A pipe would hold up whoever opens it, a device such as /dev/zero never ends.
"""

from __future__ import annotations

import errno
import os
import stat


class NotAFileError(OSError):
    """A pipe, a device or a socket is there; `strerror` says so."""


class TooLargeError(OSError):
    """It has more bytes than it may; `strerror` says how many it may have."""


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes, symbolic links followed.

    NotAFileError, TooLargeError, IsADirectoryError, and OSError and ValueError as `open` raises them.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise NotAFileError(errno.EINVAL, "not a file but a pipe or a device", str(path))
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(most + 1)
    finally:
        os.close(fd)
    if len(data) > most:
        raise TooLargeError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return data
