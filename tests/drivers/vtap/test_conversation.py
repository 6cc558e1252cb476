"""A talk in virtual time: what is sent when, and what a supervisor is told."""

from __future__ import annotations

import pytest

from tilltap_drivers.contract import DriverEvent, Health, PassRead, ReaderFault
from tilltap_drivers.vtap import conversation as c
from tilltap_drivers.vtap.config_txt import frame_spec
from tilltap_drivers.vtap.settings import DEFAULT_POSTFIX, DEFAULT_PREFIX

FRAME = b"\x02A11\x1f08A1B2C3\x1fABC\x03\n"
TAP = PassRead(b"ABC", "apple-vas", "A", 1, 1, "08A1B2C3")
BOOT = b"VTAP100\r\nFirmware: V2.2.8.2\r\nSerial: CC123456\r\n"
IDENTITY = "VTAP100 firmware V2.2.8.2 serial CC123456"
ACME = b"ACME 9\r\nFirmware: 1.0\r\n"


class Talk:
    """Runs a conversation as the driver does, on a clock of its own."""

    def __init__(self, prefix: str = DEFAULT_PREFIX, postfix: str = DEFAULT_POSTFIX) -> None:
        self.now = 0.0
        self.talk = c.Conversation(frame_spec(prefix, postfix), self.now)
        self.sent: list[tuple[float, bytes]] = []
        self.told: list[DriverEvent] = []
        self._due()

    def _due(self) -> None:
        commands, events = self.talk.due(self.now)
        self.sent += [(round(self.now, 3), command) for command in commands]
        self.told += events

    def until(self, when: float) -> Talk:
        """Let time pass without bytes, waking up when the conversation asked for it."""
        turns = 0
        while (at := self.now + self.talk.wait(self.now)) <= when:
            self.now = at
            self._due()
            turns += 1
            assert turns < 1000, "the conversation never sleeps"
        self.now = when
        return self

    def hears(self, data: bytes) -> Talk:
        self.told += self.talk.received(data, self.now)
        self._due()
        return self

    def says(self) -> list[bytes]:
        return [command for _, command in self.sent]


def known() -> Talk:
    """A reader that has told who it is, at 1 s."""
    return Talk().until(0.1).hears(BOOT).until(1.0)


def test_it_asks_once_who_is_there_and_tells_the_answer() -> None:
    talk = known()
    assert talk.says() == [b"\r", b"?b\r"]
    assert talk.told == [Health("up", identity=IDENTITY)]


def test_a_reader_that_never_answers_is_a_good_reader() -> None:
    talk = Talk().until(3600.0)
    assert talk.says() == [b"\r", b"?b\r"] * c.BOOT_TRIES
    assert talk.hears(FRAME).told == [TAP]


def test_taps_pass_at_once_also_inside_the_answer() -> None:
    talk = Talk().until(0.1).hears(BOOT[:12] + FRAME + BOOT[12:]).until(1.0)
    assert talk.told == [TAP, Health("up", identity=IDENTITY)]


def test_an_answer_without_its_last_line_end_counts() -> None:
    talk = Talk().until(0.1).hears(b"VTAP50\rFirmware: V2\rOSDP:Enabled,SecureOnly OSDP address: 0")
    with pytest.raises(ReaderFault) as caught:
        talk.until(1.0)
    assert (caught.value.state, "OSDP" in caught.value.remedy) == ("wrong-device", True)


def test_another_make_must_say_so_twice() -> None:
    talk = Talk().until(0.1).hears(ACME).until(0.5)
    assert talk.told == []
    assert talk.says() == [b"\r", b"?b\r"] * 2
    talk.hears(ACME)
    with pytest.raises(ReaderFault) as caught:
        talk.until(3.0)
    assert (caught.value.state, "ACME 9" in caught.value.remedy) == ("wrong-device", True)


def test_a_reader_that_gives_taps_is_never_the_wrong_one() -> None:
    talk = Talk().hears(FRAME).hears(ACME).until(0.5).hears(ACME).until(20.0)
    assert talk.told == [TAP, Health("up", identity="ACME 9 firmware 1.0")]


