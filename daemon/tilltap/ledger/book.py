"""What the till reads from and writes into the ledger: the only SQL beside mirror_book.py."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Text, and_, bindparam, func, literal_column, or_, select, update

from tilltap.ledger import tables as t
from tilltap.ledger.engine import Sql, Tx
from tilltap.model import Program

# Contract section 3: reservations last 10 min after the last call about the sale.
RESERVATION_S = 600


@dataclass(slots=True)
class Customer:
    """`points` is the sum of the entries; `pass_id` None while the service has not answered for `value`."""

    id: int
    pass_id: str | None
    ext_id: str | None
    value: str | None
    points: int
    carried: int
    same_as: int | None

    @property
    def known(self) -> bool:
        return self.pass_id is not None


@dataclass(slots=True)
class Sale:
    """A row of `sale` (tables.py says what the columns mean)."""

    till: str
    sale_id: str
    state: str
    total: int
    program: int
    turn: int
    touched: float
    eligible: int | None = None
    paid: int | None = None
    refunded: int = 0
    customer_id: int | None = None
    reward: str | None = None
    taken: int = 0
    lapsed: int = 0
    declined: str = "[]"
    closed: float | None = None
    closed_at: str | None = None
    discount: int = 0
    earned: int = 0
    carried: int = 0
    returned: int = 0
    offline: int = 0
    balance_after: int | None = None
    offers: str | None = None
    message: str | None = None
    receipt: str | None = None
    why: str = ""

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    @property
    def counted(self) -> int:
        """The part of `total` that earns."""
        return self.total if self.eligible is None else min(self.eligible, self.total)

    def refusals(self) -> list[str]:
        names: list[str] = json.loads(self.declined)
        return names


@dataclass(frozen=True, slots=True)
class Tap:
    tap_id: str
    reader: str
    source: str
    status: str
    customer_id: int | None
    sale_id: str | None
    reason: str | None
    used: int
    steady: float


_SALE_COLUMNS = [f.name for f in fields(Sale)]
_TAP_COLUMNS = [f.name for f in fields(Tap)]
_p = bindparam


# -- programme and meta ---------------------------------------------------------------------------------

_META = Sql(select(t.meta.c.value).where(t.meta.c.key == _p("key")))
_PUT_META = Sql(
    lambda insert: (
        insert(t.meta)
        .values(key=_p("key"), value=_p("value"))
        .on_conflict_do_update(index_elements=["key"], set_={"value": _p("value")})
    )
)
_LAST_PROGRAM = Sql(
    select(t.program.c.version, t.program.c.body).order_by(t.program.c.version.desc()).limit(1)
)
_PROGRAM = Sql(select(t.program.c.body).where(t.program.c.version == _p("version")))
_ADD_PROGRAM = Sql(t.program.insert().values(version=_p("version"), body=_p("body"), at=_p("at")))


def meta(tx: Tx, key: str) -> str | None:
    value: str | None = tx.scalar(_META, key=key)
    return value


def put_meta(tx: Tx, key: str, value: str) -> None:
    tx.run(_PUT_META, key=key, value=value)


def enter_program(tx: Tx, program: Program) -> int:
    """The version of `program`: the newest if it is the same to the letter, else a new one."""
    body = json.dumps(program.to_dict(), ensure_ascii=False, sort_keys=True)
    last = tx.one(_LAST_PROGRAM)
    if last and last.body == body:
        return int(last.version)
    version = last.version + 1 if last else 1
    tx.run(_ADD_PROGRAM, version=version, body=body, at=tx.at)
    return int(version)


def program(tx: Tx, version: int) -> Program:
    found: Program | None = tx.programs.get(version)
    if found is None:
        found = tx.programs[version] = Program.from_dict(json.loads(tx.scalar(_PROGRAM, version=version)))
    return found


# -- events ---------------------------------------------------------------------------------------------

_LAST_SEQ = Sql(select(func.max(t.event.c.seq)).where(t.event.c.till == _p("till")))
_FIRST_SEQ = Sql(select(func.min(t.event.c.seq)).where(t.event.c.till == _p("till")))
_EVENTS = Sql(
    select(t.event.c.seq, t.event.c.method, t.event.c.params)
    .where(t.event.c.till == _p("till"), t.event.c.seq > _p("after"))
    .order_by(t.event.c.seq)
    .limit(_p("n"))
)
_PRUNE_EVENTS = Sql(t.event.delete().where(t.event.c.till == _p("till"), t.event.c.seq <= _p("upto")))
_PRUNE_TAPS = Sql(t.tap.delete().where(t.tap.c.till == _p("till"), t.tap.c.steady < _p("before")))


def last_seq(tx: Tx, till: str) -> int:
    return tx.scalar(_LAST_SEQ, till=till) or 0


def first_seq(tx: Tx, till: str) -> int:
    return tx.scalar(_FIRST_SEQ, till=till) or 0


def events(tx: Tx, till: str, after: int, limit: int) -> list[tuple[int, str, dict[str, Any]]]:
    rows = tx.all(_EVENTS, till=till, after=after, n=limit)
    return [(r.seq, r.method, json.loads(r.params)) for r in rows]


def prune(tx: Tx, till: str, *, keep_events: int, taps_before: float) -> None:
    tx.run(_PRUNE_EVENTS, till=till, upto=last_seq(tx, till) - keep_events)
    tx.run(_PRUNE_TAPS, till=till, before=taps_before)


# -- customers ------------------------------------------------------------------------------------------

_c = t.customer.c
_CUSTOMER = Sql(select(t.customer).where(_c.id == _p("id")))
_BY_PASS = Sql(select(t.customer).where(_c.pass_id == _p("pass_id")))
_BY_VALUE = Sql(
    select(t.customer).join(t.alias, t.alias.c.customer_id == _c.id).where(t.alias.c.value == _p("value"))
)
_LOCK_CUSTOMER = Sql(select(_c.same_as).where(_c.id == _p("id")).with_for_update())
_LOCK_NAME = Sql(select(func.pg_advisory_xact_lock(func.hashtextextended(_p("name", type_=Text), 0))))
_ADD_CUSTOMER = Sql(
    t.customer.insert().values(pass_id=_p("pass_id"), ext_id=_p("ext_id"), value=_p("value")).returning(_c.id)
)
_SET_PASS = Sql(
    update(t.customer).where(_c.id == _p("id")).values(pass_id=_p("pass_id"), ext_id=_p("ext_id"))
)
_ADD_POINTS = Sql(
    update(t.customer)
    .where(_c.id == _p("id"))
    .values(points=_c.points + _p("points"), carried=_c.carried + _p("carried"))
)
_JOIN = Sql(update(t.customer).where(_c.id == _p("id")).values(same_as=_p("same_as"), points=0, carried=0))
_MOVE_ALIASES = Sql(update(t.alias).where(t.alias.c.customer_id == _p("old")).values(customer_id=_p("new")))
_MOVE_SALES = Sql(update(t.sale).where(t.sale.c.customer_id == _p("old")).values(customer_id=_p("new")))
_MOVE_TAPS = Sql(update(t.tap).where(t.tap.c.customer_id == _p("old")).values(customer_id=_p("new")))
_MOVE_PUSHES = Sql(update(t.push).where(t.push.c.customer_id == _p("old")).values(customer_id=_p("new")))
_PUT_ALIAS = Sql(
    lambda insert: (
        insert(t.alias)
        .values(value=_p("value"), customer_id=_p("customer_id"))
        .on_conflict_do_update(index_elements=["value"], set_={"customer_id": _p("customer_id")})
    )
)
_INDEXED = Sql(select(t.nfc_index.c.pass_id).where(t.nfc_index.c.value == _p("value")))
_PUT_INDEX = Sql(
    lambda insert: (
        insert(t.nfc_index)
        .values(value=_p("value"), pass_id=_p("pass_id"))
        .on_conflict_do_update(index_elements=["value"], set_={"pass_id": _p("pass_id")})
    )
)


def _customer(tx: Tx, row: Any) -> Customer | None:
    if row is None:
        return None
    found = tx.customers[row.id] = Customer(*row)
    return found


def customer(tx: Tx, customer_id: int) -> Customer:
    """Follows a customer that turned out to be another."""
    found = tx.customers.get(customer_id) or _customer(tx, tx.one(_CUSTOMER, id=customer_id))
    assert found is not None
    return customer(tx, found.same_as) if found.same_as else found


def lock(tx: Tx, *customer_ids: int | None) -> None:
    """Before anything about these customers is judged or changed: other tills wait for the end of this
    transaction. Everything that hangs on a customer (points, holds, uses, mirror) is guarded by its row.
    """
    if not tx.shared:
        return
    for found in sorted({i for i in customer_ids if i is not None}):
        customer_id: int | None = found
        while customer_id:
            tx.customers.pop(customer_id, None)  # read before the lock: perhaps of yesterday
            customer_id = tx.scalar(_LOCK_CUSTOMER, id=customer_id)


def lock_names(tx: Tx, names: list[str]) -> None:
    """Before it is decided whom values mean: two tills must not make two customers of one value."""
    if tx.shared:
        for name in sorted(names):
            tx.run(_LOCK_NAME, name=name)


def by_pass(tx: Tx, pass_id: str) -> Customer | None:
    return _customer(tx, tx.one(_BY_PASS, pass_id=pass_id))


def by_value(tx: Tx, value: str) -> Customer | None:
    return _customer(tx, tx.one(_BY_VALUE, value=value))


def add_customer(tx: Tx, *, pass_id: str | None, ext_id: str | None, value: str | None) -> Customer:
    new_id = tx.scalar(_ADD_CUSTOMER, pass_id=pass_id, ext_id=ext_id, value=value)
    return Customer(new_id, pass_id, ext_id, value, 0, 0, None)


def set_pass(tx: Tx, customer_id: int, pass_id: str, ext_id: str | None) -> None:
    tx.run(_SET_PASS, id=customer_id, pass_id=pass_id, ext_id=ext_id)
    tx.customers.pop(customer_id, None)


def join(tx: Tx, old: Customer, new: Customer) -> None:
    """`old` turned out to be `new`: its balance, aliases, sales and taps count there from now on."""
    tx.run(_ADD_POINTS, id=new.id, points=old.points, carried=old.carried)
    tx.run(_JOIN, id=old.id, same_as=new.id)
    for sql in (_MOVE_ALIASES, _MOVE_SALES, _MOVE_TAPS, _MOVE_PUSHES):
        tx.run(sql, old=old.id, new=new.id)
    tx.customers.clear()


def put_alias(tx: Tx, value: str, customer_id: int) -> None:
    tx.run(_PUT_ALIAS, value=value, customer_id=customer_id)


def indexed(tx: Tx, value: str) -> str | None:
    found: str | None = tx.scalar(_INDEXED, value=value)
    return found


def put_index(tx: Tx, value: str, pass_id: str) -> None:
    tx.run(_PUT_INDEX, value=value, pass_id=pass_id)


# -- entries --------------------------------------------------------------------------------------------

_e = t.entry.c
_ADD_ENTRY = Sql(
    t.entry.insert().values(
        {k: _p(k) for k in ("till", "ref", "kind", "seq", "customer_id", "points", "carried", "at", "why")}
    )
)
_COUNT = Sql(select(func.count()).where(_e.till == _p("till"), _e.ref == _p("ref"), _e.kind == _p("kind")))
_ENTRY = Sql(
    select(t.entry).where(
        _e.till == _p("till"), _e.ref == _p("ref"), _e.kind == _p("kind"), _e.seq == literal_column("0")
    )
)
_HISTORY = Sql(
    select(t.entry)
    .where(
        or_(
            _e.customer_id == _p("id"),
            _e.customer_id.in_(select(_c.id).where(_c.same_as == _p("id"))),
        )
    )
    .order_by(_e.id.desc())
    .limit(_p("n"))
)


def enter(
    tx: Tx,
    customer_id: int,
    kind: str,
    points: int,
    *,
    till: str,
    ref: str,
    why: str,
    seq: int = 0,
    carried: int = 0,
) -> None:
    """One fact and its effect on the balance: the single place where points change."""
    tx.run(
        _ADD_ENTRY,
        till=till,
        ref=ref,
        kind=kind,
        seq=seq,
        customer_id=customer_id,
        points=points,
        carried=carried,
        at=tx.at,
        why=why,
    )
    tx.run(_ADD_POINTS, id=customer_id, points=points, carried=carried)
    was = tx.customers.pop(customer_id, None)
    if was is not None:
        now = tx.customers[customer_id] = copy(was)
        now.points, now.carried = was.points + points, was.carried + carried


def count_entries(tx: Tx, till: str, ref: str, kind: str) -> int:
    return int(tx.scalar(_COUNT, till=till, ref=ref, kind=kind))


def entry(tx: Tx, till: str, ref: str, kind: str) -> Any:
    return tx.one(_ENTRY, till=till, ref=ref, kind=kind)


def history(tx: Tx, customer_id: int, limit: int) -> list[Any]:
    """Entries, newest first."""
    return tx.all(_HISTORY, id=customer_id, n=limit)


# -- sales ----------------------------------------------------------------------------------------------

_s = t.sale.c
_COLUMNS = [_s[name] for name in _SALE_COLUMNS]
_SALE = Sql(select(*_COLUMNS).where(_s.till == _p("till"), _s.sale_id == _p("sale_id")))
_SALE_TO_CHANGE = Sql(
    select(*_COLUMNS).where(_s.till == _p("till"), _s.sale_id == _p("sale_id")).with_for_update()
)
_ADD_SALE = Sql(t.sale.insert().values({name: _p(name) for name in _SALE_COLUMNS}))
_SAVE_SALE = Sql(
    update(t.sale)
    .where(_s.till == _p("till"), _s.sale_id == _p("sale_id"))
    .values({name: _p(name) for name in _SALE_COLUMNS if name not in ("till", "sale_id")})
)
_CURRENT = Sql(
    select(*_COLUMNS)
    .where(_s.till == _p("till"), _s.state == literal_column("'open'"))
    .order_by(_s.turn.desc())
    .limit(1)
)
_OPEN = Sql(
    select(*_COLUMNS).where(_s.till == _p("till"), _s.state == literal_column("'open'")).order_by(_s.turn)
)
_OPEN_OF = Sql(
    select(*_COLUMNS).where(_s.customer_id == _p("customer_id"), _s.state == literal_column("'open'"))
)
_UNANSWERED = Sql(
    select(*_COLUMNS)
    .where(
        _s.customer_id == _p("customer_id"),
        _s.state != literal_column("'open'"),
        _s.offline == literal_column("1"),
    )
    .order_by(_s.closed)
)
_LAST_TURN = Sql(select(func.max(_s.turn)).where(_s.till == _p("till"), _s.state == literal_column("'open'")))
_STALE_OPEN = Sql(
    select(*_COLUMNS).where(
        _s.till == _p("till"), _s.state == literal_column("'open'"), _s.touched < _p("before")
    )
)
_held = and_(
    _s.state == literal_column("'open'"),
    _s.lapsed == literal_column("0"),
    _s.touched > _p("alive"),
    _s.reward.is_not(None),
)
_HELD = Sql(
    select(_s.till, _s.sale_id, _s.reward, _s.taken).where(_s.customer_id == _p("customer_id"), _held)
)


def _values(item: Sale | Tap) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__slots__}


def sale(tx: Tx, till: str, sale_id: str) -> Sale | None:
    row = tx.one(_SALE, till=till, sale_id=sale_id)
    return Sale(*row) if row is not None else None


def sale_to_change(tx: Tx, till: str, sale_id: str) -> Sale | None:
    """The sale with its customer locked before it: everybody locks in this order."""
    found = sale(tx, till, sale_id)
    while tx.shared and found is not None:
        lock(tx, found.customer_id)
        now = Sale(*tx.one(_SALE_TO_CHANGE, till=till, sale_id=sale_id))
        if now.customer_id == found.customer_id:
            return now
        found = now
    return found


def add_sale(tx: Tx, item: Sale) -> None:
    tx.run(_ADD_SALE, **_values(item))


def save_sale(tx: Tx, item: Sale) -> None:
    tx.run(_SAVE_SALE, **_values(item))


def current_sale(tx: Tx, till: str) -> Sale | None:
    row = tx.one(_CURRENT, till=till)
    return Sale(*row) if row is not None else None


def open_sales(tx: Tx, till: str) -> list[Sale]:
    return [Sale(*row) for row in tx.all(_OPEN, till=till)]


def open_sales_of(tx: Tx, customer_id: int) -> list[Sale]:
    return [Sale(*row) for row in tx.all(_OPEN_OF, customer_id=customer_id)]


def unanswered_sales(tx: Tx, customer_id: int) -> list[Sale]:
    """Closed sales whose customer's balance was not known then, in order of closing."""
    return [Sale(*row) for row in tx.all(_UNANSWERED, customer_id=customer_id)]


