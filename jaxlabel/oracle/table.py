"""Read labels from a table of the user's own database, one SELECT per question; never write.

The address of a table is a database URL with the names of the table and of its columns:

    postgresql://USER@HOST/DATABASE?table=TABLE&id=COLUMN&label=COLUMN
    sqlite:///FILE?table=TABLE&id=COLUMN&label=COLUMN

Names are looked up in the database's catalogue and quoted; ids are bound parameters.
"""

import contextlib
import os
import re
import sqlite3
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import pool

from jaxlabel.errors import DataError, StoreError, UsageError, did_you_mean
from jaxlabel.oracle import names
from jaxlabel.oracle.engine import (
    CONNECT_TIMEOUT,
    LOCK_TIMEOUT,
    NO_DRIVER,
    explain,
    kind_of,
    location,
)
from jaxlabel.oracle.names import MAX_NAME_LENGTH
from jaxlabel.oracle.queries import lookup

MATCHES = ("path", "stem", "number")
PARTS = ("table", "id", "label", "match")
HOW = (
    "write postgresql://USER@HOST/DATABASE?table=TABLE&id=COLUMN&label=COLUMN or "
    "sqlite:///FILE?table=TABLE&id=COLUMN&label=COLUMN"
)
# Pairs: a pattern for a part of a database's error message, and the advice for the user.
ADVICE = (
    ("unable to open", "is the path of the file right, and may you read it?"),
    ("not a database", "name a SQLite file"),
    ("locked", "another process has locked it for too long: end that process, then start again"),
    ("password", "correct the user and the password (config.labels, PGPASSWORD or ~/.pgpass)"),
    ("permission denied", "grant this user the right to SELECT from the table"),
    ("resolve|translate host", "correct the host in config.labels"),
    ("does not exist", "correct the database or the user in config.labels"),
    ("connection", "is the server running, and are host and port in config.labels right?"),
)  # fmt: skip
WHOLE = re.compile(r"-?[0-9]{1,18}")  # whole numbers that a 64-bit integer column can hold
# The types of an id column that are supported, and the SQL type of the ids that are looked up.
KINDS: dict[type, Any] = {str: sa.Text, int: sa.BigInteger, uuid.UUID: sa.Uuid}


class LabelTable(NamedTuple):
    """A table with the labels of pictures, in the user's own database.

    Attributes:
      engine: SQLAlchemy's engine of the database, whose transactions are read-only. It keeps one
        connection to a PostgreSQL server open, which `close` ends.
      source: the table.
      key: the column of ids.
      label: the column of labels.
      kind: the Python type of the ids: str, int or uuid.UUID.
      match: what the column of ids holds: "path", "stem" or "number" of the pictures.
      place: the table and the database for messages, without a password.
      is_indexed: True if an index begins with the column of ids, so that a look-up is fast.
    """

    engine: sa.Engine
    source: sa.TableClause
    key: sa.ColumnClause[Any]
    label: sa.ColumnClause[Any]
    kind: type
    match: str
    place: str
    is_indexed: bool

    def close(self) -> None:
        """Close the connection to the database; a later question opens it again."""
        self.engine.dispose()


def open_table(address: str) -> LabelTable:
    """Connect to the database of an address, and check that the table and its columns exist.

    Raises:
      UsageError: the address is not valid, or there is no such table or column.
      StoreError: the database cannot be used.
    """
    url, parts = _parse(address)
    engine = _make_engine(url)
    try:
        return _look_up(engine, parts)
    except BaseException:
        engine.dispose()
        raise


