"""A device held to a terminal, in memory: what went over the air, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tilltap_drivers.contract import PassRead, ReadFailure
from tilltap_drivers.nfc.converse import Prepared, prepare, present
from tilltap_drivers.nfc.keys import Key, from_scalar
from tilltap_drivers.nfc.phones import Device
from tilltap_drivers.nfc.wallet import AppleWallet, CardReading, GoogleKey, GoogleWallet, Wallet

VECTORS = Path(__file__).parents[1] / "drivers" / "nfc" / "vectors"

# 2026-11-21 10:00:00 UTC, a whole number so that timestamps can be compared.
NOW = 1_795_255_200

APPLE_ID = "pass.com.example.coffee"
COLLECTOR = 20180608

KEYS = tuple(from_scalar(1_000_003 * n) for n in range(1, 6))


def vectors(name: str) -> dict[str, Any]:
    """The shared vectors, `vas` or `smarttap`."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def vector_key(name: str, file: str = "vas") -> Key:
    return from_scalar(
        int(next(k for k in vectors(file)["keys"] if k["name"] == name)["private_scalar_hex"], 16)
    )


def wallet(**changes: Any) -> Wallet:
    """Both wallets, with KEYS[0] and KEYS[1] (Google versions 1 and 2)."""
    google = GoogleWallet(COLLECTOR, (GoogleKey(1, KEYS[0]), GoogleKey(2, KEYS[1])))
    whole = {
        "apple": AppleWallet((APPLE_ID,), KEYS[:2]),
        "google": google,
        "cards": CardReading(ndef=True, uid=True),
    }
    return Wallet(**(whole | changes))


@dataclass
class Tap:
    """One presentation: the commands and responses in order, and the outcome."""

    outcome: PassRead | ReadFailure | None = None
    commands: list[bytes] = field(default_factory=list)
    responses: list[bytes] = field(default_factory=list)

    @property
    def cost(self) -> int:
        return len(self.commands)

    @property
    def reason(self) -> str:
        assert isinstance(self.outcome, ReadFailure), self.outcome
        return self.outcome.reason

    @property
    def value(self) -> bytes:
        assert isinstance(self.outcome, PassRead), self.outcome
        return self.outcome.value


def tap(
    settings: Wallet,
    answer: Callable[[bytes], bytes],
    *,
    prepared: Prepared | None = None,
    seed: int = 1,
    now: float = NOW,
) -> Tap:
    """Present something that answers commands, to the end of the conversation."""
    ready = prepared or prepare(settings, Random(seed).randbytes, lambda: now)
    done = Tap()
    conversation = present(settings, ready)
    command = next(conversation)
    while True:
        done.commands.append(command)
        response = answer(command)
        done.responses.append(response)
        try:
            command = conversation.send(response)
        except StopIteration as end:
            done.outcome = end.value
            return done


def hold(settings: Wallet, device: Device, **more: Any) -> Tap:
    """Present a simulated device and take it away again."""
    done = tap(settings, device.answer, **more)
    device.field_off()
    return done


def script(responses: Iterable[str | bytes]) -> Callable[[bytes], bytes]:
    """Answers from a list, in hex or bytes, whatever is asked; fails the test when it runs out."""
    left = iter(responses)

    def answer(command: bytes) -> bytes:
        found = next(left, None)
        assert found is not None, f"one command too many: {command.hex()}"
        return bytes.fromhex(found) if isinstance(found, str) else found

    return answer
