"""The HTTP client against a service that misbehaves byte for byte."""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rigs.raw_service import Drip, Pause, RawService, Request, Script, Step, reply
from tilltap import __version__
from tilltap.loyalty.http import Http, NotSent, Reply, Unclear, is_loopback

pytestmark = pytest.mark.anyio


async def ask(
    service: RawService | str,
    method: str = "PATCH",
    path: str = "/x",
    *,
    http: Http | None = None,
    **options: object,
) -> Reply:
    """One exchange on a client of its own."""
    client = http or Http(service if isinstance(service, str) else service.url)
    try:
        return await client.exchange(
            method,
            client.base + path,
            headers={},
            **{"deadline": 5.0, "body": b"{}", **options},  # type: ignore[arg-type]
        )
    finally:
        if http is None:
            await client.aclose()


async def test_a_plain_exchange_and_what_is_on_the_wire() -> None:
    async with RawService([reply(200, b"hello", headers=[("X-One", "1"), ("X-One", "2")])]) as service:
        got = await ask(service)
    assert (got.status, got.body) == (200, b"hello")
    assert got.headers["x-one"] == "1, 2"
    request = service.requests[0]
    assert (request.method, request.target, request.body) == ("PATCH", "/x", b"{}")
    assert request.header("user-agent") == f"tilltap/{__version__}"
    assert request.header("accept-encoding") == "identity"
    assert request.header("authorization") is None


FAULTS: dict[str, Script] = {
    "closed before the reply": [Step.CLOSE],
    "reset before the reply": [Step.RESET],
    "reset in the head": [b"HTTP/1.1 200 OK\r\nContent-Le", Step.RESET],
    "reset in the body": [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", Pause(0.05), Step.RESET],
    "body shorter than announced": [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", Step.CLOSE],
    "chunks without an end": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        Step.CLOSE,
    ],
    "a chunk that is no chunk": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        Step.HANG,
    ],
    "two lengths": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", Step.HANG],
    "a negative length": [b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", Step.HANG],
    "no HTTP at all": [b"SSH-2.0-OpenSSH_9.2\r\n", Step.CLOSE],
    "garbage": [bytes(range(256)) * 4 + b"\r\n\r\n", Step.HANG],
    "an endless head": [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000, Step.HANG],
    "HTTP/2 preface": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Step.HANG],
}


@pytest.mark.parametrize("script", FAULTS.values(), ids=FAULTS.keys())
async def test_a_broken_answer_is_unclear_and_broken(script: Script) -> None:
    async with RawService(script) as service:
        with pytest.raises(Unclear) as fault:
            await ask(service)
    assert fault.value.broken
    assert len(service.requests) == 1, "a write must not be repeated"


@pytest.mark.parametrize(
    "script",
    [
        [Step.HANG],
        [b"HTTP/1.1 200 OK\r\n", Step.HANG],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Step.HANG],
        [b"HTTP/1.1 100 Continue\r\n\r\n", Step.HANG],
        [Drip(reply(200, b"x" * 100), 0.05)],  # every read is quick, the whole is not
    ],
    ids=["silent", "half a head", "half a body", "only continue", "drip"],
)
async def test_the_deadline_spans_the_whole_exchange(script: Script) -> None:
    async with RawService(script) as service:
        began = time.monotonic()
        with pytest.raises(Unclear) as fault:
            await ask(service, deadline=0.4)
        assert 0.35 < time.monotonic() - began < 2.0
    assert not fault.value.broken


async def test_a_body_beyond_the_limit_is_not_swallowed() -> None:
    ten_megabytes = reply(200, b"x" * (10 << 20))
    async with RawService([ten_megabytes], [ten_megabytes], [reply(200, b"y" * 1000)]) as service:
        http = Http(service.url)
        with pytest.raises(Unclear, match="too long"):
            await ask(service, http=http)
        with pytest.raises(Unclear, match="too long"):
            await ask(service, http=http, limit=8 << 20)
        assert len((await ask(service, http=http, limit=1000)).body) == 1000
        await http.aclose()


async def test_interim_answers_without_end_are_cut_off() -> None:
    """The library takes any number of them, 50 microseconds each, in which nobody else is served."""
    some, many = (b"HTTP/1.1 100 Continue\r\n\r\n" * n for n in (100, 50_000))
    async with RawService([some, reply(200, b"y")], [many, reply(200, b"y")]) as service:
        assert (await ask(service)).body == b"y"
        with pytest.raises(Unclear, match="before the answer"):
            await ask(service)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_told_not_followed(status: int) -> None:
    async with RawService() as service:
        service.then([reply(status, headers=[("Location", service.url + "/elsewhere")])])
        assert (await ask(service)).status == status
    assert [request.target for request in service.requests] == ["/x"]


