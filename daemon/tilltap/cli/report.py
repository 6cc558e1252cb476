"""`tilltap report`: the day's figures for whoever counts the drawer, or as CSV."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime
from typing import Annotated, Any

import typer

from tilltap.cli.reach import Config, Socket, in_words, not_had, socket_path
from tilltap.errors import StartError

# A day of a shop is ready in a tenth of a second; a big one, read from a slow disk, may take longer than the
# POS would wait. The manager may.
PATIENCE_S = 10.0
SIGNS = {"GBP": "£", "EUR": "€", "USD": "$", "JPY": "¥"}
COLUMNS = (
    "day",
    "till",
    "currency",
    "sales_with_customer",
    "sales_without_customer",
    "total",
    "discounts",
    "paid",
    "refunds",
    "refunded",
    "differing_sales",
    "paid_over",
    "paid_under",
    "rewards",
    "points_earned",
    "points_spent",
    "points_returned",
    "points_taken_back",
    "points_adjusted",
    "points_changed_by_others",
    "points_opening",
    "below_zero",
    "parked",
)

Json = dict[str, Any]


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(
    config: Config = None,
    socket: Socket = None,
    day: Annotated[
        str | None,
        typer.Option(metavar="D", help="A business day, such as 2026-11-21. Default: the present."),
    ] = None,
    till: Annotated[
        str | None, typer.Option(metavar="T", help="One till's figures. Default: all on this ledger.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="A row for each till, under fixed headings.")] = False,
) -> None:
    """Show a business day's sales, discounts and points, as the running daemon's ledger has them.

    Example: tilltap report --day 2026-11-21 --csv
    """
    if day is not None:
        _must_be_a_day(day)
    path = socket_path(config, socket)
    found = _ask(path, day, till)
    if as_csv:
        print(in_words(path, as_table, found), end="")
    else:
        print("\n".join(in_words(path, lines, found)))


def _ask(path: str, day: str | None, till: str | None) -> Json:
    from tilltap.client import BadCall, Refused, Till, TillError

    with Till(path, timeout=PATIENCE_S, patience=0) as asked:
        try:
            return asked.report(day, till=till)
        except TillError as problem:
            if isinstance(problem, BadCall) and problem.field in ("day", "till"):
                raise typer.BadParameter(str(problem), param_hint=f"--{problem.field}") from problem
            if isinstance(problem, Refused) and problem.code == "ledger-down":
                raise StartError(f"tilltap report: {problem}") from problem
            not_had(problem, path)


def _must_be_a_day(text: str) -> None:
    try:
        if date.fromisoformat(text).isoformat() == text:
            return
    except ValueError:
        pass
    raise typer.BadParameter(f'"{text}" is no day (write it as 2026-11-21)', param_hint="--day")


def as_table(found: Json) -> str:
    """RFC 4180. The row without a till holds what belongs to none."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in found["tills"]:
        money, differing, points = row["money"], row["paid_differences"], row["points"]
        writer.writerow(
            (
                found["day"],
                row["till"] or "",
                found["currency"],
                *(row["sales"][name] for name in ("with_customer", "without_customer")),
                *(money[name] for name in ("total", "discounts", "paid", "refunds", "refunded")),
                *(differing[name] for name in ("sales", "over", "under")),
                sum(reward["count"] for reward in row["rewards"]),
                *(points[name.removeprefix("points_")] for name in COLUMNS if name.startswith("points_")),
                row["below_zero"],
                row["parked"],
            )
        )
    return out.getvalue()


# -- for a person -------------------------------------------------------------------------------------------


def lines(found: Json) -> list[str]:
    """The result of `report` -> what a manager reads."""
    rows = [("from", _span(found)), *_money_rows(found), *_point_rows(found)]
    width = max(len(name) for name, _ in rows)
    tills = [row for row in found["tills"] if row["till"] is not None]
    who = tills[0]["till"] if len(tills) == 1 else f"{len(tills)} tills"
    table = ["", *_table(found, tills)] if len(tills) > 1 else []
    return [_title(found, who), *(f"{name:{width}}  {text}" for name, text in rows), *table]


