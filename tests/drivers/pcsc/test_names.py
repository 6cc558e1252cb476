"""Which reader a part of a name means."""

from __future__ import annotations

import pytest

from tilltap_drivers.contract import ReaderFault
from tilltap_drivers.pcsc.names import find

ACR1252 = [
    "ACS ACR1252 1S CL Reader [ACR1252 Dual Reader PICC] 00 00",
    "ACS ACR1252 1S CL Reader [ACR1252 Dual Reader SAM] 01 00",
]
ACR122 = "ACS ACR122U PICC Interface 00 00"
IDENTIV = [
    "Identiv uTrust 3700 F CL Reader [uTrust 3700 F CL Reader] 00 00",
    "Identive CLOUD 4700 F Dual Interface Reader [CLOUD 4700 F Contact Reader] 00 00",
    "Identive CLOUD 4700 F Dual Interface Reader [CLOUD 4700 F Contactless Reader] 01 00",
]
OMNIKEY = [
    "HID Global OMNIKEY 5422 Smartcard Reader [OMNIKEY 5422 Smartcard Reader] 00 00",
    "HID Global OMNIKEY 5422 Smartcard Reader [OMNIKEY 5422CL Smartcard Reader] 01 00",
]


@pytest.mark.parametrize(
    ("names", "match", "found"),
    [
        ([ACR122], "ACR122U", ACR122),
        ([ACR122], "acr122u picc", ACR122),
        (ACR1252, "ACR1252", ACR1252[0]),
        ([*ACR1252, ACR122], "ACR1252", ACR1252[0]),
        (ACR1252, "SAM] 01", ACR1252[1]),  # who names it so exactly wants it
        (IDENTIV, "4700", IDENTIV[2]),
        (IDENTIV, "3700", IDENTIV[0]),
        (OMNIKEY, "5422", OMNIKEY[1]),
    ],
)
def test_it_is_the_slot_that_takes_phones(names: list[str], match: str, found: str) -> None:
    assert find(names, match) == found


@pytest.mark.parametrize(
    ("names", "match", "state", "remedy"),
    [
        ([], "ACR", "unplugged", 'no reader has "ACR" in its name: plug it in, or correct `match` (pcscd sees no reader at all)'),
        ([ACR122], "SCL", "unplugged", f'no reader has "SCL" in its name: plug it in, or correct `match` (pcscd sees: {ACR122})'),
        ([ACR122, ACR122[:-2] + "01"], "ACR", "wrong-device", f'2 readers have "ACR" in their names: write more of it in `match` ({ACR122}; {ACR122[:-2]}01)'),
        ([f"r{n}" for n in range(9)], "r", "wrong-device", '9 readers have "r" in their names: write more of it in `match` (r0; r1; r2; r3; ...)'),
    ],
)  # fmt: skip
def test_none_and_several_are_faults_that_list_what_there_is(
    names: list[str], match: str, state: str, remedy: str
) -> None:
    with pytest.raises(ReaderFault) as caught:
        find(names, match)
    assert (caught.value.state, caught.value.remedy) == (state, remedy)
