"""Open the database of a label store, and explain database errors in one line."""

import contextlib
import logging
import os
import random
import re
import sqlite3
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, pool

from jaxlabel.errors import StoreAddressError, StoreError

Result = TypeVar("Result")
LOCK_TIMEOUT = 20  # seconds that a process waits for a lock that another process holds
CONNECT_TIMEOUT = 5  # seconds within which a PostgreSQL server must accept a connection
SERVER_TIMEOUT = 60  # seconds to wait for a server that restarts or has no connection left
IDLE_TIMEOUT = 10  # seconds after which a PostgreSQL server (from version 14) ends an idle session
# Parts of the messages of a PostgreSQL server that will accept connections again.
BUSY = ("too many", "connection slots", "no more connections", "starting up", "shutting down",
        "not yet accepting", "recovery mode")  # fmt: skip
NO_DRIVER = "PostgreSQL needs a driver that is not installed: pip install 'jaxlabel[postgres]'"
NOT_A_URL = (
    "the label store's URL is not valid: write sqlite:///FILE.db or "
    "postgresql://USER:PASSWORD@HOST/DATABASE"
)
# Pairs: a pattern for a part of a database's error message, and the advice for the user.
ADVICE = (
    ("unable to open", "does its folder exist, and may you write there?"),
    ("locked|lock timeout", "another process has locked it for too long: end that process, then "
                            "start again"),
    ("readonly", "make the file and its folder writable"),
    ("read-only", "connect to a server and with a user that may write"),
    ("is full|no space left", "free some space and start again; labels bought before are kept"),
    ("not a database", "name another file, or move this file away to start with an empty store"),
    ("malformed", "the file is damaged: restore a copy, or move it away to start with an empty "
                  "store"),
    ("i/o error", "the disk failed or is full: check the disk, then start again"),
    ("too many|connection slots", "its server allows no further connection: end other runs, or "
                                  "raise the server's max_connections"),
    ("password", "correct the user and the password in the store's URL"),
    ("does not exist", "create it on the server, or correct the store's URL"),
    ("permission denied", "grant this user the right to create and write tables"),
    ("resolve|translate host", "correct the host in the store's URL"),
    ("connection", "is the server running, and are host and port in the store's URL right?"),
    ("no such table", "its file was moved away or emptied: put it back, then start again"),
    ("no such column", "its tables were not made by jaxlabel: name another database"),
)  # fmt: skip


class _ConnectionLost(StoreError):
    """The connection broke in a transaction, for example because the server was restarted."""


def open_engine(url: str) -> sa.Engine:
    """Return SQLAlchemy's engine for a label store's database, without connecting to it.

    The database is a SQLite file or on a PostgreSQL server. Each transaction on SQLite opens the
    file and closes it afterwards, which takes a millisecond. Connecting to PostgreSQL takes longer,
    so a connection is kept for the next transaction, but only for IDLE_TIMEOUT seconds: training
    between two transactions takes minutes, and a server allows only about a hundred connections.

    Raises:
      StoreError: the URL is not valid, or the driver is missing.
    """
    try:
        return _create(sa.make_url(url))
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port or timeout is not a number
        raise StoreAddressError(NOT_A_URL) from None
    except ImportError:
        raise StoreError(NO_DRIVER) from None


def kind_of(url: sa.URL) -> str:
    """Return the kind of database that a URL names, such as "sqlite" or "postgresql"."""
    return "postgresql" if url.drivername == "postgres" else url.get_backend_name()


