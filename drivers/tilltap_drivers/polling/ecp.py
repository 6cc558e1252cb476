"""Apple's polling frame for passes: what makes an iPhone bring the pass up by itself. Pure.

Source: the project's ECP notes (ecp-and-pcsc.md, 1.1); frames of version 1 only, which are those of VAS.
"""

from __future__ import annotations

_HEAD = bytes.fromhex("6A010000")


def frame(mode: int) -> bytes:
    """The frame with its CRC_A, 7 bytes. `mode` as in the GET DATA of VAS: 0 to 3, 2 = passes only."""
    if not 0 <= mode <= 3:
        raise ValueError("mode: is not one of 0 to 3 (2 = passes only)")
    data = _HEAD + bytes((mode,))
    return data + crc_a(data)


def crc_a(data: bytes) -> bytes:
    """ISO/IEC 14443-3, annex B: 2 bytes, the low one first."""
    crc = 0x6363
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc.to_bytes(2, "little")