def _look_up(engine: sa.Engine, parts: dict[str, str]) -> LabelTable:
    """Find the table and the columns that an address names in the database's catalogue.

    Raises:
      UsageError: there is no such table or column, or the column of ids has an unusable type.
      StoreError: the database cannot be used.
    """
    schema, _, name = parts["table"].rpartition(".")
    where = f"config.labels, database {location(engine)}"
    with _reading(engine, where) as connection:
        inspector = sa.inspect(connection)
        if not inspector.has_table(name, schema or None):
            known = [*inspector.get_table_names(schema or None),
                     *inspector.get_view_names(schema or None)]  # fmt: skip
            raise UsageError(f"{where}: there is no table {parts['table']!r}"
                             f"{did_you_mean(name, known)}")  # fmt: skip
        columns = {column["name"]: column["type"]
                   for column in inspector.get_columns(name, schema or None)}  # fmt: skip
        for part in ("id", "label"):
            if parts[part] not in columns:
                raise UsageError(f"{where}: the table {parts['table']} has no column "
                                 f"{parts[part]!r}, but {', '.join(columns)}")  # fmt: skip
        is_indexed = _has_index(inspector, name, schema or None, parts["id"])
    kind = _python_type(columns[parts["id"]], f"{where}: the column {parts['id']}")
    key: sa.ColumnClause[Any] = sa.column(sa.quoted_name(parts["id"], True))
    label: sa.ColumnClause[Any] = sa.column(sa.quoted_name(parts["label"], True))
    source = sa.table(
        sa.quoted_name(name, True), key, label,
        schema=sa.quoted_name(schema, True) if schema else None,
    )  # fmt: skip
    place = f"the table {parts['table']} of {location(engine)}"
    return LabelTable(engine, source, key, label, kind, parts["match"], place, is_indexed)


def has_rows(table: LabelTable, ids: Sequence[str]) -> bool:
    """Return True if the table has a row for at least one of the ids; no label is read."""
    query = sa.select(table.key).select_from(table.source).limit(1)
    values = [value for text in ids if (value := _value(table, text)) is not None]
    return bool(_select(table, query, values))


def read_labels(table: LabelTable, ids: Sequence[str]) -> dict[str, str]:
    """Read the labels of some pictures with one SELECT, and return the class name by id.

    An id is left out if the table has no row for it, or if its label is NULL or blank.

    Args:
      table: the table.
      ids: the ids of the pictures in the table, as text.

    Raises:
      DataError: a label is no class name, or the table has two labels for one id.
      StoreError: the database cannot be used.
    """
    values = {text: value for text in ids if (value := _value(table, text)) is not None}
    exact = dict.fromkeys(values.values())
    query = sa.select(table.key, table.label).select_from(table.source)
    found: dict[Any, str] = {}
    for row in _select(table, query, list(exact)):
        value, label = tuple(row)
        name = _class_name(table, value, label)
        if name and found.setdefault(value, name) != name:
            both = " and ".join(map(repr, sorted((found[value], name))))
            raise DataError(f"{table.place} has the labels {both} for the {table.key.key} "
                            f"{value!r}: keep one")  # fmt: skip
    # A database may find equal what is spelt differently: other case, or padded with blanks.
    loose = {_folded(value): name for value, name in found.items() if value not in exact}
    labels = {text: found.get(value) or loose.get(_folded(value)) for text, value in values.items()}
    return {text: name for text, name in labels.items() if name}


def _folded(value: Any) -> Any:
    """Return an id without blanks at its ends and in lower case; a number is returned unchanged."""
    return value.strip().casefold() if isinstance(value, str) else value


def _select(table: LabelTable, query: sa.Select[Any], values: list[Any]) -> Sequence[sa.Row[Any]]:
    """Return the rows of a query whose id is one of `values`, in a read-only transaction."""
    with _reading(table.engine, f"config.labels, {table.place}") as connection:
        return lookup(connection, query, table.key, values, kind=KINDS[table.kind])


def _value(table: LabelTable, text: str) -> Any:
    """Return an id as the type of the id column; None if no row can have it."""
    if table.kind is int:
        return int(text) if WHOLE.fullmatch(text) else None
    try:
        return table.kind(text)
    except ValueError:
        return None


