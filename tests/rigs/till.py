"""The core of the daemon in one process: real ledger file, real Till and Mirror, scripted service, moved time.

Calls go through the table of the POS socket (names, checks and shapes of contract section 3), so a test reads
like a transcript. Every transaction is watched: an open sale that changed must be announced, an announced sale
must look like `sale.get`, and nothing is announced twice (`Watching`).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
from sqlalchemy import event as sql_event

from rigs.clock import Time, VirtualLoop
from rigs.service import Service
from tilltap.caller import called_by
from tilltap.clock import rfc3339
from tilltap.days import MIDNIGHT
from tilltap.errors import CallError, ParamError
from tilltap.ledger import book, mirror_book, restored
from tilltap.ledger.engine import Tx, create, sqlite_engine
from tilltap.ledger.postgres import Server
from tilltap.ledger.shared import SharedStore
from tilltap.ledger.spool_book import open_spool
from tilltap.ledger.store import Store
from tilltap.loyalty.health import Watched
from tilltap.mirror import Mirror
from tilltap.model import Currency, Earn, Peer, Program, Reward
from tilltap.server.methods import METHODS, check
from tilltap.till.among import TillAmongOthers
from tilltap.till.desk import Till
from tilltap.till.shapes import Shop, sale_shape

T = TypeVar("T")
Json = dict[str, Any]

FIVE_OFF = Reward("five-off", "£5 off", cost=5, discount=500)
COFFEE = Program("PassEntry Coffee", Currency("GBP"), Earn(spend=1000), (FIVE_OFF,), store="soho")
SETTLE_S = 120.0


@contextmanager
def _owed() -> Iterator[None]:
    """Another thread is at work: moved time waits for it."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        yield
        return
    loop.owe(1)
    try:
        yield
    finally:
        loop.owe(-1)


class Shoulder:
    """Looks over the shoulder of every transaction of a store; what it disliked is in `wrong`."""

    watch = True
    till: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.wrong: list[str] = []
        self.said: dict[str, Json] = {}
        super().__init__(*args, **kwargs)

    async def run(self, fn: Callable[[Tx], T], **options: Any) -> T:
        with _owed():
            result: T = await super().run(fn, **options)  # type: ignore[misc]
            return result

    async def look(self, fn: Callable[[Tx], T]) -> T:
        with _owed():
            result: T = await super().look(fn)  # type: ignore[misc]
            return result

    def _watched(self, fn: Callable[[Tx], T]) -> Callable[[Tx], T]:
        def watched(tx: Tx) -> T:
            before = self._open_shapes(tx)
            value = fn(tx)
            after = self._open_shapes(tx)
            said: dict[str, Json] = {}
            for item in tx.events:
                if item.method == "sale":
                    shape = {k: v for k, v in item.params.items() if k not in ("seq", "at", "till")}
                    if said.get(shape["sale_id"]) == shape:
                        self.wrong.append(f"said twice in one transaction: {shape}")
                    said[shape["sale_id"]] = shape
            for sale_id, shape in said.items():
                sale = book.sale(tx, self.till, sale_id)
                now = sale_shape(tx, sale) if sale else None
                if now != shape:
                    self.wrong.append(f"the event says {shape}, sale.get {now}")
                # Time changes shapes in silence (a reservation ends), and a reservation may ripple to a sale
                # whose shape it does not touch.
                # Two customers met offline look alike.
                blurred = sale is not None and (sale.lapsed or shape["offline"])
                if before.get(sale_id) == self.said.get(sale_id) == shape and len(said) == 1 and not blurred:
                    self.wrong.append(f"announced, but nothing changed: {shape}")
            self.said.update(said)
            for sale_id, shape in after.items():
                if sale_id not in said and before.get(sale_id) != shape:
                    self.wrong.append(f"changed in silence from {before.get(sale_id)} to {shape}")
            return value

        return watched

    def _open_shapes(self, tx: Tx) -> dict[str, Json]:
        return {s.sale_id: sale_shape(tx, s) for s in book.open_sales(tx, self.till)}


class Watching(Shoulder, Store):
    def _done(self, fn: Callable[[Tx], T], tx: Any) -> Any:
        return super()._done(self._watched(fn) if self.watch else fn, tx)


class WatchingShared(Shoulder, SharedStore):
    """On a server, with the test's time in the place of the server's."""

    def _attempt(self, link: Any, fn: Callable[[Tx], T], *, durable: bool) -> Any:
        return super()._attempt(link, self._watched(fn) if self.watch else fn, durable=durable)

    def _was_set(self, ahead: Any) -> bool:
        return False  # the server's clock is not the one that counts

    def _tx(self, link: Any, now: float) -> Any:
        tx = super()._tx(link, now)
        tx.now, tx.at = self.clock.steady(), rfc3339(self.clock.wall())
        return tx


