"""Open SQLite databases of label stores, and begin their transactions."""

import contextlib
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, pool

LOCK_TIMEOUT = 20  # seconds that a process waits for a lock that another process holds


def create(url: sa.URL) -> sa.Engine:
    """Return SQLAlchemy's engine for a SQLite file, or a database in memory, without opening it.

    One connection to the file is kept open, because the last one that closes a file writes and
    flushes it several times. The connections of further threads are closed after use.
    """
    arguments: dict[str, Any] = {"poolclass": pool.StaticPool}
    if url.database not in (None, "", ":memory:"):
        arguments = _read_only(url) or {
            "poolclass": pool.QueuePool, "pool_size": 1, "max_overflow": -1
        }  # fmt: skip
    engine = sa.create_engine(
        url.set(drivername="sqlite"), connect_args={"timeout": lock_timeout(url)}, **arguments
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "checkout", discard_after_fork)
    event.listen(engine, "checkout", _discard_after_move)
    return engine


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
    return {
        "poolclass": pool.NullPool,  # an open immutable file would not show what others write
        "creator": lambda: sqlite3.connect(address, uri=True, timeout=lock_timeout(url)),
    }


def lock_timeout(url: sa.URL) -> float:
    """Return how many seconds to wait for a lock: the URL's "timeout", or LOCK_TIMEOUT."""
    return float(str(url.query.get("timeout", LOCK_TIMEOUT)))


@contextlib.contextmanager
def closed_on_error(connection: Any) -> Iterator[None]:
    """Close the database connection if the `with` block raises an exception.

    SQLAlchemy does not close a connection whose preparation fails.
    """
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _prepare(connection: Any, record: Any) -> None:
    """Set the options of a new SQLite connection."""
    record.info["process"] = os.getpid()
    with closed_on_error(connection):
        connection.isolation_level = None  # _begin begins transactions instead
        connection.execute("PRAGMA foreign_keys=ON")
        (_, _, path), *_ = connection.execute("PRAGMA database_list").fetchall()
        record.info["file"] = path, _identity(path)


def _identity(path: str) -> tuple[int, int] | None:
    """Return what identifies a file on this machine; None if there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _discard_after_move(_: Any, record: Any, proxy: Any) -> None:
    """Close a connection whose file was deleted or replaced: what it stores would be lost."""
    path, identity = record.info["file"]
    if path and _identity(path) != identity:
        raise sa.exc.DisconnectionError("the file of this connection was replaced")


def _begin(connection: sa.Connection) -> None:
    """Begin a SQLite transaction; one that will write locks the database at its start."""
    options = connection.get_execution_options()
    if not options.get("write", False):
        connection.exec_driver_sql("BEGIN")
        return
    # With FULL, a commit returns when the changes are on the disk. With NORMAL they are on the disk
    # after the next commit with FULL at the latest, and a power failure before it undoes them.
    durable = "FULL" if options.get("durable", True) else "NORMAL"
    connection.exec_driver_sql(f"PRAGMA synchronous={durable}")
    # A transaction that reads first and writes later fails if another process writes in between.
    # BEGIN IMMEDIATE locks the database at the start. SQLite itself soon checks the lock only
    # every 0.1 s, and may never get it among busy processes. So its wait is limited to 30 ms and
    # repeated here.
    timeout = lock_timeout(connection.engine.url)
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


def discard_after_fork(_: Any, record: Any, proxy: Any) -> None:
    """Let a forked process open a connection of its own, and leave its parent's one alone."""
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise sa.exc.DisconnectionError("this connection belongs to the parent process")
