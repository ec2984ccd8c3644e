"""Database queries of the label store; each function takes a connection in a transaction.

An item is the id of an image. A label set is the classes and labels of one data set.
"""

import json
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jaxlabel.errors import StoreError
from jaxlabel.oracle.records import Account
from jaxlabel.oracle.schema import (
    UNITS_PER_LABEL,
    accounts,
    classes,
    from_units,
    label_sets,
    labels,
    prices,
    votes,
)

AT_ONCE = 50_000  # items that one statement looks up
_WITH_PRICES: weakref.WeakSet[sa.Engine] = weakref.WeakSet()  # databases seen to have this table


def lookup(
    connection: sa.Connection,
    query: sa.Select[Any],
    column: sa.ColumnElement[Any],
    items: Iterable[Any],
    *,
    kind: Any = sa.Text,
) -> Sequence[sa.Row[Any]]:
    """Return the rows of a database query whose `column` has one of the given items.

    The items are passed as a single parameter, up to 50,000 at a time. An IN list of 60,000 items
    would need many statements and take ten times as long. The items are sorted, so that the
    database finds them one after the other in its index: among a million ids of images, each in
    another page, SQLite would read most pages many times.

    Args:
      connection: a connection in a transaction.
      query: the SELECT statement, without a condition on the items.
      column: the column that contains the ids of images.
      items: the ids to search for.
      kind: the SQL type of the ids.
    """
    if as_text := _is_sqlite(connection):
        table = sa.func.json_each(sa.bindparam("items", type_=sa.Text)).table_valued("value")
        query = query.where(column.in_(sa.select(table.c.value)))
    else:
        array = sa.bindparam("items", type_=postgresql.ARRAY(kind))
        query = query.where(column == sa.any_(array))
    ordered, rows = sorted(items), list[sa.Row[Any]]()
    for start in range(0, len(ordered), AT_ONCE):
        some = ordered[start : start + AT_ONCE]
        rows.extend(connection.execute(query, {"items": json.dumps(some) if as_text else some}))
    return rows


def labels_of(
    connection: sa.Connection,
    label_set: int,
    items: Iterable[str] | None,
    *conditions: sa.ColumnElement[bool],
) -> dict[str, int]:
    """Return a dict from item to label for those given items with a label that meets conditions.

    Args:
      connection: a connection in a transaction.
      label_set: the primary key of the label set.
      items: the ids of the images; None for all images of the label set.
      conditions: SQL conditions on the table of labels.
    """
    query = sa.select(labels.c.item, labels.c.label)
    query = query.where(labels.c.label_set_id == label_set, *conditions)
    if items is None:
        return {row.item: row.label for row in connection.execute(query)}
    return {row.item: row.label for row in lookup(connection, query, labels.c.item, items)}


def prices_of(connection: sa.Connection, label_set: int, items: Iterable[str]) -> dict[str, int]:
    """Return the price of each given item that has no label yet, in millionths.

    It is the price that `jaxlabel.oracle.prices.set_prices` stored, or else UNITS_PER_LABEL.
    `label_set` is the primary key of the label set.
    """
    if not (names := list(items)):
        return {}
    if not _has_prices(connection):
        return dict.fromkeys(names, UNITS_PER_LABEL)
    query = sa.select(prices.c.item, prices.c.cost).where(prices.c.label_set_id == label_set)
    found = {row.item: row.cost for row in lookup(connection, query, prices.c.item, names)}
    return {item: found.get(item, UNITS_PER_LABEL) for item in names}


def _has_prices(connection: sa.Connection) -> bool:
    """Return False for a store of version 1 that this user may not change: it has no such table."""
    if connection.engine not in _WITH_PRICES and sa.inspect(connection).has_table(prices.name):
        _WITH_PRICES.add(connection.engine)
    return connection.engine in _WITH_PRICES


def stored_costs(connection: sa.Connection, label_set: int, items: Iterable[str]) -> dict[str, int]:
    """Return the price of each given item, with a label or without, in millionths.

    `label_set` is the primary key of the label set.
    """
    names = list(dict.fromkeys(items))
    query = sa.select(labels.c.item, labels.c.cost).where(labels.c.label_set_id == label_set)
    known = {row.item: row.cost for row in lookup(connection, query, labels.c.item, names)}
    return known | prices_of(connection, label_set, (name for name in names if name not in known))


def unusual_costs(connection: sa.Connection, label_set: int) -> dict[str, int]:
    """Return the price of each item whose price is not the usual one, in millionths.

    The database reads through all items of the label set, whose primary key is `label_set`. This
    is faster than to look up many given items, because usually it returns nothing.
    """
    unusual = [
        sa.select(table.c.item, table.c.cost).where(
            table.c.label_set_id == label_set, table.c.cost != UNITS_PER_LABEL
        )
        for table in (prices, labels)
    ]
    found = unusual if _has_prices(connection) else unusual[1:]
    costs = {row.item: row.cost for query in found for row in connection.execute(query)}
    # A label keeps its price even if another one was set later (`jaxlabel.oracle.prices`).
    usual = sa.select(labels.c.item).where(
        labels.c.label_set_id == label_set, labels.c.cost == UNITS_PER_LABEL
    )
    for row in lookup(connection, usual, labels.c.item, costs):
        del costs[row.item]
    return costs


