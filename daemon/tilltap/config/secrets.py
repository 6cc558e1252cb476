"""Secrets from files: never in the configuration, in arguments, in logs or in errors."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tilltap.config.types import resolve
from tilltap.errors import StartError

if TYPE_CHECKING:
    from tilltap_drivers.nfc.keys import Key

# An API key has tens of characters, a file with a P-256 key some hundred; anything larger is another file.
MOST_BYTES = 4096
# Set by systemd for LoadCredential= (systemd.exec(5)); the service manager guards the files in it.
CREDENTIALS = "CREDENTIALS_DIRECTORY"
# Longest bare name that is quoted in an error: somebody may have written the key itself for its file's name.
LONGEST_NAME = 32


class SecretError(StartError):
    """A secret's file cannot be used. `what` and `hint` name the file and the remedy, never its content."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what} ({hint})")
        self.what = what
        self.hint = hint


def load_secret(name_or_path: str, base_dir: Path) -> str:
    """The one line of a secret's file, without its line end.

    A bare name is looked up in `$CREDENTIALS_DIRECTORY` first; relative paths begin in `base_dir`.
    SecretError: not there, readable by others, or not one printable line.
    """
    path, data = _find(name_or_path, base_dir, "put the key in it, on one line, and chmod 600 it")
    return _line(data, _shown(path))


def load_key_file(name_or_path: str, base_dir: Path) -> Key:
    """The private key of a wallet from its file, found and guarded as by `load_secret`.

    SecretError also for what is no P-256 key, with the reason and never its content.
    """
    from tilltap_drivers.nfc.errors import BadKey
    from tilltap_drivers.nfc.keys import load_key

    path, data = _find(name_or_path, base_dir, "put the private key there and chmod 600 it")
    try:
        return load_key(data)
    except BadKey as error:
        what, _, hint = str(error).partition("; ")
        raise SecretError(f"{_shown(path)}: {what}", hint or "name a P-256 private key, PEM or DER") from None


def _find(name_or_path: str, base_dir: Path, missing: str) -> tuple[Path, bytes]:
    directory = os.environ.get(CREDENTIALS)
    if directory and "/" not in name_or_path:
        credential = Path(directory) / name_or_path
        if credential.is_file():
            return credential, _read(credential, missing, guarded=True)
    path = resolve(base_dir, name_or_path)
    return path, _read(path, missing, guarded=False)


def _read(path: Path, missing: str, *, guarded: bool) -> bytes:
    name = _shown(path)
    try:
        # A symlink is followed: what counts is the file behind it, which is why the open file is asked.
        # O_NONBLOCK: a pipe must not hold up the start.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SecretError(f"{name}: {_reason(error)}", _remedy(error, name, missing)) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise SecretError(f"{name}: is not a file", "name a file that holds the key and nothing else")
        if not guarded and (refusal := exposure(status, os.geteuid())):
            what, remedy = refusal
            raise SecretError(f"{name}: {what}", f"{remedy} {name}")
        data = os.read(fd, MOST_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > MOST_BYTES:
        raise SecretError(f"{name}: is larger than {MOST_BYTES} bytes", "is it the right file?")
    return data


def exposure(status: os.stat_result, user: int) -> tuple[str, str] | None:
    """`(what, remedy command)` if others than `user` and root could read or replace the file's content.

    Root may check a file for the service's user, so to root any owner will do.
    """
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return f"others may use it, its mode is {mode:04o}", "chmod 600"
    if user and status.st_uid not in (0, user):
        return f"belongs to user {status.st_uid}", f"chown {user}"
    return None


def _line(data: bytes, name: str) -> str:
    secret = data.strip(b" \t\r\n")
    if not secret:
        raise SecretError(f"{name}: is empty", "put the key in it, on one line")
    if b"\n" in secret or b"\r" in secret:
        raise SecretError(f"{name}: has more than one line", "put the key in it and nothing else")
    if not re.fullmatch(rb"[!-~]+", secret):
        raise SecretError(
            f"{name}: holds characters that no key has", "put the key in it as plain text, nothing else"
        )
    return secret.decode("ascii")


def _shown(path: Path) -> str:
    if len(path.name) <= LONGEST_NAME or not re.fullmatch(r"[\w-]+", path.name):
        return str(path)
    return str(path.with_name(path.name[:4] + "..."))


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "no such file"
    return f"cannot be read: {error.strerror}"


def _remedy(error: OSError, name: str, missing: str) -> str:
    if error.errno == errno.ENOENT:
        return missing
    if error.errno == errno.EACCES:
        return f"chown {os.geteuid()} {name}"
    return "check its path"