def _class_name(table: LabelTable, value: Any, label: Any) -> str:
    """Return a label of the table as a class name; an empty string if it is NULL or blank.

    Raises:
      DataError: the label is neither text nor a whole number, or it is too long for a name.
    """
    if label is None:
        return ""
    name = names.clean(str(label)) if isinstance(label, str | int) else None
    if name is None or len(name) > MAX_NAME_LENGTH or (name and not name.isprintable()):
        raise DataError(f"{table.place}: the label of the {table.key.key} {value!r} is no class "
                        f"name: take a column of text of at most {MAX_NAME_LENGTH} characters or "
                        "of whole numbers")  # fmt: skip
    return name


def _parse(address: str) -> tuple[sa.URL, dict[str, str]]:
    """Split the address of a table into the database's URL and the names in its query.

    Raises:
      UsageError: the address is not valid.
    """
    try:
        url = sa.make_url(address)
        kind = kind_of(url)
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError(f"config.labels is no address of a table: {HOW}") from None
    parts = {name: url.query.get(name, "path" if name == "match" else "") for name in PARTS}
    given = {name: part for name, part in parts.items() if isinstance(part, str) and part}
    if kind not in ("postgresql", "sqlite") or (kind == "sqlite" and not url.database):
        raise UsageError(f"config.labels is no address of a table: {HOW}")
    if missing := [name for name in PARTS if name not in given]:
        raise UsageError(f"config.labels says no {missing[0]}, or more than one: {HOW}")
    if given["match"] not in MATCHES:
        raise UsageError(f"config.labels has match={given['match']}: it takes one of "
                         f"{', '.join(MATCHES)}")  # fmt: skip
    return url.set(drivername=kind).difference_update_query(PARTS), given


def _make_engine(url: sa.URL) -> sa.Engine:
    """Return an engine whose transactions cannot write, without connecting to the database.

    Raises:
      StoreError: the driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        path = os.path.abspath(str(url.database))
        # To read a database with a write-ahead log, SQLite writes files beside it, unless the
        # database is opened as immutable.
        fixed = not os.access(os.path.dirname(path), os.W_OK) and not os.path.exists(f"{path}-wal")
        uri = f"file:{urllib.parse.quote(path)}?mode=ro{'&immutable=1' if fixed else ''}"
        return sa.create_engine(
            url.set(query={}), poolclass=pool.NullPool,
            creator=lambda: sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT),
        )  # fmt: skip
    limits = {"connect_timeout": CONNECT_TIMEOUT, "tcp_user_timeout": 1000 * LOCK_TIMEOUT}
    try:
        # One connection stays open between questions, because connecting takes longer than a query.
        # It is checked before each question, and replaced if the server has closed it.
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"), pool_size=1, pool_pre_ping=True,
            connect_args={k: limits[k] for k in limits.keys() - url.query.keys()},
            execution_options={"postgresql_readonly": True},
        )  # fmt: skip
    except ImportError:
        raise StoreError(NO_DRIVER) from None


@contextlib.contextmanager
def _reading(engine: sa.Engine, where: str) -> Iterator[sa.Connection]:
    """Open a connection in a read-only transaction, which is rolled back at the end.

    Raises:
      StoreError: the database reports an error; the message begins with `where`.
    """
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"{where}: {explain(error, ADVICE)}") from error


def _has_index(inspector: sa.Inspector, name: str, schema: str | None, column: str) -> bool:
    """Return True if a primary key, a unique constraint or an index begins with a column."""
    keys: list[Any] = [inspector.get_pk_constraint(name, schema)["constrained_columns"]]
    keys += [index["column_names"] for index in inspector.get_indexes(name, schema)]
    keys += [unique["column_names"] for unique in inspector.get_unique_constraints(name, schema)]
    return any(list(columns[:1]) == [column] for columns in keys)


def _python_type(sql_type: Any, what: str) -> type:
    """Return the Python type of the ids in a column of an SQL type.

    Raises:
      UsageError: ids of this type cannot be looked up.
    """
    if isinstance(sql_type, sa.types.NullType):
        return str
    try:
        kind = sql_type.python_type
    except NotImplementedError:
        kind = object
    if kind not in KINDS:
        raise UsageError(f"{what} is of type {sql_type}: take one of text, whole numbers or UUID")
    return kind
