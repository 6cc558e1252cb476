"""passentry.md section 4: custom NFC values are found in a list of all passes, which costs the service and the
ledger no more than it must.
"""

from __future__ import annotations

from typing import Any

import pytest

from rigs.till import House
from tilltap.ledger.engine import Sql
from tilltap.till.directory import LISTING_S, WHOLE_AGAIN_S, Directory

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
    first, second = directory(ana), directory(ana)
    shared = ana.url is not None
    assert await first.list_if_due() == WHOLE_AGAIN_S
    left = await second.list_if_due()
    assert left == pytest.approx(WHOLE_AGAIN_S, abs=ABOUT)
    assert ana.service.count("list") == (1 if shared else 2)
    ana.time.move(WHOLE_AGAIN_S + ABOUT)
    await second.list_if_due()
    assert ana.service.count("list") == (2 if shared else 3)


async def test_a_till_that_did_not_get_to_the_end_leaves_it_to_the_next(ana: House) -> None:
    first, second = directory(ana), directory(ana)
    ana.service.lists = False
    assert await first.list_if_due() is None
    ana.service.lists = True
    assert await second.list_if_due() == WHOLE_AGAIN_S
    assert ana.service.count("list") == 2


async def test_a_till_that_died_over_it_is_waited_for_not_for_ever(
    ana: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    async def dies(**_options: Any) -> bool:
        raise Killed

    first, second = directory(ana), directory(ana)
    monkeypatch.setattr(first, "refresh", dies)
    with pytest.raises(Killed):
        await first.list_if_due()
    if ana.url is not None:
        assert await second.list_if_due() == pytest.approx(LISTING_S, abs=ABOUT)
        assert ana.service.count("list") == 0
        ana.time.move(LISTING_S + ABOUT)
    assert await second.list_if_due() == WHOLE_AGAIN_S
    assert ana.service.count("list") == 1
