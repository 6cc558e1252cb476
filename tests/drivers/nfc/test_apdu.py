import pytest

from tilltap_drivers.nfc import apdu
from tilltap_drivers.nfc.apdu import Channel, Command, Response
from tilltap_drivers.nfc.errors import EndlessParts, LimitExceeded, Malformed, Removed


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (Command(0x90, 0xC0), "90c0000000"),
        (Command(0x00, 0xB0, 0x01, 0x02, le=5), "00b0010205"),
        (Command(0x00, 0xA4, 0x00, 0x0C, b"\xe1\x03", le=None), "00a4000c02e103"),
        (Command(0x80, 0xCA, 0x01, 0x01, b"\xaa"), "80ca010101aa00"),
        (Command(0x80, 0xCA, data=bytes(255)), "80ca0000ff" + "00" * 256),
        (apdu.select(b"\xa0\x01"), "00a4040002a00100"),
    ],
)
def test_encode(command, data):
    assert command.encode().hex() == data


def test_a_command_has_an_end():
    with pytest.raises(LimitExceeded):
        Command(0x80, 0xCA, data=bytes(256)).encode()


def test_parse_response():
    assert apdu.parse_response(b"\x90\x00") == Response(b"", 0x9000)
    response = apdu.parse_response(b"ab\x6a\x83")
    assert response == Response(b"ab", 0x6A83)
    assert response.sw1 == 0x6A
    with pytest.raises(Malformed):
        apdu.parse_response(b"\x90")
    with pytest.raises(Removed):
        apdu.parse_response(b"")


def exchange(command, answers, channel=None):
    """(commands sent, whole response)"""
    talk = (channel or Channel()).exchange(command)
    sent = [next(talk)]
    for answer in answers:
        try:
            sent.append(talk.send(bytes.fromhex(answer)))
        except StopIteration as end:
            return [c.hex() for c in sent], end.value
    raise AssertionError(f"not over: {sent}")


@pytest.mark.parametrize(
    ("answers", "sent", "response"),
    [
        (["aa9000"], [], Response(b"\xaa", 0x9000)),
        (["6a83"], [], Response(b"", 0x6A83)),
        (["aa6103", "bbcc9000"], ["00c0000003"], Response(b"\xaa\xbb\xcc", 0x9000)),
        (["6100", "bb6101", "cc9100"], ["00c0000000", "00c0000001"], Response(b"\xbb\xcc", 0x9100)),
        (["6c07", "aa9000"], ["80ca000001ff07"], Response(b"\xaa", 0x9000)),
        (["6c07", "aa6c08"], ["80ca000001ff07"], Response(b"\xaa", 0x6C08)),
        (["6105", "6c02", "aabb9000"], ["00c0000005", "00c0000002"], Response(b"\xaa\xbb", 0x9000)),
        (
            ["6c07", "6105", "6c02", "aa9000"],
            ["80ca000001ff07", "00c0000005", "00c0000002"],
            Response(b"\xaa", 0x9000),
        ),
    ],
)
def test_exchange(answers, sent, response):
    commands, whole = exchange(Command(0x80, 0xCA, data=b"\xff"), answers)
    assert commands == ["80ca000001ff00", *sent]
    assert whole == response


def test_a_response_has_an_end():
    part = "00" * 256
    assert len(exchange(Command(0, 0), [part + "6100"] * 15 + [part + "9000"])[1].data) == 4096
    with pytest.raises(LimitExceeded) as caught:
        exchange(Command(0, 0), [part + "6100"] * 16 + ["009000"])
    assert type(caught.value) is LimitExceeded


def test_a_channel_has_an_end():
    channel = Channel(limit=3)
    exchange(Command(0, 0), ["6100", "9000"], channel)
    exchange(Command(0, 0), ["9000"], channel)
    with pytest.raises(EndlessParts):
        next(channel.exchange(Command(0, 0)))


def test_a_device_that_always_has_more():
    with pytest.raises(EndlessParts):
        exchange(Command(0, 0), ["6100"] * 200)
    commands = []
    talk = Channel().exchange(Command(0, 0))
    try:
        commands.append(next(talk))
        while True:
            commands.append(talk.send(b"\x61\x00"))
    except EndlessParts:
        assert len(commands) == apdu.APDU_LIMIT == 128
