"""Check and lock a run's directory: it holds one run, and one process at a time uses it."""

import contextlib
import errno
import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxlabel import files
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.runlog import old_settings

LOCK = ".lock"
RUN = "run.json"  # written when a run opens its account
ASKED = "asked.json"  # the ids of the images for whose labels the run has asked a person
# written if labels come from Python: whether they are integers, and the classes that the user named
LABEL_KINDS = "label_kinds.json"
IMAGES = "images.json"  # written when a run has read its images
# Files that a run killed at its very start may leave without a config.json.
OWN = (LOCK, "session.json")
# Endings of files that a shell or Slurm may have created before the run began.
CONSOLE = (".log", ".out", ".err")
CHANGEABLE = ("map", "sinks")  # settings that may change when a run is continued


def check_is_run_directory(workdir: Path) -> None:
    """Raise an error if a run must not use the path `workdir` as its directory.

    The path may be missing, an empty directory, or the directory of a run.

    Raises:
      UsageError: the path is a file, or a directory with other content.
      JaxlabelError: the directory cannot be read.
    """
    real = files.real_path(workdir)
    if (real / "config.json").is_file():
        return
    if real.exists() and not real.is_dir():
        raise UsageError(f"{workdir} is not a directory: choose another workdir")
    try:
        names = [path.name for path in real.iterdir()] if real.exists() else []
    except OSError as error:
        raise JaxlabelError(f"cannot read {workdir}: {error.strerror}") from error
    strange = sorted(n for n in names if n not in OWN and not n.endswith((*CONSOLE, ".part")))
    if strange:
        raise UsageError(
            f"{workdir} is not empty and not a run's: it holds {strange[0]} but no config.json; "
            "choose another workdir"
        )


def check_is_replaceable(folder: Path, kind: str, is_kind: Callable[[Path], bool]) -> None:
    """Raise an error if a folder must not be replaced by a saved result or a bundle.

    The folder may be missing, empty, or an earlier result or bundle. The work directory of a run is
    never replaced: it may hold the labels that a person gave.

    Args:
      folder: the folder.
      kind: what may be replaced, for the error message, such as "bundle".
      is_kind: a function that returns True if the folder that it is called with is of this kind.

    Raises:
      UsageError: the path is a file, or a folder with other content.
      JaxlabelError: the folder cannot be read.
    """
    folder = files.real_path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: name a directory")
    try:
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise JaxlabelError(f"cannot read {folder}: {error.strerror}") from error
    if {LOCK, RUN, "labels.db", "questions.csv"} & set(names):
        raise UsageError(f"{folder} is a run's work directory: name another directory")
    if names and not is_kind(folder):
        raise UsageError(
            f"{folder} is not empty and no {kind} (it holds {names[0]}): name another directory"
        )


def take_lock(workdir: Path) -> int:
    """Lock a run's directory for this process, and create the directory if it is missing.

    Returns:
      The file descriptor of the lock. The lock lasts until the descriptor is closed or the process
      ends.

    Raises:
      UsageError: another process, or an earlier run of this process, has locked the directory.
    """
    path = workdir / LOCK
    with files.write_errors(path):
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
                if holder == str(os.getpid()):
                    raise UsageError(
                        f"{workdir} is in use by an earlier run of this program: close that "
                        "Session with its method close(), then make this one again; or choose "
                        "another workdir"
                    ) from error
                raise UsageError(
                    f"{workdir} is in use by process {holder}: wait for it, or choose another "
                    "workdir"
                ) from error
            raise
    return descriptor


def wait_for_lock(workdir: Path, patience: float) -> int:
    """Lock a run's directory like `take_lock`, and wait up to `patience` seconds for the lock."""
    end = time.monotonic() + patience
    while True:
        try:
            return take_lock(workdir)
        except UsageError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.1)


def delete_partial_files(workdir: Path) -> None:
    """Delete the half-written files that a killed process left in a run's directory.

    The caller must hold the directory's lock.
    """
    for folder in (workdir, workdir / "artifacts"):
        for path in folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                path.unlink()


def write_or_check_config(
    workdir: Path, config: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> None:
    """Write a run's settings to config.json, or compare them with the settings recorded there.

    Recorded settings that differ are replaced if the recorded run has not started to buy labels;
    otherwise they are an error.

    Args:
      workdir: the run's directory, which holds config.json.
      config: the settings by name.
      defaults: the value of a setting that the recorded run did not know, by name.

    Raises:
      UsageError: the directory holds a run with other settings, which has started to buy labels;
        the message names the settings that differ.
    """
    path = workdir / "config.json"
    wanted, known = (
        json.loads(json.dumps(files.to_json_types(values))) for values in (config, defaults or {})
    )
    recorded = files.read_settings(workdir)
    if recorded is None:
        files.write_json(path, files.with_version("config.json", wanted))
        return
    recorded = old_settings.without_removed(old_settings.with_current_names(recorded), wanted)
    recorded = known | recorded
    different = [
        f"{key} is {_setting_text(recorded, key)} there and {_setting_text(wanted, key)} here"
        f"{_reason_of_removal(key, wanted)}"
        for key in sorted(recorded.keys() | wanted.keys())
        if key not in CHANGEABLE
        and (key not in recorded or key not in wanted or recorded[key] != wanted[key])
    ]
    if different and not any((workdir / name).exists() for name in (RUN, "result.json")):
        files.write_json(path, files.with_version("config.json", wanted))
        (workdir / IMAGES).unlink(missing_ok=True)
        return
    if different:
        more = f" (and {len(different) - 3} more)" if len(different) > 3 else ""
        raise UsageError(
            f"{workdir} holds a run of another configuration: {', '.join(different[:3])}{more}; "
            f"choose another workdir{reuse_labels_hint(workdir)}"
        )


def reuse_labels_hint(workdir: Path) -> str:
    """Return a hint, for the end of an error message, that tells how a new run can reuse labels.

    Args:
      workdir: the directory of the run whose labels the new run can use.

    Returns:
      The hint; an empty string if there is no database of labels in the directory.
    """
    store = workdir / "labels.db"
    if not store.exists():
        return ""
    return f"; config.store={sqlite_url(store)} keeps the labels"


def sqlite_url(file: Path) -> str:
    """Return the URL of the database in an SQLite file; signs such as "?" in its path are kept."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(file)).render_as_string()


def _setting_text(config: Mapping[str, Any], key: str) -> str:
    """Return the value of the setting `key` as text, or "not set" if `config` lacks it.

    Infinity is stored as null, because JSON has none; it is shown as inf.
    """
    if key in config and config[key] is None:
        return "inf"
    return json.dumps(config[key], ensure_ascii=False) if key in config else "not set"


def _reason_of_removal(key: str, config: Mapping[str, Any]) -> str:
    """Return, in brackets, what holds in place of a removed setting; "" for any other setting."""
    removed = key not in config and key in old_settings.REMOVED
    return f" ({old_settings.REMOVED[key].reason})" if removed else ""


def command_of_process() -> str:
    """Return the shell command that started this process, with passwords removed."""
    arguments = [files.without_password(text) for text in sys.argv[1:]]
    program = Path(sys.argv[0])
    if program.name in ("jaxlabel", "__main__.py"):
        return shlex.join(["jaxlabel", *arguments])
    is_inside = program.is_absolute() and program.is_relative_to(Path.cwd())
    shown = program.relative_to(Path.cwd()) if is_inside else program
    return shlex.join(["python", str(shown), *arguments])
