"""The certificate authorities to trust instead of the system's, from a file."""

from __future__ import annotations

import ssl
from pathlib import Path

from tilltap_drivers.io.files import read_file

# The whole world's authorities take 250 KB.
MOST_BYTES = 4 << 20


def trusting(ca_file: Path) -> ssl.SSLContext:
    """ssl.SSLError: no certificate is in it. OSError, of which that is one: it cannot be read."""
    read_file(ca_file, MOST_BYTES)  # the library would read a pipe or a device without end
    return ssl.create_default_context(cafile=ca_file)
