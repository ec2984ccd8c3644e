"""Files that survive a kill: whole or not at all, and one clear line when the disk refuses."""

import contextlib
import errno
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel.errors import JaxlabelError


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """A context in which the system's refusal to write `path` becomes one line.

    Raises:
      JaxlabelError: a full disk, a missing permission, a path through something not a directory.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(path) from error
        raise JaxlabelError(f"cannot write {path}: {error.strerror or error}") from error


def disk_full(path: Path) -> JaxlabelError:
    """What to say when there is no space left for `path`."""
    return JaxlabelError(
        f"cannot write {path}: no space left on the disk; free some, and the same command goes on"
    )


def write(path: Path, content: bytes | str, *, durable: bool = True, private: bool = False) -> None:
    """Replaces a file atomically: whoever reads it sees the old or the new content, never half.

    Args:
      durable: wait until the disk has it, so that it survives a power cut, not only a kill.
      private: nobody else on this machine may ever read it.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    content = content.encode() if isinstance(content, str) else content
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if private:
                part.touch(mode=0o600)
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any, *, durable: bool = True, private: bool = False) -> None:
    """Replaces a JSON file atomically (`write`), in lines for people."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    write(path, text + "\n", durable=durable, private=private)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None when there is no such file.

    Raises:
      JaxlabelError: the file holds something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise JaxlabelError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise JaxlabelError(f"{path} holds no JSON object")
    return value


def json_line(value: Mapping[str, Any]) -> bytes:
    """One line of JSON with its end."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The objects of a file of JSON lines, and how many bytes of it are whole lines.

    A last line that a kill left half written is not counted. A missing file holds no lines.

    Raises:
      JaxlabelError: another line than the last one is broken.
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
        values.append(value)
        size += len(line)
    return values, size


def without_password(text: str) -> str:
    """A text, its URLs' passwords replaced by ***: for what is written down or shown."""
    text = re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
    return re.sub(r"([?&]password=)[^&\s]*", r"\1***", text)


def plain(value: Any) -> Any:
    """The value in JSON's types: arrays as lists, numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return os.fspath(value) if isinstance(value, os.PathLike) else value
