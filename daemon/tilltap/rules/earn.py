"""What a paid sale earns. Pure; amounts in minor units."""

from __future__ import annotations

from dataclasses import dataclass

from tilltap.model import Earn


@dataclass(frozen=True, slots=True)
class Earned:
    """`points` in all, of which `visit` for the visit; `steps` full spend steps; `remainder` carried on."""

    points: int
    steps: int
    visit: int
    remainder: int


def counted(paid: int, eligible: int, total: int) -> int:
    """The part of `paid` that earns: its share of `eligible` in `total`, rounded down (contract section 3).

    Rounding down to a minor unit never loses a step: a step is a whole number of minor units.
    """
    return paid * eligible // total if total else 0


def earn(rule: Earn, base: int, carried: int) -> Earned:
    """Points for `base` (see `counted`) of a customer with `carried` left over from earlier sales.

    Called again with a smaller `base` after a refund, and with the `carried` of then: so any order of partial
    refunds ends at the same number, and a full one gives back the carried amount exactly.
    """
    visit = rule.visit if base > 0 and base >= rule.minimum else 0
    if rule.spend is None:
        return Earned(visit, 0, visit, carried)
    if rule.carry and base:
        # A refund can leave a negative carry; it delays the next point, it never takes one.
        steps = max(0, (carried + base) // rule.spend)
        remainder = carried + base - steps * rule.spend
    else:
        steps, remainder = base // rule.spend, carried
    return Earned(steps * rule.points + visit, steps, visit, remainder)
