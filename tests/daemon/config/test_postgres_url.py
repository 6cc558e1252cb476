"""What we take an address for is what libpq takes it for."""

from __future__ import annotations

import re

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from tilltap.config.postgres_url import OPTIONS, Address

# The version whose parameters are listed; a later one may know more.
LISTED = 18


@pytest.mark.skipif(pq.version() // 10_000 > LISTED, reason="a libpq of later than the list")
def test_every_option_of_libpq_is_known_but_that_which_would_make_no_client_of_us() -> None:
    theirs = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    assert theirs - OPTIONS == {"replication"}


PARTS = "a b till @ : / // ? & = , %41 %2Frun %zz %ff % port host sslmode 5432 99999"


@hypothesis_settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PARTS.split()), max_size=9).map("".join))
def test_what_libpq_reads_we_read_alike(rest: str) -> None:
    url = f"postgresql://{rest}"
    try:
        theirs = conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeDecodeError):
        return
    ours = Address(url)
    assert not ours.is_badly_encoded
    assert all(option is not None for _, option in ours.options)
    assert ours.holds_secret or not theirs.get("password")
    ports = [port for port in str(theirs.get("port", "")).split(",") if port]
    wrong = [port for port in ports if not re.fullmatch("[0-9]+", port) or not 0 < int(port) < 65536]
    assert bool(wrong) == bool(list(ours.bad_ports()))
