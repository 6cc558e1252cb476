"""What can be said of a PostgreSQL address without connecting: libpq itself tells some of it only then.

Source: PostgreSQL 18, 32.1.1.2 (connection URIs) and 32.1.2 (parameter key words). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

# A URI's own parts, and what is asked of the server and of the way to it. `sslmode` is checked by its value,
# because a typing error there could mean a connection that anybody reads; `ssl` is JDBC's word for it.
_OPTIONS = """
    application_name channel_binding client_encoding connect_timeout dbname fallback_application_name
    gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle
    keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version
    oauth_client_id oauth_client_secret oauth_issuer oauth_scope options passfile password port require_auth
    requirepeer scram_client_key scram_server_key service ssl ssl_max_protocol_version
    ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode
    sslnegotiation sslpassword sslrootcert sslsni target_session_attrs tcp_user_timeout user
"""
OPTIONS = frozenset(_OPTIONS.split())
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_NUMBERS = """
    connect_timeout keepalives keepalives_count keepalives_idle keepalives_interval tcp_user_timeout
"""
NUMBERS = frozenset(_NUMBERS.split())
_NO_SIGN = NUMBERS | {"port", "sslmode"}
SECRETS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)

_FORM = re.compile(
    r"[a-z]+:// (?:(?P<user>[^@/]*)@)? (?P<hosts>[^/?]*) (?P<path>/[^?]*)? (?:\?(?P<query>.*))?", re.VERBOSE
)
_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
_USUAL_PORT = "5432"


class Address:
    """One URL taken apart. `options`: name and value, None for a value that has no `=` before it."""

    def __init__(self, url: str) -> None:
        """ValueError: libpq would not know where its parts begin."""
        form = _FORM.fullmatch(url)
        if form is None:
            raise ValueError("no address")
        # An `@` behind the hosts' place: what stands before it is a password with a `/` in it.
        self.has_password = ":" in (form["user"] or "") or "@" in form["hosts"] + (form["path"] or "")
        found = [_HOST.fullmatch(host) for host in form["hosts"].split(",")]
        if None in found and not self.has_password:
            raise ValueError("no host")
        self.is_badly_encoded = _is_badly_encoded(url)
        self.options = [_option(word) for word in form["query"].split("&")] if form["query"] else []
        self._hosts = [unquote(match["name"]) for match in found if match]
        self._ports = [match["port"] or "" for match in found if match]

    @property
    def has_stray_sign(self) -> bool:
        """What a password with a `/` and a `?` in it looks like. A user may well be called a@b."""
        return any(
            "@" in f"{name}{value}" and (name in _NO_SIGN or name not in OPTIONS)
            for name, value in self.options
        )

    @property
    def holds_secret(self) -> bool:
        return self.has_password or any(name.lower() in SECRETS for name, _ in self.options)

    def bad_ports(self) -> Iterator[str]:
        """An empty one means the usual."""
        for port in [*self._ports, *(port for ports in self._lists("port") for port in ports)]:
            if port and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 2**16):
                yield port

    def servers(self) -> list[tuple[str, str]]:
        """Host and port of each that a connection is tried to. ValueError: not as many ports as hosts."""
        hosts = [self._hosts, *self._lists("host"), *self._lists("hostaddr")][-1]
        ports = [self._ports, *self._lists("port")][-1]
        if len(ports) == 1:
            ports *= len(hosts)
        return [(host.lower(), port or _USUAL_PORT) for host, port in zip(hosts, ports, strict=True)]

    def _lists(self, name: str) -> list[list[str]]:
        """Of an option that is given more than once, libpq takes the last."""
        return [(value or "").split(",") for given, value in self.options if given == name]


def _is_badly_encoded(url: str) -> bool:
    """A `%` not before the two digits of a byte, or bytes that are no text."""
    if re.search("%(?![0-9A-Fa-f]{2})|%00", url):
        return True
    try:
        unquote(url, errors="strict")
    except UnicodeDecodeError:
        return True
    return False


def _option(word: str) -> tuple[str, str | None]:
    name, equals, value = word.partition("=")
    return unquote(name), unquote(value) if equals else None
