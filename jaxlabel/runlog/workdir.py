"""One run's directory: whose it is, what it holds, and that one process at a time writes it."""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxlabel import files
from jaxlabel.errors import JaxlabelError, UsageError

LOCK = ".lock"
RUN = "run.json"  # written when a run opens its account
IMAGES = "images.json"  # and when it has read its images
# The log writes its session before the configuration is settled; a kill may fall in between.
OWN = (LOCK, "session.json")
# What a shell or Slurm may have put there before the run began.
CONSOLE = (".log", ".out", ".err")


def refuse_foreign(workdir: Path) -> None:
    """Checks that a directory is missing, empty, or a run's own.

    Raises:
      UsageError: it is something else.
    """
    if (workdir / "config.json").is_file():
        return
    if workdir.exists() and not workdir.is_dir():
        raise UsageError(f"{workdir} is not a directory: choose another --workdir")
    try:
        names = [path.name for path in workdir.iterdir()] if workdir.exists() else []
    except OSError as error:
        raise JaxlabelError(f"cannot read {workdir}: {error.strerror}") from error
    strange = sorted(n for n in names if n not in OWN and not n.endswith((*CONSOLE, ".part")))
    if strange:
        raise UsageError(
            f"{workdir} is not empty and no run's: it holds {strange[0]} but no config.json; "
            "choose another --workdir"
        )


def take_lock(workdir: Path) -> int:
    """A file descriptor that holds the directory until it is closed or the process ends.

    Raises:
      UsageError: another process holds it.
    """
    path = workdir / LOCK
    with files.refusals(path):
        workdir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            holder = os.read(descriptor, 20).decode().strip() or "unknown"
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UsageError(
                    f"{workdir} is in use by process {holder}: wait for it, or choose another "
                    "--workdir"
                ) from error
            raise
    return descriptor


def clean(workdir: Path) -> None:
    """Removes what a kill left half written. Only for who holds the lock."""
    for folder in (workdir, workdir / "artifacts"):
        for path in folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                path.unlink()


def settle_config(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes config.json at the first start, and compares with it afterwards.

    A run that has not come to its account has done nothing yet: other settings take its place.

    Raises:
      UsageError: the directory holds a run of another configuration; the keys that differ.
    """
    path = workdir / "config.json"
    wanted = json.loads(json.dumps(files.plain(config)))
    there = files.read_json(path)
    if there is None:
        files.write_json(path, wanted)
        return
    different = [
        f"{key} is {_shown(there, key)} there and {_shown(wanted, key)} here"
        for key in sorted(there.keys() | wanted.keys())
        if key not in there or key not in wanted or there[key] != wanted[key]
    ]
    if different and not any((workdir / name).exists() for name in (RUN, "result.json")):
        files.write_json(path, wanted)
        (workdir / IMAGES).unlink(missing_ok=True)
        return
    if different:
        more = f" (and {len(different) - 3} more)" if len(different) > 3 else ""
        raise UsageError(
            f"{workdir} holds a run of another configuration: {', '.join(different[:3])}{more}; "
            f"choose another --workdir{labels_of(workdir)}"
        )


def labels_of(workdir: Path) -> str:
    """How another run has the labels of the store in that directory, if there is one."""
    store = workdir / "labels.db"
    if not store.exists():
        return ""
    return f"; --config.store=sqlite:///{store} keeps the answers"


def _shown(config: Mapping[str, Any], key: str) -> str:
    return json.dumps(config[key], ensure_ascii=False) if key in config else "not set"
