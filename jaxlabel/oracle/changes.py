"""Notice that a label store's database was changed, without reading its tables."""

import os
import time
from typing import Any

import sqlalchemy as sa

from jaxlabel.oracle.engine import run_transaction

# Seconds. A file's time of change may have steps of up to two seconds, so that two writes within a
# step cannot be told apart.
SETTLED = 2.5


def change_mark(engine: sa.Engine) -> Any:
    """Return a value that differs after every change of the database, whichever process made it.

    For a SQLite file it is the state of the file and of its write-ahead log. For PostgreSQL it is
    the list of transactions that have ended on the server, so it also differs after a change of
    another table or database.

    Args:
      engine: the database's engine.

    Returns:
      The value; None if a later value could not show whether the database has changed. This is so
      for a database in memory, and for a SQLite file that was written within the last seconds or
      that is not found.

    Raises:
      StoreError: the database reports an error.
    """
    if engine.dialect.name == "postgresql":
        ended = sa.text("SELECT CAST(txid_current_snapshot() AS text)")
        return run_transaction(engine, lambda connection: connection.scalar(ended))
    # SQLite follows links: its write-ahead log is beside the file itself.
    path = os.path.realpath(engine.url.database or ":memory:")
    database, log = _state(path), _state(f"{path}-wal")
    if database is None:  # it is in memory, or the URL names the file in another way than by a path
        return None
    newest = max(database[2], log[2] if log else 0)
    return (database, log) if time.time_ns() - newest > SETTLED * 1e9 else None


def _state(path: str) -> tuple[int, int, int] | None:
    """Return the identity, the size and the time of change of a file; None if it has no content."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if found.st_size else None
