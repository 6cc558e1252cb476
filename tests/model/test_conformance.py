"""The model is the daemon: random walks through the model are walked by the real mirror on a real ledger.

Only time, the network and the service are played; after every step the ledger must hold what the model says.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from model.explorer import Step
from model.mirror import Mirror
from model.state import Clock, Phase, State, Text
from model.variants import passes
from rigs.till import COFFEE, House, make_template
from tilltap import mirror as daemon
from tilltap.errors import CallError
from tilltap.ledger import book, mirror_book, push_book, tables
from tilltap.ledger.engine import Sql, Tx
from tilltap.loyalty.provider import Answer, Outcome, PassState
from tilltap.model import Messages, PassFace
from tilltap.till import customers

# Long beside a lease (so that leases that run out do not ring it), short beside the life of a text.
SETTLE_S = 1000.0
WALKS, STEPS = 15, 45

_SAID = {
    "planned": Text.PLANNED,
    "sending": Text.SPENT,
    "sent": Text.SPENT,
    "maybe": Text.SPENT,
    "merged": Text.SILENT,
    "suppressed": Text.SILENT,
}
_ENDED = {Phase.ANSWERED: Outcome.DONE, Phase.SENT: Outcome.UNKNOWN}
_TEXTS = Sql(select(tables.push.c.state).order_by(tables.push.c.id))


class Asked:
    """A service that answers when the walk says so."""

    def __init__(self) -> None:
        self.reading: asyncio.Future[Answer] | None = None
        self.writing: asyncio.Future[Answer] | None = None
        self.wrote: tuple[int, bool] | None = None

    async def read(self, _key: str, **_: Any) -> Answer:
        self.reading = asyncio.get_running_loop().create_future()
        return await self.reading

    async def write_points(self, _pass_id: str, points: int, message: str | None, **_: Any) -> Answer:
        self.wrote = (points, message is not None)
        self.writing = asyncio.get_running_loop().create_future()
        return await self.writing


class Walk:
    """One pass, one real till; `take` does in the daemon what a step of the model says."""

    def __init__(self, house: House, asked: Asked) -> None:
        self.house, self.asked = house, asked
        self.mirror = daemon.Mirror(house.till, house.store, house.provider, house.time, SETTLE_S)
        self.turn: asyncio.Task[None] | None = None
        self.sales = 0

        def begin(tx: Tx) -> int:
            return customers.meet(tx, house.till.shop, "ana", PassState("pass-ana", "ana", points=0)).id

        self.customer = house.store.run_now(begin)

    def run(self, work: Callable[[Tx], Any]) -> Any:
        return self.house.store.run_now(work)

    async def take(self, before: State, label: str, after: State) -> None:
        """`before` and `after` say what the words of the label leave out."""
        match label.split()[:3]:
            case ["sale" | "refund", points]:
                self.run(lambda tx: self._enter(tx, int(points)))
            case ["the", "settle", "time"]:
                self.wait_for_the_clock()
                self.house.time.move(2)
            case ["the", "lease", "runs"]:
                self.house.time.move(daemon.LEASE_S + 1)
            case ["the", "till", "starts"]:
                self.run(lambda tx: mirror_book.recover(tx, "till-1", SETTLE_S))
            case ["a", "till", "reads"]:
                await self._begin_turn()
            case ["nothing", "to", "write"]:
                await self._answer_read(before)
                assert self.turn is None
            case ["it", "writes", _]:
                await self._answer_read(before)
                sent = next(t for t in after.tills if t.phase is Phase.SENT)
                assert self.asked.wrote == (sent.value, sent.text >= 0)
            case ["it", "is", "recorded"]:
                await self._answer_write(Outcome.DONE)
            case ["it", "could", "not"]:
                await self._answer_write(Outcome.NOT_SENT)
            case ["no", "answer", "in"] | ["the", "answer", "is"]:
                await self._answer_write(Outcome.UNKNOWN)
            case ["kill", "-9"]:
                await self._kill()
            case ["the", "ledger", "is"]:
                await self._lock(before)
            case ["it", "arrives"] | ["a", "late", _] | ["others", _, _]:
                pass  # the service's side, which is the model's
            case _:
                raise AssertionError(f"a step that the daemon does not know: {label}")

    def wait_for_the_clock(self) -> None:
        """Until a second before it rings, if it runs."""
        due = self.run(lambda tx: mirror_book.get(tx, self.customer)).settle
        if due is not None:
            self.house.time.move(max(0.0, due - 1 - self.house.time.steady()))

    def _enter(self, tx: Tx, points: int) -> None:
        self.sales += 1
        ref = str(self.sales)
        book.enter(tx, self.customer, "earn", points, till="till-1", ref=ref, why="walk")
        if points > 0:
            version = self.house.till.shop.version
            sale = book.Sale("till-1", ref, "closed", 0, version, 0, tx.now, closed=tx.now, earned=points)
            push_book.plan(tx, self.customer, sale, kind="earned", reward="")
        mirror_book.owe(tx, self.customer)

    async def _begin_turn(self) -> None:
        self.run(lambda tx: mirror_book.look(tx, self.customer, ""))
        claimed = await self.mirror._next()
        assert claimed is not None
        self.asked.reading = self.asked.writing = self.asked.wrote = None
        self.turn = asyncio.create_task(self.mirror._turn(claimed))
        await self._until(lambda: self.asked.reading is not None)

    async def _answer_read(self, before: State) -> None:
        seen = next(t.seen for t in before.tills if t.phase is Phase.READ)
        assert self.asked.reading is not None
        self.asked.reading.set_result(Answer(Outcome.DONE, PassState("pass-ana", "ana", points=seen)))
        await self._until(lambda: self.asked.writing is not None)

    async def _answer_write(self, outcome: Outcome) -> None:
        assert self.asked.writing is not None
        self.asked.writing.set_result(Answer(outcome))
        await self._until(lambda: False)
        assert self.turn is None

    async def _until(self, ready: Callable[[], bool]) -> None:
        """... or until the turn is over."""
        assert self.turn is not None
        while not (ready() or self.turn.done()):  # noqa: ASYNC110 - the store's thread answers
            await asyncio.sleep(0)
        if self.turn.done():
            turn, self.turn = self.turn, None
            turn.result()

    async def _kill(self) -> None:
        if self.turn is not None:
            self.turn.cancel()
            await asyncio.gather(self.turn, return_exceptions=True)
            self.turn = None

    async def _lock(self, before: State) -> None:
        """The next transaction, which is the turn's, finds the ledger locked."""
        store, transact = self.house.store, self.house.store._transact

        def locked(*_: Any, **_how: Any) -> Any:
            store._transact = transact  # type: ignore[method-assign]
            raise CallError("ledger-down", "locked")

        store._transact = locked  # type: ignore[method-assign, assignment]
        phase = next(t.phase for t in before.tills if t.phase is not Phase.IDLE)
        answer = self._answer_read(before) if phase is Phase.READ else self._answer_write(_ENDED[phase])
        with pytest.raises(CallError):
            await answer

    def ledger(self) -> tuple[Any, ...]:
        """The part of the ledger that the model has, in its terms."""

        def read(tx: Tx) -> tuple[Any, ...]:
            row = mirror_book.get(tx, self.customer)
            assert row is not None
            sends = tuple(
                (s.points, s.base, s.outcome == "applied") for s in mirror_book.sends(tx, row.customer_id)
            )
            texts = tuple(_SAID[state] for (state,) in tx.all(_TEXTS))
            clock = Clock.OFF
            if row.settle is not None:
                clock = Clock.RUNG if row.settle <= tx.now else Clock.RUNNING
            points = book.customer(tx, self.customer).points
            return points, row.confirmed, bool(row.dirty), clock, sends, texts

        found: tuple[Any, ...] = self.run(read)
        return found


