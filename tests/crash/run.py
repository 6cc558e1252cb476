"""One case from its first call to its verdict."""

from __future__ import annotations

from dataclasses import replace

from crash import ledger
from crash.plan import Case
from crash.stage import HELD, HELD_POINTS, Scene, Stage
from crash.stories import STORIES, Told
from crash.verdict import Evidence, Verdict, judge
from rigs.daemon import Logs
from rigs.sandbox import READ_POINTS

# From the last call to passes that are right and read back: a request that hangs 8 s, its repetition, `settle`.
DRAIN_S = 40.0


def play(scene: Scene, logs: Logs, case: Case) -> Verdict:
    """A point that was passed less often than `count` is tried again at its first passing."""
    verdict = _once(scene, logs, case)
    if verdict is None and case.count > 1:
        verdict = _once(scene, logs, replace(case, count=1))
    return verdict or Verdict(wrong=1, why=["the crash point was never passed: nothing was tested"])


def _once(scene: Scene, logs: Logs, case: Case) -> Verdict | None:
    """None if nobody was killed."""
    told = Told()
    with Stage(scene, logs, case) as stage:
        try:
            stage.curtain()
            STORIES[case.story](stage, told)
            if not stage.drain(DRAIN_S):
                return Verdict(wrong=1, why=["not up to date in time", stage._unsettled()])
            if not stage.crashes:
                return None
            if stage.sandbox.faults.armed():
                return Verdict(wrong=1, why=["the fault was never met: nothing was tested"])
            return judge(told.entries, _evidence(stage, told), liar=_lied(case))
        except Exception as error:  # one case that cannot be played must not end the others
            return Verdict(wrong=1, why=[f"{type(error).__name__}: {error}"])


def _lied(case: Case) -> bool:
    return case.fault == "wrong-balance" and case.endpoint == READ_POINTS


def _evidence(stage: Stage, told: Told) -> Evidence:
    held = stage.sandbox.service.find(HELD)
    ((points,),) = stage.rows(f"SELECT points FROM customer WHERE pass_id = '{held.id}'")
    asked = {sale: stage.call("sale.get", till=sale[0], sale_id=sale[1]) for sale in told.answers}
    return Evidence(
        entries={row[:4]: row[4] for row in stage.rows(ledger.ENTERED)},
        foreign=int(dict(stage.rows(ledger.BROUGHT)).get(held.id, 0)) - HELD_POINTS,
        start=HELD_POINTS,
        points=points,
        shown=held.balance,
        texts=stage.texts_asked(HELD),
        pushes=dict(stage.rows(ledger.TEXTS)).get(held.id, 0),
        answers=told.answers,
        now=asked,
    )
