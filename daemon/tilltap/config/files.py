"""Where the configuration is and how its bytes are read. The edge of this package, with `secrets`."""

from __future__ import annotations

import os
from pathlib import Path

from tilltap.config.mistakes import ConfigError
from tilltap.errors import StartError
from tilltap_drivers.io.files import NotAFileError, TooLargeError, read_file

StrPath = str | os.PathLike[str]

DEFAULT_FILE = Path("/etc/tilltap/tilltap.toml")
ENVIRONMENT = "TILLTAP_CONFIG"
# A configuration with every key explained has 12 KB; ten times as much is some other file.
MOST_BYTES = 128 * 1024


class NoSuchFileError(StartError):
    """The named file is not there: a mistake in the command, not in the configuration."""

    exit_code = 2


def locate_config(option: StrPath | None) -> Path:
    """`--config`, else `$TILLTAP_CONFIG`, else /etc/tilltap/tilltap.toml (contract section 1)."""
    return Path(option or os.environ.get(ENVIRONMENT) or DEFAULT_FILE)


def read_text(path: StrPath) -> str:
    """The file's text, a byte order mark dropped. NoSuchFileError, or ConfigError with one line."""
    file = str(path)
    try:
        data = read_file(path, MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchFileError(
            f"{file}: no such file (name one with --config or ${ENVIRONMENT}; start from config/tilltap.toml)"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{file}:1: file: is a directory (name the file in it)") from None
    except NotAFileError as error:
        raise ConfigError(f"{file}:1: file: is {error.strerror} (name a file)") from None
    except TooLargeError:
        raise ConfigError(
            f"{file}:1: file: is larger than 128 KiB (this is not a configuration of tilltap)"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(
            f"{file}:1: file: cannot be read: {reason} (check its path and permissions)"
        ) from None
    return _decoded(data, file)


def _decoded(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: file: is not UTF-8 text (save it as UTF-8)") from None
