"""The shop's words, filled in. Pure."""

from __future__ import annotations

from tilltap.model import Program, Reward
from tilltap.templates import POINTS_OF_BALANCE, render

# In a training configuration every message says so (contract section 2).
TRAINING = "TRAINING "


def say(
    program: Program, template: str, *, earned: int = 0, reward: str = "", balance: int | None = None
) -> str | None:
    """The text of one message; None for an empty template. An unknown balance prints as a dash."""
    if not template:
        return None
    text = render(
        template,
        {
            "earned": str(earned),
            "points": program.point if earned == 1 else program.points,
            POINTS_OF_BALANCE: program.point if balance == 1 else program.points,
            "reward": reward,
            "balance": "–" if balance is None else str(balance),
            "store": program.store,
        },
    )
    return TRAINING + text if program.training else text


def prompt(program: Program, reward: Reward, *, earned: int, balance: int) -> str:
    """What the cashier asks about a reward; `earned` and `balance` as they are before it is given."""
    return say(program, program.messages.prompt, earned=earned, reward=reward.title, balance=balance) or ""


def push(program: Program, kind: str, *, earned: int, reward: str, balance: int | None) -> str | None:
    """The text for the phone: `kind` is earned, reached or redeemed; None when the shop wants none."""
    template: str = getattr(program.messages, kind)
    return say(program, template, earned=earned, reward=reward, balance=balance)


def face(program: Program, titles: list[str]) -> str | None:
    """The reward field on the pass: the first of `titles`, or the no-reward text; None: not configured."""
    if not program.face.field:
        return None
    if not titles:
        return say(program, program.face.empty) or ""
    return say(program, program.face.text, reward=titles[0]) or ""
