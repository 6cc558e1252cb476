"""Customers, whom values mean, and the entries that make their balances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Text, bindparam, func, literal_column, or_, select, update

from tilltap.ledger import tables as t
from tilltap.ledger.engine import Sql, Tx

_p = bindparam


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


_c = t.customer.c
_CUSTOMER = Sql(select(t.customer).where(_c.id == _p("id")))
_BY_PASS = Sql(select(t.customer).where(_c.pass_id == _p("pass_id")))
_BY_VALUE = Sql(
    select(t.customer).join(t.alias, t.alias.c.customer_id == _c.id).where(t.alias.c.value == _p("value"))
)
_LOCK_CUSTOMER = Sql(select(t.customer).where(_c.id == _p("id")).with_for_update())
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
# A cancelled sale stays where it was: nobody asks for it by its customer, and readers follow `same_as`.
_MOVE_SALES = Sql(
    update(t.sale)
    .where(
        t.sale.c.customer_id == _p("old"),
        or_(t.sale.c.state == literal_column("'open'"), t.sale.c.offline == literal_column("1")),
    )
    .values(customer_id=_p("new"))
)
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
    found = _itself(tx, customer_id)
    return customer(tx, found.same_as) if found.same_as else found


def _itself(tx: Tx, customer_id: int) -> Customer:
    found = tx.customers.get(customer_id) or _customer(tx, tx.one(_CUSTOMER, id=customer_id))
    assert found is not None
    return found


def lock(tx: Tx, *customer_ids: int | None) -> None:
    """Before anything about these customers is judged or changed: other tills wait for the end of this
    transaction. Everything that hangs on a customer (points, holds, uses, mirror) is guarded by its row.
    """
    if not tx.shared:
        return
    for found in sorted({i for i in customer_ids if i is not None}):
        customer_id: int | None = found
        while customer_id:
            if customer_id not in tx.locked:
                # What was read before the lock is perhaps of yesterday.
                _customer(tx, tx.one(_LOCK_CUSTOMER, id=customer_id))
                tx.open_of.pop(customer_id, None)
                tx.locked.add(customer_id)
            customer_id = _itself(tx, customer_id).same_as


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
    """`old`, whom the service had not answered for, turned out to be `new`: its balance, aliases, sales and
    taps count there from now on.
    """
    tx.run(_ADD_POINTS, id=new.id, points=old.points, carried=old.carried)
    tx.run(_JOIN, id=old.id, same_as=new.id)
    for sql in (_MOVE_ALIASES, _MOVE_SALES, _MOVE_TAPS, _MOVE_PUSHES):
        tx.run(sql, old=old.id, new=new.id)
    tx.customers.clear()
    tx.open_of.clear()


def put_alias(tx: Tx, value: str, customer_id: int) -> None:
    tx.run(_PUT_ALIAS, value=value, customer_id=customer_id)


def indexed(tx: Tx, value: str) -> str | None:
    found: str | None = tx.scalar(_INDEXED, value=value)
    return found


def put_index(tx: Tx, value: str, pass_id: str) -> None:
    tx.run(_PUT_INDEX, value=value, pass_id=pass_id)


_e = t.entry.c
_ADD_ENTRY = Sql(
    t.entry.insert().values(
        {
            k: _p(k)
            for k in ("till", "ref", "kind", "seq", "customer_id", "points", "carried", "at", "why", "uid")
        }
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
        uid=tx.uid,
    )
    tx.run(_ADD_POINTS, id=customer_id, points=points, carried=carried)
    was = tx.customers.get(customer_id)
    if was is not None:
        tx.customers[customer_id] = replace(was, points=was.points + points, carried=was.carried + carried)


def count_entries(tx: Tx, till: str, ref: str, kind: str) -> int:
    return int(tx.scalar(_COUNT, till=till, ref=ref, kind=kind))


def entry(tx: Tx, till: str, ref: str, kind: str) -> Any:
    return tx.one(_ENTRY, till=till, ref=ref, kind=kind)


def history(tx: Tx, customer_id: int, limit: int) -> list[Any]:
    """Entries, newest first."""
    return tx.all(_HISTORY, id=customer_id, n=limit)
