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
SECRETS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)

_FORM = re.compile(
    r"[a-z]+:// (?:(?P<user>[^@/]*)@)? (?P<hosts>[^/?]*) (?P<path>/[^?]*)? (?:\?(?P<query>.*))?", re.VERBOSE
)
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")


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
        self.options = [_option(word) for word in form["query"].split("&")] if form["query"] else []
        self.ports = [match["port"] or "" for match in found if match]
        for name, value in self.options:
            if name == "port":
                self.ports += (value or "").split(",")

    @property
    def holds_secret(self) -> bool:
        return self.has_password or any(name.lower() in SECRETS for name, _ in self.options)

    def bad_ports(self) -> Iterator[str]:
        """An empty one means the usual."""
        for port in self.ports:
            if port and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 2**16):
                yield port


def _option(word: str) -> tuple[str, str | None]:
    name, equals, value = word.partition("=")
    return unquote(name), unquote(value) if equals else None
