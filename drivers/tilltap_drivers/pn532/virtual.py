"""A PN532 without hardware: the bytes of its serial line in, the bytes it answers out. Pure.

For tests and demonstrations; shipped, not a mock. It starts as the chip does: asleep, at 115200 baud, its
polling without end, and leaves its radio after a poll in a state that spoils the next raw frame.
Source: NXP UM0701-02, chapter 7; the project's ECP notes (ecp-and-pcsc.md, sections 1 and 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tilltap_drivers.nfc.phones import Device, Lifted
from tilltap_drivers.pn532.frames import ACK, CHIP, ERROR, HOST, Frames, body, frame
from tilltap_drivers.pn532.settings import DEFAULT_BAUD, SPEEDS
from tilltap_drivers.polling import ecp

# A PN532, firmware 1.6, for Type A, Type B and ISO 18092.
FIRMWARE = bytes.fromhex("32010607")

# Status bytes (UM0701-02, 7.1).
_OK, _TIME_OUT, _BAD_PARAMETER, _WRONG_CONTEXT = 0x00, 0x01, 0x10, 0x27
_SYNTAX = bytes((ERROR,))

# Registers of the radio that a raw frame depends on, and what a poll leaves in them.
_BIT_FRAMING, _TX_MODE, _RX_MODE = 0x633D, 0x6302, 0x6303
_AFTER_POLL = {_BIT_FRAMING: 0x07, _TX_MODE: 0x80, _RX_MODE: 0x80}

# Bytes of a response that fit into one answer; the rest is asked for (UM0701-02, 7.3.8).
_PART = 262
_MORE = 0x40

# SEL_RES and ATS of a card that speaks ISO-DEP: frames of 64 bytes, 77 ms to answer.
_ISO_DEP, _ATS = 0x20, bytes.fromhex("0578807002")

# An iPhone decides after the third poll that asked for passes, and answers the fourth (ecp-and-pcsc.md, 1.2).
POLLS = 3

_PRESENCE, _LINE = 0x06, 0x00
_AUTOMATIC_RATS = 0x10
_FOREVER = 0xFF


class VirtualPn532:
    """One chip. `present` holds a device to it, `remove` takes it away.

    `firmware` and `muted` may be changed at any time: a chip that is muted hears commands and does nothing.
    """

    def __init__(self) -> None:
        self.firmware = FIRMWARE
        self.muted = False
        self.device: Device | None = None
        self.announced: list[bytes] = []  # raw frames that went out undamaged
        self.polls = 0  # how often it was asked who is there
        self._iso_dep = self._waits = self._active = self._halted = False
        self._sent = self._response = b""
        self._commands: dict[int, Callable[[bytes], bytes | None]] = {
            0x00: self._diagnose,
            0x02: self._firmware,
            0x06: self._read_register,
            0x08: self._write_register,
            0x10: self._set_speed,
            0x12: self._set_parameters,
            0x14: self._sam,
            0x16: self._power_down,
            0x32: self._rf_configuration,
            0x40: self._exchange,
            0x42: self._communicate_thru,
            0x44: self._release,
            _LIST: self._list,
            0x52: self._release,
        }
        self.power_on()

    def power_on(self) -> None:
        """As after a plug: everything that was set is lost."""
        self.asleep = True
        self.speed = DEFAULT_BAUD
        self._next_speed = 0
        self._frames = Frames()
        self._registers: dict[int, int] = {}
        self._retries = _FOREVER
        self._parameters = _AUTOMATIC_RATS
        self._field_off()

    def present(self, device: Device, *, iso_dep: bool = True, waits: bool = False) -> None:
        """`iso_dep`: whether it takes APDUs; `waits`: it answers only where passes are asked for."""
        self.remove()
        self.device, self._iso_dep, self._waits = device, iso_dep, waits
        self._asked = 0

    def remove(self) -> None:
        device, self.device = self.device, None
        self._leave()
        if device is not None:
            device.field_off()

    def receive(self, data: bytes) -> Iterator[bytes]:
        """What the chip says to that, bit by bit: it acknowledges a command before it does it."""
        if self.asleep:
            if b"\x55" not in data:
                return
            self.asleep = False
        for received in self._frames.feed(data):
            if received == ACK:
                self._acknowledged()
            elif not self.muted:
                yield ACK
                yield self._command(body(received))

    def _acknowledged(self) -> None:
        if self._next_speed:
            self.speed, self._next_speed = self._next_speed, 0

    def _command(self, sent: bytes) -> bytes:
        if len(sent) < 2 or sent[0] != HOST:
            return frame(_SYNTAX)
        code, data = sent[1], sent[2:]
        command = self._commands.get(code)
        try:
            answer = command(data) if command else None
        except IndexError:  # fewer parameters than it takes
            answer = None
        if answer is None:
            return frame(_SYNTAX)
        if code == _LIST and self._retries == _FOREVER and answer == b"\x00":
            return b""  # it goes on until there is a card
        return frame(bytes((CHIP, code + 1)) + answer)

    # Miscellaneous

    def _diagnose(self, data: bytes) -> bytes | None:
        if data[0] == _LINE:
            return data
        if data[0] != _PRESENCE:
            return None
        return bytes((_OK if self._active and self.device else _TIME_OUT,))

    def _firmware(self, _: bytes) -> bytes:
        return self.firmware

    def _read_register(self, data: bytes) -> bytes:
        return bytes(self._registers.get(data[at] << 8 | data[at + 1], 0) for at in range(0, len(data), 2))

    def _write_register(self, data: bytes) -> bytes:
        for at in range(0, len(data), 3):
            self._registers[data[at] << 8 | data[at + 1]] = data[at + 2]
        return b""

    def _set_speed(self, data: bytes) -> bytes | None:
        if data[0] >= len(SPEEDS):
            return None
        self._next_speed = SPEEDS[data[0]]
        return b""

    def _set_parameters(self, data: bytes) -> bytes:
        self._parameters = data[0]
        return b""

    def _sam(self, data: bytes) -> bytes | None:
        return b"" if data[0] == 1 else None

    def _power_down(self, data: bytes) -> bytes:
        self.asleep = bool(data[0])
        self._field_off()
        return bytes((_OK if data[0] else _BAD_PARAMETER,))

    # Radio

    def _rf_configuration(self, data: bytes) -> bytes:
        if data[0] == 0x01 and not data[1] & 1:
            self._field_off()
        elif data[0] == 0x05:
            self._retries = data[3]
        return b""

    def _list(self, data: bytes) -> bytes:
        self.polls += 1
        if data[1] != 0:
            return b"\x00"
        self._registers |= _AFTER_POLL
        found = self.device
        if found is None or self._active or self._halted or (self._waits and self._asked < POLLS):
            return b"\x00"
        self._active = True
        rats = self._iso_dep and bool(self._parameters & _AUTOMATIC_RATS)
        uid = found.uid
        sense = bytes((0x00, 0x04 | (len(uid) - 4) // 3 << 6))
        select = bytes((_ISO_DEP if self._iso_dep else 0x00, len(uid)))
        return b"\x01\x01" + sense + select + uid + (_ATS if rats else b"")

    def _communicate_thru(self, data: bytes) -> bytes:
        plain = not any(self._registers.get(register, 0xFF) for register in _AFTER_POLL)
        if plain:
            self.announced.append(data)
            if data in _WANT_PASSES:
                self._asked += 1
        return bytes((_TIME_OUT,))

    def _exchange(self, data: bytes) -> bytes:
        if data[0] & 0x3F != 1 or not self._active or not self._iso_dep:
            return bytes((_WRONG_CONTEXT,))
        if self._response and not data[1:]:
            return self._part()
        self._sent += data[1:]
        if data[0] & _MORE:
            return bytes((_OK,))
        command, self._sent = self._sent, b""
        device = self.device
        if device is None:
            return bytes((_TIME_OUT,))
        try:
            self._response = device.answer(command)
        except Lifted as lifted:
            self._response = lifted.last
            response = self._part() if self._response else bytes((_TIME_OUT,))
            self.remove()
            return response
        return self._part() if self._response else bytes((_TIME_OUT,))

    def _part(self) -> bytes:
        part, self._response = self._response[:_PART], self._response[_PART:]
        return bytes((_MORE if self._response else _OK,)) + part

    def _release(self, _: bytes) -> bytes:
        self._halted = self._active
        self._active = False
        return bytes((_OK,))

    def _leave(self) -> None:
        self._active = self._halted = False
        self._sent = self._response = b""

    def _field_off(self) -> None:
        was_active = self._active
        self._leave()
        self._asked = 0
        if was_active and self.device is not None:
            self.device.field_off()


_WANT_PASSES = frozenset(ecp.frame(mode) for mode in (0, 1, 2))
_LIST = 0x4A