async def test_cookies_and_user_names_do_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text(netrc.read_text())
    async with RawService([reply(200, headers=[("Set-Cookie", "a=b; Path=/")])], [reply(200)]) as service:
        http = Http(service.url)
        for _ in range(2):
            await http.exchange("GET", http.base + "/x", headers={"Authorization": "Bearer ours"}, deadline=5)
        await http.aclose()
    assert [request.header("cookie") for request in service.requests] == [None, None]
    assert [request.header("authorization") for request in service.requests] == ["Bearer ours"] * 2


async def test_every_exchange_has_a_connection_of_its_own() -> None:
    """No write meets a connection that the server is closing, and no answer is left over from another."""
    forged = reply(200, b"forged")
    async with RawService(
        [reply(200, b"one") + forged], [reply(200, b"two")], [reply(200, b"three")]
    ) as service:
        http = Http(service.url)
        assert [(await ask(service, http=http)).body for _ in range(3)] == [b"one", b"two", b"three"]
        await http.aclose()
    assert [request.connection for request in service.requests] == [0, 1, 2]
    assert {request.header("connection") for request in service.requests} == {"close"}


async def test_given_up_exchanges_leave_the_pool_usable() -> None:
    async with RawService(
        answer=lambda request: [Step.HANG] if "hang" in request.target else [reply(200)]
    ) as service:
        http = Http(service.url)

        async def hang() -> None:
            with pytest.raises((Unclear, NotSent)):  # on a busy machine some get no connection in time
                await ask(service, path="/hang", http=http, deadline=0.3)

        for _ in range(2):
            async with anyio.create_task_group() as group:
                for _ in range(32):
                    group.start_soon(hang)
        assert (await ask(service, http=http, deadline=1)).status == 200
        await http.aclose()


async def test_waiting_for_a_connection_is_not_sent() -> None:
    async with RawService(answer=lambda _: [Step.HANG]) as service:
        http = Http(service.url)
        async with anyio.create_task_group() as group:

            async def hang() -> None:
                with pytest.raises(Unclear):
                    await ask(service, http=http, deadline=1.5)

            for _ in range(32):
                group.start_soon(hang)
            await service.until(lambda it: len(it.requests) == 32)
            with pytest.raises(NotSent, match="in time"):
                await ask(service, http=http, deadline=0.2)
        assert len(service.requests) == 32
        await http.aclose()


async def test_cancelling_from_outside_stays_a_cancellation() -> None:
    async with RawService([Step.HANG]) as service:
        with anyio.move_on_after(0.2) as scope:
            await ask(service, deadline=5)
        await service.until(lambda it: it.open == 0)
    assert scope.cancelled_caught


async def test_a_closed_client_sends_nothing() -> None:
    async with RawService([reply(200)]) as service:
        http = Http(service.url)
        await http.aclose()
        with pytest.raises(NotSent, match="stopping"):
            await ask(service, http=http)
    assert not service.requests


# -- not a byte left the till


async def test_refused_is_not_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        with pytest.raises(NotSent, match="connection refused"):
            await ask(f"http://127.0.0.1:{taken.getsockname()[1]}")


async def test_an_unknown_name_is_not_sent() -> None:
    with pytest.raises(NotSent) as fault:
        await ask("https://no-such-host.invalid", deadline=3)
    assert "invalid" not in str(fault.value)


async def test_no_time_left_is_not_sent() -> None:
    async with RawService([reply(200)]) as service:
        with pytest.raises(NotSent):
            await ask(service, deadline=0)
        with pytest.raises(NotSent):
            await ask(service, deadline=-1)
    assert not service.requests


async def test_a_full_backlog_is_not_sent() -> None:
    """A host that takes the connection attempt and never answers it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            with pytest.raises(NotSent, match="in time"):
                await ask(f"http://127.0.0.1:{address[1]}", deadline=0.4)
        finally:
            for filler in fillers:
                filler.close()


# -- TLS


@pytest.fixture
def make_cert(tmp_path: Path) -> Callable[..., tuple[ssl.SSLContext, Path]]:
    """A self-signed certificate: the server's context and the PEM file that vouches for it."""

    def make(*, days: int = 1, address: str = "127.0.0.1", name: str = "cert") -> tuple[ssl.SSLContext, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "till test")])
        now = dt.datetime.now(dt.UTC)
        cert = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=10))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        cert_file, key_file = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert_file, key_file)
        return context, cert_file

    return make


