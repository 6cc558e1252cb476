"""The one HTTP client: a request goes out, plain values come back, and a failure says whether a byte left.

Knows nothing of any loyalty service. What went wrong is told in two words only, because that is all a caller
may act on: `NotSent` (certainly not applied) and `Unclear` (it may have been, or may yet be).
"""

from __future__ import annotations

import http.cookiejar
import ipaddress
import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx

from tilltap import __version__, crash
from tilltap.loyalty.ca import trusting

# Both log whole URLs at INFO and DEBUG, and our URLs hold customers' ids (contract promise 6).
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

# One pass with its design is some 10 KiB; 1 MiB leaves a factor of 100, and more is no answer to us.
ANSWER_LIMIT = 1 << 20

# A page holds 100 passes (passentry.md section 1) of up to 10 KiB; the factor is 8 here.
PAGE_LIMIT = 8 << 20

# A head has a few KiB. Before it may come any number of interim answers (100 Continue), which are taken apart
# one by one while everybody waits: this many take a quarter of a second.
HEAD_LIMIT = 128 << 10

# The mirror's few workers, one listing and the taps of one till; a service that hangs costs no more sockets.
_CONNECTIONS = 32

# None is kept for another exchange. A kept one may be closing as a write goes out, which leaves the write's
# outcome open, and surplus bytes after one answer would be taken for the next one. Taps are too far apart to
# find a connection still warm, and for the rest nobody waits.
_IDLE_CONNECTIONS = 0


class NotSent(Exception):
    """No byte of the request reached the service. The text is a short reason free of URLs and names."""