def stale_sales(tx: Tx, till: str, before: float) -> list[Sale]:
    return [Sale(*row) for row in tx.all(_STALE_OPEN, till=till, before=before)]


def last_turn(tx: Tx, till: str) -> int:
    """The highest turn of an open sale."""
    return tx.scalar(_LAST_TURN, till=till) or 0


def held(tx: Tx, customer_id: int) -> list[tuple[str, str, str, int]]:
    """Live reservations: `(till, sale_id, reward, points)`."""
    rows = tx.all(_HELD, customer_id=customer_id, alive=tx.now - RESERVATION_S)
    return [(r.till, r.sale_id, r.reward, r.taken) for r in rows]


def holds(tx: Tx, item: Sale) -> bool:
    """Whether the sale's accepted reward is still reserved for it."""
    return bool(item.reward and not item.lapsed and item.touched > tx.now - RESERVATION_S)


# -- refunds and uses -----------------------------------------------------------------------------------

_REFUND = Sql(select(t.refund).where(t.refund.c.till == _p("till"), t.refund.c.refund_id == _p("refund_id")))
_ADD_REFUND = Sql(
    t.refund.insert().values(
        {k: _p(k) for k in ("till", "refund_id", "sale_till", "sale_id", "amount", "asked", "at")}
    )
)
_USES = Sql(
    select(t.reward_use.c.reward, t.reward_use.c.uses).where(t.reward_use.c.customer_id == _p("customer_id"))
)
_ADD_USE = Sql(
    lambda insert: (
        insert(t.reward_use)
        .values(customer_id=_p("customer_id"), reward=_p("reward"), uses=_p("n"))
        .on_conflict_do_update(
            index_elements=["customer_id", "reward"], set_={"uses": t.reward_use.c.uses + _p("n")}
        )
    )
)


