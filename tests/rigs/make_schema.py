"""Keeps the schema of a release, with a day's sales in it: `python tests/rigs/make_schema.py`.

Once per release that raises `tables.SCHEMA`: what was written for a released schema is never written again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "tests"), str(_ROOT / "daemon")]

import anyio  # noqa: E402 -- run as a script it needs the paths above

from rigs import service  # noqa: E402
from rigs.clock import BACKEND, Time  # noqa: E402
from rigs.postgres import Postgres  # noqa: E402
from rigs.schemas import FOLDER, dump, dump_server  # noqa: E402
from rigs.till import House  # noqa: E402
from tilltap.ledger import book, spool_book, tables  # noqa: E402
from tilltap.ledger.engine import Tx  # noqa: E402
from tilltap.ledger.store import Store  # noqa: E402


async def a_day(folder: Path, url: str | None) -> None:
    """Something in every table that a till alone or among others writes."""
    house = House(folder)
    if url is not None:
        house.share(url)
    house.store.run_now(_found)
    house.service.add("pass-ana", 4, ext_id="ana", nfc="ana-nfc")
    house.service.add("pass-ben", 12, ext_id="ben", nfc="ben-nfc")
    await house.tap("ana")
    await house.call("sale.open", sale_id="1", total="10.00")
    await house.call("sale.close", sale_id="1")
    await house.sync()
    await house.call("sale.open", sale_id="2", total="8.00", value="ben")
    await house.call("sale.accept", sale_id="2", reward="five-off")
    await house.call("sale.close", sale_id="2")
    await house.call("sale.refund", sale_id="1", refund_id="r1", amount="2.00")
    await house.call("customer.adjust", value="ana", points=3, reason="a gift", request_id="a1")
    house.service.foreign("pass-ana", 20)
    await house.tap("ana")
    await house.sync()
    house.service.down = service.NOT_SENT
    await house.call("sale.close", sale_id="3", total="30.00", value="never-seen")
    await house.call("sale.close", sale_id="4", total="20.00", value="ana")
    await house.call("sale.open", sale_id="5", total="7.50", value="ben")
    house.store.run_now(_among_others)
    house.stop()
    assert house.store.wrong == []


def _found(tx: Tx) -> None:
    about = {"schema": str(tables.SCHEMA), "currency": "GBP", "service": "https://api.passentry.com"}
    for key, value in {**about, **({} if tx.shared else {"till": "till-1"})}.items():
        book.put_meta(tx, key, value)


def _among_others(tx: Tx) -> None:
    """What needs a second till to come about."""
    cursor = tx._cursor
    cursor.execute("INSERT INTO news (till, kind, ref, status) VALUES ('till-2', 'sale', '1', '')")
    cursor.execute("INSERT INTO rate (endpoint, used) VALUES ('GET /loyalty/{id}', '[]')")
    cursor.execute("INSERT INTO till (name, holder, host, until) VALUES ('till-2', 'abc', 'there', 0)")
    cursor.execute("INSERT INTO nfc_index (value, pass_id) VALUES ('ana-nfc', 'pass-ana')")


def a_spool(path: Path) -> None:
    """A close that waits for the ledger."""
    engine, lock = spool_book.open_spool(path)
    store = Store(engine, "till-1", Time(), lock)

    def work(tx: Tx) -> None:
        book.put_meta(tx, "holder", "0123456789abcdef0123456789abcdef")
        book.put_meta(tx, "seq", "17")
        spool_book.add(tx, "close", "6", {"sale_id": "6", "total": 1000, "value": "ana"}, {"sale_id": "6"})

    store.run_now(work)
    store.close()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    name = FOLDER / str(tables.SCHEMA)
    with tempfile.TemporaryDirectory() as folder, Postgres() as server:
        one, other = Path(folder) / "one", Path(folder) / "other"
        one.mkdir()
        other.mkdir()
        anyio.run(a_day, one, None, backend=BACKEND[0], backend_options=BACKEND[1])
        name.with_suffix(".sql").write_text(dump(one / "ledger.sqlite"))
        url = server.database()
        anyio.run(a_day, other, url, backend=BACKEND[0], backend_options=BACKEND[1])
        name.with_suffix(".pg.sql").write_text(dump_server(url))
        a_spool(other / "close.db")
        name.with_suffix(".spool.sql").write_text(dump(other / "close.db"))


if __name__ == "__main__":
    main()
