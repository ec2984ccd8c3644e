"""Notice that a label store's database was changed, without reading its tables."""

import os
import time
from typing import Any

import sqlalchemy as sa

from jaxlabel.oracle.engine import transaction

SETTLED = 2.5  # seconds; after two writes within a tick of its clock, a file has the same time


def change_mark(engine: sa.Engine) -> Any:
    """Return a value that is another one after every change of the database, by whatever process.

    For a SQLite file it is the state of the file and of its write-ahead log. For PostgreSQL it is
    the list of transactions that have ended, so a change of another table gives another value too.

    Args:
      engine: the database's engine.

    Returns:
      The value; None if it cannot be known whether the database changes from now on. This is so
      for a database in memory, and for a SQLite file that was written within the last seconds.

    Raises:
      StoreError: the database reports an error.
    """
    if engine.dialect.name == "postgresql":
        with transaction(engine) as connection:
            return connection.scalar(sa.text("SELECT CAST(txid_current_snapshot() AS text)"))
    path = engine.url.database
    if path in (None, "", ":memory:"):
        return None
    files = [_state(path), _state(f"{path}-wal")]
    newest = max((state[2] for state in files if state), default=0)
    return files if time.time_ns() - newest > SETTLED * 1e9 else None


def _state(path: str) -> tuple[int, int, int] | None:
    """Return the identity, the size and the time of change of a file; None if it has no content."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if found.st_size else None
