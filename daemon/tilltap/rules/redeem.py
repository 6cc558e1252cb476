"""What points buy. Pure; amounts in minor units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tilltap.model import Program, Reward


@dataclass(frozen=True, slots=True)
class Account:
    """A customer as the rules see them.

    `held`: points reserved by other sales. `uses`: how often each `keep` reward was used, other open sales
    included.
    """

    points: int
    carried: int = 0
    held: int = 0
    uses: Mapping[str, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.points - self.held


def affordable(reward: Reward, account: Account) -> bool:
    """Whether the points suffice, whatever the order."""
    if reward.on_redeem == "keep":
        # A kept balance is not spent, so each full `cost` of it is good for one use only.
        return account.points // reward.cost > account.uses.get(reward.id, 0)
    return account.free >= reward.cost


def offered(reward: Reward, account: Account, total: int) -> bool:
    """Whether the cashier may give it on an order of `total`."""
    return total > 0 and total >= reward.minimum and affordable(reward, account)


def taken(reward: Reward, account: Account) -> int:
    """Points an accept reserves (contract section 2, `on_redeem`)."""
    return {"reset": account.free, "subtract": reward.cost, "keep": 0}[reward.on_redeem]


def dearest(rewards: Iterable[Reward]) -> Reward | None:
    """The one that costs most; of equals, the larger discount, then the first in the file."""
    return max(rewards, key=lambda r: (r.cost, r.discount), default=None)


def automatic(program: Program, account: Account, total: int) -> Reward | None:
    """The reward to accept without asking, if any."""
    return dearest(r for r in program.rewards if r.automatic and offered(r, account, total))


def reached(program: Program, before: Account, after: Account) -> Reward | None:
    """The dearest reward that `after` can afford and `before` could not."""
    return dearest(r for r in program.rewards if affordable(r, after) and not affordable(r, before))
