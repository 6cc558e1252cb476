"""What of a configured PC/SC reader cannot work."""

from __future__ import annotations

from typing import Any

import pytest

from tilltap_drivers.pcsc.polled import escape_function
from tilltap_drivers.pcsc.settings import FLOMIO, PcscSettings


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"match": " "}, "match: is empty"),
        ({"cards": ("nfc",)}, "cards: unknown kind 'nfc'"),
        ({"ecp": "on"}, "ecp: there is no 'on'"),
        ({"ecp_code": 0}, "ecp_code: is not a number from 1 to 4095"),
        ({"ecp": "commands"}, 'ecp_commands: goes with ecp = "commands"'),
        ({"ecp_commands": (b"\x00",)}, 'ecp_commands: goes with ecp = "commands"'),
        ({"ecp": "commands", "ecp_commands": (b"\x00",) * 17}, "ecp_commands: has more than 16"),
    ],
)
def test_what_cannot_work_is_said_with_its_key(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match="^" + problem):
        PcscSettings("desk", **{"match": "ACR", **given})


def test_commands_are_those_of_the_file_or_of_the_firmware() -> None:
    assert PcscSettings("desk", "ACR", ecp="transparent").commands == ()
    own = PcscSettings("desk", "ACR", ecp="commands", ecp_commands=(b"\xe0\x00", b"\xe0\x01"))
    assert own.commands == (b"\xe0\x00", b"\xe0\x01")
    assert PcscSettings("desk", "ACR", ecp="flomio").commands == FLOMIO


@pytest.mark.parametrize(
    ("features", "functions"),
    [
        ("1204423300121304 42000001", (1,)),
        ("1304 42000DAC", (3500,)),
        ("1204 42330012", ()),
        ("", ()),
        ("1304 4200", ()),
    ],
)
def test_the_function_that_a_driver_names(features: str, functions: tuple[int, ...]) -> None:
    assert escape_function(bytes.fromhex(features)) == functions