class House:
    """One till on one ledger file. `call("sale.open", sale_id="1", total="8.00")` answers like the socket.

    `uid`: whose program calls. `day_starts`: from the next start on.
    """

    uid: int | None = None

    def __init__(
        self,
        folder: Path,
        program: Program = COFFEE,
        *,
        service: Service | None = None,
        time: Time | None = None,
        durable: bool = True,
        template: Path | None = None,
        day_starts: dt.time = MIDNIGHT,
    ) -> None:
        self.path = folder / "ledger.sqlite"
        self.service = service or Service()
        self.time = time or Time()
        self.program = program
        self.day_starts = day_starts
        self._durable = durable
        self.url: str | None = None
        if template is not None:
            shutil.copy(template, self.path)
        self.start(new=not self.path.exists())

    def start(self, *, new: bool = False) -> None:
        """As app.py wires it."""
        if self.url is not None:
            self._start_shared(self.url)
            return
        engine, lock = sqlite_engine(self.path)
        if not self._durable:
            sql_event.listen(engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA synchronous=OFF"))
        if new:
            create(engine)
        self.store: Watching | WatchingShared = Watching(engine, "till-1", self.time, lock)
        self.provider = Watched(self.service, self.time.wall)
        shop = Shop("till-1", self.program, 0)
        self.till = Till(self.store, self.provider, shop, self.time, day_starts=self.day_starts)
        self.till.phase = "ready"
        self.till.shop = Shop("till-1", self.program, self.store.run_now(self._begin))

    def share(self, url: str) -> None:
        """Moves to an empty ledger on a server, before anything happens."""
        self.stop()
        self.url = url
        self.start()

    def _start_shared(self, url: str) -> None:
        store = WatchingShared(
            Server(url),
            open_spool(self.path.with_name("spool.db")),
            "till-1",
            self.time,
            host="test",
            join=lambda tx, first: self._join(tx, first=first),
        )
        self.store = store
        self.provider = Watched(self.service, self.time.wall)
        shop = Shop("till-1", self.program, 0)
        self.till = self._among = TillAmongOthers(
            store, self.provider, shop, self.time, day_starts=self.day_starts
        )
        self.till.phase = "ready"
        store.begin(10)
        assert store.up

    def _join(self, tx: Tx, *, first: bool) -> None:
        if first:
            mirror_book.recover(tx, "till-1", SETTLE_S)
        self._among.join(tx)

    def _begin(self, tx: Tx) -> int:
        self.store.last_seq = restored.resume(tx, self.store.note)
        self.store.hub.start(self.store.last_seq)
        mirror_book.recover(tx, "till-1", SETTLE_S)
        return book.enter_program(tx, self.program)

    def stop(self) -> None:
        if self.url is None:
            self.store.keep_note(self.store.run_now(restored.seen))
        self.store.close()

    def restart(self) -> None:
        """A kill and a new start on the same file (call it while nothing runs)."""
        wrong = self.store.wrong
        self.stop()
        self.start()
        self.store.wrong = wrong

    async def reload(self, program: Program) -> None:
        self.program = program
        await self.till.set_program(program, ["program"])

    # -- as a POS ---------------------------------------------------------------------------------------

    async def call(self, method: str, /, **params: Any) -> Json:
        run = METHODS[method].run
        assert run is not None
        args = check(METHODS[method], params, self.till.currency)
        called_by(self.uid)
        answer = await run(self.till, args, Peer(uid=os.geteuid()))
        return json.loads(json.dumps(answer))  # what cannot be sent is not an answer

    async def refused(self, method: str, /, **params: Any) -> str:
        """The code (or the parameter) that a call is refused with."""
        try:
            answer = await self.call(method, **params)
        except CallError as error:
            return error.code
        except ParamError as error:
            return f"param {error.field}"
        raise AssertionError(f"{method} was not refused: {answer}")

    async def tap(self, value: str, reader: str = "counter") -> Json:
        """One presentation; its (first) tap event."""
        seq = self.store.last_seq
        await self.till.tap(reader, "apple-vas", value, is_new=lambda _customer: True)
        taps = [e for e in await self.events(seq) if e["method"] == "tap"]
        return taps[0]

    async def events(self, after: int = 0, method: str | None = None) -> list[Json]:
        """Event params with `method`, from the ledger."""
        rows = await self.till.events(after, 100_000)
        found = [{"method": e.method, **e.params} for e in rows]
        return [e for e in found if method in (None, e["method"])]

    async def points(self, value: str) -> int | None:
        return (await self.call("customer.find", value=value))["balance"]

    async def entries(self, value: str) -> list[tuple[str, int]]:
        """`(kind, points)`, oldest first."""
        found = await self.call("customer.history", value=value, limit=1000)
        return [(e["kind"], e["points"]) for e in reversed(found["entries"])]

    async def sum_of_entries(self, value: str) -> int:
        return sum(points for _kind, points in await self.entries(value))

    # -- as the mirror's clock --------------------------------------------------------------------------

    def bare_mirror(self) -> Mirror:
        """A mirror like the daemon's, to run and to kill."""
        mirror = Mirror(self.till, self.store, self.provider, self.time, SETTLE_S)
        self.till.kick_mirror, self.till.hurry_mirror = mirror.kick, mirror.hurry
        return mirror

    @asynccontextmanager
    async def mirroring(self) -> AsyncIterator[None]:
        """The mirror's own loop runs; an orderly stop at the end."""
        mirror = self.bare_mirror()
        async with anyio.create_task_group() as group:
            group.start_soon(mirror.run)
            try:
                yield
            finally:
                mirror.stop()

    async def sync(self, seconds: float = 2.0) -> None:
        """Lets the mirror work for some (virtual) seconds."""
        async with self.mirroring():
            await anyio.sleep(seconds)


def make_template(folder: Path) -> Path:
    """An empty ledger to copy: a test of a thousand ledgers makes its tables once."""
    path = folder / "template.sqlite"
    engine, lock = sqlite_engine(path)
    create(engine)
    engine.dispose()
    lock.release()
    return path
