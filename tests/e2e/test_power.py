"""The power fails at any instant: no answered sale is missing, and the ledger opens whole (contract promise 1).

A real daemon sells while everything it asks of its disk is recorded (rigs/powercut). Then, for cuts all over that
log, the files are put together as the disk may hold them when the power comes back, and the ledger is opened on
them. `make power` tries every cut; here it is a seeded sample.
"""

from __future__ import annotations

import json
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rigs import powercut
from rigs.daemon import ANNA, BEN, HEAL, Logs, Shop, wait_until
from rigs.powercut import Disk, Record, Said
from tilltap.config.load import load
from tilltap.config.settings import Settings
from tilltap.errors import StartError
from tilltap.ledger import book
from tilltap.ledger.engine import Tx
from tilltap.ledger.spool_book import open_spool
from tilltap.sandbox.service import NewPass
from tilltap.stores import open_file
from tilltap.till.shapes import sale_shape

Json = dict[str, Any]
# What the daemon may have, given the lines it has said and the texts it has sent: what is wrong, or nothing.
Judge = Callable[[Path, list[Json], int], list[str]]

SEED = 20261122
# Enough sales for the write-ahead log to be carried over into the file and begun anew under way: that is at 1000
# pages, some 15 a sale, and the first two thirds of the sales go into one log.
SALES = 120
# Cuts that the suite looks at, of some thousands, and daemons started on what they left.
SAMPLE, STARTS = 180, 2

LEDGER = "sqlite:///state/ledger.db"  # in a folder that the daemon makes
NOWHERE = "postgresql://till@127.0.0.1:9/nowhere"

# Figures of a sale that nothing but a call about it changes; the balance follows the customer's other sales.
LASTING = ("state", "total", "discount", "due", "paid", "customer", "reserved", "earned")


@dataclass(frozen=True)
class Recording:
    log: list[Record]
    shop: Shop

    @property
    def root(self) -> str:
        return str(self.shop.folder)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return powercut.build(tmp_path_factory.mktemp("recorder"))


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder in memory where there is one: nobody will cut the power of the test itself."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def sell(shop: Shop, first: int, last: int) -> None:
    """Sales of every kind, each call answered before the next."""
    with shop.pos() as pos:
        pos.result("watch")
        for n in range(first, last):
            sale_id, guest = f"s{n}", (BEN, ANNA)[n % 2]
            match n % 4:
                case 0:
                    pos.result("sale.close", sale_id=sale_id, total="10.00", value=guest)
                case 1:
                    sale = pos.result("sale.open", sale_id=sale_id, total="30.00", value=guest)
                    if sale["offers"]:
                        pos.result("sale.accept", sale_id=sale_id, reward="five-off")
                    pos.result("sale.close", sale_id=sale_id)
                case 2:
                    pos.result("sale.open", sale_id=sale_id, total="30.00", value=guest)
                    pos.result("sale.update", sale_id=sale_id, total="40.00")
                    pos.result("sale.cancel", sale_id=sale_id)
                case 3:
                    pos.result("sale.close", sale_id=sale_id, total="20.00", value=guest)
                    pos.result("sale.refund", sale_id=sale_id, refund_id=f"r{n}", amount="10.00")
        pos.result("sale.open", sale_id=f"open{last}", total="8.00", value=BEN)


