"""Loyalty services behind one `Provider`. Importing this is cheap; building one loads the HTTP client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tilltap.errors import StartError

if TYPE_CHECKING:
    from tilltap.loyalty.budget import Ask
    from tilltap.loyalty.provider import Provider

# Where each service lives unless the configuration says otherwise.
DEFAULT_URLS = {"passentry": "https://api.passentry.com", "sandbox": "http://127.0.0.1:7447"}


def make_provider(
    *, provider: str, url: str, key: str | None, ca_file: Path | None = None, others: Ask | None = None
) -> Provider:
    """The service that `[loyalty]` names. `url` "" means its usual address; `ca_file` PEM roots of one's own;
    `others` is asked for room in the rate limit that several tills share.

    Raises `StartError`, one line that never holds the key, for what cannot be used.
    """
    if provider not in DEFAULT_URLS:
        known = ", ".join(DEFAULT_URLS)
        raise StartError(f'loyalty.provider: "{provider}" is not available yet (available: {known})')
    if key is None and provider != "sandbox":
        raise StartError(f"loyalty.api_key_file: {provider} needs an API key")

    from tilltap.loyalty.http import Http
    from tilltap.loyalty.passentry import PassEntry

    try:
        return PassEntry(Http(url or DEFAULT_URLS[provider], ca_file=ca_file), key, others)
    except ValueError as bad:
        raise StartError(f"loyalty: {bad}") from None
