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

from tilltap import __version__, crash
from tilltap.config.diff import diff
from tilltap.config.groups import group_id
from tilltap.config.load import load
from tilltap.config.secrets import load_secret
from tilltap.config.settings import Settings
from tilltap.config.wallet import load_wallet
from tilltap.errors import CallError, StartError
from tilltap.ledger import book, mirror_book, restored
from tilltap.ledger.engine import Tx
from tilltap.ledger.faults import told_in_one_line
from tilltap.ledger.shared import SharedStore
from tilltap.ledger.store import Store
from tilltap.ledger.tills import RENEW_EVERY_S
from tilltap.log import configure, places
from tilltap.loyalty import make_provider
from tilltap.loyalty.health import Watched
from tilltap.mirror import Mirror
from tilltap.readers import Readers
from tilltap.server.listen import serve
from tilltap.stores import open_file, open_shared, shared_rate
from tilltap.till.among import TillAmongOthers
from tilltap.till.desk import Till
from tilltap.till.news import EVERY_S as NEWS_EVERY_S
from tilltap.till.shapes import Shop

log = structlog.get_logger("tilltap")

# The steady clock's anchor is kept this often: it only needs to be there once per boot of the machine.
ANCHOR_EVERY_S = 30.0
# Open sales, taps and events are tidied in units of a day; ten minutes late does not matter.
TIDY_EVERY_S = 600.0
# A server on the shop's network is there at once. One that is not must not keep the till from selling.
LEDGER_PATIENCE_S = 2.5
# At stop the mirror may finish what it has sent, so that its outcome is not unknown. A request takes 0.2 s.
LAST_TURN_S = 3.0


def run(config: Path) -> None:
    """The daemon in the foreground until SIGTERM or SIGINT. StartError if it cannot start or go on."""
    settings = load(config)
    configure()
    try:
        anyio.run(_serve, settings, config)
    except BaseException as error:
        raise _cause(error) from None


def _cause(error: BaseException) -> BaseException:
    """What ended the daemon, for one line to a person; anything unforeseen goes to the log, place only."""
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = (first.subgroup(StartError) or first).exceptions[0]
    if isinstance(first, StartError | KeyboardInterrupt | SystemExit):
        return first
    log.error("daemon failed", error=type(first).__name__, at=places(first))
    return StartError(
        f"tilltap stopped because of a fault of its own ({type(first).__name__}): the log says where"
        " (start it again; nothing that was answered is lost)"
    )


def _key(settings: Settings) -> str | None:
    name = settings.loyalty.api_key_file
    return load_secret(name, settings.base_dir) if name else None


