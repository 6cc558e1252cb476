"""One pass, its ledger, the tills that write it and the service: every order of events (see mirror.py of the
daemon, whose transactions are the steps here).

Time is left out but for one fact: a settle clock rings only after every request has died that was given up
before the clock was started. Back-off is left out: a pass with work may be taken up at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from model.explorer import Step
from model.protocol import Adopt, Fate, Faults, Protocol, Read, Rightful, Settle, Unknown
from model.source import Script, Source
from model.state import (
    ACTING,
    HOLDING,
    IDLE,
    Clock,
    Luck,
    Others,
    Phase,
    Send,
    State,
    Text,
    Turn,
    add_entry,
    drop_sends,
    joined,
    sent_away,
    set_text,
    start_clock,
    unlucky,
    without,
)

TEXT_BUDGET = 3


@dataclass(frozen=True, slots=True)
class Mirror:
    """`tills` share one ledger; `budget` is how many texts the pass may get."""

    source: Source
    faults: Faults = field(default_factory=Faults)
    protocol: Protocol = field(default_factory=Protocol)
    tills: int = 1
    budget: int = TEXT_BUDGET

    # -- what the explorer asks -------------------------------------------------------------------------

    def start(self) -> State:
        f = self.faults
        luck = Luck(f.unanswered, f.copies, f.refused, f.kills, f.stalls, f.freezes)
        opening = self.source.opening
        return State(
            source=self.source.start(),
            points=opening,
            texts=(),
            confirmed=opening,
            dirty=False,
            clock=Clock.OFF,
            unreturned=False,
            sends=(),
            adopted=0,
            balance=opening,
            others=Others.NONE,
            others_clean=False,
            wire=(),
            tills=(IDLE,) * self.tills,
            luck=luck,
            breach="",
        )

    def steps(self, state: State, /) -> Iterable[Step]:
        yield from self._outside(state)
        yield from self._network(state)
        for index, turn in enumerate(state.tills):
            if index and turn == state.tills[index - 1]:
                continue
            rest = without(state, index)
            yield from self._mishaps(rest, turn)
            yield from self._acts(rest, turn)

    def broken(self, state: State, /) -> str:
        if sum(handed for _, handed in state.texts) > self.budget:
            return "more texts than the budget allows"
        return state.breach or self.source.broken(state.source)

    def at_rest(self, state: State, /) -> bool:
        return (
            not state.wire
            and not state.dirty
            and not state.unreturned
            and state.clock is Clock.OFF
            and self.source.at_rest(state.source)
            and state.tills[0] == IDLE
            and all(t.phase in (Phase.IDLE, Phase.DOWN) for t in state.tills)
        )

    def wrong(self, state: State, /) -> str:
        if any(text is Text.PLANNED for text, _ in state.texts):
            return "a text is owed and forgotten"
        if state.others is not Others.STANDS:
            if state.balance != max(0, state.points):
                return f"the pass shows {state.balance}, the ledger says {state.points}"
            if state.others_clean and state.adopted != self.faults.others:
                return "a change by others is lost"
        return self.source.wrong(state.source)

    # -- sales, others, time ----------------------------------------------------------------------------

    def _outside(self, state: State) -> Iterator[Step]:
        for label, source, entries, fault in self.source.steps(state.source):
            after = state._replace(source=source)
            for entry in entries:
                after = add_entry(after, entry.points, text=entry.text)
            yield Step(label, after, fault)
        if self.faults.others and state.others is Others.NONE:
            idle = not any(t.phase in ACTING for t in state.tills)
            quiet = idle and not state.wire and not state.sends
            after = state._replace(
                others=Others.STANDS, others_clean=quiet, balance=state.balance + self.faults.others
            )
            yield Step(f"others change the pass to {after.balance}", after, fault=True)
        if self._may_ring(state):
            yield Step("the settle time passes", state._replace(clock=Clock.RUNG))

    def _may_ring(self, state: State) -> bool:
        """Nobody is sending (a request is shorter than the settle time), and nothing counted is alive."""
        if state.clock is not Clock.RUNNING or any(
            t.phase is Phase.SENT and not t.lapsed for t in state.tills
        ):
            return False
        return not (self.protocol.settle_waits and any(r.counted for r in state.wire))

    def _network(self, state: State) -> Iterator[Step]:
        for index, request in enumerate(state.wire):
            if index and request == state.wire[index - 1]:
                continue
            rest = state._replace(wire=state.wire[:index] + state.wire[index + 1 :])
            yield Step("a late write is lost", rest)
            after = self._land(rest, request.value)
            yield Step(f"a late write arrives, the pass shows {after.balance}", after)

    def _land(self, state: State, value: int) -> State:
        """A write of ours is applied."""
        others = Others.GONE if state.others is Others.STANDS else state.others
        return state._replace(
            balance=value if self.protocol.absolute else state.balance + value, others=others
        )

    # -- the tills --------------------------------------------------------------------------------------

    def _acts(self, state: State, turn: Turn) -> Iterator[Step]:
        """What a till does next; `state` is all but this till."""
        match turn.phase:
            case Phase.IDLE:
                yield from self._take_up(state)
            case Phase.PEEKED:
                yield Step("the tap enters what it saw", joined(self._adopt(state, turn), IDLE))
            case Phase.READ:
                yield self._plan(state, turn)
            case Phase.SENT:
                yield from self._travel(state, turn)
            case Phase.ANSWERED:
                yield from self._record_applied(state, turn)
                if state.luck.unanswered:
                    after = self._record_unknown(unlucky(state, "unanswered"), turn)
                    yield Step("the answer is lost", after, fault=True)
            case Phase.LEFT | Phase.KILLED:
                then = Phase.IDLE if turn.phase is Phase.LEFT else Phase.DOWN
                lapsed = joined(self._lapse(state), Turn(then, lapsed=self.protocol.lease))
                yield Step("the lease runs out", lapsed)
        if turn.phase in (Phase.KILLED, Phase.DOWN):
            freed = state._replace(unreturned=state.unreturned and not turn.lapsed)
            yield Step("the till starts again", joined(self._recover(freed), IDLE))

    def _mishaps(self, state: State, turn: Turn) -> Iterator[Step]:
        if turn.phase in (Phase.KILLED, Phase.DOWN, Phase.PEEKED):
            return
        left = state
        if turn.phase is Phase.SENT:
            left = sent_away(set_text(state, turn.text, Text.SENDING, handed=True), turn.value, turn.row)
        holds = turn.phase in HOLDING and not turn.lapsed
        if state.luck.kills:
            dead = Turn(Phase.KILLED if holds else Phase.DOWN, lapsed=turn.lapsed)
            yield Step("kill -9", joined(unlucky(left, "kills"), dead), fault=True)
        if state.luck.stalls and turn.phase in (Phase.READ, Phase.SENT, Phase.ANSWERED):
            stopped = Turn(Phase.LEFT) if holds else Turn(lapsed=turn.lapsed)
            yield Step("the ledger is locked", joined(unlucky(left, "stalls"), stopped), fault=True)
        if state.luck.freezes and turn.phase is Phase.SENT and holds:
            after = joined(self._lapse(unlucky(state, "freezes")), turn._replace(lapsed=True))
            yield Step("the till freezes until its lease is over", after, fault=True)

    def _lapse(self, state: State) -> State:
        return state._replace(unreturned=self.protocol.lease)

    def _recover(self, state: State) -> State:
        """mirror_book.recover: what was on its way is unknown, and the wait starts anew."""
        rule = self.protocol
        state = self._give_up_texts(state, again=rule.text in (Fate.AGAIN, Fate.AGAIN_AFTER_RESTART))
        if not rule.remembers_after_restart:
            state = drop_sends(state, range(len(state.sends)))._replace(clock=Clock.OFF)
        if state.clock is not Clock.OFF and rule.restart_waits:
            state = start_clock(state)
        return state

    def _give_up_texts(self, state: State, *, again: bool) -> State:
        """Nobody can say whether the texts that were on their way have been shown."""
        fate = Text.PLANNED if again else self._unsaid
        for index, (text, _) in enumerate(state.texts):
            if text is Text.SENDING:
                state = set_text(state, index, fate)._replace(dirty=state.dirty or again)
        return state

    @property
    def _unsaid(self) -> Text:
        return Text.SILENT if self.protocol.text is Fate.UNCOUNTED else Text.SPENT

    # -- one turn: read, judge, write, record -----------------------------------------------------------

    def _take_up(self, state: State) -> Iterator[Step]:
        """Claims the pass under the lease and reads it: for work, for the settle clock, or for a tap."""
        rule = self.protocol
        if rule.adopt is Adopt.UNLEASED:
            peeked = Turn(Phase.PEEKED, state.balance, state.others is Others.STANDS)
            yield Step(f"a tap reads {state.balance}", joined(state, peeked))
        if rule.lease and any(t.phase in HOLDING and not t.lapsed for t in state.tills):
            return
        took_over = state.unreturned
        state = self._take_over(state) if took_over else state
        blind = {
            Read.ALWAYS: False,
            Read.TO_SETTLE: state.clock is not Clock.RUNG and all(s.applied for s in state.sends),
            Read.NOT_AFTER_TAKE_OVER: took_over,
            Read.NEVER: True,
        }[rule.read]
        seen = state.confirmed if blind else state.balance
        others = state.others is Others.STANDS and not blind
        turn = Turn(Phase.READ, seen, others, state.clock is Clock.RUNG)
        label = f"a till takes the pass to hold {seen}" if blind else f"a till reads {seen}"
        yield Step(label, joined(state, turn))

    def _take_over(self, state: State) -> State:
        resting = (Phase.IDLE, Phase.DOWN)
        tills = sorted(t._replace(lapsed=t.lapsed and t.phase not in resting) for t in state.tills)
        state = state._replace(unreturned=False, tills=tuple(tills))
        state = self._give_up_texts(state, again=self.protocol.text is Fate.AGAIN)
        waits = self.protocol.take_over_waits and state.clock is not Clock.OFF
        return start_clock(state) if waits else state

    def _plan(self, state: State, turn: Turn) -> Step:
        """Judges what was read and commits to what is sent: one transaction (Mirror._plan)."""
        rule = self.protocol
        state = self._adopt(state, turn)
        wanted = self._wanted(state)
        rung = state.clock is Clock.RUNG and (turn.due or not rule.settle_by_start)
        settled = not state.sends or rung or rule.settle is Settle.NEVER
        doubt = any(not s.applied for s in state.sends) and not (settled and turn.seen == wanted)
        text, merged = -1, ()
        if not doubt or not rule.text_waits:
            state, text, merged = self._choose_text(state)
        if doubt and text >= 0:
            state = state._replace(breach="a text rides on a repeated write")
        if turn.seen == wanted and text < 0:
            return Step("nothing to write", self._nothing_to_write(state, settled=settled))
        if doubt and rule.patient and not settled:
            return Step("it waits", joined(state, IDLE))
        row = len(state.sends)
        state = state._replace(sends=(*state.sends, Send(wanted, state.confirmed)), clock=Clock.OFF)
        if rule.settle is not Settle.NEVER:
            state = start_clock(state)
        state = set_text(state, text, Text.SENDING)._replace(dirty=True)
        value = wanted if rule.absolute else wanted - turn.seen
        label = f"it writes {value if rule.absolute else f'{value:+d}'}" + (
            " with a text" if text >= 0 else ""
        )
        old = min((r.row for r in state.wire if r.row >= 0), default=row) if rule.prunes_dead_only else row
        sent = Turn(Phase.SENT, value=value, text=text, merged=merged, row=row, old=old)
        return Step(label, joined(state, sent))

    def _wanted(self, state: State) -> int:
        return max(0, state.points) if self.protocol.floor else state.points

    def _adopt(self, state: State, turn: Turn) -> State:
        """Mirror._adopt, and the promise about it: nothing is invented, and the size is right but for doubt."""
        rule = self.protocol
        sends = state.sends
        rightful = {state.confirmed}
        if rule.rightful is not Rightful.CONFIRMED:
            rightful |= {s.value for s in sends}
        if rule.rightful is Rightful.ALL and sends:
            rightful.add(sends[0].base)
        if turn.seen not in rightful and rule.rightful is not Rightful.ANY:
            last = sends[-1].value if sends else state.confirmed
            change = turn.seen - last
            if not turn.others:
                breach = "a change by others is invented"
            elif state.adopted:
                breach = "a change by others is entered twice"
            elif change - self.faults.others not in {own - last for own in rightful}:
                breach = "a change by others is entered with a size that nothing explains"
            else:
                breach = state.breach
            state = add_entry(state, change, text=False)
            state = state._replace(adopted=state.adopted + change, breach=breach)
            if rule.adopt is Adopt.FORGETFUL:
                return state
        return state._replace(confirmed=turn.seen)

    def _choose_text(self, state: State) -> tuple[State, int, tuple[int, ...]]:
        """Mirror._text: the newest speaks for all that wait, if the budget allows. Which, and for which."""
        waiting = [i for i, (text, _) in enumerate(state.texts) if text is Text.PLANNED]
        spent = sum(text in (Text.SENDING, Text.SPENT) for text, _ in state.texts)
        if not waiting:
            return state, -1, ()
        chosen = waiting[-1] if spent < self.budget else -1
        others = tuple(index for index in waiting if index != chosen)
        for index in others:
            state = set_text(state, index, Text.SILENT)
        return state, chosen, others if chosen >= 0 else ()

    def _nothing_to_write(self, state: State, *, settled: bool) -> State:
        """Mirror._nothing_to_write: the pass shows the ledger's balance already."""
        if settled:
            state = drop_sends(state, range(len(state.sends)))._replace(clock=Clock.OFF)
        waits = any(text is Text.PLANNED for text, _ in state.texts) and state.clock is not Clock.OFF
        return joined(state._replace(dirty=waits), IDLE)

    # -- how a write ends -------------------------------------------------------------------------------

    def _travel(self, state: State, turn: Turn) -> Iterator[Step]:
        luck = state.luck
        told = set_text(state, turn.text, Text.SENDING, handed=True)
        landed = self._land(told, turn.value)
        answered = turn._replace(phase=Phase.ANSWERED)
        yield Step(f"it arrives, the pass shows {landed.balance}", joined(landed, answered))
        if luck.copies:
            twice = sent_away(unlucky(landed, "copies"), turn.value, turn.row)
            label = f"it arrives, the pass shows {landed.balance}, and a copy is still on its way"
            yield Step(label, joined(twice, answered), fault=True)
        if luck.unanswered:
            away = sent_away(unlucky(told, "unanswered"), turn.value, turn.row)
            yield Step("no answer in time", self._record_unknown(away, turn), fault=True)
        if luck.refused:
            after = self._record_not_applied(unlucky(state, "refused"), turn)
            yield Step("it could not be sent", after, fault=True)

    def _record_applied(self, state: State, turn: Turn) -> Iterator[Step]:
        """Mirror._applied. Of the rows that were dead when this write was planned, some are old enough to go."""
        rule = self.protocol
        if turn.row >= 0:
            sends = [*state.sends]
            sends[turn.row] = sends[turn.row]._replace(applied=True)
            state = state._replace(sends=tuple(sends))
        state = set_text(state, turn.text, Text.SPENT)
        behind = turn.value != self._wanted(state) if rule.absolute else state.balance != self._wanted(state)
        planned = any(text is Text.PLANNED for text, _ in state.texts)
        confirmed = turn.value if rule.absolute else state.balance
        state = state._replace(confirmed=confirmed, dirty=behind or planned)
        quiet = all(s.applied for s in state.sends)
        if rule.settle is Settle.EVERY or (rule.settle is Settle.UNKNOWN and not quiet):
            state = start_clock(state)
        else:
            state = drop_sends(state, range(len(state.sends)))._replace(clock=Clock.OFF)
        for count in range((turn.old if turn.row >= 0 else 0) + 1):
            label = "it is recorded" + (f", {count} older forgotten" if count else "")
            yield Step(label, joined(drop_sends(state, range(count)), IDLE))

    def _record_unknown(self, state: State, turn: Turn) -> State:
        """Mirror._record: read at once and write again if need be, without the text; the wait starts anew."""
        rule = self.protocol
        text = Text.PLANNED if rule.text is Fate.AGAIN else self._unsaid
        state = set_text(state, turn.text, text)
        if rule.unknown is Unknown.FAILED:
            return self._record_not_applied(state, turn, text=text)
        applied = rule.unknown is Unknown.APPLIED
        if applied and turn.row >= 0:
            sends = [*state.sends]
            sends[turn.row] = sends[turn.row]._replace(applied=True)
            state = state._replace(sends=tuple(sends), confirmed=turn.value)
        if rule.settle is not Settle.NEVER:
            state = start_clock(state)
        return joined(state._replace(dirty=not applied or state.dirty), IDLE)

    def _record_not_applied(self, state: State, turn: Turn, text: Text = Text.PLANNED) -> State:
        """Mirror._not_applied: nothing is in flight, and the text was not seen, of none of its sales."""
        state = set_text(state, turn.text, text)
        for index in turn.merged if text is Text.PLANNED else ():
            state = set_text(state, index, Text.PLANNED)
        if turn.row >= 0:
            state = drop_sends(state, range(turn.row, turn.row + 1))
        if not state.sends:
            state = state._replace(clock=Clock.OFF)
        return joined(state._replace(dirty=True), IDLE)


def scripted(sales: tuple[int, ...], faults: Faults, *, tills: int = 1, budget: int = TEXT_BUDGET) -> Mirror:
    return Mirror(Script(sales), faults, tills=tills, budget=budget)
