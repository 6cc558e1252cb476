"""Steps from one released schema to the next, one file each; none is needed yet.

A ledger begins with all of `tables.py`. A later release that changes it adds here `schema_2.py`, an Alembic
revision without the surroundings (upgrade.py runs it, on SQLite and PostgreSQL alike):

    revision, down_revision = "2", None          # the schema it leads to; from "3" on, the one before

    def upgrade() -> None:
        op.add_column("sale", sa.Column("peer", sa.BigInteger))

Steps only add (see `tables.OLDEST_SHARED`), never begin or end a transaction, and are never changed after
their release. `tests/rigs/make_schema.py` then keeps the new schema for the tests of all later releases.
"""
