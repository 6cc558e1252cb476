"""How sales get into the ledger: calls that repeat, tills that are cut off, reservations that run out.

A step of a till is one transaction. What the POS does is here too: it asks until it is answered, and sometimes
once more. One customer; `opening` points, a reward costs `cost` of them, a sale earns one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from model.protocol import Desk
from model.source import Entry, SourceStep


class Call(IntEnum):
    """`sale.close`, as the POS sees it."""

    NOT_YET = 0
    ASKED = 1
    ANSWERING = 2  # the till has done it; the answer is on its way
    ANSWERED = 3


class Hold(IntEnum):
    """The reward of a sale."""

    NONE = 0
    SEEN_FREE = 1  # (weakened variant only) the points were seen to be free
    LIVE = 2
    RUN_OUT = 3  # ten minutes passed since the last call about the sale


class Kept(IntEnum):
    """The sale in its till's spool."""

    NO = 0
    WAITING = 1
    ENTERED = 2  # entered in the ledger; still to be struck off the spool


@dataclass(frozen=True, slots=True)
class Sale:
    till: int
    number: int
    reward: bool = False


class Progress(NamedTuple):
    """How far one sale has come."""

    call: Call = Call.NOT_YET
    hold: Hold = Hold.NONE
    tried: bool = False  # the reward was asked for
    late: bool = False  # entered after its reservation had run out and the points were gone
    kept: Kept = Kept.NO
    found_new: bool = False  # (weakened variant only) was looked up and not found
    done: bool = False  # the sale is closed in the ledger
    earned: int = 0  # how often it counts
    redeemed: int = 0


class ShopState(NamedTuple):
    points: int
    names: frozenset[tuple[int, ...]]
    sales: tuple[Progress, ...]
    cut_off: tuple[bool, ...]  # per till
    cuts: int
    kills: int
    repeats: int
    waits: int