def insert_missing(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows into a table, but leave out each row whose unique key the table already has."""
    insert = sqlite.insert if _is_sqlite(connection) else postgresql.insert
    connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _is_sqlite(connection: sa.Connection) -> bool:
    return connection.dialect.name == "sqlite"


def label_set_id(connection: sa.Connection, name: str) -> int:
    """Return the primary key of the label set called `name`, or 0 if there is none.

    A label set is the classes and labels of one data set.
    """
    query = sa.select(label_sets.c.id).where(label_sets.c.name == name)
    return connection.execute(query).scalar() or 0


def locked_label_set_id(connection: sa.Connection, name: str) -> int:
    """Return the primary key of a label set, and lock its row until the transaction ends.

    A label set is the classes and labels of one data set. It is created if none is called `name`.
    """
    insert_missing(connection, label_sets, [{"name": name}])
    query = sa.select(label_sets.c.id).where(label_sets.c.name == name).with_for_update()
    return connection.execute(query).scalar_one()


def keep_label_set(connection: sa.Connection, label_set: int) -> None:
    """Let no other transaction change the label set's labels or classes until this one ends.

    Other transactions may keep it as well: several accounts can buy at the same time. Those that
    change it wait, because they begin with `locked_label_set_id`.

    Args:
      connection: a connection in a write transaction that has not locked an account yet.
      label_set: the primary key of the label set.
    """
    query = sa.select(label_sets.c.id).where(label_sets.c.id == label_set)
    connection.execute(query.with_for_update(read=True))


def class_names(connection: sa.Connection, label_set: int) -> tuple[str, ...]:
    """Return the class names of a label set, in the order of the classes' indices.

    `label_set` is the primary key of the label set, the classes and labels of one data set.
    """
    query = sa.select(classes.c.name).where(classes.c.label_set_id == label_set)
    return tuple(connection.execute(query.order_by(classes.c.label)).scalars())


def find_account(connection: sa.Connection, name: str, lock: bool = False) -> sa.Row[Any]:
    """Return the database row of the account called `name`.

    An account is a budget for labels of one label set. The row has the columns of the table of
    accounts and the column `label_set`, the name of the label set.

    Args:
      connection: a connection in a transaction.
      name: the account's name.
      lock: whether to lock the row, so that no other transaction can buy for this account until
        this transaction ends.

    Raises:
      StoreError: there is no account of this name.
    """
    query = sa.select(accounts, label_sets.c.name.label("label_set")).join(label_sets)
    query = query.where(accounts.c.name == name)
    if lock:
        # PostgreSQL waits for the lock and then returns the row's newest values. SQLite ignores
        # this; its BEGIN IMMEDIATE has locked the whole database.
        query = query.with_for_update(of=accounts)
    row = connection.execute(query).one_or_none()
    if row is None:
        names = connection.execute(sa.select(accounts.c.name).order_by(accounts.c.id)).scalars()
        raise StoreError(f"no account is called {name!r}; there are: {', '.join(names) or 'none'}")
    return row


def count_matches(
    connection: sa.Connection, label_set: int, pairs: Iterable[tuple[str, int | None]]
) -> int:
    """Return how many of the given labels are equal to the labels in the store.

    Args:
      connection: a connection in a transaction.
      label_set: the primary key of the label set.
      pairs: the given labels, as pairs (item, label). A pair that is repeated counts each time. The
        label None matches every stored label. An item without a stored label counts as no match.
    """
    groups: dict[tuple[int | None, int], list[str]] = defaultdict(list)
    for (item, label), repeats in Counter(pairs).items():
        groups[label, repeats].append(item)
    labelled = sa.select(sa.func.count()).where(labels.c.label_set_id == label_set)
    num_matches = 0
    for (label, repeats), members in groups.items():
        query = labelled if label is None else labelled.where(labels.c.label == label)
        counts = lookup(connection, query, labels.c.item, members)
        num_matches += repeats * sum(row[0] for row in counts)
    return num_matches


def account_record(row: sa.Row[Any]) -> Account:
    """Convert a database row of an account, as `find_account` returns it, to an `Account`."""
    amounts = from_units(row.budget), from_units(row.spent)
    return Account(row.name, row.label_set, *amounts, bool(row.peeked))


def refusals(connection: sa.Connection, label_set: int) -> list[str]:
    """Return the unlabelled items for which somebody answered "not sure".

    Items are ids of images; people answer on the labelling page.
    """
    labelled = sa.exists().where(labels.c.label_set_id == label_set, labels.c.item == votes.c.item)
    query = sa.select(votes.c.item).where(
        votes.c.label_set_id == label_set, votes.c.class_name == "", ~labelled
    )
    return list(dict.fromkeys(connection.execute(query).scalars()))
