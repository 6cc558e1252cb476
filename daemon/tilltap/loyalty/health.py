"""How the loyalty service is doing, judged by the answers that pass through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from tilltap.loyalty.provider import Answer, Outcome, PassState, Provider
from tilltap.model import LoyaltyHealth

_VERDICT: dict[Outcome, LoyaltyHealth] = {
    Outcome.DONE: "up",
    Outcome.GONE: "up",
    Outcome.REFUSED: "up",
    Outcome.KEY_REFUSED: "refused",
    Outcome.LIMITED: "limited",
    Outcome.NOT_SENT: "down",
    Outcome.UNKNOWN: "down",
}


class Watched:
    """A provider that remembers how its service was last found. `state` None: not asked yet."""

    def __init__(self, inner: Provider, wall: Callable[[], datetime]) -> None:
        self._inner = inner
        self._wall = wall
        self.state: LoyaltyHealth | None = None
        self.last_ok: datetime | None = None

    def _note(self, answer: Answer) -> Answer:
        self.state = _VERDICT[answer.outcome]
        if self.state == "up":
            self.last_ok = self._wall()
        return answer

    async def read(self, key: str, *, deadline: float, urgent: bool = False) -> Answer:
        return self._note(await self._inner.read(key, deadline=deadline, urgent=urgent))

    async def write_points(
        self, pass_id: str, points: int, message: str | None, *, deadline: float
    ) -> Answer:
        return self._note(await self._inner.write_points(pass_id, points, message, deadline=deadline))

    async def write_field(self, pass_id: str, key: str, text: str, *, plain: bool, deadline: float) -> Answer:
        return self._note(await self._inner.write_field(pass_id, key, text, plain=plain, deadline=deadline))

    async def list_passes(
        self, *, created_after: str | None = None
    ) -> AsyncIterator[Answer | list[PassState]]:
        async for page in self._inner.list_passes(created_after=created_after):
            if isinstance(page, Answer):
                self._note(page)
            else:
                self._note(Answer(Outcome.DONE))
            yield page

    def set_key(self, key: str | None) -> None:
        """Exchange the API key for the calls from now on."""
        self._inner.set_key(key)

    async def aclose(self) -> None:
        await self._inner.aclose()
