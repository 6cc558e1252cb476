"""A write given up at the end of its life may land after `settle`, where the shop has set that short."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from rigs.clock import BACKEND, Time
from rigs.service import Fault
from rigs.till import House
from tilltap.loyalty.provider import Outcome
from tilltap.mirror import REQUEST_S, Mirror

pytestmark = pytest.mark.anyio

SHORT_SETTLE_S = 1.0


@pytest.fixture
def anyio_backend():
    return BACKEND


async def test_a_late_write_of_ours_is_never_taken_for_somebody_elses(tmp_path):
    time = Time()
    time.loop = asyncio.get_running_loop()
    house = House(tmp_path, time=time, durable=False)
    house.service.add("pass-ana", 0, ext_id="ana")
    await house.call("customer.find", value="ana")
    house.service.writes.append(Fault(Outcome.UNKNOWN, (REQUEST_S + 0.6,), after=None))
    mirror = Mirror(house.till, house.store, house.provider, house.time, SHORT_SETTLE_S)
    house.till.kick_mirror = mirror.kick
    async with anyio.create_task_group() as group:
        group.start_soon(mirror.run)
        await house.call("sale.close", sale_id="1", total="10", value="ana")
        await anyio.sleep(2)
        await house.call("sale.close", sale_id="2", total="10", value="ana")
        await anyio.sleep(30)
        mirror.stop()
    assert await house.entries("ana") == [("opening", 0), ("earn", 1), ("earn", 1)]
    assert house.service.passes["pass-ana"].points == 2
    house.stop()
