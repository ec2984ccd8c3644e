"""Open the database of a label store, and explain database errors in one line."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, pool

from jaxlabel.errors import StoreAddressError, StoreError
from jaxlabel.oracle import schema
from jaxlabel.oracle.queries import insert_missing

LOCK_TIMEOUT = 20  # seconds that a process waits for a lock that another process holds
CONNECT_TIMEOUT = 5  # seconds within which a PostgreSQL server must accept a connection
NOT_A_URL = (
    "the label store's URL is not valid: write sqlite:///FILE.db or "
    "postgresql://USER:PASSWORD@HOST/DATABASE"
)
# A part of a database's error message, and the advice for the user.
ADVICE = (
    ("unable to open", "does its folder exist, and may you write there?"),
    ("locked", "another process has locked it for too long: end that process, then start again"),
    ("lock timeout", "another process has locked it for too long: end that process, then start "
                     "again"),
    ("readonly", "make the file and its folder writable"),
    ("read-only", "connect to a server and with a user that may write"),
    ("is full", "free some space and start again; labels bought before are kept"),
    ("no space left", "free some space and start again; labels bought before are kept"),
    ("not a database", "name another file, or move this file away to start with an empty store"),
    ("malformed", "the file is damaged: restore a copy, or move it away to start with an empty "
                  "store"),
    ("i/o error", "the disk failed or is full: check the disk, then start again"),
    ("password", "correct the user and the password in the store's URL"),
    ("does not exist", "create it on the server, or correct the store's URL"),
    ("permission denied", "grant this user the right to create and write tables"),
    ("resolve", "correct the host in the store's URL"),
    ("translate host", "correct the host in the store's URL"),
    ("connection", "is the server running, and are host and port in the store's URL right?"),
    ("no such column", "its tables were not made by jaxlabel: name another database"),
)  # fmt: skip


def open_engine(url: str) -> sa.Engine:
    """Open a SQLite file or a PostgreSQL database, make missing tables, and return the engine.

    Each transaction opens its own connection and closes it afterwards. This takes a few
    milliseconds, and leaves no connection open across a fork, during a long training, or after
    the process is killed.

    Raises:
      StoreError: the URL is not valid, the driver is missing, or the database cannot be used.
    """
    try:
        engine = _create(sa.make_url(url))
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port or timeout is not a number
        raise StoreAddressError(NOT_A_URL) from None
    except ImportError:
        raise StoreError(
            "PostgreSQL needs a driver that is not installed: pip install 'jaxlabel[postgres]'"
        ) from None
    try:
        _create_tables(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _create(url: sa.URL) -> sa.Engine:
    kind = url.get_backend_name() if url.drivername != "postgres" else "postgresql"
    if kind == "sqlite":
        in_memory = url.database in (None, "", ":memory:")
        engine = sa.create_engine(
            url.set(drivername="sqlite"),
            poolclass=pool.StaticPool if in_memory else pool.NullPool,
            connect_args={"timeout": _lock_timeout(url)},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if kind == "postgresql":
        timeout = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_TIMEOUT}
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=pool.NullPool,
            connect_args=timeout,
            # At this level, a row that was locked by another transaction is read with its
            # current values as soon as the lock is free.
            isolation_level="READ COMMITTED",
        )
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    raise StoreAddressError(NOT_A_URL)


def _lock_timeout(url: sa.URL) -> float:
    return float(str(url.query.get("timeout", LOCK_TIMEOUT)))


@contextlib.contextmanager
def _closed_on_error(connection: Any) -> Iterator[None]:
    """Close a connection whose preparation fails: SQLAlchemy forgets it without closing it."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _prepare_sqlite(connection: Any, _: Any) -> None:
    with _closed_on_error(connection):
        connection.isolation_level = None  # sqlite3 must not begin transactions: _begin_sqlite does
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get("write", False):
        connection.exec_driver_sql("BEGIN")
        return
    # A transaction that reads first and writes later fails if another process writes in between.
    # BEGIN IMMEDIATE locks the database at the start. SQLite's own waiting soon checks the lock
    # only every 0.1 s, and may wait forever among busy processes, so it is limited to 30 ms and
    # repeated here.
    timeout = _lock_timeout(connection.engine.url)
    deadline = time.monotonic() + timeout
    connection.exec_driver_sql("PRAGMA busy_timeout = 30")
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            break
        except sa.exc.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(1000 * timeout)}")


def _prepare_postgresql(connection: Any, _: Any) -> None:
    with _closed_on_error(connection):
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}s'")
        # Every query uses an index. Right after an import the planner has no statistics yet; it
        # would read the whole table for each query, which takes a hundred times as long.
        connection.execute("SET enable_seqscan = off")
        connection.commit()


@contextlib.contextmanager
def transaction(engine: sa.Engine, write: bool = False) -> Iterator[sa.Connection]:
    """Open a connection in a transaction: commit at the end, or roll back on any exception.

    Raises:
      StoreError: the database reports an error.
    """
    try:
        with engine.connect().execution_options(write=write) as connection, connection.begin():
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"the label store {location(engine)}: {explain(error)}") from error


def location(engine: sa.Engine) -> str:
    """Return where the database is, for messages: its file, or its server, without a password."""
    url = engine.url
    if url.get_backend_name() == "sqlite":
        return url.database or "in memory"
    return f"{url.database or ''} on {url.host or url.query.get('host') or 'this machine'}"


def explain(error: Exception) -> str:
    """Return a database's error message in one line, with advice for the user if there is any."""
    reason = " ".join(str(getattr(error, "orig", None) or error).split())
    for clue, advice in ADVICE:
        if clue in reason.lower():
            return f"{reason[:300]}; {advice}"
    return reason[:300]


def _create_tables(engine: sa.Engine) -> None:
    with transaction(engine) as connection:
        inspector = sa.inspect(connection)
        exists = inspector.has_table(schema.versions.name)
        lacks_votes = exists and not inspector.has_table(schema.votes.name)
        if exists:
            version = connection.execute(sa.select(sa.func.max(schema.versions.c.version))).scalar()
    if exists:
        if version != schema.VERSION:
            raise StoreError(
                f"the label store {location(engine)} has version {version}, this jaxlabel uses "
                f"version {schema.VERSION}: use the jaxlabel version that made it, or name another "
                "store"
            )
        if lacks_votes:  # a store that was made before the labelling page
            with transaction(engine, write=True) as connection:
                schema.votes.create(connection, checkfirst=True)
        return
    if engine.dialect.name == "sqlite":
        _use_write_ahead_log(engine)
    with transaction(engine, write=True) as connection:
        if engine.dialect.name == "postgresql":
            # Creating the same tables in two transactions at the same time would fail.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(5254223)"))
        schema.metadata.create_all(connection)
        insert_missing(connection, schema.versions, [{"version": schema.VERSION}])


def _use_write_ahead_log(engine: sa.Engine) -> None:
    """Switch a SQLite file to write-ahead logging, so that readers do not wait for writers.

    The setting is stored in the file.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        # The mode cannot change inside a transaction, which a SQLAlchemy connection would begin.
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