def _create(url: sa.URL) -> sa.Engine:
    """Return an engine for a SQLite or PostgreSQL URL, without connecting to the database.

    Raises:
      StoreAddressError: the URL names another kind of database.
    """
    kind = kind_of(url)
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
        # A pooler such as PgBouncer may send each transaction to another session, which does not
        # know the statements that this one has prepared.
        options: dict[str, Any] = {"prepare_threshold": None, **timeout}
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=pool.QueuePool,
            pool_size=1,  # kept open; the connections of further threads are closed after use
            max_overflow=-1,
            pool_pre_ping=True,  # the server may have been restarted, or have ended the session
            connect_args=options,
            # At this level, a row that was locked by another transaction is read with its
            # current values as soon as the lock is free.
            isolation_level="READ COMMITTED",
        )
        # psycopg logs a warning where a connection breaks; the store raises an error or goes on.
        logging.getLogger("psycopg").addHandler(logging.NullHandler())
        event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "checkout", _discard_after_fork)
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
    # BEGIN IMMEDIATE locks the database at the start. SQLite itself soon checks the lock only
    # every 0.1 s, and may never get it among busy processes. So its wait is limited to 30 ms and
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


def _prepare_postgresql(connection: Any, record: Any) -> None:
    """Set the options of a new PostgreSQL connection."""
    record.info["process"] = os.getpid()
    with _closed_on_error(connection):
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}s'")
        # Every query uses an index. Right after an import the planner has no statistics yet; it
        # would read the whole table for each query, which takes a hundred times as long.
        connection.execute("SET enable_seqscan = off")
        if connection.info.server_version >= 140000:
            connection.execute(f"SET idle_session_timeout = '{IDLE_TIMEOUT}s'")
        connection.commit()


def _discard_after_fork(_: Any, record: Any, proxy: Any) -> None:
    """Let a forked process open a connection of its own, and leave its parent's one alone."""
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise sa.exc.DisconnectionError("this connection belongs to the parent process")


def run_transaction(
    engine: sa.Engine, work: Callable[..., Result], *arguments: object, write: bool = False
) -> Result:
    """Return `work(connection, *arguments)`, called in a transaction.

    If the connection breaks in the transaction, the call is repeated. The first call may have been
    committed nevertheless, so it must do no harm to execute `work` twice.

    Args:
      engine: the database's engine.
      work: a function of a database connection and of `arguments`.
      arguments: further arguments of `work`.
      write: whether the transaction changes the database.

    Raises:
      StoreError: the database reports an error, or the connection broke several times.
    """
    for _ in range(4):
        with contextlib.suppress(_ConnectionLost), transaction(engine, write) as connection:
            return work(connection, *arguments)
    with transaction(engine, write) as connection:
        return work(connection, *arguments)


@contextlib.contextmanager
def transaction(engine: sa.Engine, write: bool = False) -> Iterator[sa.Connection]:
    """Open a database connection in a transaction; commit at the end, roll back on an exception.

    `write` must be True if the transaction changes the database; SQLite is then locked at the
    start.

    Raises:
      StoreError: the database reports an error.
    """
    try:
        with _connect(engine).execution_options(write=write) as connection, connection.begin():
            yield connection
    except sa.exc.SQLAlchemyError as error:
        lost = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
        kind = _ConnectionLost if lost else StoreError
        raise kind(f"the label store {location(engine)}: {explain(error)}") from error


def _connect(engine: sa.Engine) -> sa.Connection:
    """Connect to a database; wait up to SERVER_TIMEOUT seconds for a PostgreSQL server if needed.

    This waits for a server that restarts or has no connection left. If the server has never been
    reached, this waits only if the server itself says so; otherwise its address may be wrong.
    """
    deadline = time.monotonic() + SERVER_TIMEOUT
    while True:
        try:
            return engine.connect()
        except sa.exc.OperationalError as error:
            was_reached = engine.dialect.server_version_info is not None
            is_busy = any(clue in str(error.orig) for clue in BUSY)
            can_wait = engine.dialect.name == "postgresql" and (was_reached or is_busy)
            if not can_wait or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.05, 0.25))  # many processes should not come all at once


def location(engine: sa.Engine) -> str:
    """Return where a database is, as shown in messages, without the password.

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
      advice: pairs of a pattern for a part of an error message and the advice for the user.
    """
    reason = " ".join(str(getattr(error, "orig", None) or error).split())
    for pattern, hint in advice:
        if re.search(pattern, reason.lower()):
            return f"{reason[:300]}; {hint}"
    return reason[:300]
