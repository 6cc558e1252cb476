"""The pages: shells kept beside this file, filled with escaped values; scripts follow the live streams."""

from __future__ import annotations

import hashlib
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from starlette.responses import HTMLResponse, Response

_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "phone.js": "text/javascript; charset=utf-8",
    "overview.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def overview(programme: str) -> str:
    return _fill("overview.html", programme=programme)


def phone(programme: str, view: dict[str, Any]) -> str:
    """The phone of one customer; `view` is `desk.pass_view`. Readable before (and without) the script."""
    return _fill(
        "phone.html",
        programme=programme,
        name=view["name"],
        nfc=view["nfc"],
        balance=view["balance"],
        reward=view["reward"] or "–",
        live=f"/sandbox/passes/{view['id']}/live",
    )


def missing(programme: str) -> str:
    return _fill("missing.html", programme=programme)


def html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, {"cache-control": "no-store"})


def static(name: str) -> Response | None:
    """A script, the style sheet or the icon; None for any other name."""
    if name not in _TYPES:
        return None
    return Response(_read(name), media_type=_TYPES[name], headers={"cache-control": "max-age=3600"})


def _fill(shell: str, /, **values: object) -> str:
    return Template(_read(shell).decode()).substitute(
        {key: escape(str(value)) for key, value in values.items()}, version=_version()
    )


@cache
def _read(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()


@cache
def _version() -> str:
    """Part of every static address, so that a browser never keeps files of another release."""
    return hashlib.sha256(b"".join(_read(name) for name in _TYPES)).hexdigest()[:12]