@pytest.mark.parametrize(
    "noise", [b"\xff\xfe\r\n" * 50, b"Firmware: 1\r\n", b"xx: yy\r\nFAIL\r\n", b"\r\n" * 9]
)
def test_noise_never_makes_it_the_wrong_one(noise: bytes) -> None:
    talk = Talk()
    for second in range(1, 200):
        talk.until(float(second)).hears(noise)
    assert all(isinstance(event, Health) and event.state == "up" for event in talk.told)


def test_an_answer_that_lost_its_head_is_asked_for_again() -> None:
    talk = Talk().until(0.1).hears(BOOT[3:]).until(0.5).hears(BOOT).until(3.0)
    assert talk.told == [Health("up", identity=IDENTITY)]


def test_thirty_seconds_of_silence_are_asked_about() -> None:
    talk = known()
    talk.until(29.0).hears(FRAME).until(58.9)
    assert talk.says() == [b"\r", b"?b\r"]
    talk.until(59.1).hears(b"00000000\r\n").until(80.0)
    assert talk.sent[2:] == [(59.0, b"?events\r")]
    assert talk.told[1:] == [TAP]


def test_two_checks_without_an_answer_are_silence_and_a_byte_ends_it() -> None:
    talk = known().until(100.0)
    assert [command for _, command in talk.sent[2:]][:2] == [b"?events\r", b"?getserial\r"]
    assert talk.told[1:] == [Health("silent", c.SILENT)]
    assert talk.hears(b"x").told[2:] == [Health("up", identity=IDENTITY)]


def test_the_check_that_was_answered_is_the_one_that_is_used() -> None:
    talk = known()
    for tenth in range(11, 2000):
        before = len(talk.sent)
        talk.until(tenth / 10)
        if len(talk.sent) > before and talk.says()[-1] == b"?getserial\r":
            talk.hears(b"CC123456\r\n")
    assert talk.says()[2:4] == [b"?events\r", b"?getserial\r"]
    assert set(talk.says()[4:]) == {b"?getserial\r"}
    assert talk.told[1:] == []


def test_a_tap_is_an_answer_too() -> None:
    talk = known().until(30.5).hears(FRAME).until(40.0)
    assert talk.says()[2:] == [b"?events\r"]
    assert talk.told[1:] == [TAP]


@pytest.mark.parametrize("postfix", ["", "%0D%0A", "%03%0A"])
def test_in_line_mode_nothing_is_ever_sent_and_every_line_is_a_tap(postfix: str) -> None:
    talk = Talk("", postfix).hears(BOOT).until(3600.0)
    assert talk.sent == []
    assert talk.told == [PassRead(line) for line in BOOT.split(b"\r\n")[:-1]]


def test_lines_without_the_frame_bring_a_hint_until_a_frame_comes() -> None:
    talk = Talk().until(3.0)
    for second in range(4, 10):
        talk.until(float(second)).hears(b"MEMBER-0042\r\n")
    assert talk.told == [Health("up", c.NOT_FRAMED)]
    assert talk.hears(FRAME).told[1:] == [Health("up"), TAP]


def test_start_up_text_brings_none() -> None:
    assert Talk().until(3.0).hears(b"VTAP100\r\nready\r\nhello\r\nagain\r\n").until(9.0).told == []


def test_a_literal_token_is_told_once() -> None:
    old = b"\x02A11\x1f$u\x1fABC\x03\n"
    talk = Talk().hears(old + old)
    assert talk.told == [
        Health("up", c.OLD_FIRMWARE),
        PassRead(b"ABC", "apple-vas", "A", 1, 1),
        PassRead(b"ABC", "apple-vas", "A", 1, 1),
    ]


def test_no_remedy_or_identity_holds_bytes_of_a_tap() -> None:
    talk = Talk().until(3.0)
    for second in range(4, 12):
        talk.until(float(second)).hears(b"SECRET-42\r\n\x02SECRET-42\x03")
    assert "SECRET" not in repr([event for event in talk.told if isinstance(event, Health)])