async def test_a_certificate_nobody_vouches_for_is_refused(
    make_cert: Callable[..., tuple[ssl.SSLContext, Path]],
) -> None:
    context, _ = make_cert()
    async with RawService([reply(200)], tls=context) as service:
        with pytest.raises(NotSent, match="certificate was not accepted"):
            await ask(service)
    assert not service.requests


async def test_a_ca_file_vouches(make_cert: Callable[..., tuple[ssl.SSLContext, Path]]) -> None:
    context, cert_file = make_cert()
    async with RawService([reply(200, b"safe")], tls=context) as service:
        http = Http(service.url, ca_file=cert_file)
        assert (await ask(service, http=http)).body == b"safe"
        await http.aclose()


async def test_ssl_cert_file_vouches(
    make_cert: Callable[..., tuple[ssl.SSLContext, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, cert_file = make_cert()
    monkeypatch.setenv("SSL_CERT_FILE", str(cert_file))
    async with RawService([reply(200, b"safe")], tls=context) as service:
        assert (await ask(service)).body == b"safe"


@pytest.mark.parametrize("wrong", [{"days": -1}, {"address": "127.0.0.2"}], ids=["expired", "another host"])
async def test_a_ca_file_excuses_nothing_else(
    wrong: dict[str, object], make_cert: Callable[..., tuple[ssl.SSLContext, Path]]
) -> None:
    context, cert_file = make_cert(**wrong)
    async with RawService([reply(200)], tls=context) as service:
        http = Http(service.url, ca_file=cert_file)
        with pytest.raises(NotSent, match="certificate was not accepted"):
            await ask(service, http=http)
        await http.aclose()
    assert not service.requests


async def test_a_handshake_that_breaks_or_hangs_is_not_sent() -> None:
    for fault in (Step.CLOSE, Step.RESET):
        async with RawService(on_connect=fault) as service:
            with pytest.raises(NotSent):
                await ask(service.url.replace("http:", "https:"))
    async with RawService(on_connect=Step.HANG) as service:
        with pytest.raises(NotSent, match="in time"):
            await ask(service.url.replace("http:", "https:"), deadline=0.4)
        await service.until(lambda it: it.open == 0)  # the client has let go of the connection


async def test_plain_http_behind_an_https_address_is_not_sent() -> None:
    def garble(_: Request) -> Script:
        return [reply(200)]

    async with RawService(answer=garble) as service:
        with pytest.raises(NotSent):
            await ask(service.url.replace("http:", "https:"), deadline=1)


def test_an_unusable_ca_file_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.pem").write_text("not a certificate")
    for name in ("bad.pem", "missing.pem"):
        with pytest.raises(ValueError, match=name):
            Http("https://api.example.com", ca_file=tmp_path / name)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bad.pem"))
    with pytest.raises(ValueError, match="SSL_CERT_FILE"):
        Http("https://api.example.com")


# -- proxies


async def test_a_proxy_is_honoured_for_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawService([reply(403)], [Step.CLOSE], [Step.HANG]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(NotSent, match="the proxy refused"):
            await ask("https://api.example.com")
        with pytest.raises(NotSent):
            await ask("https://api.example.com")
        with pytest.raises(NotSent, match="in time"):
            await ask("https://api.example.com", deadline=0.3)
    assert [(r.method, r.target) for r in proxy.requests] == [("CONNECT", "api.example.com:443")] * 3
    assert all(r.header("authorization") is None for r in proxy.requests)


async def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawService([reply(403)]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "other.org,.invalid")
        with pytest.raises(NotSent):
            await ask("https://api.invalid", deadline=3)
    assert not proxy.requests


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"])
async def test_loopback_is_never_asked_through_a_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawService([reply(502)]) as proxy, RawService([reply(200)], [reply(200)]) as service:
        monkeypatch.setenv(name, proxy.url)
        assert (await ask(service)).status == 200
        assert (await ask(service.url.replace("127.0.0.1", "localhost"))).status == 200
    assert not proxy.requests


def test_an_unusable_proxy_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in ("socks5://user:pw@10.0.0.1:1080", "gopher://10.0.0.1"):
        monkeypatch.setenv("ALL_PROXY", proxy)
        with pytest.raises(ValueError, match="HTTPS_PROXY") as fault:
            Http("https://api.example.com")
        assert "10.0.0.1" not in str(fault.value)


async def test_a_tunnel_through_a_proxy_reaches_the_service(
    make_cert: Callable[..., tuple[ssl.SSLContext, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, TLS inside CONNECT; and a fault inside the tunnel after the request is unclear."""
    context, cert_file = make_cert(address="192.0.2.7")
    async with RawService([reply(200, b"through")], [Step.CLOSE], tls=context) as service:
        targets: list[bytes] = []

        async def relay(client: anyio.abc.SocketStream) -> None:
            async with client:
                targets.append((await client.receive()).split(b" ")[1])
                await client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                async with (
                    await anyio.connect_tcp("127.0.0.1", service.port) as server,
                    anyio.create_task_group() as both,
                ):
                    both.start_soon(pump, client, server, both.cancel_scope)
                    both.start_soon(pump, server, client, both.cancel_scope)

        async with anyio.create_task_group() as group:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            group.start_soon(listener.serve, relay)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            http = Http("https://192.0.2.7", ca_file=cert_file)
            assert (await ask(service, http=http)).body == b"through"
            with pytest.raises(Unclear):
                await ask(service, http=http)
            await http.aclose()
            group.cancel_scope.cancel()
        await listener.aclose()
    assert targets[0] == b"192.0.2.7:443"
    assert [request.target for request in service.requests] == ["/x", "/x"]


async def pump(
    source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream, scope: anyio.CancelScope
) -> None:
    try:
        async for data in source:
            await sink.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    scope.cancel()


# -- addresses


@pytest.mark.parametrize(
    "base",
    [
        "", "api.example.com", "ftp://api.example.com", "https://", "https:///x", "http://api.example.com",
        "http://10.0.0.1:80", "https://user:secret@api.example.com", "https://secret@api.example.com",
        "https://api.example.com/?key=secret", "https://api.example.com/#secret", "https://api.example.com:99999",
        "https://api.example.com:secret", "https://[::1", "http://localhost.example.com", "http://127.0.0.1.example.com",
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_used(base: str) -> None:
    with pytest.raises(ValueError, match="url") as fault:
        Http(base)
    assert "secret" not in str(fault.value)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True), ("LOCALHOST.", True), ("a.localhost", True), ("127.0.0.1", True), ("127.9.9.9", True),
        ("::1", True), ("10.0.0.1", False), ("localhost.com", False), ("notlocalhost", False), ("0.0.0.0", False),
    ],
)  # fmt: skip
def test_is_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


async def test_links_stay_on_our_origin() -> None:
    http = Http("https://api.example.com/")
    here = "https://api.example.com/api/v1/passes?perPage=100"
    assert http.follow(here, "?page=2") == "https://api.example.com/api/v1/passes?page=2"
    assert http.follow(here, "/api/v1/passes?page=2#top") == "https://api.example.com/api/v1/passes?page=2"
    assert http.follow(here, "https://API.example.com:443/a?b=%2F") == "https://api.example.com/a?b=%2F"
    for foreign in (
        "http://api.example.com/a", "https://api.example.com:444/a", "https://evil.example/a", "//evil.example/a",
        "https://api.example.com@evil.example/a", "https://me:pw@api.example.com/a", "javascript:1", "https://[bad",
        "https://api.example.com.evil.example/", "\ud800", "https://\x00/",
    ):  # fmt: skip
        assert http.follow(here, foreign) is None, foreign
    with pytest.raises(ValueError, match="another service"):
        await http.exchange("GET", "https://evil.example/a", headers={}, deadline=1)
    await http.aclose()


async def test_nothing_of_a_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with RawService([reply(200)], [Step.CLOSE]) as service:
        await ask(service, path="/loyalty/cust-17")
        with pytest.raises(Unclear) as fault:
            await ask(service, path="/loyalty/cust-17")
    assert "cust-17" not in caplog.text + str(fault.value)
    assert not [record for record in caplog.records if record.name.startswith(("http", "httpcore"))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(lambda head, tail: b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + tail, st.binary(max_size=99), st.binary(max_size=99)),
    )
)  # fmt: skip
def test_any_bytes_end_in_a_reply_or_unclear(data: bytes) -> None:
    async def once() -> None:
        async with RawService([data, Step.CLOSE]) as service:
            with suppress(Unclear):
                assert isinstance(await ask(service, deadline=2), Reply)

    anyio.run(once)


def test_one_client_after_another_each_on_its_own_loop() -> None:
    """What commands do: a loop per run. The service lives in a thread meanwhile."""
    with RawService.threaded([reply(200, b"one")], [Step.HANG]) as service:
        assert anyio.run(ask, service).body == b"one"
        with pytest.raises(Unclear):
            anyio.run(lambda: ask(service, deadline=0.2))