@dataclass(frozen=True, slots=True)
class Shop:
    """`cuts`, `kills`, `repeats`: how often a till is cut off from the ledger, killed, or asked once more."""

    sales: tuple[Sale, ...]
    desk: Desk = field(default_factory=Desk)
    opening: int = 0
    cost: int = 1
    cuts: int = 0
    kills: int = 0
    repeats: int = 0
    waits: int = 0  # how often ten minutes pass without a call about a sale

    def start(self) -> ShopState:
        tills = 1 + max(sale.till for sale in self.sales)
        blank = (Progress(),) * len(self.sales)
        luck = (self.cuts, self.kills, self.repeats, self.waits)
        return ShopState(self.opening, frozenset(), blank, (False,) * tills, *luck)

    def steps(self, state: ShopState, /) -> Iterable[SourceStep]:
        yield from self._tills(state)
        for index, sale in enumerate(self.sales):
            yield from self._pos(state, index, sale)
            if not state.cut_off[sale.till]:
                yield from self._reward(state, index, sale)
                yield from self._spool(state, index, sale)
            yield from self._answer(state, index, sale)

    def broken(self, state: ShopState, /) -> str:
        for sale, at in zip(self.sales, state.sales, strict=True):
            if at.earned > 1:
                return f"sale {sale.number} counts twice"
            if at.redeemed > 1:
                return f"sale {sale.number} spends its reward twice"
        late = any(at.late for at in state.sales)
        held = self.cost * sum(at.hold is Hold.LIVE for at in state.sales)
        if held > max(0, state.points) and not late:
            return "the same points are reserved for two sales"
        if state.points < 0 and not late:
            return "the same points are spent by two sales"
        return ""

    def at_rest(self, state: ShopState, /) -> bool:
        answered = all(at.call is Call.ANSWERED and at.kept is Kept.NO for at in state.sales)
        return answered and not any(state.cut_off)

    def wrong(self, state: ShopState, /) -> str:
        spent = 0
        for sale, at in zip(self.sales, state.sales, strict=True):
            if at.earned != 1:
                return f"sale {sale.number} of till {sale.till + 1} was answered and does not count"
            if at.hold is not Hold.NONE:
                return f"the discount of sale {sale.number} was given and not entered"
            spent += at.redeemed * self.cost
        if state.points != self.opening + len(self.sales) - spent:
            return "the balance is not the sum of the entries"
        return ""

    # -- the world --------------------------------------------------------------------------------------

    def _tills(self, state: ShopState) -> Iterator[SourceStep]:
        for till, cut in enumerate(state.cut_off):
            flags = tuple(not c if i == till else c for i, c in enumerate(state.cut_off))
            if cut:
                yield SourceStep(f"till {till + 1} reaches the ledger again", state._replace(cut_off=flags))
            elif state.cuts:
                after = state._replace(cut_off=flags, cuts=state.cuts - 1)
                yield SourceStep(f"till {till + 1} is cut off", after, fault=True)
            if state.kills:
                yield SourceStep(f"till {till + 1}: kill -9", self._kill(state, till), fault=True)

    def _kill(self, state: ShopState, till: int) -> ShopState:
        """What was not durable is gone; a call that was under way gets no answer, and is repeated."""
        sales = [
            self._after_kill(at) if sale.till == till else at
            for sale, at in zip(self.sales, state.sales, strict=True)
        ]
        return state._replace(sales=tuple(sales), kills=state.kills - 1)

    def _after_kill(self, at: Progress) -> Progress:
        durable = self.desk.spool_durable and self.desk.answers_after_commit
        kept = at.kept
        if kept is Kept.ENTERED:
            kept = Kept.WAITING if self.desk.spool_forgets_after_entry else Kept.NO
        forgot = at.hold is Hold.SEEN_FREE
        return at._replace(
            call=Call.ASKED if at.call is Call.ANSWERING else at.call,
            kept=kept if durable else Kept.NO,
            hold=Hold.NONE if forgot else at.hold,
            tried=at.tried and not forgot,
            found_new=False,
        )

    def _pos(self, state: ShopState, index: int, sale: Sale) -> Iterator[SourceStep]:
        at, name = state.sales[index], _name(sale)
        # Without the ledger there is no reward; the sale goes on.
        ready = at.tried or not sale.reward or state.cut_off[sale.till]
        if at.call is Call.NOT_YET and ready and at.hold is not Hold.SEEN_FREE:
            yield SourceStep(f"{name} is closed", _put(state, index, at._replace(call=Call.ASKED)))
        if at.call is Call.ANSWERED and state.repeats:
            after = _put(state, index, at._replace(call=Call.ASKED))._replace(repeats=state.repeats - 1)
            yield SourceStep(f"{name} is closed once more", after, fault=True)
        if at.hold is Hold.LIVE and state.waits:
            after = _put(state, index, at._replace(hold=Hold.RUN_OUT))._replace(waits=state.waits - 1)
            yield SourceStep(f"the reservation of {name} runs out", after, fault=True)

    # -- rewards ----------------------------------------------------------------------------------------

    def _reward(self, state: ShopState, index: int, sale: Sale) -> Iterator[SourceStep]:
        """sales.accept, and sales._touch for a reservation that ran out."""
        at, name = state.sales[index], _name(sale)
        if at.call is not Call.NOT_YET or not sale.reward:
            return
        free = self._free(state, index) >= self.cost
        if not at.tried:
            if not free:
                yield SourceStep(f"{name}: no reward to give", _put(state, index, at._replace(tried=True)))
            elif self.desk.reserves_in_one:
                taken = at._replace(tried=True, hold=Hold.LIVE)
                yield SourceStep(f"{name} takes the reward", _put(state, index, taken))
            else:
                seen = at._replace(tried=True, hold=Hold.SEEN_FREE)
                yield SourceStep(f"{name} finds the points free", _put(state, index, seen))
        if at.hold is Hold.SEEN_FREE:
            yield SourceStep(f"{name} takes the reward", _put(state, index, at._replace(hold=Hold.LIVE)))
        if at.hold is Hold.RUN_OUT and free:
            yield SourceStep(
                f"{name} renews its reservation", _put(state, index, at._replace(hold=Hold.LIVE))
            )

    def _free(self, state: ShopState, but: int) -> int:
        held = sum(at.hold is Hold.LIVE for i, at in enumerate(state.sales) if i != but)
        return state.points - (held * self.cost if self.desk.reserves else 0)

    # -- closing ----------------------------------------------------------------------------------------

    def _answer(self, state: ShopState, index: int, sale: Sale) -> Iterator[SourceStep]:
        """The till's part of `sale.close`."""
        at, name = state.sales[index], _name(sale)
        if at.call is Call.ANSWERING:
            yield SourceStep(f"{name} is answered", _put(state, index, at._replace(call=Call.ANSWERED)))
        if at.call is not Call.ASKED:
            return
        if state.cut_off[sale.till]:
            kept = at._replace(call=Call.ANSWERING, kept=Kept.WAITING)
            yield SourceStep(f"{name} goes to the spool", _put(state, index, kept))
        elif not self.desk.answers_after_commit:
            kept = at._replace(call=Call.ANSWERED, kept=Kept.ENTERED if at.done else Kept.WAITING)
            yield SourceStep(f"{name} is answered before it is entered", _put(state, index, kept))
        elif not self.desk.one_transaction and not at.found_new and not at.done:
            yield SourceStep(
                f"{name} is not in the ledger yet", _put(state, index, at._replace(found_new=True))
            )
        else:
            after, entries = self._enter(state, index, sale, again=at.found_new)
            after = _put(after, index, after.sales[index]._replace(call=Call.ANSWERING, found_new=False))
            yield SourceStep(f"{name} is entered", after, entries)

    def _spool(self, state: ShopState, index: int, sale: Sale) -> Iterator[SourceStep]:
        """A close that was kept is entered by the same path, then struck off."""
        at, name = state.sales[index], _name(sale)
        if at.kept is Kept.WAITING and self.desk.spool_forgets_after_entry:
            after, entries = self._enter(state, index, sale)
            after = _put(after, index, after.sales[index]._replace(kept=Kept.ENTERED))
            yield SourceStep(f"{name} is entered from the spool", after, entries)
        elif at.kept is Kept.WAITING:
            yield SourceStep(
                f"{name} is struck off the spool", _put(state, index, at._replace(kept=Kept.ENTERED))
            )
        if at.kept is Kept.ENTERED and self.desk.spool_forgets_after_entry:
            yield SourceStep(f"{name} is struck off the spool", _put(state, index, at._replace(kept=Kept.NO)))
        elif at.kept is Kept.ENTERED:
            after, entries = self._enter(state, index, sale)
            after = _put(after, index, after.sales[index]._replace(kept=Kept.NO))
            yield SourceStep(f"{name} is entered", after, entries)

    def _enter(
        self, state: ShopState, index: int, sale: Sale, *, again: bool = False
    ) -> tuple[ShopState, tuple[Entry, ...]]:
        """sales._enter_close: the reward it was given, then what it earns, each under a name used once."""
        at, entries = state.sales[index], []
        key = {
            "till and sale": (sale.till, sale.number),
            "till": (sale.till,),
            "sale": (sale.number,),
            "": (),
        }
        name = key[self.desk.named]
        if self.desk.named and not again and name in state.names:
            return state, ()
        late = at.hold is Hold.RUN_OUT and self._free(state, index) < self.cost
        if at.hold is not Hold.NONE and (self.desk.late_close_spends or not late):
            at = at._replace(redeemed=at.redeemed + 1, hold=Hold.NONE, late=late)
            entries.append(Entry(-self.cost, text=False))
        at = at._replace(done=True, earned=at.earned + 1)
        entries.append(Entry(1))
        points = state.points + sum(e.points for e in entries)
        names = state.names | {name} if self.desk.named else state.names
        return _put(state, index, at)._replace(points=points, names=names), tuple(entries)


def _name(sale: Sale) -> str:
    return f"sale {sale.number} of till {sale.till + 1}"


def _put(state: ShopState, index: int, at: Progress) -> ShopState:
    return state._replace(sales=(*state.sales[:index], at, *state.sales[index + 1 :]))
