"""Logging: one line per event to standard error, JSON when nobody watches, ids only as hashes.

Contract section 4, promise 6: no secret, pass value or customer id in a log line.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import structlog

# Keys whose values name a person; they appear as `h:` and eight hex digits, the same for the same person
# within one run of the daemon.
PERSONAL = frozenset({"value", "pass_id", "ext_id", "customer", "nfc", "sale_value"})

# New in each run: a short ext id must not be found by trying all of them against a log file.
_SALT = os.urandom(16)


def hashed(value: object) -> str:
    return "h:" + hashlib.blake2s(str(value).encode("utf-8", "replace"), key=_SALT, digest_size=4).hexdigest()


def _redact(_logger: Any, _name: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
    for key in PERSONAL & fields.keys():
        if fields[key] is not None:
            fields[key] = hashed(fields[key])
    return fields


class _Plain(logging.Handler):
    """What libraries log, through the same pipe: the message's template only, never its arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(record.levelno, "library message", text=str(record.msg)[:200])


def places(error: BaseException) -> list[str]:
    """Where an error came from, innermost last, without its text, which may quote a person's values."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames][-8:]


def configure(*, json: bool | None = None) -> None:
    """Once per process. `json` None: JSON unless standard error is a terminal."""
    if sys.stderr is None:  # closed by whoever started us: the daemon serves all the same
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - it stays open as long as we do
    as_json = not sys.stderr.isatty() if json is None else json
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            structlog.processors.UnicodeDecoder(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_Plain()]
    root.setLevel(logging.WARNING)
