import pytest

from tilltap_drivers.vtap import commands

REAL = [b"VTAP100", b"Firmware: V2.2.8.2", b"Hardware: 5.01", b"API level: 3", b"Serial: CC123456"]


def test_boot_text_of_a_vtap() -> None:
    boot = commands.parse_boot(REAL)
    assert boot is not None
    assert (boot.model, boot.firmware, boot.hardware) == ("VTAP100", "V2.2.8.2", "5.01")
    assert (boot.serial, boot.api_level, boot.osdp, boot.vtap) == ("CC123456", "3", "off", True)
    assert boot.text == "VTAP100 firmware V2.2.8.2 hardware 5.01 serial CC123456"


@pytest.mark.parametrize(
    ("lines", "vtap"),
    [
        ([b"?b", *REAL], True),
        ([b"firmware:V2", b"VTAP50"], True),
        ([b"\x8fnoiseVTAP100", b"Firmware: V2"], True),
        ([b"ACME Scanner 9", b"Firmware: 1.0"], False),
        ([b"\x8f\x01", b"Firmware: 1.0"], None),  # noise in front: not enough to say no
        ([b"Firmware: 1.0"], None),
        ([b"?b", b"Firmware: 1.0"], None),
    ],
)
def test_only_a_clean_model_line_says_that_it_is_no_vtap(lines: list[bytes], vtap: bool | None) -> None:
    boot = commands.parse_boot(lines)
    assert boot is not None
    assert boot.vtap is vtap


@pytest.mark.parametrize("lines", [[], [b"OK"], [b"ACME", b"Version: 1"], [b"\xff\x00: x"], [b"Firmware"]])
def test_anything_else_is_no_boot_text(lines: list[bytes]) -> None:
    assert commands.parse_boot(lines) is None


@pytest.mark.parametrize(
    ("line", "osdp"),
    [
        (b"OSDP:Enabled OSDP address: 0", "enabled"),
        (b"OSDP:Enabled,SecureOnly OSDP address: 12", "secure-only"),
        (b"osdp: enabled, secureonly", "secure-only"),
        (b"OSDP: Disabled", "off"),
        (b"see OSDP:Enabled,SecureOnly", "off"),
    ],
)
def test_osdp_notices(line: bytes, osdp: str) -> None:
    boot = commands.parse_boot([*REAL, line])
    assert boot is not None
    assert boot.osdp == osdp


def test_small_replies() -> None:
    assert [commands.is_failure(line) for line in (b"OK", b"ok ", b"FAIL", b"", b"anything")] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert commands.parse_setting("KBLogMode", b"kblogmode=0") == "0"
    assert commands.parse_setting("ComPortPrefix", b"%02=$t") == "%02=$t"
    assert [commands.parse_events(line) for line in (b"00000005", b"1", b"", b"FAIL", b"0x1")] == [
        5,
        1,
        None,
        None,
        None,
    ]
