"""Brings passes up to date: read, adopt, write, settle (exactly-once.md, mode M1).

The ledger is the record, the pass shows it. What happens to one pass happens under its lease, one step after
the other; what is about to be sent is committed first; an unknown outcome is read and, if needed, written
again as an absolute value, never as a text. Nothing here is on the cashier's path.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import anyio
import structlog

from tilltap import crash
from tilltap.clock import Clock
from tilltap.errors import CallError
from tilltap.ledger import book, mirror_book, push_book
from tilltap.ledger.book import Customer
from tilltap.ledger.engine import Tx
from tilltap.ledger.mirror_book import Pass, Send
from tilltap.ledger.store import Store
from tilltap.loyalty.health import Watched
from tilltap.loyalty.provider import Answer, Outcome, PassState, about
from tilltap.model import Notification
from tilltap.rules import messages, redeem
from tilltap.till import customers
from tilltap.till.desk import Till
from tilltap.till.shapes import account, balance, customer_ids

log = structlog.get_logger()

# One request's whole life, from exactly-once.md 4.2.
REQUEST_S = 8.0
# A lease outlives the three requests a turn may make (read, balance, face), with a margin of 6 s.
LEASE_S = 30.0
# exactly-once.md 4.2, step 3: no request may start that could end after the lease.
MARGIN_S = 5.0
# Passes worked on at once. The service allows 9 requests a second; four slow ones do not use that up.
WORKERS = 4
# Back-off while the service is away: soon at first (most faults are one request long), then a few seconds, so
# that the pass follows "as soon as the service answers again" (contract section 4).
FIRST_RETRY_S, LAST_RETRY_S = 0.25, 5.0
# A refused key needs a person; one try now and then notices that he has been there.
KEY_RETRY_S = 30.0
# Contract section 4: a text not sent within 2 h is dropped.
TEXT_LIFE_S = 2 * 3600
# Contract section 4: at most 3 pushes per pass and day, the last kept for `reached` and `redeemed`.
PUSHES, EARN_PUSHES = 3, 2
# A new balance may wait until the reply to the cashier is out, and while one call follows another: cashiers,
# or a POS that catches up, go first. Ten passes a second are still begun, more than the service takes.
STAND_BACK_S, STAND_BACK_MOST_S = 0.05, 0.1
# The loop looks again at least this often, should a wake-up be lost.
IDLE_S = 5.0
# A service that never shows the text as it was sent (cut, retyped) must not be asked for ever.
FACE_TRIES = 5
_RANK = {"redeemed": 2, "reached": 1, "earned": 0}


@dataclass(frozen=True, slots=True)
class Plan:
    """What one turn sends, already committed as intent: `send` is its row, `pushes` the texts it carries, the
    leading one first.
    """

    pass_id: str
    points: int
    send: int | None
    message: str | None
    pushes: tuple[int, ...]
    face: str | None
    notification: Notification


class Mirror:
    """One per daemon; on a shared ledger the leases keep several from working on one pass."""

    def __init__(self, till: Till, store: Store, provider: Watched, clock: Clock, settle_s: float) -> None:
        self._till = till
        self._store = store
        self._provider = provider
        self._clock = clock
        self._settle_s = settle_s
        self._wake = anyio.Event()
        self._called = False  # since it was last looked at
        self._failures = 0
        self._hold_until = 0.0
        self._stopping = False
        self._unfinished: list[Pass] = []  # turns that the ledger went away under

    def kick(self) -> None:
        """There may be work, from a call."""
        self._called = True
        self._wake.set()

    def hurry(self) -> None:
        """As `kick`, for somebody who has mended what kept us from the service: its limits stay."""
        if self._provider.state != "limited":
            self._hold_until = 0.0
        self.kick()

    async def run(self) -> None:
        """Until `stop`; turns under way are then waited for, since what they sent must be recorded."""
        free = anyio.Semaphore(WORKERS)
        async with anyio.create_task_group() as group:
            while not self._stopping:
                self._wake = anyio.Event()
                await self._stand_back()
                await self._pause()
                await free.acquire()
                claimed = await self._next()
                if claimed is None:
                    free.release()
                    await self._sleep()
                else:
                    group.start_soon(self._work, claimed, free)

    async def _next(self) -> Pass | None:
        asked_at = self._clock.steady()
        try:
            for claimed in list(self._unfinished):
                await self._abandon(claimed)
                self._unfinished.remove(claimed)
            found = await self._store.run(self._claim)
        except CallError:  # the ledger is busy: look again later
            return None
        if found is not None:
            found.asked_at = asked_at  # a lease must not be thought longer than it is
        return found

    async def _abandon(self, claimed: Pass) -> None:
        if not await self._store.run(lambda tx: mirror_book.abandon(tx, claimed, self._settle_s)):
            crash.point("P8")

    def _claim(self, tx: Tx) -> Pass | None:
        return mirror_book.claim(tx, self._till.shop.till, LEASE_S, self._settle_s)

    def stop(self) -> None:
        self._stopping = True
        self.kick()

    async def _work(self, claimed: Pass, free: anyio.Semaphore) -> None:
        try:
            await self._turn(claimed)
        except _NotOursError:
            crash.point("P8")
            log.debug("pass joined with another or taken over meanwhile")
        except CallError as locked:
            # Nothing of this turn is under way any more, but what it did is not recorded.
            self._unfinished.append(claimed)
            log.warning("mirror could not use the ledger", error=locked.code)
        finally:
            free.release()
            self._wake.set()

    async def _stand_back(self) -> None:
        until = anyio.current_time() + STAND_BACK_MOST_S
        self._called = True
        while self._called and not self._stopping and anyio.current_time() < until:
            self._called = False
            await anyio.sleep(STAND_BACK_S)

    async def _pause(self) -> None:
        """While the service is away nobody is claimed; a tap's fresh look waits as well."""
        while not self._stopping and (left := self._hold_until - self._clock.steady()) > 0:
            if self._provider.state == "up":  # a tap got through meanwhile
                self._hold_until = 0.0
            await anyio.sleep(min(left, FIRST_RETRY_S))

    async def _sleep(self) -> None:
        try:
            left = await self._store.run(_until_due)
        except CallError:
            left = IDLE_S
        with anyio.move_on_after(left):
            await self._wake.wait()

    # -- one turn ---------------------------------------------------------------------------------------

    async def _turn(self, claimed: Pass) -> None:
        customer = await self._store.run(lambda tx: book.customer(tx, claimed.customer_id))
        key = customer.pass_id or customer.value or ""
        answer = await self._provider.read(key, deadline=REQUEST_S, urgent=claimed.look is not None)
        if customer.pass_id is not None:
            answer = about(customer.pass_id, answer)
        if answer.outcome is Outcome.GONE and not customer.known:
            pass_id, sure = await self._till.directory.find(key, REQUEST_S)
            if pass_id is not None:
                answer = about(pass_id, await self._provider.read(pass_id, deadline=REQUEST_S))
            elif not sure:
                answer = Answer(Outcome.UNKNOWN, reason="the service's passes are still being listed")
        if answer.outcome is not Outcome.DONE or answer.state is None:
            await self._store.run(lambda tx: self._unread(tx, claimed, customer, answer))
            return
        self._failures = 0
        crash.point("P7")
        state = answer.state
        if not customer.known:
            await self._store.run(lambda tx: self._met(tx, claimed, key, state))
            return
        plan = await self._store.run(lambda tx: self._plan(tx, claimed, state))
        if plan is not None:
            await self._carry_out(claimed, plan, state)

    async def _carry_out(self, claimed: Pass, plan: Plan, state: PassState) -> None:
        if plan.send is not None:
            if self._clock.steady() > claimed.asked_at + LEASE_S - 2 * REQUEST_S - MARGIN_S:
                answer = Answer(Outcome.NOT_SENT, reason="too late in the lease")
            else:
                crash.point("P3")
                answer = await self._provider.write_points(
                    plan.pass_id, plan.points, plan.message, deadline=REQUEST_S
                )
                crash.point("P5")
            done = await self._store.run(lambda tx: self._record(tx, claimed, plan, answer))
            crash.point("P6")
            if not done:
                return
        if plan.face is not None:
            answer = await self._provider.write_field(
                plan.pass_id,
                self._till.shop.program.face.field,
                plan.face,
                plain=state.plain_fields,
                deadline=REQUEST_S,
            )
            await self._store.run(lambda tx: self._record_face(tx, claimed, plan, answer))

    # -- reading ----------------------------------------------------------------------------------------

    def _unread(self, tx: Tx, claimed: Pass, customer: Customer, answer: Answer) -> None:
        row = _row(tx, claimed)
        now = book.customer(tx, row.customer_id)
        if now.known != customer.known:
            pass  # met by a tap meanwhile: what was asked for is not how the service calls it
        elif answer.outcome is Outcome.GONE and not customer.known:
            customers.unknown(tx, self._till.shop, customer, "the loyalty service does not know this pass")
        elif answer.outcome in (Outcome.GONE, Outcome.REFUSED):
            self._park(tx, row, customer, answer)
        else:
            self._back_off(tx, row, answer)
            mirror_book.save(tx, row)
            if claimed.look is not None:
                mirror_book.look(tx, row.customer_id, claimed.look)
        mirror_book.release(tx, row.customer_id)

    def _met(self, tx: Tx, claimed: Pass, value: str, state: PassState) -> None:
        _row(tx, claimed)
        customers.meet(tx, self._till.shop, value, state)
        mirror_book.release(tx, claimed.customer_id)

    def _plan(self, tx: Tx, claimed: Pass, state: PassState) -> Plan | None:
        """Judges what was read, and commits to what will be sent; None when nothing is."""
        row = _row(tx, claimed)
        customer = book.customer(tx, row.customer_id)
        sends = mirror_book.sends(tx, row.customer_id)
        assert state.points is not None
        customer = self._adopt(tx, row, customer, sends, state.points, claimed.look)
        wanted = max(0, customer.points)  # a pass cannot show less than nothing (contract section 3)
        # What was asked for before the settle time may be older than the last copy to land.
        settled = not sends or (row.settle is not None and row.settle <= claimed.claimed_at)
        in_doubt = any(s.outcome != "applied" for s in sends) and not (settled and state.points == wanted)
        face = self._face(tx, row, customer, state)
        message: str | None = None
        pushes: tuple[int, ...] = ()
        notification: Notification = "none"
        if not in_doubt:
            message, pushes, notification = self._text(tx, customer)
        if message is None and push_book.in_doubt(tx, row.customer_id, row.since):
            notification = "unknown"  # a text went out with the request whose outcome is unknown
        if state.points == wanted and message is None:
            return self._nothing_to_write(tx, row, customer, settled=settled, face=face, said=notification)
        base = row.confirmed if row.confirmed is not None else state.points
        send = mirror_book.add_send(tx, row.customer_id, wanted, base)
        push_book.send(tx, pushes, "sending")
        # After a kill between here and the outcome, this send is unknown and must be read back.
        row.settle, row.retry = tx.now + self._settle_s, 0.0
        row.dirty, row.since = 1, row.since or tx.now
        mirror_book.save(tx, row)
        assert customer.pass_id is not None
        return Plan(customer.pass_id, wanted, send, message, pushes, face, notification)

    def _adopt(
        self, tx: Tx, row: Pass, customer: Customer, sends: list[Send], observed: int, looking: str | None
    ) -> Customer:
        """Anything but what we confirmed or may have in flight was written by others: take it over.

        Rightful are the values sent since the pass was last settled and the one confirmed before the first of
        them: each may still be what a late or repeated request of ours left there.
        """
        rightful = {row.confirmed, *(s.points for s in sends)} | ({sends[0].base} if sends else set())
        if observed not in rightful:
            last = sends[-1].points if sends else (row.confirmed or 0)
            customer = customers.adopt(
                tx, self._till.shop, customer, observed - last, (looking or "").split()
            )
            row.foreign_seen += 1
            row.dirty, row.said, row.since = 1, 0, row.since or tx.now
            log.warning(
                "balance changed by others",
                pass_id=customer.pass_id,
                change=observed - last,
                remedy="find who else writes this pass: a second ledger, the dashboard, a reader app",
            )
        row.confirmed = observed
        return customer

    def _nothing_to_write(
        self,
        tx: Tx,
        row: Pass,
        customer: Customer,
        *,
        settled: bool,
        face: str | None,
        said: Notification,
    ) -> Plan | None:
        """The pass shows the ledger's balance already."""
        was_behind = bool(row.dirty)
        row.attempts, row.retry = 0, 0.0
        if settled:
            row.settle = None
            mirror_book.drop_sends(tx, row.customer_id)
        texts = push_book.planned(tx, row.customer_id)
        if wait := bool(texts) and row.settle is not None:
            # A text waits until no earlier one can still be on its way.
            row.retry = row.settle
        row.dirty = int(wait or face is not None)
        row.since = (row.since or tx.now) if row.dirty else None
        if was_behind and not row.said and not texts:
            self._say(tx, row, customer, max(0, customer.points), said)
        mirror_book.save(tx, row)
        if face is not None:
            assert customer.pass_id is not None
            return Plan(customer.pass_id, customer.points, None, None, (), face, said)
        mirror_book.release(tx, row.customer_id)
        return None

    def _face(self, tx: Tx, row: Pass, customer: Customer, state: PassState) -> str | None:
        """The reward text to write, or None if the pass shows it (or has no such field)."""
        program = self._till.shop.program
        facts = account(tx, program, customer)
        best = redeem.dearest(
            r for r in program.rewards if redeem.affordable(r, redeem.Account(facts.points, 0, 0, facts.uses))
        )
        text = messages.face(program, [best.title] if best else [])
        shown = state.fields.get(program.face.field, row.face)
        return None if text is None or text == (shown or "") else text

    # -- texts ------------------------------------------------------------------------------------------

    def _text(self, tx: Tx, customer: Customer) -> tuple[str | None, tuple[int, ...], Notification]:
        """The one text for all sales that wait, if one is owed, still fresh, and within the day's budget."""
        fresh, spent = [], None
        for push in push_book.planned(tx, customer.id):
            if push.planned < tx.now - TEXT_LIFE_S:
                push_book.set_state(tx, push.id, "dropped")
            else:
                fresh.append(push)
        if not fresh:
            return None, (), "none"
        top = max(fresh, key=lambda p: (_RANK[p.kind], p.id))
        kind, program = top.kind, book.program(tx, top.program)
        if kind == "reached" and not self._still_reached(tx, customer, top.reward, top.program):
            kind = "earned"
        earned = sum(p.earned for p in fresh) if kind == "earned" else top.earned
        spent = push_book.spent(tx, customer.id)
        text = messages.push(program, kind, earned=earned, reward=top.reward, balance=customer.points)
        if kind == "earned" and not earned:
            text = None
        if text is None or spent >= (EARN_PUSHES if kind == "earned" else PUSHES):
            for push in fresh:
                push_book.set_state(tx, push.id, "suppressed")
            return None, (), "suppressed" if text else "none"
        return text, (top.id, *(push.id for push in fresh if push is not top)), "unknown"

    def _still_reached(self, tx: Tx, customer: Customer, title: str, version: int) -> bool:
        program = book.program(tx, version)
        facts = account(tx, program, customer)
        plain = redeem.Account(facts.points, 0, 0, facts.uses)
        return any(r.title == title and redeem.affordable(r, plain) for r in program.rewards)

    # -- outcomes ---------------------------------------------------------------------------------------

    def _record(self, tx: Tx, claimed: Pass, plan: Plan, answer: Answer) -> bool:
        """Writes down how the balance write ended; True if it was applied and the face may follow."""
        row = _row(tx, claimed)
        customer = book.customer(tx, row.customer_id)
        assert plan.send is not None
        if answer.outcome is Outcome.DONE:
            self._applied(tx, row, customer, plan, answer)
            return True
        if answer.outcome is Outcome.UNKNOWN:
            mirror_book.set_send(tx, plan.send, "unknown")
            push_book.send(tx, plan.pushes, "maybe")
            row.settle, row.dirty = tx.now + self._settle_s, 1
            row.since = row.since or tx.now
            self._back_off(tx, row, answer)
        else:
            self._not_applied(tx, row, customer, plan, answer)
        mirror_book.save(tx, row)
        mirror_book.release(tx, row.customer_id)
        return False

    def _applied(self, tx: Tx, row: Pass, customer: Customer, plan: Plan, answer: Answer) -> None:
        assert plan.send is not None
        self._failures = 0
        mirror_book.set_send(tx, plan.send, "applied")
        # Older requests are dead by now, and this one has overwritten whatever they left: none lives longer
        # than `settle` after it was given up, which is within its lease.
        mirror_book.drop_sends(tx, row.customer_id, before=tx.now - self._settle_s - 2 * LEASE_S)
        push_book.send(tx, plan.pushes, "sent")
        row.confirmed, row.settle = plan.points, tx.now + self._settle_s
        row.attempts, row.retry = 0, 0.0
        behind = max(0, customer.points) != plan.points or push_book.planned(tx, row.customer_id)
        row.dirty = int(bool(behind) or plan.face is not None)
        row.since = (row.since or tx.now) if row.dirty else None
        said = answer.notification if plan.pushes else plan.notification
        self._say(tx, row, customer, plan.points, said, final=not behind)
        mirror_book.save(tx, row)
        if plan.face is None:
            mirror_book.release(tx, row.customer_id)

    def _not_applied(self, tx: Tx, row: Pass, customer: Customer, plan: Plan, answer: Answer) -> None:
        """Certainly not applied: nothing is in flight, and the text was not seen."""
        assert plan.send is not None
        mirror_book.drop_send(tx, plan.send)
        if not mirror_book.sends(tx, row.customer_id):
            row.settle = None
        refused = answer.outcome in (Outcome.REFUSED, Outcome.GONE)
        for push in plan.pushes:  # of each sale by itself: one may be refunded before the next try
            push_book.set_state(tx, push, "dropped" if refused else "planned")
        if refused:
            self._park(tx, row, customer, answer)
        else:
            row.dirty = 1
            self._back_off(tx, row, answer)

    def _record_face(self, tx: Tx, claimed: Pass, plan: Plan, answer: Answer) -> None:
        row = _row(tx, claimed)
        customer = book.customer(tx, row.customer_id)
        settled = answer.outcome in (Outcome.DONE, Outcome.REFUSED, Outcome.GONE)
        if settled or row.attempts >= FACE_TRIES:
            if answer.outcome is not Outcome.DONE:
                log.warning(
                    "reward not shown on the pass",
                    reason=answer.reason,
                    remedy="check [program.pass] reward_field against the pass template",
                )
            row.face, row.attempts, row.retry = plan.face, 0, 0.0
            behind = (row.confirmed or 0) != max(0, customer.points)
            row.dirty = int(behind or bool(push_book.planned(tx, row.customer_id)))
            row.since = row.since if row.dirty else None
            if answer.outcome is Outcome.DONE:
                row.settle = row.settle or tx.now + self._settle_s
        else:
            row.dirty = 1
            self._back_off(tx, row, answer)
        mirror_book.save(tx, row)
        mirror_book.release(tx, row.customer_id)

    def _park(self, tx: Tx, row: Pass, customer: Customer, answer: Answer) -> None:
        """Repeating is useless until a person has looked: listed, and tried again at the next sale."""
        row.parked = answer.reason or "refused by the loyalty service"
        row.dirty = 1
        log.warning("pass parked", pass_id=customer.pass_id, reason=row.parked)
        self._say(tx, row, customer, balance(customer), "none", parked=row.parked)
        mirror_book.save(tx, row)

    def _back_off(self, tx: Tx, row: Pass, answer: Answer) -> None:
        """This pass waits, and so do all others: one request at a time finds out when the service is back."""
        row.attempts += 1
        self._failures += 1
        wait = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._failures - 1, 8))
        wait *= random.uniform(0.8, 1.2)  # noqa: S311 - two hundred tills must not ask in step
        row.retry = tx.now + wait
        # Only the common pause lasts this long: it ends as soon as anything gets through.
        if answer.outcome is Outcome.KEY_REFUSED:
            wait = KEY_RETRY_S
        elif answer.retry_after is not None:
            wait = answer.retry_after
        if self._failures > 1 or answer.outcome in (Outcome.KEY_REFUSED, Outcome.LIMITED):
            self._hold_until = self._clock.steady() + wait
        if self._failures == 1:
            log.info("loyalty service trouble", outcome=answer.outcome, reason=answer.reason)

    def _say(
        self,
        tx: Tx,
        row: Pass,
        customer: Customer,
        points: int | None,
        notification: Notification,
        *,
        parked: str | None = None,
        final: bool = True,
    ) -> None:
        """The `pass` event; `final` False if more sales came meanwhile, which will have one of their own."""
        fields = {"customer": customer_ids(customer), "balance": points, "notification": notification}
        tx.emit("pass", fields | ({"parked": parked} if parked else {}))
        row.said = int(final)


class _NotOursError(Exception):
    """The customer turned out to be another one, or the lease ran out and another till has the pass."""


def _row(tx: Tx, claimed: Pass) -> Pass:
    """The row as it is now: sales may have come since it was claimed."""
    book.lock(tx, claimed.customer_id)
    row = mirror_book.get(tx, claimed.customer_id)
    if row is None or not mirror_book.holds(row, claimed):
        raise _NotOursError
    return row


def _until_due(tx: Tx) -> float:
    """Seconds until there may be work."""
    due = mirror_book.next_due(tx)
    return IDLE_S if due is None else min(IDLE_S, max(0.05, due - tx.now))