def refund(tx: Tx, till: str, refund_id: str) -> Any:
    return tx.one(_REFUND, till=till, refund_id=refund_id)


def add_refund(tx: Tx, **values: Any) -> None:
    tx.run(_ADD_REFUND, at=tx.at, **values)


def uses(tx: Tx, customer_id: int) -> dict[str, int]:
    return {r.reward: r.uses for r in tx.all(_USES, customer_id=customer_id)}


def add_use(tx: Tx, customer_id: int, reward: str, n: int) -> None:
    tx.run(_ADD_USE, customer_id=customer_id, reward=reward, n=n)


# -- taps -----------------------------------------------------------------------------------------------

_t = t.tap.c
_ADD_TAP = Sql(t.tap.insert().values({k: _p(k) for k in ("till", *_TAP_COLUMNS)}))
_TAP = Sql(select(*[_t[k] for k in _TAP_COLUMNS]).where(_t.till == _p("till"), _t.tap_id == _p("tap_id")))
_WAITING = Sql(
    select(*[_t[k] for k in _TAP_COLUMNS])
    .where(
        _t.till == _p("till"),
        _t.used == literal_column("0"),
        _t.steady > _p("since"),
        _t.status.in_([literal_column("'identified'"), literal_column("'offline'")]),
    )
    .order_by(_t.steady.desc())
    .limit(1)
)
_USE_WAITING = Sql(
    update(t.tap)
    .where(_t.till == _p("till"), _t.used == literal_column("0"), _t.steady > _p("since"))
    .values(used=1)
)
_USE_TAPS_OF = Sql(
    update(t.tap)
    .where(_t.till == _p("till"), _t.used == literal_column("0"), _t.customer_id == _p("customer_id"))
    .values(used=1)
)
_SET_TAP = Sql(
    update(t.tap)
    .where(_t.till == _p("till"), _t.tap_id == _p("tap_id"))
    .values(
        status=_p("status"),
        sale_id=func.coalesce(_p("sale", type_=Text), _t.sale_id),
        used=_p("used"),
    )
)
_TAP_TILL = Sql(select(_t.till).where(_t.tap_id == _p("tap_id")))
_OFFLINE_ELSEWHERE = Sql(
    select(_t.till, _t.tap_id)
    .where(
        _t.customer_id == _p("customer_id"),
        _t.till != _p("till"),
        _t.status == literal_column("'offline'"),
    )
    .order_by(_t.steady.desc())
    .limit(_p("n"))
)
_OFFLINE_TAPS = Sql(
    select(*[_t[k] for k in _TAP_COLUMNS])
    .where(
        _t.till == _p("till"),
        _t.customer_id == _p("customer_id"),
        _t.status == literal_column("'offline'"),
    )
    .order_by(_t.steady.desc())
    .limit(_p("n"))
)


