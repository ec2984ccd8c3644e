"""Write files atomically, read them, and turn system errors into messages of one line.

The files that other programs read have a version, which `VERSIONS` holds. Their JSON Schemas are in
the folder runlog/schemas.
"""

import contextlib
import csv
import errno
import io
import json
import math
import os
import re
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel.errors import JaxlabelError, UsageError

# The current version of each kind of file. A change that would mislead an older reader makes a new
# version. Version 0.1.0 of jaxlabel wrote no versions; such files are read as version 1.
BUNDLE = "jaxlabel bundle"  # the config.json of an exported model names its kind
VERSIONS = {"config.json": 1, "metrics.jsonl": 1, "result.json": 1, BUNDLE: 1}
# What numpy raises for a damaged NPZ file, besides OSError: RuntimeError if a changed bit marks it
# as encrypted or as compressed in another way.
DAMAGED_NPZ = (ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Convert an OSError raised inside a `with` block to a JaxlabelError.

    The message of the new error says in one line that the file `path` cannot be written, and why.

    Raises:
      JaxlabelError: the disk is full, a permission is missing, or a part of the path is not a
        directory.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(path) from error
        raise JaxlabelError(f"cannot write {path}: {error.strerror or error}") from error


def disk_full(path: Path) -> JaxlabelError:
    """Return (not raise) an error that says that the disk has no space left to write `path`."""
    return JaxlabelError(
        f"cannot write {path}: no space left on the disk; free some space, then run the same "
        "command again to continue"
    )


def real_path(path: Path) -> Path:
    """Return the absolute path without links and without "..".

    A check of "new/../photos" must look at this path: if "new" is missing, "photos" seems to be
    missing too, until "new" is created.
    """
    return Path(os.path.realpath(path))


def write(path: Path, content: bytes | str, *, durable: bool = True, private: bool = False) -> None:
    """Write a file atomically: a reader finds either the old or the new content, never a mixture.

    Args:
      path: the file; missing parent directories are created. A link stays, and the file to which it
        points is written. A pipe or a device, such as /dev/stdout, is written to directly.
      content: the new content. Text is encoded as UTF-8. What UTF-8 lacks, such as a byte of
        another encoding in the name of a file, becomes an escape, which JSON reads again.
      durable: whether to wait until the content is on the disk, so that it survives a power cut. If
        False, it still survives the end of the process.
      private: whether to deny other users of the machine access to the file, from the start.

    Raises:
      JaxlabelError: the file cannot be written.
    """
    real = real_path(path)
    part = real.with_name(f".{real.name}.{os.getpid()}.part")
    content = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with write_errors(path):
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        real.parent.mkdir(parents=True, exist_ok=True)
        try:
            if private:
                part.touch(mode=0o600)
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            part.replace(real)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def check_replaceable(path: Path, content: str, *starts: bytes) -> None:
    """Raise an error if a command must not write its output to the path `path`.

    An existing file is replaced only if it is empty or an earlier output of the same kind, so that
    no other file is overwritten by mistake.

    Args:
      path: the file to write.
      content: what the file holds, such as "predictions", for the error message.
      starts: the bytes with which an earlier output of this kind may begin.

    Raises:
      UsageError: `path` is a folder, or a file with other content.
    """
    real = real_path(path)
    if real.is_dir():
        raise UsageError(f"--out={path} is a folder: name a file in it")
    if real.is_file():  # a pipe or a device, such as /dev/stdout, has nothing that can be lost
        with write_errors(path), real.open("rb") as file:
            beginning = file.read(max(map(len, starts)))
        if beginning and not beginning.startswith(starts):
            raise UsageError(f"{path} exists and does not hold {content}: name another file with "
                             "--out=FILE")  # fmt: skip


def replace_folder(
    folder: Path, fill: Callable[[Path], object], check: Callable[[Path], object]
) -> None:
    """Write a folder as a whole: after an error, it has its old content.

    Args:
      folder: the folder; its old content is deleted. Missing parent directories are created.
      fill: a function that writes the new content to the new, empty folder that it is called with.
      check: a function that raises an error if the folder that it is called with must not be
        deleted. The check is repeated when the new content is complete.

    Raises:
      UsageError: `folder` is a link, or it is or holds the current directory.
      JaxlabelError: the folder cannot be written.
    """
    real = real_path(folder)
    part = real.with_name(f".{real.name}.{secrets.token_hex(4)}.part")
    old = part.with_suffix(".old")
    with write_errors(folder):
        if folder.is_symlink():
            raise UsageError(f"{folder} is a link: name the folder itself")
        if _holds_current_directory(real):  # a shell would be left in a directory that is gone
            raise UsageError(f"{folder} holds the current directory: name another folder")
        check(real)
        try:
            part.mkdir(parents=True)
            fill(part)
            check(real)
            if real.exists():
                real.rename(old)
            try:
                part.rename(real)
            except OSError:
                if old.exists():
                    old.rename(real)
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _holds_current_directory(real: Path) -> bool:
    """Return True if the current directory is the folder `real` or lies inside it."""
    try:
        return Path.cwd().is_relative_to(real)
    except FileNotFoundError:  # the current directory was deleted
        return False


def write_json(path: Path, value: Any, *, durable: bool = True, private: bool = False) -> None:
    """Write a value to a JSON file atomically, indented for people.

    Args:
      path: the file; missing parent directories are created.
      value: the value; `to_json_types` converts it to JSON types first.
      durable: whether to wait until the content is on the disk, as in `write`.
      private: whether to deny all other users of the machine access, as in `write`.

    Raises:
      JaxlabelError: the file cannot be written.
    """
    write(path, json_text(value), durable=durable, private=private)


def json_text(value: Any) -> str:
    """Return a value as JSON text, indented for people; `to_json_types` converts it first."""
    text = json.dumps(to_json_types(value), indent=2, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows of cells as the text of a CSV file, with a newline at the end of each row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file as a dict, or None if the file does not exist.

    Raises:
      JaxlabelError: the file is not valid JSON, or its value is not an object.
      UsageError: the file cannot be read, or a newer jaxlabel wrote it, so that this one may
        misunderstand it.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:  # such as NotADirectoryError
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise JaxlabelError(
            f"{path} is damaged: it is not JSON ({error}). {_remedy(path)}"
        ) from error
    if not isinstance(value, dict):
        raise JaxlabelError(f"{path} is damaged: it holds no JSON object. {_remedy(path)}")
    _check_version(path, value)
    return value


def read_json_unless_damaged(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file as `read_json` does; also None if the file is damaged.

    After a power cut, a file that was not written durably may be empty.

    Raises:
      UsageError: the file cannot be read, or a newer jaxlabel wrote it.
    """
    try:
        return read_json(path)
    except UsageError:
        raise
    except JaxlabelError:
        return None


def _remedy(path: Path) -> str:
    """Return what a user can do about a damaged file of a run."""
    if path.name == "result.json":  # only this file is made again by the run
        return "Put a copy of it back, or move it away and start the run again"
    return "Put a copy of it back, or take another directory"


def read_settings(workdir: Path) -> dict[str, Any] | None:
    """Return the settings in a run's config.json, without its version; None if there is no file.

    Raises:
      JaxlabelError: the file cannot be read, as in `read_json`.
    """
    settings = read_json(workdir / "config.json")
    return settings and {name: value for name, value in settings.items() if name != "version"}


def with_version(kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a file with its version as the first entry.

    Args:
      kind: a key of VERSIONS, such as "config.json".
      value: the content.
    """
    return {"version": VERSIONS[kind], **value}


def _check_version(path: Path, value: Mapping[str, Any]) -> None:
    """Raise an error if a newer jaxlabel wrote a file, or one line of it.

    Args:
      path: the file. Only the files in VERSIONS are checked.
      value: the content of the file or of the line. A missing version stands for version 1.

    Raises:
      UsageError: the version is newer than the one in VERSIONS.
      JaxlabelError: the version is not a whole number.
    """
    kind = value["kind"] if value.get("kind") == BUNDLE else path.name
    version = value.get("version", 1)
    if kind not in VERSIONS:
        return
    if not isinstance(version, int) or version < 1:
        raise JaxlabelError(f"{path} is damaged: its version is {version!r}, not a whole number")
    if version > VERSIONS[kind]:
        raise UsageError(
            f"{path} has version {version}, and this jaxlabel reads versions up to "
            f"{VERSIONS[kind]}: update jaxlabel, or use the one that wrote the file"
        )


def json_line(value: Mapping[str, Any]) -> bytes:
    """Return a dict as one line of JSON, encoded as `write` does, with a newline at the end."""
    text = json.dumps(to_json_types(value), ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace") + b"\n"


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read a file with one JSON object per line.

    If the last line is incomplete because the process that wrote it was killed, it is ignored. A
    missing file counts as a file without lines.

    Returns:
      The objects in the lines, and the number of bytes of all complete lines.

    Raises:
      JaxlabelError: a line other than the last is not a JSON object.
      UsageError: a newer jaxlabel wrote the file, so this one may misunderstand it.
    """
    content = path.read_bytes() if path.exists() else b""
    values, size = [], 0
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        try:
            value = json.loads(line)
        except ValueError as error:
            value = error
        if not isinstance(value, dict) or not line.endswith(b"\n"):
            if size + len(line) < len(content):
                raise JaxlabelError(f"{path}: line {number} is not a JSON object")
            break
        _check_version(path, value)
        values.append(value)
        size += len(line)
    return values, size


def without_password(text: str) -> str:
    """Replace the passwords in all URLs of a text by "***", so that it may be shown or stored."""
    text = re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
    return re.sub(r"([?&]password=)[^&\s]*", r"\1***", text)


def to_json_types(value: Any) -> Any:
    """Convert a value to JSON types: arrays become lists, and non-finite numbers become None."""
    if isinstance(value, Mapping):
        return {str(name): to_json_types(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_json_types(value.tolist())
    if isinstance(value, list | tuple):
        return [to_json_types(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return os.fspath(value) if isinstance(value, os.PathLike) else value
