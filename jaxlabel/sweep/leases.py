"""Let several sweeps in one directory share their runs, so that no run is executed twice.

The process that executes a run holds the run's lease, a locked file in the directory of the runs.
The operating system releases the lock when the process ends, also if it is killed.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from jaxlabel import files
from jaxlabel.errors import UsageError
from jaxlabel.runlog import workdir as directory
from jaxlabel.sweep.types import Run

BUSY = "another sweep executes this run"
PATIENCE = 60.0  # seconds to wait until another sweep unlocks the directory


def lease_of(run: Run, workdir: Path) -> Path:
    """Return the file of a run's lease, which the process that executes the run keeps locked.

    Args:
      run: the run.
      workdir: the directory for all files of the experiment's runs.
    """
    return workdir.resolve() / ".leases" / run.name


@contextlib.contextmanager
def lease(path: Path) -> Iterator[bool]:
    """Try to take a lease for the time of a `with` block, and yield True if that succeeded.

    Args:
      path: the file of the lease; it is created if it does not exist.
    """
    with files.write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Return True if no process holds the lease whose file is `path`; take it only for a moment."""
    with lease(path) as taken:
        return taken


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Lock the directory of an experiment's runs for the time of a `with` block.

    A sweep locks it only while it reads the plan and while it writes the tables. In between, other
    sweeps can execute runs in the same directory; leases decide which sweep executes which run.

    Args:
      workdir: the directory.

    Raises:
      UsageError: another process still uses the directory after 60 seconds, or the directory holds
        files that do not belong to an experiment's runs.
    """
    names = [p.name for p in workdir.iterdir() if not p.name.startswith(".")]
    strange = [name for name in names if not name.endswith(directory.CONSOLE)]
    if strange and "plan.json" not in names:
        raise UsageError(f"{workdir} is not empty and not a sweep's: it holds {min(strange)} but "
                         "no plan.json; choose another --workdir")  # fmt: skip
    lock = directory.wait_for_lock(workdir, PATIENCE)
    try:
        yield
    finally:
        os.close(lock)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
