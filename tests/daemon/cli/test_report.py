"""`tilltap report` as a manager reads it, as a spreadsheet does, and what it says when it cannot."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from rigs.desk import Served, serving
from tilltap.cli import report
from tilltap.errors import CallError

Json = dict[str, Any]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        yield served


@pytest.fixture(autouse=True)
def _in_london(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/London")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def tilltap(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tilltap", "report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, encoding="utf-8")


def figures(till: str | None, **differing: Any) -> Json:
    found: Json = {
        "till": till,
        "sales": {"with_customer": 2, "without_customer": 1},
        "money": {"total": "32.50", "discounts": "5.00", "paid": "26.50", "refunds": 1, "refunded": "4.00"},
        "paid_differences": {"sales": 1, "over": "0.00", "under": "1.00"},
        "rewards": [{"reward": "five-off", "title": "£5 off", "count": 1, "discount": "5.00"}],
        "points": {
            "earned": 2,
            "spent": 5,
            "returned": 0,
            "taken_back": 1,
            "adjusted": 3,
            "changed_by_others": -4,
            "opening": 9,
        },
        "below_zero": 1,
        "parked": 2,
    }
    return {**found, **differing}


def answer(*tills: Json) -> Json:
    times = {"from": "2026-11-21T00:00:00.000Z", "to": "2026-11-22T00:00:00.000Z"}
    return {
        "day": "2026-11-21",
        **times,
        "at": "2026-11-21T14:03:05.000Z",
        "currency": "GBP",
        **figures(None),
        "tills": list(tills),
        "below_zero_now": [{"customer": {"pass_id": "p", "ext_id": "cust-17"}, "balance": -2}],
    }


DAY = answer(figures("till-1"))
DOCUMENT = Path(__file__).parents[3] / "docs/report.md"


def test_a_day_at_a_glance() -> None:
    assert report.lines(DAY) == [
        "Saturday 21 November 2026, till-1, so far (it is 14:03)",
        "from         Sat 21 Nov 00:00 to Sun 22 Nov 00:00",
        "sales        3: 2 with a customer, 1 without",
        "paid         £26.50 for £32.50 less £5.00 in discounts",
        "differences  1 sale not paid as due: £0.00 over, £1.00 under",
        "refunds      1: £4.00 handed back",
        "rewards      1 time £5 off: £5.00",
        "points       2 earned, 5 spent",
        "             by refunds 0 returned, 1 taken back",
        "             +3 adjusted, -4 changed by others",
        "             9 that customers had when they were first seen",
        "below zero   1 time more points went than there were on this day",
        "             now: cust-17 -2",
        "parked       2 passes now (the call mirror.list says why)",
    ]


def test_a_quiet_day_says_so() -> None:
    quiet = deepcopy(DAY)
    quiet |= {"at": "2026-11-22T00:00:00.000Z", "rewards": [], "below_zero": 0, "below_zero_now": []}
    quiet |= {"parked": 0, "paid_differences": {"sales": 0, "over": "0.00", "under": "0.00"}}
    quiet["money"]["refunds"] = quiet["points"]["opening"] = 0
    said = report.lines(quiet)
    assert said[0] == "Saturday 21 November 2026, till-1"
    assert {
        "differences  none: every sale was paid as it was due",
        "refunds      none",
        "rewards      none",
        "below zero   nothing went below on this day",
        "parked       none",
    } < set(said)
    assert len(said) == 12


@pytest.mark.parametrize(
    ("currency", "begin", "end", "at", "title", "span"),
    [
        (
            "CHF",
            "2026-03-28T04:00",
            "2026-03-29T03:00",
            "2026-03-28T01:00",
            ", till-1, which has not begun",
            "Sat 28 Mar 04:00 to Sun 29 Mar 04:00 (23 hours: the clock was changed)",
        ),
        (
            "JPY",
            "2026-10-24T23:00",
            "2026-10-26T00:00",
            "2026-10-25T01:30",
            ", till-1, so far (it is 01:30)",
            "Sun 25 Oct 00:00 to Mon 26 Oct 00:00 (25 hours: the clock was changed)",
        ),
    ],
)
def test_days_when_the_clock_changes(
    currency: str, begin: str, end: str, at: str, title: str, span: str
) -> None:
    times = {"from": f"{begin}:00.000Z", "to": f"{end}:00.000Z", "at": f"{at}:00.000Z"}
    said = report.lines({**DAY, **times, "currency": currency})
    assert said[0].endswith(title)
    assert said[1] == f"from         {span}"
    assert said[3].startswith("paid         " + {"CHF": "CHF 26.50", "JPY": "¥26.50"}[currency])


def test_the_document_shows_what_is_printed() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = text.partition("$ tilltap report\n")[2].partition("\n```")[0].splitlines()
    five_off = {"reward": "five-off", "title": "£5 off", "count": 17, "discount": "85.00"}
    points = {"earned": 248, "spent": 93, "returned": 5, "taken_back": 2, "adjusted": 3}
    sold = figures(
        "till-1",
        sales={"with_customer": 151, "without_customer": 63},
        money={
            "total": "2926.30",
            "discounts": "85.00",
            "paid": "2841.30",
            "refunds": 2,
            "refunded": "24.00",
        },
        paid_differences={"sales": 0, "over": "0.00", "under": "0.00"},
        rewards=[five_off],
        points={**points, "changed_by_others": 0, "opening": 0},
        below_zero=0,
        parked=0,
    )
    about = {"at": "2026-11-21T17:42:00.000Z", "below_zero_now": []}
    assert report.lines({**answer(sold), **sold, **about}) == shown
    assert ",".join(report.COLUMNS) + "\n" in text


def test_several_tills_are_told_apart_in_a_table() -> None:
    other = figures("counter-12", sales={"with_customer": 0, "without_customer": 140})
    said = report.lines(answer(other, figures("till-1"), figures(None)))
    assert said[0].startswith("Saturday 21 November 2026, 2 tills")
    assert said[-4:] == [
        "",
        "till        sales  with customer   total  discounts    paid  refunded  earned  spent",
        "counter-12    140              0  £32.50      £5.00  £26.50     £4.00       2      5",
        "till-1          3              2  £32.50      £5.00  £26.50     £4.00       2      5",
    ]


def test_csv_has_a_row_for_each_till_under_headings_that_stay() -> None:
    out = report.as_table(answer(figures('the "till", left'), figures(None)))
    assert out == (
        "day,till,currency,sales_with_customer,sales_without_customer,total,discounts,paid,refunds,refunded,"
        "differing_sales,paid_over,paid_under,rewards,points_earned,points_spent,points_returned,"
        "points_taken_back,points_adjusted,points_changed_by_others,points_opening,below_zero,parked\r\n"
        '2026-11-21,"the ""till"", left",GBP,2,1,32.50,5.00,26.50,1,4.00,1,0.00,1.00,1,2,5,0,1,3,-4,9,1,2\r\n'
        "2026-11-21,,GBP,2,1,32.50,5.00,26.50,1,4.00,1,0.00,1.00,1,2,5,0,1,3,-4,9,1,2\r\n"
    )
    rows = list(csv.reader(io.StringIO(out, newline="")))
    assert {len(row) for row in rows} == {len(report.COLUMNS)}


def test_what_was_asked_for_is_what_the_daemon_is_asked(served: Served) -> None:
    done = tilltap("--socket", served.path, "--day", "2026-11-20", "--till", "till-1", "--csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith("2026-11-20,till-1,GBP,0,0,0.00,")
    (asked,) = served.desk.calls
    assert (str(asked[1][0]), asked[1][1]) == ("2026-11-20", "till-1")
    done = tilltap("--socket", served.path)
    assert done.stdout.startswith("Saturday 21 November 2026, till-1, so far (it is 10:00)\n")


@pytest.mark.parametrize("day", ["yesterday", "2026-11-31", "20261121", "", "0001-01-01"])
def test_what_is_no_day_is_a_mistake_of_the_command(served: Served, day: str) -> None:
    done = tilltap("--socket", served.path, "--day", day)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "--day" in done.stderr
    assert "2026-11-21" in done.stderr  # how to write it


def test_a_till_that_was_never_there(served: Served) -> None:
    done = tilltap("--socket", served.path, "--till", "till-l")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "no till of this name" in done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (CallError("ledger-down", "The ledger is out of reach."), 3, "The ledger is out of reach."),
        (CallError("overloaded", "Too many."), 1, "Too many."),
        (RuntimeError("x"), 1, "noted why in its log"),
    ],
)
def test_no_answer_but_a_reason(served: Served, fault: Exception, code: int, says: str) -> None:
    served.desk.faults["report"] = fault
    done = tilltap("--socket", served.path)
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_nobody_there(tmp_path: Path) -> None:
    done = tilltap("--socket", tmp_path / "pos.sock")
    assert (done.returncode, done.stdout) == (4, "")
    assert "is the daemon running" in done.stderr
    assert tilltap("--socket", tmp_path / "pos.sock", "--day", "today").returncode == 2
    assert tilltap("--config", tmp_path / "none.toml").returncode == 2
