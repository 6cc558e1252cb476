"""The ledger's tables. `entry` is the record; everything else can be argued from it or is on its way to it.

Columns are integers, floats and text only, so that statements can be compiled once and run by the driver
without type conversion (see engine.py). Times named `at` are RFC 3339 text for people; every other time is a
float of the steady clock (clock.py).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy import Integer as SqliteInteger

# The number that a ledger keeps as `meta.schema`. It goes up by one with a release that changes anything
# below; migrations/ says how, and tests/daemon/ledger/schemas keeps each released one.
SCHEMA = 1
# Two hundred tills are upgraded in turn, and only then their one ledger (`tilltap ledger upgrade`). So a
# release also runs on the schema before its own, but on no older one: this is SCHEMA - 1, or 1. For that a
# release only adds (tables, indexes, columns with a default), and names a new column only once it is there.
OLDEST_SHARED = 1

# Tables found by their own key are stored in it (`sqlite_with_rowid=False`): one page less to write per row.

metadata = MetaData()

# 64 bits everywhere: SQLite's INTEGER has them anyway, and only that word makes a key of its rows.
Integer = BigInteger().with_variant(SqliteInteger(), "sqlite")


def _int(name: str, default: int = 0) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text(str(default)))


_IS_OPEN = text("state = 'open'")
_IS_CLOSED = text("closed_at IS NOT NULL")
# The sales that are ever asked for by their customer: a close with a known balance is none of them, and so
# writes no page for it.
_IS_UNDER_WAY = text("state = 'open' OR offline = 1")
# As `mirror_book.py` asks, word for word: of all passes ever sold to, those with anything still to be done.
_IS_BUSY = text("dirty = 1 OR look IS NOT NULL OR settle IS NOT NULL OR parked IS NOT NULL")
_IS_FOREIGN = text("foreign_seen > 0")
# As `book/report.py` asks for them, word for word: a close makes none of these.
_NOT_OF_A_CLOSE = text("kind NOT IN ('earn', 'redeem')")

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

# The rules a sale was opened under, whole: a reload adds a row, nothing ever changes one.
program = Table(
    "program",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("body", Text, nullable=False),
    Column("at", Text, nullable=False),
)

# A customer is a pass. `pass_id` null: the service has not answered yet for `value`. `same_as`: turned out to
# be another customer (two values of one pass met while the service was away); its entries count there.
# `points` is the sum of the entries, kept beside them in the same transaction.
customer = Table(
    "customer",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("pass_id", Text, unique=True),
    Column("ext_id", Text),
    Column("value", Text),
    _int("points"),
    _int("carried"),
    Column("same_as", Integer, index=True),
)

alias = Table(
    "alias",
    metadata,
    Column("value", Text, primary_key=True),
    Column("customer_id", Integer, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# NFC value -> pass, as `GET /passes` lists it: for values that the service cannot be asked by.
nfc_index = Table(
    "nfc_index",
    metadata,
    Column("value", Text, primary_key=True),
    Column("pass_id", Text, nullable=False),
    sqlite_with_rowid=False,
)

# One row per business fact. (till, ref, kind, seq) is the fact's name: `ref` is the sale id, the adjustment's
# request id, or the customer for what the service did. `uid`: the system user whose program made the call.
# Never updated, never deleted (triggers in engine.py).
entry = Table(
    "entry",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("till", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("kind", Text, nullable=False),
    _int("seq"),
    Column("customer_id", Integer, nullable=False, index=True),
    Column("points", Integer, nullable=False),
    _int("carried"),
    Column("at", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("uid", Integer),
    UniqueConstraint("till", "ref", "kind", "seq"),
    Index("entry_other", "at", sqlite_where=_NOT_OF_A_CLOSE),
)

# `turn` orders open sales by last open or update (the current sale is the highest); `touched` is the last
# call about it. `taken` are the points its accepted `reward` holds, or took at close; `lapsed`: ten minutes
# passed and others may use them. `carried` is the customer's running spend before it earned. `uid`: the
# system user whose program closed or cancelled it.
sale = Table(
    "sale",
    metadata,
    Column("till", Text, primary_key=True),
    Column("sale_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("eligible", Integer),
    Column("paid", Integer),
    _int("refunded"),
    Column("customer_id", Integer),
    Column("reward", Text),
    _int("taken"),
    _int("lapsed"),
    Column("declined", Text, nullable=False, server_default="[]"),
    Column("program", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("touched", Float, nullable=False),
    Column("closed", Float),
    Column("closed_at", Text),
    _int("discount"),
    _int("earned"),
    _int("carried"),
    _int("returned"),
    _int("offline"),
    Column("balance_after", Integer),
    Column("offers", Text),
    Column("message", Text),
    Column("receipt", Text),
    Column("why", Text, nullable=False, server_default=""),
    Column("uid", Integer),
    Index("sale_open", "state", "till", "turn", sqlite_where=_IS_OPEN),
    Index("sale_customer", "customer_id", sqlite_where=_IS_UNDER_WAY, postgresql_where=_IS_UNDER_WAY),
    # For a day's report. A till alone reads all its sales for one (0.3 s for a million) rather than write a
    # page more at each close; a chain has that many in days.
    Index("sale_closed", "closed_at", sqlite_where=_IS_CLOSED).ddl_if(dialect="postgresql"),
    sqlite_with_rowid=False,
)

refund = Table(
    "refund",
    metadata,
    Column("till", Text, primary_key=True),
    Column("refund_id", Text, primary_key=True),
    Column("sale_till", Text, nullable=False),
    Column("sale_id", Text, nullable=False),
    Column("amount", Integer, nullable=False),
    Column("asked", Integer),
    Column("at", Text, nullable=False),
    Column("uid", Integer),
    sqlite_with_rowid=False,
)

tap = Table(
    "tap",
    metadata,
    Column("tap_id", Text, primary_key=True),
    Column("till", Text, nullable=False),
    Column("reader", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("customer_id", Integer, index=True),
    Column("sale_id", Text),
    Column("reason", Text),
    Column("used", Integer, nullable=False),
    Column("steady", Float, nullable=False, index=True),
    sqlite_with_rowid=False,
)

event = Table(
    "event",
    metadata,
    Column("till", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("method", Text, nullable=False),
    Column("params", Text, nullable=False),
    sqlite_with_rowid=False,
)

reward_use = Table(
    "reward_use",
    metadata,
    Column("customer_id", Integer, primary_key=True),
    Column("reward", Text, primary_key=True),
    Column("uses", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# One row per pass that was ever met. `look`: the tap that asked for a fresh look at the balance. `said`: the
# `pass` event for what it owes was sent. `confirmed`/`face`: what the service was last seen to hold.
# `settle`: when the last write must be read back.
mirror = Table(
    "mirror",
    metadata,
    Column("customer_id", Integer, primary_key=True),
    Column("confirmed", Integer),
    Column("face", Text),
    _int("dirty"),
    _int("said"),
    Column("since", Float),
    Column("look", Text),
    Column("settle", Float),
    Column("retry", Float, nullable=False, server_default="0"),
    _int("attempts"),
    Column("parked", Text),
    _int("foreign_seen"),
    Column("lease_owner", Text),
    Column("lease_until", Float, nullable=False, server_default="0"),
    Index("mirror_busy", "customer_id", sqlite_where=_IS_BUSY, postgresql_where=_IS_BUSY),
    Index("mirror_foreign", "customer_id", sqlite_where=_IS_FOREIGN, postgresql_where=_IS_FOREIGN),
)

# Every balance written since the pass was last found settled: what may still turn up at the service.
mirror_send = Table(
    "mirror_send",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("customer_id", Integer, nullable=False, index=True),
    Column("points", Integer, nullable=False),
    Column("base", Integer, nullable=False),
    Column("sent", Float, nullable=False),
    Column("outcome", Text, nullable=False),
)

# Texts owed to phones, one per sale at most. state: planned sending sent maybe merged suppressed dropped.
# Those of known fate are forgotten after a week, so a customer's are few and one key is enough to find them.
push = Table(
    "push",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("customer_id", Integer, nullable=False),
    Column("till", Text, nullable=False),
    Column("sale_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("earned", Integer, nullable=False),
    Column("reward", Text, nullable=False),
    Column("program", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("planned", Float, nullable=False),
    Column("sent", Float),
    UniqueConstraint("customer_id", "till", "sale_id"),
)


# -- several tills on one ledger; a till alone never writes these -----------------------------------------

# Who runs as a till: the name is its identity, so only one daemon may have it at a time. `holder` is drawn
# once per spool, so that a restarted daemon is known again.
till = Table(
    "till",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("until", Float, nullable=False),
    sqlite_with_rowid=False,
)

# What a till did to another till's sale or tap: its POS must hear of it from its own daemon, with a number of
# its own. Rows are only added and, by the till they are for, removed: nobody ever waits for one.
news = Table(
    "news",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("till", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=""),
)

# Which till last gave a pass something to be told: its mirror does it, and its POS gets the `pass` event.
wish = Table(
    "wish",
    metadata,
    Column("customer_id", Integer, primary_key=True, autoincrement=False),
    Column("till", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# The service's rate limit is one for all tills: `used` is what loyalty/budget.py counts by, as JSON.
rate = Table(
    "rate",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("used", Text, nullable=False),
    sqlite_with_rowid=False,
)
