"""What a till does all day finds its rows by a key: a ledger of years answers like a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from rigs.service import NOT_SENT
from rigs.till import House
from tilltap.ledger.engine import Sql

pytestmark = pytest.mark.anyio

# They grow with every sale, tap or customer.
GROWING = {"alias", "customer", "entry", "event", "mirror", "push", "refund", "reward_use", "sale", "tap"}
# Indexes of what is under way: read from end to end, they are still as short as that.
SHORT = {"sale_open", "sale_customer", "mirror_busy", "mirror_foreign"}


# A till alone finds everything by its own name: a key of which no more is given than that is none.
ALL_OF_A_TILL = "(till=?)"
# Every ten minutes, among the texts of a week.
TIDYING = "DELETE FROM push "
# The first and the last of a till's events are the ends of their key.
ENDS = "event"


def _reads_whole(step: str) -> bool:
    how, table, *by = step.split()
    if table.removesuffix("_1") not in GROWING or SHORT.intersection(by):
        return False
    return how == "SCAN" or (by[-1] == ALL_OF_A_TILL and table != ENDS)


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Every statement said to the driver, with values it was said with."""
    heard: dict[str, Any] = {}
    plain = Sql.run

    def listening(self: Sql, cursor: Any, dialect: Any, values: Any) -> Any:
        row = plain(self, cursor, dialect, values)
        made = self._compiled[dialect.name]
        heard[made.text] = made.values(values)
        return row

    monkeypatch.setattr(Sql, "run", listening)
    return heard


async def test_no_statement_of_a_day_reads_a_whole_table(house: House, spoken: dict[str, Any]) -> None:
    house.service.add("pass-ana", 5, ext_id="ana")
    async with house.mirroring():
        tap = await house.tap("ana")
        await house.call("sale.open", sale_id="1", total="8.00", tap_id=tap["tap_id"])
        await house.call("sale.accept", sale_id="1", reward="five-off")
        await house.call("sale.close", sale_id="1")
        await house.call("sale.close", sale_id="2", total="20.00", value="ana")
        await house.call("sale.refund", sale_id="2", refund_id="r", amount="10.00")
        await house.call("sale.close", sale_id="3", total="20.00")
        await house.call("sale.attach", sale_id="3", value="ana")
        await house.call("customer.history", value="ana")
        await house.call("status")
        await house.call("mirror.list")
        house.service.down = NOT_SENT
        await house.call("sale.close", sale_id="4", total="20.00", value="new")
        await house.call("mirror.list")
        await house.till.tidy()
    with closing(sqlite3.connect(house.path)) as raw:
        plans = {
            said: [step for *_, step in raw.execute(f"EXPLAIN QUERY PLAN {said}", values)]
            for said, values in spoken.items()
            if not said.startswith(TIDYING)
        }
    read_whole = {said: step for said, steps in plans.items() for step in steps if _reads_whole(step)}
    assert len(plans) > 30, "the statements were not heard"
    assert not read_whole
