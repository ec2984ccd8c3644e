"""Create the tables of a label store, and update those of an older version to today's.

The table jaxlabel_store has the version of the other tables. If `jaxlabel.oracle.schema` gets new
tables or indexes, raise VERSION there. A change of existing tables needs code here as well.
"""

import sqlite3
import time

import sqlalchemy as sa

from jaxlabel.errors import StoreError
from jaxlabel.oracle import schema
from jaxlabel.oracle.engine import LOCK_TIMEOUT, explain, location, open_engine, transaction
from jaxlabel.oracle.queries import insert_missing

# Parts of the messages of databases that this user may read but not change.
MAY_NOT_WRITE = ("readonly", "read-only", "permission denied", "must be owner")


def open_store(url: str) -> sa.Engine:
    """Open a label store's database, create or update its tables, and return SQLAlchemy's engine.

    Raises:
      StoreError: the URL is not valid, the database cannot be used, or its tables were made by a
        newer version of jaxlabel.
    """
    engine = open_engine(url)
    try:
        _update_tables(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _update_tables(engine: sa.Engine) -> None:
    """Create the tables, or change those of an older version, in one transaction.

    Tables of an older version that this user may not change are used as they are. They can be read,
    because each newer version so far has only added tables and indexes.
    """
    with transaction(engine) as connection:
        version = _version(connection)
    if version == schema.VERSION:
        return
    if version == 0 and engine.dialect.name == "sqlite":
        _use_write_ahead_log(engine)
    try:
        with transaction(engine, write=True) as connection:
            _lock_tables(connection)
            if _version(connection) < schema.VERSION:
                _create_missing(connection)
    except StoreError as error:
        if version == 0 or not any(clue in str(error) for clue in MAY_NOT_WRITE):
            raise


def _version(connection: sa.Connection) -> int:
    """Return the version of the tables, 0 if there are none.

    Raises:
      StoreError: the version is newer than that of this jaxlabel.
    """
    if not sa.inspect(connection).has_table(schema.versions.name):
        return 0
    version = connection.scalar(sa.select(sa.func.max(schema.versions.c.version))) or 0
    if version > schema.VERSION:
        raise StoreError(
            f"the label store {location(connection.engine)} has version {version}, this jaxlabel "
            f"uses version {schema.VERSION}: install a newer jaxlabel, or name another store"
        )
    return version


def _lock_tables(connection: sa.Connection) -> None:
    """Let no other process change the tables until the transaction ends.

    If two processes created the same tables at the same time, one of them would fail. SQLite is
    locked by its write transaction already.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(5254223)"))


def _create_missing(connection: sa.Connection) -> None:
    """Create the tables and indexes that are missing, and record the version of today's tables.

    A new database has none of them. A store of version 1 lacks the further indexes, the prices and,
    if it is one of the first, the votes.
    """
    schema.metadata.create_all(connection)
    for table in schema.metadata.sorted_tables:
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    insert_missing(connection, schema.versions, [{"version": schema.VERSION}])


def _use_write_ahead_log(engine: sa.Engine) -> None:
    """Switch a SQLite file to write-ahead logging, so that readers do not wait for writers.

    SQLite stores the setting in the file.

    Raises:
      StoreError: the database reports an error, or is locked for more than LOCK_TIMEOUT seconds.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        # The mode cannot be changed inside a transaction, and a SQLAlchemy connection begins one.
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite does not wait for the lock here, so two processes that open a new file at the
            # same time collide.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise StoreError(f"the label store {location(engine)}: {explain(error)}") from error
            time.sleep(0.02)
        finally:
            connection.close()