class _Daemon:
    def __init__(self, settings: Settings, config: Path) -> None:
        self.settings = settings
        self.config = config
        self.wallet = load_wallet(settings.wallet, settings.base_dir)
        self.write_group = group_id(settings.pos.write_group) if settings.pos.write_group else None
        self.store: Store
        self.shared: SharedStore | None = None
        if settings.ledger.path is not None:
            self.store, self.clock = open_file(settings)
        else:
            self.store, self.clock = open_shared(settings, self._join)
            self.shared = self.store
        try:
            service = make_provider(
                provider=settings.loyalty.provider,
                url=settings.loyalty.url,
                key=_key(settings),
                ca_file=settings.loyalty.ca_file,
                others=shared_rate(self.shared) if self.shared else None,
            )
            self.provider = Watched(service, self.clock.wall)
            self.till = self._begin()
        except BaseException:
            self.store.close()
            raise
        self.mirror = Mirror(self.till, self.store, self.provider, self.clock, settings.loyalty.settle)
        self.till.kick_mirror, self.till.hurry_mirror = self.mirror.kick, self.mirror.hurry
        self.stopping = anyio.Event()

    def _begin(self) -> Till:
        """The till, once the ledger knows us; a ledger on a server may have to be told later."""
        shop, starts = Shop(self.settings.till, self.settings.program, 0), self.settings.day_starts
        if self.shared is not None:
            self._among = TillAmongOthers(self.shared, self.provider, shop, self.clock, day_starts=starts)
            self.shared.on_step = self._clock_set
            self.shared.begin(LEDGER_PATIENCE_S)
            return self._among
        with told_in_one_line(f"ledger {self.settings.ledger.path}"):
            shop = replace(shop, version=self.store.run_now(self._enter))
        return Till(self.store, self.provider, shop, self.clock, day_starts=starts)

    def _enter(self, tx: Tx) -> int:
        self.store.last_seq = restored.resume(tx, self.store.note)
        self.store.hub.start(self.store.last_seq)
        mirror_book.recover(tx, self.settings.till, self.settings.loyalty.settle)
        return book.enter_program(tx, self.settings.program)

    def _join(self, tx: Tx, first: bool) -> None:
        """With every new connection to a shared ledger, the `first` of this daemon or a later one."""
        if first:
            mirror_book.recover(tx, self.settings.till, self.settings.loyalty.settle)
        self._among.join(tx)

    def _clock_set(self, tx: Tx) -> None:
        log.warning("the clock of the ledger's server was set", remedy="keep it synchronised, by small steps")
        mirror_book.restart_settling(tx, self.settings.loyalty.settle)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self.store.on_failure = lambda: loop.call_soon_threadsafe(self._ledger_failed)
        failed = False
        if self.store.failed is not None:
            self.store.on_failure()
        if self.shared is not None:
            await self._among.offline.load()
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
            if isinstance(self.store.failed, StartError):
                raise self.store.failed
            raise StartError(
                "the ledger cannot be written any more: check the disk, then start tilltap again"
            )

    async def _start(self, group: anyio.abc.TaskGroup) -> None:
        async def serve_socket(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            await serve(
                self.till,
                self.settings.pos.socket,
                stopping=self.stopping,
                write_group=self.write_group,
                task_status=task_status,
            )
            self._served.set()

        self._served, self._mirrored = anyio.Event(), anyio.Event()
        await group.start(serve_socket)
        self._readers = Readers(self.till, self.clock, group, self.wallet)
        await self._readers.apply(self.settings.readers)
        group.start_soon(self._run_mirror)
        group.start_soon(self.till.directory.keep_fresh)
        group.start_soon(self._housekeeping)
        if self.shared is not None:
            group.start_soon(self._among.enter_spool)
            group.start_soon(self._be_among_others, self.shared)
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

    def close(self) -> None:
        if self.shared is None:
            with suppress(CallError):
                self.store.keep_note(self.store.run_now(restored.seen))
        self.store.close()

    def _ledger_failed(self) -> None:
        log.error("ledger failed", error=type(self.store.failed).__name__)
        signal.raise_signal(signal.SIGTERM)

    async def _be_among_others(self, store: SharedStore) -> None:
        """Keeps the till's name, and hears what other tills did to its sales."""
        renewed = float("-inf")
        while True:
            try:
                if self.clock.steady() - renewed >= RENEW_EVERY_S:
                    await store.renew()
                    renewed = self.clock.steady()
                await self._among.hear_news()
            except CallError:
                pass  # out of reach: everything is done anew when it is back
            await anyio.sleep(NEWS_EVERY_S)

    async def _housekeeping(self) -> None:
        tidied = float("-inf")
        while True:
            if self.provider.state == "refused":
                self._renew_key()
            with suppress(CallError):  # locked for a moment, or out of reach: next time then
                if self.shared is None:
                    await self._keep_anchor()
                if self.clock.steady() - tidied >= TIDY_EVERY_S:
                    await self.till.tidy()
                    tidied = self.clock.steady()
            await anyio.sleep(ANCHOR_EVERY_S)

    async def _keep_anchor(self) -> None:
        anchor = self.clock.anchor()
        body = json.dumps({"boot_id": anchor.boot_id, "boottime": anchor.boottime, "steady": anchor.steady})
        await self.store.run(lambda tx: book.put_meta(tx, "anchor", body))
        self.store.keep_note(await self.store.run(restored.seen))

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
            try:
                await self.till.set_program(new.program, list(change.program))
            except CallError as error:
                log.warning("reload refused", error=error.code)
                return
            crash.point("P10")
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
        daemon.close()
