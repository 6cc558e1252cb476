"""The only place that wires: settings in, a running daemon out."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import structlog

from tilltap import __version__
from tilltap.clock import Anchor, SystemClock
from tilltap.config.diff import diff
from tilltap.config.load import load
from tilltap.config.secrets import load_secret
from tilltap.config.settings import Settings
from tilltap.config.wallet import load_wallet
from tilltap.errors import CallError, StartError
from tilltap.ledger import book, mirror_book, tables
from tilltap.ledger.engine import Store, Tx, create, sqlite_engine
from tilltap.log import configure, places
from tilltap.loyalty import make_provider
from tilltap.loyalty.health import Watched
from tilltap.mirror import Mirror
from tilltap.readers import Readers
from tilltap.server.listen import serve
from tilltap.till.desk import Till
from tilltap.till.shapes import Shop

log = structlog.get_logger("tilltap")

# The steady clock's anchor is kept this often: it only needs to be there once per boot of the machine.
ANCHOR_EVERY_S = 30.0
# Open sales, taps and events are tidied in units of a day; ten minutes late does not matter.
TIDY_EVERY_S = 600.0
# At stop the mirror may finish what it has sent, so that its outcome is not unknown. A request takes 0.2 s.
LAST_TURN_S = 3.0


def run(config: Path) -> None:
    """The daemon in the foreground until SIGTERM or SIGINT. StartError if it cannot start or go on."""
    settings = load(config)
    configure()
    try:
        anyio.run(_serve, settings, config)
    except BaseExceptionGroup as group:
        raise _cause(group) from None


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the daemon, for one line to a person; anything unforeseen goes to the log, place only."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = (first.subgroup(StartError) or first).exceptions[0]
    if isinstance(first, StartError | KeyboardInterrupt | SystemExit):
        return first
    log.error("daemon failed", error=type(first).__name__, at=places(first))
    return StartError(
        f"tilltap stopped because of a fault of its own ({type(first).__name__}): the log says where"
        " (start it again; nothing that was answered is lost)"
    )


def open_store(settings: Settings) -> tuple[Store, SystemClock]:
    """The ledger, ready for use: created if new, refused if it belongs to another programme."""
    where = f"ledger {settings.ledger.path}"
    engine, lock = sqlite_engine(settings.ledger.path)
    anchor = create(engine, lock, where)
    clock = SystemClock(Anchor(**json.loads(anchor)) if anchor else None)
    store = Store(engine, settings.till, clock, lock)
    try:
        store.run_now(lambda tx: _recognise(tx, settings, where))
    except BaseException:
        store.close()
        raise
    return store, clock


def _recognise(tx: Tx, settings: Settings, where: str) -> None:
    """A ledger keeps its schema, currency, service and till (contract section 2)."""
    own = {
        "currency": settings.program.currency.code,
        "service": settings.loyalty.url,
        "till": settings.till,
    }
    schema = int(book.meta(tx, "schema") or tables.SCHEMA)
    if schema > tables.SCHEMA:
        raise StartError(f"{where}: written by a newer tilltap (schema {schema}); install that version")
    book.put_meta(tx, "schema", str(schema))
    for key, value in own.items():
        was = book.meta(tx, key)
        if was is None:
            book.put_meta(tx, key, value)
        elif was != value:
            raise StartError(
                f"{where}: it belongs to {key} {was}, the configuration says {value}"
                " (give this programme a ledger of its own in [ledger] url)"
            )


def _key(settings: Settings) -> str | None:
    name = settings.loyalty.api_key_file
    return load_secret(name, settings.base_dir) if name else None


class _Daemon:
    def __init__(self, settings: Settings, config: Path) -> None:
        self.settings = settings
        self.config = config
        self.wallet = load_wallet(settings.wallet, settings.base_dir)
        self.store, self.clock = open_store(settings)
        try:
            service = make_provider(
                provider=settings.loyalty.provider,
                url=settings.loyalty.url,
                key=_key(settings),
                ca_file=settings.loyalty.ca_file,
            )
            self.provider = Watched(service, self.clock.wall)
            version = self.store.run_now(self._begin)
        except BaseException:
            self.store.close()
            raise
        shop = Shop(settings.till, settings.program, version)
        self.till = Till(self.store, self.provider, shop, self.clock)
        self.mirror = Mirror(self.till, self.store, self.provider, self.clock, settings.loyalty.settle)
        self.till.kick_mirror = self.mirror.kick
        self.stopping = anyio.Event()

    def _begin(self, tx: Tx) -> int:
        self.store.last_seq = book.last_seq(tx, self.settings.till)
        self.store.hub.start(self.store.last_seq)
        mirror_book.recover(tx, self.settings.till, self.settings.loyalty.settle)
        return book.enter_program(tx, self.settings.program)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self.store.on_failure = lambda: loop.call_soon_threadsafe(self._ledger_failed)
        failed = False
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with anyio.create_task_group() as group:
                await self._start(group)
                async for number in signals:
                    if number != signal.SIGHUP:
                        break
                    await self._reload()
                failed = self.store.failed is not None
                if not failed:
                    await self._stop()
                group.cancel_scope.cancel()
        if failed:
            raise StartError(
                "the ledger cannot be written any more: check the disk, then start tilltap again"
            )

    async def _start(self, group: anyio.abc.TaskGroup) -> None:
        async def serve_socket(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            await serve(self.till, self.settings.pos.socket, stopping=self.stopping, task_status=task_status)
            self._served.set()

        self._served, self._mirrored = anyio.Event(), anyio.Event()
        await group.start(serve_socket)
        self._readers = Readers(self.till, self.clock, group, self.wallet)
        await self._readers.apply(self.settings.readers)
        group.start_soon(self._run_mirror)
        group.start_soon(self.till.directory.keep_fresh)
        group.start_soon(self._housekeeping)
        # What was loaded stays: the collector need not walk it while a customer waits.
        gc.collect()
        gc.freeze()
        self.till.phase = "ready"
        log.info("ready", version=__version__, till=self.settings.till, socket=str(self.settings.pos.socket))

    async def _run_mirror(self) -> None:
        await self.mirror.run()
        self._mirrored.set()

    async def _stop(self) -> None:
        log.info("stopping")
        with suppress(CallError):  # a locked ledger must not keep the daemon from ending
            await self.till.say_bye()
        self._readers.stop()
        self.mirror.stop()
        self.stopping.set()
        await self._served.wait()
        with anyio.move_on_after(LAST_TURN_S):
            await self._mirrored.wait()

    def _ledger_failed(self) -> None:
        log.error("ledger failed", error=type(self.store.failed).__name__)
        signal.raise_signal(signal.SIGTERM)

    async def _housekeeping(self) -> None:
        tidied = float("-inf")
        while True:
            if self.provider.state == "refused":
                self._renew_key()
            with suppress(CallError):  # locked for a moment: next time then
                await self._keep_anchor()
                if self.clock.steady() - tidied >= TIDY_EVERY_S:
                    await self.till.tidy()
                    tidied = self.clock.steady()
            await anyio.sleep(ANCHOR_EVERY_S)

    async def _keep_anchor(self) -> None:
        anchor = self.clock.anchor()
        body = json.dumps({"boot_id": anchor.boot_id, "boottime": anchor.boottime, "steady": anchor.steady})
        await self.store.run(lambda tx: book.put_meta(tx, "anchor", body))

    def _renew_key(self) -> None:
        """A key exchanged in its file is taken up at a reload, or by itself once the old one is refused."""
        try:
            self.provider.set_key(_key(self.settings))
        except (StartError, ValueError) as error:
            log.warning("API key not renewed", reason=str(error))
        self.mirror.kick()

    async def _reload(self) -> None:
        """Rules and readers; a file with a mistake, or with a change elsewhere, is refused whole."""
        try:
            new = load(self.config)
            change = diff(self.settings, new)
        except StartError as error:
            await self._refuse(list(error.lines))
            return
        if change.refused:
            await self._refuse(list(change.refused))
            return
        if change.program:
            await self.till.set_program(new.program, list(change.program))
        await self._readers.apply(new.readers)
        self._renew_key()
        self.settings = replace(new)
        log.info("reloaded", changed=[*change.program, *change.readers])

    async def _refuse(self, lines: list[str]) -> None:
        log.warning("reload refused", lines=lines)
        await self.till.refuse_program(lines)


async def _serve(settings: Settings, config: Path) -> None:
    daemon = _Daemon(settings, config)
    try:
        await daemon.run()
    finally:
        await daemon.provider.aclose()
        daemon.store.close()