def _title(found: Json, who: str) -> str:
    at, begin, end = (datetime.fromisoformat(found[name]).astimezone() for name in ("at", "from", "to"))
    state = "" if at >= end else f", so far (it is {at:%H:%M})" if at >= begin else ", which has not begun"
    return f"{date.fromisoformat(found['day']):%A %-d %B %Y}, {who}{state}"


def _span(found: Json) -> str:
    begin, end = (datetime.fromisoformat(found[name]) for name in ("from", "to"))
    hours = (end - begin).total_seconds() / 3600
    changed = "" if hours == 24 else f" ({hours:g} hours: the clock was changed)"
    return f"{begin.astimezone():%a %-d %b %H:%M} to {end.astimezone():%a %-d %b %H:%M}{changed}"


def _money_rows(found: Json) -> list[tuple[str, str]]:
    sales, money, differing = found["sales"], found["money"], found["paid_differences"]
    one, none = sales["with_customer"], sales["without_customer"]
    cash = _cash(found)
    off = f"{cash(money['total'])} less {cash(money['discounts'])} in discounts"
    rows = [
        ("sales", f"{one + none}: {one} with a customer, {none} without"),
        ("paid", f"{cash(money['paid'])} for {off}"),
        (
            "differences",
            f"{_many(differing['sales'], 'sale')} not paid as due: {cash(differing['over'])} over,"
            f" {cash(differing['under'])} under"
            if differing["sales"]
            else "none: every sale was paid as it was due",
        ),
        (
            "refunds",
            f"{money['refunds']}: {cash(money['refunded'])} handed back" if money["refunds"] else "none",
        ),
    ]
    rewards = [
        ("", f"{_many(r['count'], 'time')} {r['title']}: {cash(r['discount'])}") for r in found["rewards"]
    ]
    rewards = rewards or [("", "none")]
    return [*rows, ("rewards", rewards[0][1]), *rewards[1:]]


def _point_rows(found: Json) -> list[tuple[str, str]]:
    points = found["points"]
    rows = [
        ("points", f"{points['earned']} earned, {points['spent']} spent"),
        ("", f"by refunds {points['returned']} returned, {points['taken_back']} taken back"),
        ("", f"{points['adjusted']:+d} adjusted, {points['changed_by_others']:+d} changed by others"),
    ]
    if points["opening"]:
        rows.append(("", f"{points['opening']} that customers had when they were first seen"))
    now = [
        f"{p['customer']['ext_id'] or p['customer']['pass_id'] or 'not known yet'} {p['balance']}"
        for p in found["below_zero_now"]
    ]
    took = f"{_many(found['below_zero'], 'time')} more points went than there were"
    rows.append(("below zero", f"{took if found['below_zero'] else 'nothing went below'} on this day"))
    if now:
        rows.append(("", f"now: {', '.join(now)}"))
    parked = f"{_many(found['parked'], 'pass', 'passes')} now (the call mirror.list says why)"
    return [*rows, ("parked", parked if found["parked"] else "none")]


def _table(found: Json, tills: list[Json]) -> list[str]:
    cash = _cash(found)
    rows = [("till", "sales", "with customer", "total", "discounts", "paid", "refunded", "earned", "spent")]
    for row in tills:
        sales, money, points = row["sales"], row["money"], row["points"]
        cells = (
            sales["with_customer"] + sales["without_customer"],
            sales["with_customer"],
            *(cash(money[name]) for name in ("total", "discounts", "paid", "refunded")),
            points["earned"],
            points["spent"],
        )
        rows.append((row["till"], *map(str, cells)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{name:{widths[0]}}  " + "  ".join(f"{c:>{w}}" for c, w in zip(cells, widths[1:], strict=True))
        for name, *cells in rows
    ]


def _cash(found: Json) -> Any:
    code = found["currency"]
    sign = SIGNS.get(code, f"{code} ")
    return lambda amount: f"{sign}{amount}"


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"
