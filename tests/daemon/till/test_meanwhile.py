"""What another till does to a customer between our first look at him and our lock on him (contract section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from rigs.till import COFFEE, House
from tilltap.clock import rfc3339
from tilltap.ledger import book
from tilltap.ledger.aside import Onlooker
from tilltap.ledger.engine import Tx
from tilltap.ledger.postgres import Server
from tilltap.ledger.shared import SharedTx
from tilltap.loyalty.provider import PassState
from tilltap.model import Earn
from tilltap.till import customers, sales, taps
from tilltap.till.sales import Found
from tilltap.till.shapes import Shop

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("house", ["postgresql"], indirect=True)]


@pytest.fixture
def other(house: House, shared_url: str) -> Callable[[Callable[[Tx, Shop], object]], None]:
    """Runs a transaction as till-2."""

    def run(act: Callable[[Tx, Shop], object]) -> None:
        server = Server(shared_url)
        link = server.connect()
        now, _ = link.begin(None)
        tx = SharedTx(link.cursor, server.dialect, Onlooker("till-2"), now, rfc3339(house.time.wall()))
        act(tx, replace(house.till.shop, till="till-2"))
        link.commit()
        link.close()

    return run


@contextmanager
def before_locking(customer: int, act: Callable[[], None]) -> Iterator[None]:
    """`act` happens the first time that `customer` is about to be locked."""
    lock, done = book.lock, []

    def late(tx: Tx, *ids: int | None) -> None:
        if customer in ids and not done:
            done.append(True)
            act()
        lock(tx, *ids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book, "lock", late)
        yield
    assert done


async def test_a_customer_who_turns_out_to_be_another_has_his_points_once(house: House, other) -> None:
    house.service.add("ana", points=5)
    await house.call("sale.open", sale_id="B", total="20.00", value="ana")

    def unanswered(tx: Tx) -> int:
        customer = customers.stranger(tx, "ana-nfc")
        taps.record(tx, house.till.shop, reader="r", source="apple-vas", status="offline", customer=customer)
        return customer.id

    stranger = await house.store.run(unanswered)
    tap = (await house.events(method="tap"))[-1]
    await house.call("sale.open", sale_id="other", total="1.00")
    found = PassState("ana", nfc="ana-nfc", points=5, status="active")
    with before_locking(stranger, lambda: other(lambda tx, shop: customers.meet(tx, shop, "ana-nfc", found))):
        await house.call("sale.open", sale_id="A", total="20.00", tap_id=tap["tap_id"])
    assert (await house.call("sale.accept", sale_id="A", reward="five-off"))["reserved"] == 5
    assert await house.refused("sale.accept", sale_id="B", reward="five-off") == "reward-unavailable"


async def test_a_customer_attached_late_has_what_another_till_sold_him(house: House, other) -> None:
    await house.reload(replace(COFFEE, earn=Earn(spend=1000, carry=True)))
    house.service.add("ana", points=0)
    await house.call("sale.close", sale_id="0", total="6.00", value="ana")
    await house.call("sale.close", sale_id="late", total="5.00")
    tap = await house.tap("ana")
    ana = await house.store.run(lambda tx: book.by_value(tx, "ana").id)  # type: ignore[union-attr]
    with before_locking(
        ana, lambda: other(lambda tx, shop: sales.close(tx, shop, "X", 500, None, None, Found(ana)))
    ):
        await house.call("sale.attach", sale_id="late", tap_id=tap["tap_id"])
    customer = await house.store.run(lambda tx: book.customer(tx, ana))
    assert (customer.points, customer.carried) == (1, 600), "16.00 were spent in all"