def tap_till(tx: Tx, tap_id: str) -> str | None:
    found: str | None = tx.scalar(_TAP_TILL, tap_id=tap_id)
    return found


def offline_taps_elsewhere(tx: Tx, customer_id: int, limit: int) -> list[tuple[str, str]]:
    """`(till, tap id)` of other tills' taps whose customer was not known then."""
    rows = tx.all(_OFFLINE_ELSEWHERE, till=tx.till, customer_id=customer_id, n=limit) if tx.shared else []
    return [(r.till, r.tap_id) for r in rows]


def add_tap(tx: Tx, till: str, item: Tap) -> None:
    tx.run(_ADD_TAP, till=till, **_values(item))


def tap(tx: Tx, till: str, tap_id: str) -> Tap | None:
    row = tx.one(_TAP, till=till, tap_id=tap_id)
    return Tap(*row) if row is not None else None


def take_waiting_tap(tx: Tx, till: str, since: float) -> Tap | None:
    """The newest tap after `since` that may still attach to the next sale; from now on none may."""
    row = tx.one(_WAITING, till=till, since=since)
    tx.run(_USE_WAITING, till=till, since=since)
    return Tap(*row) if row is not None else None


def use_taps_of(tx: Tx, till: str, customer_id: int) -> None:
    tx.run(_USE_TAPS_OF, till=till, customer_id=customer_id)


def set_tap(tx: Tx, till: str, tap_id: str, *, status: str, sale: str | None = None, used: int = 1) -> None:
    tx.run(_SET_TAP, till=till, tap_id=tap_id, status=status, sale=sale, used=used)


def offline_taps(tx: Tx, till: str, customer_id: int, limit: int) -> list[Tap]:
    return [Tap(*row) for row in tx.all(_OFFLINE_TAPS, till=till, customer_id=customer_id, n=limit)]
