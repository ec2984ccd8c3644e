"""What the label store's transactions are made of: each takes a connection inside of one."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jaxlabel.errors import StoreError
from jaxlabel.oracle.schema import accounts, classes, label_sets, labels, votes


def lookup(
    connection: sa.Connection,
    query: sa.Select[Any],
    column: sa.Column[str],
    items: Iterable[str],
    **parameters: Any,
) -> Sequence[sa.Row[Any]]:
    """The query's rows whose column is one of the items.

    The items are one parameter, whatever their number: an IN list of 60,000 takes many statements
    and ten times as long.
    """
    if _is_sqlite(connection):
        wanted = sa.func.json_each(sa.bindparam("items", type_=sa.Text)).table_valued("value")
        value: Any = json.dumps(list(items))
        query = query.where(column.in_(sa.select(wanted.c.value)))
    else:
        array = sa.bindparam("items", type_=postgresql.ARRAY(sa.Text))
        value = list(items)
        query = query.where(column == sa.any_(array))
    return connection.execute(query, {"items": value, **parameters}).all()


def insert_missing(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Inserts the rows whose keys are not there yet."""
    insert = sqlite.insert if _is_sqlite(connection) else postgresql.insert
    connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _is_sqlite(connection: sa.Connection) -> bool:
    return connection.dialect.name == "sqlite"


def label_set_id(connection: sa.Connection, name: str) -> int:
    """The key of a label set; 0, which none has, when it is not defined."""
    query = sa.select(label_sets.c.id).where(label_sets.c.name == name)
    return connection.execute(query).scalar() or 0


def locked_label_set_id(connection: sa.Connection, name: str) -> int:
    """The key of a label set, made if need be, that no other transaction changes meanwhile."""
    insert_missing(connection, label_sets, [{"name": name}])
    query = sa.select(label_sets.c.id).where(label_sets.c.name == name).with_for_update()
    return connection.execute(query).scalar_one()


def class_names(connection: sa.Connection, label_set: int) -> tuple[str, ...]:
    """The names of a label set's classes in their order."""
    query = sa.select(classes.c.name).where(classes.c.label_set_id == label_set)
    return tuple(connection.execute(query.order_by(classes.c.label)).scalars())


def find_account(connection: sa.Connection, name: str, lock: bool = False) -> sa.Row[Any]:
    """An account's row and its label set's name; locked, nobody else spends until the end.

    Raises:
      StoreError: there is no such account.
    """
    if lock:  # SQLite has no row locks: BEGIN IMMEDIATE has locked everything
        key = sa.select(accounts.c.id).where(accounts.c.name == name).with_for_update()
        connection.execute(key)
    query = sa.select(accounts, label_sets.c.name.label("label_set")).join(label_sets)
    row = connection.execute(query.where(accounts.c.name == name)).one_or_none()
    if row is None:
        known = connection.execute(sa.select(accounts.c.name).order_by(accounts.c.id)).scalars()
        raise StoreError(f"no account is called {name!r}; there are: {', '.join(known) or 'none'}")
    return row


def refusals(connection: sa.Connection, label_set: int) -> list[str]:
    """Return the items that a person is not sure about and that have no label from anybody."""
    labelled = sa.select(labels.c.item).where(labels.c.label_set_id == label_set)
    query = (
        sa.select(votes.c.item)
        .distinct()
        .where(
            votes.c.label_set_id == label_set,
            votes.c.class_name == "",
            votes.c.item.not_in(labelled),
        )
    )
    return list(connection.execute(query).scalars())
