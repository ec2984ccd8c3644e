"""Open the database of a label store, and explain database errors in one line."""

import contextlib
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator, Sequence
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
# Pairs: a part of a database's error message, and the advice for the user.
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
    """Open a label store's database, create its missing tables, and return SQLAlchemy's engine.

    The database is a SQLite file or on a PostgreSQL server. Each transaction opens its own
    connection and closes it afterwards. This takes a few milliseconds, and leaves no connection
    open across a fork, during a long training, or after the process is killed.

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
    """Return an engine for a SQLite or PostgreSQL URL, without connecting to the database.

    Raises:
      StoreAddressError: the URL names another kind of database.
    """
    kind = url.get_backend_name() if url.drivername != "postgres" else "postgresql"
    if kind == "sqlite":
        in_memory = url.database in (None, "", ":memory:")
        engine = sa.create_engine(
            url.set(drivername="sqlite"),
            poolclass=pool.StaticPool if in_memory else pool.NullPool,
            connect_args={"timeout": _lock_timeout(url)},
            **({} if in_memory else _read_only(url)),
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


def _read_only(url: sa.URL) -> dict[str, Any]:
    """Return further arguments of `sqlalchemy.create_engine` for a SQLite file of the given URL.

    If this user may write the file and its folder, or the file does not exist, there are none.
    Otherwise the arguments open the file for reading only. Even to read a database with a
    write-ahead log, SQLite writes files beside it. If another process has written no such log, the
    file is therefore opened as immutable, for which SQLite writes nothing.
    """
    path = os.path.abspath(str(url.database))
    folder = os.path.dirname(path)
    if not os.path.isfile(path) or (os.access(path, os.W_OK) and os.access(folder, os.W_OK)):
        return {}
    has_log = os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal") > 0
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    address = f"file:{urllib.parse.quote(path)}?{mode}"
    return {"creator": lambda: sqlite3.connect(address, uri=True, timeout=_lock_timeout(url))}


def _lock_timeout(url: sa.URL) -> float:
    """Return how many seconds to wait for a lock: the URL's "timeout", or LOCK_TIMEOUT."""
    return float(str(url.query.get("timeout", LOCK_TIMEOUT)))


@contextlib.contextmanager
def _closed_on_error(connection: Any) -> Iterator[None]:
    """Close the database connection if the `with` block raises an exception.

    SQLAlchemy does not close a connection whose preparation fails.
    """
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Set the options of a new SQLite connection."""
    with _closed_on_error(connection):
        connection.isolation_level = None  # _begin_sqlite begins transactions instead
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Begin a SQLite transaction; one that will write locks the database at its start."""
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
    """Set the options of a new PostgreSQL connection."""
    with _closed_on_error(connection):
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}s'")
        # Every query uses an index. Right after an import the planner has no statistics yet; it
        # would read the whole table for each query, which takes a hundred times as long.
        connection.execute("SET enable_seqscan = off")
        connection.commit()


@contextlib.contextmanager
def transaction(engine: sa.Engine, write: bool = False) -> Iterator[sa.Connection]:
    """Open a database connection in a transaction; commit at the end, roll back on an exception.

    `write` must be True if the transaction changes the database; SQLite is then locked at the
    start.

    Raises:
      StoreError: the database reports an error.
    """
    try:
        with engine.connect().execution_options(write=write) as connection, connection.begin():
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"the label store {location(engine)}: {explain(error)}") from error


def location(engine: sa.Engine) -> str:
    """Return the place of a database as shown in messages, without the password.

    For SQLite this is its file ("labels.db"), for PostgreSQL its name and server ("labels on db1").
    """
    url = engine.url
    if url.get_backend_name() == "sqlite":
        return url.database or "in memory"
    return f"{url.database or ''} on {url.host or url.query.get('host') or 'this machine'}"


def explain(error: Exception, advice: Sequence[tuple[str, str]] = ADVICE) -> str:
    """Return a database's error message in one line, followed by the first advice that fits.

    Args:
      error: the error of SQLAlchemy or of a database driver.
      advice: pairs of a part of an error message and the advice for the user.
    """
    reason = " ".join(str(getattr(error, "orig", None) or error).split())
    for clue, hint in advice:
        if clue in reason.lower():
            return f"{reason[:300]}; {hint}"
    return reason[:300]


def _create_tables(engine: sa.Engine) -> None:
    """Create the tables that the database lacks, and check the version of existing tables.

    Raises:
      StoreError: the tables were made by another version of jaxlabel.
    """
    with transaction(engine) as connection:
        inspector = sa.inspect(connection)
        exists = inspector.has_table(schema.versions.name)
        # tables of a later version than the one that made this database
        missing = [table for table in (schema.votes, schema.prices)
                   if exists and not inspector.has_table(table.name)]  # fmt: skip
        if exists:
            version = connection.execute(sa.select(sa.func.max(schema.versions.c.version))).scalar()
    if exists:
        if version != schema.VERSION:
            remedy = "update jaxlabel" if (version or 0) > schema.VERSION else "name another store"
            raise StoreError(
                f"the label store {location(engine)} has version {version}, this jaxlabel uses "
                f"version {schema.VERSION}: {remedy}, or use the jaxlabel version that made it"
            )
        if missing:
            # A database that this user may only read is read without them.
            with contextlib.suppress(StoreError), transaction(engine, write=True) as connection:
                schema.metadata.create_all(connection, missing)
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