class Unclear(Exception):
    """The request went out and no whole answer came back.

    `broken`: the connection ended or spoke nonsense, so that asking once more may help; otherwise time or
    the size limit ran out.
    """

    def __init__(self, reason: str, *, broken: bool = False) -> None:
        super().__init__(reason)
        self.broken = broken


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Header names are lower-cased; repeated ones are joined with a comma."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Talks to one origin (scheme, host, port), and to no other: a bearer key can go nowhere else.

    `base` is the service's address, https, or plain http to a loopback host. `ca_file` replaces the usual
    roots; without it `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured. `HTTPS_PROXY`, `ALL_PROXY` and
    `NO_PROXY` are honoured, except that a loopback host is never asked through a proxy. Redirects are not
    followed, cookies not kept, `.netrc` not read.

    Raises ValueError, one line, for an address, a CA file or a proxy setting that cannot be used.
    """

    def __init__(self, base: str, *, ca_file: Path | None = None) -> None:
        self.base, host = _checked_base(base)
        self._origin = _origin(httpx.URL(self.base))
        tls = _tls(self.base, ca_file)
        try:
            self._client = httpx.AsyncClient(
                verify=tls,
                trust_env=not is_loopback(host),
                follow_redirects=False,
                timeout=None,  # noqa: S113 - one deadline spans the whole exchange; a timeout per read lets drips pass
                limits=httpx.Limits(
                    max_connections=_CONNECTIONS, max_keepalive_connections=_IDLE_CONNECTIONS
                ),
                cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
                headers={
                    "User-Agent": f"tilltap/{__version__}",
                    "Accept": "application/json",
                    "Connection": "close",
                    # Compressed answers could unfold to any size; ours are small.
                    "Accept-Encoding": "identity",
                },
            )
        except (ValueError, ImportError, httpx.InvalidURL):
            raise ValueError(
                "the proxy named in HTTPS_PROXY or ALL_PROXY cannot be used (give http://host:port)"
            ) from None

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int = ANSWER_LIMIT,
        deadline: float,
    ) -> Reply:
        """One request, one answer of at most `limit` bytes, all within `deadline` seconds.

        `url` is absolute, on our origin, its path already percent-encoded. Raises `NotSent` or `Unclear`,
        and ValueError for a URL of another origin.
        """
        if self._client.is_closed:
            raise NotSent("the daemon is stopping")
        if _origin(httpx.URL(url)) != self._origin:
            raise ValueError("the URL belongs to another service")
        watch = _Watch()
        request = self._client.build_request(
            method, url, headers=dict(headers), content=body, extensions={"trace": watch}
        )
        try:
            with anyio.fail_after(deadline):
                return await self._send(request, limit)
        except TimeoutError:
            if watch.sent:
                raise Unclear("no whole answer in time") from None
            raise NotSent("no connection in time") from None
        except (httpx.HTTPError, OSError) as fault:
            if watch.sent:
                raise Unclear("the connection broke before the answer was whole", broken=True) from fault
            raise NotSent(_why_not_sent(fault)) from fault
        finally:
            await watch.hang_up()

    async def _send(self, request: httpx.Request, limit: int) -> Reply:
        # auth=None: nothing but our own header may speak for us (no .netrc, no user in a URL).
        response = await self._client.send(request, stream=True, auth=None)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > limit:
                    raise Unclear("the answer is too long")
        finally:
            await response.aclose()
        names = {name.lower() for name in response.headers}
        return Reply(response.status_code, {name: response.headers[name] for name in names}, bytes(body))

    def follow(self, current: str, link: str) -> str | None:
        """`link`, absolute or relative to `current`, as an absolute URL; None if it leaves our origin."""
        try:
            url = httpx.URL(current).join(link).copy_with(fragment=None)
        except (httpx.InvalidURL, ValueError, UnicodeError):
            return None
        if url.userinfo or _origin(url) != self._origin:
            return None
        return str(url)

    async def aclose(self) -> None:
        await self._client.aclose()


class _Watch:
    """Follows one request through the library's trace events: was anything of ours sent, and over what?

    And counts what comes back before the answer's head is whole, which the library does not.
    """

    def __init__(self) -> None:
        self.sent = False
        self._stream: Any = None
        self._before_answer: int | None = 0

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
            self._meter(self._stream)
        elif event.endswith("start_tls.complete"):
            self._meter(info["return_value"])
        # A proxy's CONNECT is on the wire too, but carries nothing of ours.
        elif event == "http11.send_request_headers.started" and info["request"].method != b"CONNECT":
            self.sent, self._before_answer = True, 0
        elif event == "http11.receive_response_headers.started" and info["request"].method == b"PATCH":
            crash.point("P4")
        elif event == "http11.receive_response_headers.complete":
            self._before_answer = None

    def _meter(self, stream: Any) -> None:
        read = stream.read

        async def metered(*args: Any, **options: Any) -> bytes:
            data: bytes = await read(*args, **options)
            if self._before_answer is not None:
                self._before_answer += len(data)
                if self._before_answer > HEAD_LIMIT:
                    raise Unclear("too much came before the answer")
            return data

        stream.read = metered

    async def hang_up(self) -> None:
        """Closes the connection: the library forgets one whose TLS handshake was cancelled."""
        if self._stream is not None:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()


def is_loopback(host: str) -> bool:
    """Whether `host` (name or address, no brackets) can only be this machine."""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_base(base: str) -> tuple[str, str]:
    """The address without a slash at its end, and its host.

    Errors do not repeat the text: somebody may have put a password into it.
    """
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
        httpx.URL(base)
    except (ValueError, httpx.InvalidURL):
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError("the service's url is not an address (such as https://api.example.com)")
    if parts.username is not None or parts.password is not None or "?" in base or "#" in base:
        raise ValueError("the service's url may hold no user, query or fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("the service's url must be https (plain http goes to loopback only)")
    return base.rstrip("/"), host


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host.lower(), url.port


def _tls(base: str, ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is not None:
        try:
            return trusting(ca_file)
        except OSError:  # ssl.SSLError is one
            raise ValueError(f"{ca_file}: no PEM certificates can be read from it") from None
    if base.startswith("http:"):
        # Never used, and loading the usual roots costs start-up 20 ms. It trusts nobody.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.create_ssl_context()
    except OSError:
        raise ValueError("SSL_CERT_FILE or SSL_CERT_DIR names no readable PEM certificates") from None


def _why_not_sent(fault: BaseException) -> str:
    """A short reason from the chain of causes; the exceptions' own texts may hold hosts and addresses."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [fault]
    while todo:
        link = todo.pop()
        if link is None or link in seen:
            continue
        seen.append(link)
        todo += [link.__context__, link.__cause__]
        todo += link.exceptions if isinstance(link, BaseExceptionGroup) else ()
    for kind, reason in _NOT_SENT:
        if any(isinstance(link, kind) for link in seen):
            return reason
    return "no connection"


_NOT_SENT: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "the certificate was not accepted (a custom CA goes into ca_file)"),
    (ssl.SSLError, "the TLS handshake failed"),
    (httpx.ProxyError, "the proxy refused"),
    (socket.gaierror, "the host name was not found"),
    (ConnectionRefusedError, "connection refused"),
)
