"""Opens the ledger that `[ledger]` names: a file of this till's own, or a server shared with others."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio

from tilltap.clock import Anchor, SystemClock
from tilltap.config.secrets import load_secret
from tilltap.config.settings import Settings
from tilltap.errors import CallError, StartError
from tilltap.ledger import book, tables, tills
from tilltap.ledger.engine import Tx, create, sqlite_engine
from tilltap.ledger.faults import told_in_one_line
from tilltap.ledger.postgres import Server
from tilltap.ledger.shared import SharedStore
from tilltap.ledger.spool_book import open_spool, own_spool
from tilltap.ledger.store import Store
from tilltap.ledger.upgrade import judge_shared, judge_tables, upgrade_file
from tilltap.loyalty.budget import Ask, grant

# Where state lives unless systemd says otherwise (contract section 2, the default of ledger.url).
STATE_FOLDER = Path("/var/lib/tilltap")
# A rate window is a row on the server; when it is slow, nobody at the till waits for it.
RATE_S = 0.3
# Mirrors of many tills wait for the same room: they must not all ask again in the moment that it is free, in
# vain but for one.
SPREAD_S = 0.5
_OTHERWISE = {"till": "correct [till] name, or tilltap ledger rename-till; another till needs its own ledger"}


def open_file(settings: Settings) -> tuple[Store, SystemClock]:
    """A ledger of this till's own, ready for use: created if new, refused if it belongs to something else."""
    assert settings.ledger.path is not None
    where = f"ledger {settings.ledger.path}"
    engine, lock = sqlite_engine(settings.ledger.path)
    try:
        upgrade_file(engine, settings.ledger.path)
        with told_in_one_line(where):
            anchor = create(engine)
    except BaseException:
        engine.dispose()
        lock.release()
        raise
    clock = SystemClock(Anchor(**json.loads(anchor)) if anchor else None)
    store = Store(engine, settings.till, clock, lock)
    try:
        with told_in_one_line(where):
            store.run_now(lambda tx: recognise(tx, settings, where))
    except BaseException:
        store.close()
        raise
    return store, clock


def open_shared(settings: Settings, join: Callable[[Tx, bool], None]) -> tuple[SharedStore, SystemClock]:
    """A ledger on a server; it is reached by `store.begin`, and may be out of reach then."""
    server, clock, path = server_of(settings), SystemClock(), spool_of(settings)
    with told_in_one_line(f"spool {path}"):
        spool = open_spool(path)
    try:
        with told_in_one_line(f"spool {path}"):
            own_spool(spool[0], path, settings.till)
    except BaseException:
        spool[0].dispose()
        spool[1].release()
        raise

    def joining(tx: Tx, first: bool) -> None:
        recognise(tx, settings, "ledger", first=first)
        join(tx, first)

    store = SharedStore(server, spool, settings.till, clock, host=platform.node(), join=joining)
    return store, clock


def server_of(settings: Settings) -> Server:
    """The server of a shared ledger; nothing is connected yet."""
    name = settings.ledger.password_file
    return Server(settings.ledger.url, load_secret(name, settings.base_dir) if name else None)


def spool_of(settings: Settings) -> Path:
    """One per till and ledger: two daemons on one machine never take each other's closes for theirs."""
    if settings.ledger.spool is not None:
        return settings.ledger.spool
    which = hashlib.blake2s(f"{settings.till}\0{settings.ledger.url}".encode(), digest_size=6).hexdigest()
    folder = Path(os.environ.get("STATE_DIRECTORY", "").split(":")[0] or STATE_FOLDER)
    return folder / f"spool-{which}.db"


def recognise(tx: Tx, settings: Settings, where: str, *, first: bool = True) -> None:
    """A ledger keeps its schema, currency and service, one of a single till also its name (contract 2).

    Its tables are looked at when a daemon sees it for the `first` time.
    """
    own = {"currency": settings.program.currency.code, "service": settings.loyalty.url}
    if not tx.shared:
        own["till"] = settings.till
    schema = int(book.meta(tx, "schema") or 0)
    if schema and tx.shared:
        judge_shared(schema, where)
    if not schema:
        book.put_meta(tx, "schema", str(tables.SCHEMA))
    if first and schema == tables.SCHEMA:
        judge_tables(tx, where)
    for key, value in own.items():
        was = book.meta(tx, key)
        if was is None:
            book.put_meta(tx, key, value)
        elif was != value:
            remedy = _OTHERWISE.get(key, "give this programme a ledger of its own in [ledger] url")
            raise StartError(f"{where}: it belongs to {key} {was}, the configuration says {value} ({remedy})")


def shared_rate(store: SharedStore) -> Ask:
    """The service's rate limit, counted for all tills on the ledger. Nobody at the till waits for it."""

    async def ask(endpoint: str, urgent: bool) -> float | None:
        judge = partial(grant, urgent=urgent)
        try:
            with anyio.move_on_after(RATE_S):
                wait = await store.run(lambda tx: tills.change_rate(tx, endpoint, judge), durable=False)
                return wait and (wait if urgent else wait + random.uniform(0, SPREAD_S))  # noqa: S311 - not in step
        except CallError:
            pass  # out of reach
        return None if urgent else RATE_S

    return ask
