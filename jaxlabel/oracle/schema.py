"""The tables of a label store, the same on SQLite and PostgreSQL.

Money is counted in whole millionths of a label's usual price, so that sums are exact: three
labels at 0.1 fit into a budget of 0.3.
"""

import math

import sqlalchemy as sa

from jaxlabel.errors import StoreError

VERSION = 1
UNIT = 1_000_000  # the price of a label that has no price of its own
UNLIMITED = 2**62  # what an infinite budget is stored as; sums stay within 64 bits
MOST = 1e12

metadata = sa.MetaData()
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers only INTEGER itself

versions = sa.Table("jaxlabel_store", metadata, sa.Column("version", sa.Integer, primary_key=True))

label_sets = sa.Table(
    "jaxlabel_label_sets",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
)

classes = sa.Table(
    "jaxlabel_classes",
    metadata,
    sa.Column("label_set_id", sa.ForeignKey(label_sets.c.id), primary_key=True),
    sa.Column("label", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.UniqueConstraint("label_set_id", "name"),
)

labels = sa.Table(
    "jaxlabel_labels",
    metadata,
    sa.Column("label_set_id", sa.ForeignKey(label_sets.c.id), primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("label", sa.Integer, nullable=False),
    sa.Column("cost", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

accounts = sa.Table(
    "jaxlabel_accounts",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("label_set_id", sa.ForeignKey(label_sets.c.id), nullable=False),
    sa.Column("budget", sa.BigInteger, nullable=False),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("peeked", sa.Boolean, nullable=False),
)

ledger = sa.Table(
    "jaxlabel_ledger",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("account_id", sa.ForeignKey(accounts.c.id), nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("label", sa.Integer, nullable=False),
    sa.Column("cost", sa.BigInteger, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("asked_time", sa.Text, nullable=False),
    sa.UniqueConstraint("account_id", "item"),
)

# What each person said about an item on the labelling page; an empty class name is "not sure".
votes = sa.Table(
    "jaxlabel_votes",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("label_set_id", sa.ForeignKey(label_sets.c.id), nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("class_name", sa.Text, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("voted_time", sa.Text, nullable=False),
    sa.UniqueConstraint("label_set_id", "item", "person"),
)


def to_units(amount: float, what: str) -> int:
    """A price or a budget in millionths; an infinite budget becomes a very large one.

    Raises:
      StoreError: it is negative, not a number, or beyond counting.
    """
    if amount == math.inf and what == "budget":
        return UNLIMITED
    if not 0 <= amount <= MOST:
        raise StoreError(f"a {what} of {amount:g} cannot be kept: it takes 0 to {MOST:g}")
    return round(amount * UNIT)


def from_units(units: int) -> float:
    """Millionths as a price or a budget."""
    return math.inf if units >= UNLIMITED else units / UNIT