@contextmanager
def recorded(
    logs: Logs, library: Path, log: Path, *, weak: str = "", sales: int = SALES
) -> Iterator[Recording]:
    """A till's file over three lives of its daemon: new, after a kill, and after an orderly stop.

    `weak`: what the daemon's `synchronous` is instead; then one life will do.
    """
    with Shop(logs, NewPass(BEN, 4), NewPass(ANNA, 0), readers="", ledger=LEDGER) as shop:
        shop.env = powercut.recording(library, log, shop.folder)
        if weak:
            (shop.folder / "sitecustomize.py").write_text(WEAKENED.format(weak=weak))
            shop.env["PYTHONPATH"] = str(shop.folder)
        ends = [shop.kill] if weak else [shop.kill, shop.stop, shop.kill]
        for life, end in enumerate(ends):
            shop.start()
            sell(shop, sales * life // len(ends), sales * (life + 1) // len(ends))
            end()
        yield Recording(powercut.read(log), shop)


# Loaded by the daemon's Python before anything else: the product has no such switch.
WEAKENED = """
import sqlite3

class Weak(sqlite3.Connection):
    def execute(self, sql, *rest):
        return super().execute(sql.replace("synchronous=FULL", "synchronous={weak}"), *rest)

def connect(*args, really=sqlite3.connect, **options):
    return really(*args, factory=Weak, **options)

sqlite3.connect = sqlite3.dbapi2.connect = connect
"""


@pytest.fixture(scope="module")
def recording(logs: Logs, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    with recorded(logs, library, tmp_path_factory.mktemp("power") / "ledger.log") as recording:
        yield recording


# -- what must be true of the files -----------------------------------------------------------------------


def judge_of(recording: Recording, home: Path) -> Judge:
    settings = _settings(recording, home)
    told = _told(recording.log)

    def judge(_: Path, said: list[Json], texts: int) -> list[str]:
        try:
            store, _clock = open_file(settings)
        except StartError as error:
            return [f"does not open: {error}"]
        try:
            wrong = store.run_now(lambda tx: _sales_missing(tx, told, said))
        finally:
            store.close()
        assert settings.ledger.path is not None
        return wrong + _unsound(settings.ledger.path, said, texts)

    return judge


def _settings(recording: Recording, home: Path) -> Settings:
    config = home / "tilltap.toml"
    config.write_text(recording.shop.config.read_text().replace("/state/", "/disk/state/"))
    return load(config)


def _lasting(shape: Json) -> Json:
    return {key: shape[key] for key in LASTING}


def _sale_in(line: Json) -> Json | None:
    """The sale that a reply or an event tells of."""
    sale = line.get("result") if "id" in line else line.get("params")
    return sale if isinstance(sale, dict) and "sale_id" in sale and "due" in sale else None


def _told(log: list[Record]) -> dict[str, list[Json]]:
    """For each sale what was told of it from first to last; the last line of each is after every cut."""
    said = Said()
    for item in log:
        said.apply(item)
    told: dict[str, list[Json]] = {}
    for sale in filter(None, map(_sale_in, said.lines)):
        told.setdefault(sale["sale_id"], []).append(_lasting(sale))
    return told


def _sales_missing(tx: Tx, told: dict[str, list[Json]], said: list[Json]) -> list[str]:
    """A sale may be further than its POS was told, but never behind."""
    counts: dict[str, int] = {}
    for sale in filter(None, map(_sale_in, said)):
        counts[sale["sale_id"]] = counts.get(sale["sale_id"], 0) + 1
    wrong = []
    for sale_id, count in counts.items():
        found = book.sale(tx, "till-1", sale_id)
        if found is None or _lasting(sale_shape(tx, found)) not in told[sale_id][count - 1 :]:
            wrong.append(f"{sale_id} was told as {told[sale_id][count - 1]}, found {found}")
    return wrong


def _unsound(file: Path, said: list[Json], texts: int) -> list[str]:
    with closing(sqlite3.connect(file)) as ledger:

        def ask(sql: str) -> list[Any]:
            return ledger.execute(sql).fetchall()

        wrong = [f"integrity: {row[0]}" for row in ask("PRAGMA integrity_check") if row[0] != "ok"]
        sums = "SELECT coalesce(sum(points), 0) FROM entry WHERE customer_id = customer.id"
        wrong += [f"sum of {row}" for row in ask(f"SELECT id, points FROM customer WHERE points <> ({sums})")]
        seq = ask("SELECT coalesce(max(seq), 0) FROM event")[0][0]
        if seq < max((line["params"]["seq"] for line in said if "method" in line), default=0):
            wrong.append(f"events after {seq} were sent and are not kept")
        # A text that went out must be known to have gone, or it goes out again.
        known = ask("SELECT count(*) FROM push WHERE state IN ('sending', 'sent', 'maybe')")[0][0]
        if known < texts:
            wrong.append(f"{texts} texts were sent, {known} are known")
    return wrong


def search(
    recording: Recording, home: Path, judge: Judge, *, sample: int | None, stop_at: int = 1
) -> tuple[list[str], int]:
    """What is wrong after which cut, and how many files were looked at. `sample` None: every cut there is."""
    rng = random.Random(SEED)
    chosen = range(len(recording.log)) if sample is None else _drawn(recording.log, sample, rng)
    disk, said, texts, wrong, looked = Disk(recording.root), Said(), 0, [], 0
    for n, item in enumerate(recording.log):
        disk.apply(item)
        said.apply(item)
        texts += _is_text(item)
        if n not in chosen:
            continue
        lucks = ("all", "none", "some", "some") if disk.torn else ("all",)
        for luck in lucks if sample is None else rng.sample(lucks, min(2, len(lucks))):
            disk.leave(home / "disk", luck, rng)
            found = judge(home / "disk", said.lines, texts)
            wrong += [
                f"after record {n} ({item.op} {Path(item.path).name}), {luck}: {line}" for line in found
            ]
            looked += 1
            if len(wrong) >= stop_at:
                return wrong, looked
    return wrong, looked


def _is_text(item: Record) -> bool:
    """A request to the service with words for the customer's phone."""
    return item.op == "h" and b'"message":' in item.data


def _drawn(log: list[Record], sample: int, rng: random.Random) -> set[int]:
    """Everything but plain writes is worth a cut; of the rest, a few."""
    telling = [n for n, item in enumerate(log) if item.op in "cdurta"]
    first = telling[:25]
    drawn = rng.sample(telling, min(sample // 2, len(telling)))
    return {*first, *drawn, *rng.sample(range(len(log)), sample // 2)}


# -- the tests --------------------------------------------------------------------------------------------


def test_a_power_cut_loses_nothing_that_was_answered(recording: Recording, home: Path) -> None:
    begun = [item for item in recording.log if item.op == "w" and item.path.endswith("-wal") and item.at == 0]
    assert len(begun) >= 3, "the write-ahead log was only begun anew where it was new"
    assert any(map(_is_text, recording.log)), "no text was sent meanwhile"
    wrong, looked = search(recording, home, judge_of(recording, home), sample=SAMPLE)
    assert wrong == []
    assert looked > SAMPLE


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_power_cut_at_every_write(recording: Recording, home: Path) -> None:
    wrong, looked = search(recording, home, judge_of(recording, home), sample=None, stop_at=20)
    print(f"\npower cut at each of {len(recording.log)} records, {looked} disks: {len(wrong)} wrong")
    assert wrong == []


@pytest.mark.parametrize("weak", ["NORMAL", "OFF"])
def test_a_ledger_that_flushes_less_is_found_out(
    logs: Logs, library: Path, tmp_path: Path, home: Path, weak: str
) -> None:
    with recorded(logs, library, tmp_path / "weak.log", weak=weak, sales=6) as weakened:
        wrong, _ = search(weakened, home, judge_of(weakened, home), sample=80)
    assert wrong


@pytest.mark.parametrize("name", ["", "/state"], ids=["folder", "file"])
def test_a_name_that_is_not_flushed_is_found_out(recording: Recording, home: Path, name: str) -> None:
    folder = recording.root + name
    careless = [item for item in recording.log if not (item.op == "s" and item.path == folder)]
    assert len(careless) < len(recording.log), "the name was never flushed"
    wrong, _ = search(Recording(careless, recording.shop), home, judge_of(recording, home), sample=80)
    assert wrong


@pytest.mark.parametrize("starts", [STARTS, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_a_daemon_goes_on_from_there_and_counts_each_sale_once(
    logs: Logs, recording: Recording, starts: int
) -> None:
    rng = random.Random(SEED)
    cuts = sorted(rng.sample(range(len(recording.log)), starts))
    disk, at = Disk(recording.root), 0
    for cut in cuts:
        for item in recording.log[at:cut]:
            disk.apply(item)
        at = cut
        ledger = LEDGER.replace("state/", "disk/state/")
        with Shop(logs, readers="", ledger=ledger, beside=recording.shop) as shop:
            disk.leave(shop.folder / "disk", "some", rng)
            shop.start()
            for _ in range(2):
                for n in range(0, SALES, 4):
                    shop.ask("sale.close", sale_id=f"s{n}", total="10.00", value=BEN)
            entries = [e for e in shop.entries(BEN) if int(e[1].strip("sopen")) % 4 == 0 and e[1][0] == "s"]
            assert sorted(entries) == sorted(("earn", f"s{n}", 1) for n in range(0, SALES, 4))
            # Not `settled`: what the recorded daemon wrote after this cut, the ledger need not know of.
            wait_until(lambda s=shop: s.balance(BEN) == s.sandbox.balance(BEN), HEAL, "the pass to be right")
            assert shop.stop() == 0


def test_a_close_kept_in_the_spool_survives_a_power_cut(
    logs: Logs, library: Path, tmp_path: Path, home: Path
) -> None:
    with Shop(logs, NewPass(BEN, 4), readers="", ledger=NOWHERE) as shop:
        shop.configure(spool='spool = "state/spool.db"')
        log = tmp_path / "spool.log"
        shop.env = powercut.recording(library, log, shop.folder)
        for life in range(2):
            shop.start()
            for n in range(5):
                assert shop.ask("sale.close", sale_id=f"{life}-{n}", total="10.00", value=BEN)["offline"]
            shop.kill()
        kept = Recording(powercut.read(log), shop)

    def judge(disk: Path, said: list[Json], _texts: int) -> list[str]:
        (disk / "state").mkdir(exist_ok=True)
        engine, lock = open_spool(disk / "state" / "spool.db")
        with engine.connect() as connection:
            whole = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
            rows = connection.exec_driver_sql("SELECT key, shape FROM spooled WHERE kind = 'close'").all()
        engine.dispose()
        lock.release()
        there = {key: json.loads(shape) for key, shape in rows}
        lost = [s for s in filter(None, map(_sale_in, said)) if there.get(s["sale_id"]) != s]
        return [f"{sale} was lost" for sale in lost] + ([] if whole == "ok" else [str(whole)])

    wrong, looked = search(kept, home, judge, sample=80)
    assert wrong == []
    assert looked > 80
