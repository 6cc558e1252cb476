"""passentry.md section 4: custom NFC values are found in a list of all passes, which costs the service and the
ledger no more than it must.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import pytest

from rigs.till import House
from tilltap.errors import CallError
from tilltap.ledger import book
from tilltap.ledger.engine import Sql
from tilltap.till.directory import LISTED_BY, LISTING_S, WHOLE_AGAIN_S, Directory

pytestmark = pytest.mark.anyio

# The two tills' clocks are the ledger's, which goes on while they ask.
ABOUT = 60.0


@pytest.fixture
def ana(house: House) -> House:
    house.service.add("pass-ana", 5, nfc="custom-ana")
    house.service.add("pass-ben", 5, nfc="custom-ben")
    return house


def directory(house: House) -> Directory:
    """As a daemon begins with."""
    return Directory(house.store, house.provider, house.time)


async def test_what_is_listed_again_is_not_written_again(ana: House, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    plain = Sql.run

    def listening(self: Sql, cursor: Any, dialect: Any, values: Any) -> Any:
        row = plain(self, cursor, dialect, values)
        if self._compiled[dialect.name].text.startswith("INSERT INTO nfc_index"):
            written.append(values["value"])
        return row

    monkeypatch.setattr(Sql, "run", listening)
    passes = directory(ana)
    assert await passes.refresh(whole=True)
    assert written == ["custom-ana", "custom-ben"]
    assert await passes.refresh(whole=True)
    assert written == ["custom-ana", "custom-ben"]
    ana.service.add("pass-new", 0, nfc="custom-ben")  # the value was given to another pass
    del ana.service.passes["pass-ben"]
    assert await passes.refresh(whole=True)
    assert written == ["custom-ana", "custom-ben", "custom-ben"]
    assert await passes.find("custom-ben", 1.0) == ("pass-new", True)


async def test_of_tills_on_one_ledger_one_lists_for_all(ana: House) -> None:
    shared = ana.url is not None
    assert await directory(ana).list_if_due() == WHOLE_AGAIN_S
    left = await directory(ana).list_if_due()
    assert left == pytest.approx(WHOLE_AGAIN_S, abs=ABOUT)
    assert ana.service.count("list") == (1 if shared else 2)
    ana.time.move(WHOLE_AGAIN_S + ABOUT)
    await directory(ana).list_if_due()
    assert ana.service.count("list") == (2 if shared else 3)


async def listing(house: House, till: str, seconds: float) -> None:
    """That till holds the turn for so long."""
    await house.store.run(lambda tx: book.put_meta(tx, LISTED_BY, f"{tx.now + seconds!r} {till}"))


async def test_another_till_that_lists_is_waited_for_while_it_is_heard_of(ana: House) -> None:
    if ana.url is not None:
        await listing(ana, "till-2", LISTING_S)
        assert await directory(ana).list_if_due() == pytest.approx(LISTING_S, abs=ABOUT)
        assert await directory(ana).find("custom-ana", 1.0) == (None, False), (
            "for the first time: who knows yet?"
        )
        assert ana.service.count("list") == 0
        ana.time.move(LISTING_S + ABOUT)
    assert await directory(ana).list_if_due() == WHOLE_AGAIN_S
    assert ana.service.count("list") == 1


@pytest.mark.parametrize(("till", "seconds"), [("till-1", LISTING_S), ("", 30 * 24 * 3600), ("till-2", -1.0)])
async def test_a_turn_of_ones_own_of_a_wrong_clock_or_run_out_is_taken(
    ana: House, till: str, seconds: float
) -> None:
    await listing(ana, till, seconds)
    assert await directory(ana).list_if_due() == WHOLE_AGAIN_S
    assert ana.service.count("list") == 1


@pytest.mark.parametrize("how", ["it breaks off", "the ledger is away", "the daemon stops"])
async def test_who_did_not_get_to_the_end_leaves_it_to_the_next(
    ana: House, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def refresh(**_options: Any) -> bool:
        if how == "the ledger is away":
            raise CallError("ledger-down", "The ledger is out of reach.")
        if how == "the daemon stops":
            await anyio.sleep_forever()
        return False

    passes = directory(ana)
    monkeypatch.setattr(passes, "refresh", refresh)
    with suppress(CallError), anyio.move_on_after(1):
        assert await passes.list_if_due() is None
    assert not str(await ana.store.run(lambda tx: book.meta(tx, LISTED_BY))).endswith("till-1")
    assert await directory(ana).list_if_due() == WHOLE_AGAIN_S
