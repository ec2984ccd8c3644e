"""Opens the database of a label store, and says in one line what is wrong with it."""

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

PATIENCE = 20  # seconds that a process waits for others that hold the store
CONNECT_PATIENCE = 5  # seconds that a PostgreSQL server has to answer a connection
NOT_A_URL = (
    "the label store's address is not one that jaxlabel knows: write sqlite:///FILE.db or "
    "postgresql://USER:PASSWORD@HOST/DATABASE"
)
ADVICE = (
    ("unable to open", "does its folder exist, and may you write there?"),
    ("locked", "another process has held it for too long: end that one, then start again"),
    ("lock timeout", "another process has held it for too long: end that one, then start again"),
    ("readonly", "make the file and its folder writable"),
    ("read-only", "connect to a server and with a user that may write"),
    ("is full", "free some space and start again; what was bought before is kept"),
    ("no space left", "free some space and start again; what was bought before is kept"),
    ("not a database", "name another file, or move this one away to begin anew"),
    ("malformed", "the file is damaged: restore a copy, or move it away to begin anew"),
    ("i/o error", "the disk failed or is full: look at it, then start again"),
    ("password", "correct the user and the password in the store's URL"),
    ("does not exist", "create it on the server, or correct the store's URL"),
    ("permission denied", "grant this user the right to create and write tables"),
    ("resolve", "correct the host in the store's URL"),
    ("translate host", "correct the host in the store's URL"),
    ("connection", "is the server running, and are host and port in the store's URL right?"),
    ("no such column", "its tables are not jaxlabel's: name another database"),
)  # fmt: skip


def open_engine(url: str) -> sa.Engine:
    """An engine for a SQLite file or a PostgreSQL database whose tables exist.

    Connections are made for each transaction and closed after it: that costs a millisecond or
    a few, and leaves nothing open across a fork, over a long training, or after a kill.

    Raises:
      StoreError: not such a URL, the driver is missing, or the database cannot be used.
    """
    try:
        engine = _create(sa.make_url(url))
    except (sa.exc.ArgumentError, ValueError):  # a port or a timeout that is no number
        raise StoreAddressError(NOT_A_URL) from None
    except ImportError:
        raise StoreError(
            "PostgreSQL needs a driver that is not installed: pip install 'jaxlabel[postgres]'"
        ) from None
    _create_tables(engine)
    return engine


def _create(url: sa.URL) -> sa.Engine:
    kind = url.get_backend_name() if url.drivername != "postgres" else "postgresql"
    if kind == "sqlite":
        in_memory = url.database in (None, "", ":memory:")
        engine = sa.create_engine(
            url.set(drivername="sqlite"),
            poolclass=pool.StaticPool if in_memory else pool.NullPool,
            connect_args={"timeout": _patience(url)},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if kind == "postgresql":
        timeout = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_PATIENCE}
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=pool.NullPool,
            connect_args=timeout,
            isolation_level="READ COMMITTED",  # a locked row is then read as it is now
        )
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    raise StoreAddressError(NOT_A_URL)


def _patience(url: sa.URL) -> float:
    return float(str(url.query.get("timeout", PATIENCE)))


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get("write", False):
        connection.exec_driver_sql("BEGIN")
        return
    # Who reads and then writes may find that another was quicker; a writer from the start waits.
    # SQLite's own wait soon looks only every 0.1 s, and starves among busy ones: begin it anew
    patience = _patience(connection.engine.url)
    deadline = time.monotonic() + patience
    connection.exec_driver_sql("PRAGMA busy_timeout = 30")
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            break
        except sa.exc.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(1000 * patience)}")


def _prepare_postgresql(connection: Any, _: Any) -> None:
    connection.execute(f"SET lock_timeout = '{PATIENCE}s'")
    # Every query goes by a key; right after an import, without statistics, the planner would read
    # the whole table for each and take a hundred times as long
    connection.execute("SET enable_seqscan = off")
    connection.commit()


@contextlib.contextmanager
def transaction(engine: sa.Engine, write: bool = False) -> Iterator[sa.Connection]:
    """A connection whose changes are all kept, or none if anything is raised."""
    try:
        with engine.connect().execution_options(write=write) as connection, connection.begin():
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"the label store {place(engine)}: {explain(error)}") from error


def place(engine: sa.Engine) -> str:
    """The file, or the server and its database, without a password."""
    url = engine.url
    if url.get_backend_name() == "sqlite":
        return url.database or "in memory"
    return f"{url.database or ''} on {url.host or url.query.get('host') or 'this machine'}"


def explain(error: Exception) -> str:
    """A database's complaint in one line, and what to do about it."""
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
            found = connection.execute(sa.select(sa.func.max(schema.versions.c.version))).scalar()
    if exists:
        if found != schema.VERSION:
            raise StoreError(
                f"the label store {place(engine)} has version {found}, this jaxlabel uses version "
                f"{schema.VERSION}: use the jaxlabel that made it, or name another store"
            )
        if lacks_votes:  # a store that was made before the labelling page
            with transaction(engine, write=True) as connection:
                schema.votes.create(connection, checkfirst=True)
        return
    if engine.dialect.name == "sqlite":
        _use_write_ahead_log(engine)
    with transaction(engine, write=True) as connection:
        if engine.dialect.name == "postgresql":  # two that create the same tables at once fail
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(5254223)"))
        schema.metadata.create_all(connection)
        insert_missing(connection, schema.versions, [{"version": schema.VERSION}])


def _use_write_ahead_log(engine: sa.Engine) -> None:
    """Readers then don't wait for writers; the file remembers it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = engine.raw_connection()  # SQLAlchemy would begin a transaction
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite doesn't wait here: two that open a new file at once get in each other's way
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise StoreError(f"the label store {place(engine)}: {explain(error)}") from error
            time.sleep(0.02)
        finally:
            connection.close()