def told(state: State) -> tuple[Any, ...]:
    """The same of the model. A text that was on its way and one that may have been shown are alike."""
    texts = tuple(Text.SPENT if text is Text.SENDING else text for text, _ in state.texts)
    sends = tuple(tuple(s) for s in state.sends)
    return state.points, state.confirmed, state.dirty, state.clock, sends, texts


async def wander(walk: Walk, model: Mirror, choose: random.Random, *, rings_in_a_read: bool) -> None:
    state, story = model.start(), []
    for _ in range(STEPS):
        steps = [s for s in model.steps(state) if rings_in_a_read or not _rings_in_a_read(state, s)]
        if not steps:
            break
        label = choose.choice(steps).label.split(", ")[0]
        alike = [s for s in steps if s.label.split(", ")[0] == label]
        story.append(label)
        assert isinstance(alike[0].state, State)
        if rings_in_a_read and label.startswith("a till reads"):
            walk.wait_for_the_clock()
        await walk.take(state, label, alike[0].state)
        found = walk.ledger()
        fitting = [s.state for s in alike if isinstance(s.state, State) and told(s.state) == found]
        assert fitting, (
            f"after {' > '.join(story)}\n the ledger has {found}\n the model {told(alike[0].state)}"
        )
        # What arrived or was copied is for the model to say: any of its states will do.
        state = choose.choice(fitting)
    await walk._kill()


def _rings_in_a_read(state: State, step: Step) -> bool:
    return step.label == "the settle time passes" and any(t.phase is Phase.READ for t in state.tills)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


MODELS = [
    pytest.param(passes(1, 1, 1, unanswered=3, copies=1, refused=1, budget=2), id="lost and late answers"),
    pytest.param(passes(1, -2, 1, 1, unanswered=2, kills=2, copies=1, budget=2), id="kills and refunds"),
    pytest.param(passes(1, 1, -1, 1, unanswered=2, kills=1, others=5, budget=2), id="changes by others"),
]


@pytest.mark.parametrize("model", MODELS)
def test_the_daemon_walks_as_the_model_does(model: Mirror, tmp_path: Path, template: Path) -> None:
    _wander_often(model, tmp_path, template, rings_in_a_read=False)


def test_a_wait_that_ends_during_a_read_is_not_over(tmp_path: Path, template: Path) -> None:
    _wander_often(passes(1, 1, unanswered=1, copies=1), tmp_path, template, rings_in_a_read=True)


def test_a_turn_left_unfinished_starts_the_wait_anew(tmp_path: Path, template: Path) -> None:
    _wander_often(passes(1, 1, unanswered=1, stalls=2), tmp_path, template, rings_in_a_read=False)


def _wander_often(model: Mirror, folder: Path, template: Path, *, rings_in_a_read: bool) -> None:
    program = replace(COFFEE, messages=Messages(earned="You've earned {earned}!"), face=PassFace())
    for seed in range(WALKS):
        asked = Asked()
        house = House(folder, program, service=asked, durable=False, template=template)  # type: ignore[arg-type]
        try:
            choose = random.Random(seed)
            asyncio.run(wander(Walk(house, asked), model, choose, rings_in_a_read=rings_in_a_read))
        finally:
            house.stop()
            for file in folder.iterdir():
                shutil.rmtree(file) if file.is_dir() else file.unlink()
