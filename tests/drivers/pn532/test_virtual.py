"""The emulated chip, as far as the driver's own tests do not show it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.pcsc import iphone
from tilltap_drivers.nfc.phones import NdefTag, PaymentCard
from tilltap_drivers.pn532.frames import ACK, Frames, body, frame
from tilltap_drivers.pn532.virtual import VirtualPn532
from tilltap_drivers.polling import ecp


def awake() -> VirtualPn532:
    chip = VirtualPn532()
    said(chip, b"\x55" * 5)
    return chip


def said(chip: VirtualPn532, data: bytes) -> bytes:
    return b"".join(chip.receive(data))


def ask(chip: VirtualPn532, command: str) -> str:
    """The answer's data in hex, after the acknowledgement and the code."""
    sent = bytes.fromhex("d4" + command)
    ack, *answers = Frames().feed(said(chip, frame(sent)))
    assert ack == ACK
    return body(answers[0]).hex() if answers else "nothing"


ONE_TRY = "3205ff0100"


def test_it_sleeps_until_it_is_woken() -> None:
    chip = VirtualPn532()
    assert said(chip, frame(b"\xd4\x02")) == b""
    said(chip, b"\x55\x55")
    assert ask(chip, "02") == "d50332010607"
    assert ask(chip, "1610") == "d51700"
    assert said(chip, frame(b"\xd4\x02")) == b""


@pytest.mark.parametrize("command", ["99", "32", "0005", "10ff", "1402"])
def test_what_it_does_not_know_is_a_syntax_error(command: str) -> None:
    assert ask(awake(), command) == "7f"


def test_without_a_limit_it_polls_for_ever() -> None:
    chip = awake()
    assert ask(chip, "4a0100") == "nothing"
    ask(chip, ONE_TRY)
    assert ask(chip, "4a0100") == "d54b00"


def test_a_raw_frame_needs_the_radio_in_order() -> None:
    chip = awake()
    ask(chip, ONE_TRY)
    ask(chip, "4a0100")
    thru = "42" + ecp.frame(2).hex()
    assert ask(chip, thru) == "d54301"
    assert chip.announced == []
    ask(chip, "08633d00630200630300")
    ask(chip, thru)
    assert chip.announced == [ecp.frame(2)]


def test_long_responses_come_in_parts_and_long_commands_go_in_parts() -> None:
    class Echo(PaymentCard):
        def answer(self, command: bytes) -> bytes:
            return command * 3

    chip = awake()
    ask(chip, ONE_TRY)
    chip.present(Echo())
    assert ask(chip, "4a0100") == "d54b01010004200412345678" + "0578807002"
    assert ask(chip, "4041" + "aa" * 100) == "d54100"
    assert ask(chip, "4001" + "aa" * 50) == "d54140" + "aa" * 262
    assert ask(chip, "4001") == "d54100" + "aa" * (450 - 262)


def test_who_was_let_go_answers_again_only_after_the_field_was_off() -> None:
    chip = awake()
    ask(chip, ONE_TRY)
    chip.present(NdefTag(b""))
    assert ask(chip, "4a0100").startswith("d54b0101")
    assert ask(chip, "0006") == "d50100"
    ask(chip, "5200")
    assert ask(chip, "4a0100") == "d54b00"
    assert ask(chip, "0006") == "d50101"
    ask(chip, "320102")
    assert ask(chip, "4a0100").startswith("d54b0101")


@given(st.lists(st.binary(max_size=30), max_size=20), st.booleans())
def test_whatever_it_is_sent_it_answers_in_frames(commands: list[bytes], held: bool) -> None:
    chip, heard = awake(), Frames()
    if held:
        chip.present(iphone("one"))
    for command in commands:
        for data in (frame(b"\xd4" + command), command):
            answers = said(chip, data)
            read = heard.feed(answers)
            assert sum(map(len, read)) == len(answers)
