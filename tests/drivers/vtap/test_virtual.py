"""The virtual VTAP answers as the notes say, and its output is what our own framer reads."""

from __future__ import annotations

import pytest

from tilltap_drivers.contract import PassRead
from tilltap_drivers.vtap.commands import parse_boot
from tilltap_drivers.vtap.config_txt import frame_spec, parse_config
from tilltap_drivers.vtap.frames import Framer
from tilltap_drivers.vtap.virtual import Presented, Profile, VirtualVtap

PHONE = Presented(b"ABC", "G", 1, 6, "08E9460F")


def configured(*lines: str, **profile: object) -> VirtualVtap:
    return VirtualVtap(parse_config("\n".join(["!VTAPconfig", *lines])), Profile(**profile))


def told(reader: VirtualVtap, command: bytes, now: float = 0.0) -> bytes:
    return b"".join(answer.data for answer in reader.receive(command + b"\r", now))


def test_the_byte_exact_examples_of_the_notes() -> None:
    assert VirtualVtap().present(PHONE, 0.0) == b"\x02G16\x1f08E9460F\x1fABC\x03\n"
    line_mode = configured("ComPortPostfix=%0D%0A")
    assert line_mode.present(Presented(b"MEMBER-0042"), 0.0) == b"MEMBER-0042\r\n"


@pytest.mark.parametrize(
    ("prefix", "postfix"),
    [
        ("%02$t$n%1F$u%1F", "%03%0A"),
        ("<$t$n~$u~", ">%0A"),
        ("%02$s|$u|$t$n|", "%03"),
        ("%02", "%1F$t$n%1F$u%03"),
    ],
)
def test_our_framer_reads_what_it_sends(prefix: str, postfix: str) -> None:
    reader = configured(f"ComPortPrefix={prefix}", f"ComPortPostfix={postfix}")
    assert Framer(frame_spec(prefix, postfix)).feed(reader.present(PHONE, 0.0), 0.0) == [
        PassRead(b"ABC", "google-smart-tap", "G", 1, 6, "08E9460F")
    ]


def test_identification() -> None:
    reader = VirtualVtap()
    boot = parse_boot(told(reader, b"?b").split(b"\r\n"))
    assert boot is not None
    assert boot.text == "VTAP100 firmware V2.2.8.2 hardware 5.01 serial CC123456"
    assert told(reader, b"?getserial") == b"CC123456\r\n"
    assert told(reader, b"?EVENTS") == b"00000000\r\n"
    assert told(reader, b"?what") == b"FAIL\r\n"


def test_commands_end_with_either_and_may_come_in_pieces() -> None:
    reader = VirtualVtap()
    assert reader.receive(b"\r\n\r?get", 0.0) == []
    assert [answer.data for answer in reader.receive(b"serial\n\r?b\r", 0.0)] == [
        b"CC123456\r\n",
        reader.boot_text(),
    ]


def test_settings_are_read_and_written_unless_locked() -> None:
    reader = VirtualVtap()
    assert told(reader, b"%kblogmode") == b"KBLogMode=0\r\n"
    assert told(reader, b"%KBLogMode|nothing") == b"KBLogMode=0\r\nFAIL\r\n"
    assert told(reader, b"$ComPortPostfix=%0D") == b"OK\r\n"
    assert reader.present(Presented(b"x", "G"), 0.0).endswith(b"x\r")
    assert told(reader, b"?l secret") == b"OK\r\n"
    assert told(reader, b"$ComPortPostfix=%0A") == b"FAIL\r\n"
    assert told(reader, b"?u secret") + told(reader, b"$ComPortPostfix=%0A") == b"OK\r\nOK\r\n"
    assert told(reader, b"%").count(b"\r\n") == len(reader.settings)


def test_the_undocumented_is_a_profile() -> None:
    odd = VirtualVtap(profile=Profile(end="%0D", echo=True, named_settings=False, fail="ERR", tokens="tn"))
    assert told(odd, b"%KBLogMode") == b"%KBLogMode\r0\r"
    assert told(odd, b"?h") == b"?h\rERR\r"
    assert odd.present(PHONE, 0.0) == b"\x02G16\x1f$u\x1fABC\x03\n"


@pytest.mark.parametrize(
    ("source", "kinds"),
    [("80", "AGXS"), ("81", "AGXS0246"), ("84", "AGXSQ"), ("85", "AGXS0246Q"), ("20", "E"), ("zz", "")],
)
def test_the_source_mask_decides_what_comes_out(source: str, kinds: str) -> None:
    reader = configured(f"ComPortSource={source}")
    assert "".join(kind for kind in "AGXS0246QE" if reader.present(Presented(b"x", kind), 0.0)) == kinds


def test_passive_mode_keeps_a_tap_until_it_is_fetched_or_too_old() -> None:
    reader = VirtualVtap()
    assert told(reader, b"?p") == b"OK\r\n"
    assert reader.present(PHONE, 10.0) == b""
    assert [told(reader, c, 11.0) for c in (b"?type", b"?t", b"?uid")] == [
        b"G16\r\n",
        b"G\r\n",
        b"08E9460F\r\n",
    ]
    assert [told(reader, b"?r", 11.0), told(reader, b"?r", 11.0)] == [b"ABC\r\n", b"\r\n"]
    reader.present(PHONE, 20.0)
    assert told(reader, b"?r", 24.0) == b"\r\n"
    assert told(reader, b"?x") == b"OK\r\n"
    assert reader.present(PHONE, 30.0) != b""


def test_osdp_secure_mode_leaves_only_the_boot_text() -> None:
    reader = VirtualVtap()
    reader.osdp = "secure-only"
    assert b"OSDP:Enabled,SecureOnly OSDP address: 0" in told(reader, b"?b")
    assert told(reader, b"?getserial") == b""
    assert reader.present(PHONE, 0.0) == b""


def test_feedback_is_written_down() -> None:
    reader = VirtualVtap()
    told(reader, b"?led 00FF00,100,50,2", 1.0)
    told(reader, b"?beep 100", 2.0)
    assert reader.feedback == [(1.0, "?led 00FF00,100,50,2"), (2.0, "?beep 100")]


def test_no_commands_where_the_port_takes_none() -> None:
    assert told(configured("CommandInterfaces=2"), b"?b") == b""


def test_reboot_says_so() -> None:
    (answer,) = VirtualVtap().receive(b"?reboot\r", 0.0)
    assert answer.reboot
