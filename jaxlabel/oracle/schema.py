"""The tables of a label store, for SQLite and PostgreSQL.

Prices and budgets are stored as integers, in millionths of a label's usual price. So sums are
exact: three labels at 0.1 fit into a budget of 0.3.
"""

import math

import sqlalchemy as sa

from jaxlabel.errors import StoreError

VERSION = 2  # of these tables; `jaxlabel.oracle.migrations` brings older ones up to it
UNITS_PER_LABEL = 1_000_000  # the usual price of a label, in millionths
UNLIMITED = 2**62  # the stored value of an infinite budget; sums stay within 64 bits
MAX_AMOUNT = 1e12  # the largest finite price or budget

metadata = sa.MetaData()
# SQLite generates keys only for columns of type INTEGER.
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

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

# The prices of labels that the store may not have yet.
prices = sa.Table(
    "jaxlabel_prices",
    metadata,
    sa.Column("label_set_id", sa.ForeignKey(label_sets.c.id), primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
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

# Each person's answer for an item on the labelling page; an empty class name means "not sure".
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

# Further indexes, since version 2: a query never reads a whole table to find a few of its rows.
sa.Index("jaxlabel_ledger_by_item", ledger.c.item)
sa.Index("jaxlabel_votes_by_class", votes.c.label_set_id, votes.c.class_name)


def to_units(amount: float, name: str) -> int:
    """Convert a price or a budget to the stored integer: millionths of a label's usual price.

    Args:
      amount: the price or the budget, in units of a label's usual price. An infinite budget becomes
        UNLIMITED.
      name: "cost" or "budget": what `amount` is. Only a budget may be infinite.

    Raises:
      StoreError: the amount is negative, not a number, or larger than MAX_AMOUNT.
    """
    if amount == math.inf and name == "budget":
        return UNLIMITED
    if not 0 <= amount <= MAX_AMOUNT:
        raise StoreError(f"a {name} of {amount:g} is not possible: use 0 to {MAX_AMOUNT:g}")
    return round(amount * UNITS_PER_LABEL)


def from_units(units: int) -> float:
    """Convert a stored price or budget (in millionths) to a number; UNLIMITED to infinity."""
    return math.inf if units >= UNLIMITED else units / UNITS_PER_LABEL
