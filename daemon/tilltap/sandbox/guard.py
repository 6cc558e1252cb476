"""Who may talk to the sandbox from a browser, and what its pages may load.

It listens on this machine only, yet every web page the machine's browser shows can send requests to it. Three
fences: only loopback names as Host (a foreign name that resolves to 127.0.0.1 is refused), no changes asked
for by another origin, and pages that load and call nothing but the sandbox itself.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD"})
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """ASGI middleware; also hands the path on undecoded, so that an ext id may hold a slash (%2F)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = refuse(scope["method"], scope["path"], Headers(scope=scope))
        if refusal:
            await PlainTextResponse(refusal + "\n", 403)(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(PAGE_HEADERS)
            await send(message)

        await self._app({**scope, "path": scope["raw_path"].decode("ascii")}, receive, send_guarded)


def refuse(method: str, path: str, headers: Headers) -> str | None:
    """Why this request is not for us, or None."""
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    if name not in LOCAL_NAMES:
        return "the sandbox is for this machine only; open it as 127.0.0.1 or localhost"
    if method in SAFE_METHODS or not path.startswith("/sandbox/"):
        return None
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none") or (origin is not None and origin != f"http://{host}"):
        return "only the sandbox's own page may change it"
    return None
