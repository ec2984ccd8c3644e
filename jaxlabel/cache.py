"""Arrays that several runs compute alike, computed once: codes, clusterings, neighbours.

Without a directory in the environment variable JAXLABEL_CACHE nothing is kept; `jaxlabel sweep`
names one for its runs.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel import files

VARIABLE = "JAXLABEL_CACHE"
SECONDS = "seconds to compute"  # no array of a caller's has spaces in its name
OWNER = "who computed it"
_saved: list[float] = []
_owner = ""
_kernels = ""  # what computes: results of different kernels differ by rounding


def cached(
    name: str, key_parts: Any, compute: Callable[[], Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """The arrays that `compute` returns, or returned when it was last asked with the same key.

    Two processes that ask for the same at once compute it once: the second one waits. A change of
    jaxlabel's source forgets what is there. `compute` may be skipped, so it must have no effect
    but its result: write to the log outside.

    Args:
      name: a folder in the cache, such as "codes" or "kmeans".
      key_parts: all that the result depends on, seeds and settings included: numbers, texts, None,
        dataclasses, arrays (by content), JAX keys, and lists, tuples and dicts of them.
      compute: what it returns under `SECONDS`, if anything, is taken for the time that it took.
    """
    root = os.environ.get(VARIABLE)
    if not root:
        return {name: array for name, array in _arrays(compute()).items() if name != SECONDS}
    path = _place(root, name, key_parts)
    if (found := _read(path)) is None:
        with _locked(path):
            if (found := _read(path)) is None:
                return _write(path, compute)
    seconds, owner = float(found.pop(SECONDS)), str(found.pop(OWNER, ""))
    if not owner or owner != _owner:
        _saved.append(seconds)
    return found


def begin(owner: str, kernels: str = "") -> None:
    """From here on it is a run of that name that computes: a new one, or one that goes on.

    What it computed itself, before it was killed and started again, saves it nothing.

    Args:
      kernels: what computes on this device; results of other kernels are not taken.
    """
    global _owner, _kernels
    _owner, _kernels = owner, kernels
    _saved.clear()


def known(name: str, key_parts: Any) -> bool:
    """Whether the cache has what `cached` would return; False where there is none."""
    root = os.environ.get(VARIABLE)
    return bool(root and _place(root, name, key_parts).is_file())


def take_saved_seconds() -> float:
    """How long what was found in the cache once took to compute, since this was last called."""
    total = sum(_saved)
    _saved.clear()
    return round(total, 2)


def digest(value: Any) -> str:
    """A hash of a value by its content; equal values have equal ones in every process.

    Raises:
      TypeError: something in it is neither plain data nor an array.
    """
    hashed = hashlib.sha256()
    for part in _parts(value):
        hashed.update(len(part).to_bytes(8, "big"))
        hashed.update(part)
    return hashed.hexdigest()[:32]


@functools.cache
def source() -> str:
    """A hash of jaxlabel's own Python files."""
    folder = Path(__file__).parent
    paths = sorted(folder.rglob("*.py"))
    return digest([[str(path.relative_to(folder)), path.read_bytes()] for path in paths])


def _parts(value: Any) -> Iterator[bytes]:
    """The value's bytes, with what tells values of different kinds apart."""
    if isinstance(value, bytes):
        yield from (b"bytes", value)
    elif value is None or isinstance(value, str | int | float | bool):
        yield from (type(value).__name__.encode(), json.dumps(value).encode())
    elif hasattr(value, "__dataclass_fields__"):
        yield type(value).__qualname__.encode()
        yield from _parts(vars(value))
    elif isinstance(value, Mapping):
        yield b"mapping %d" % len(value)
        for key in sorted(value):
            yield from (*_parts(key), *_parts(value[key]))
    elif isinstance(value, list | tuple):
        yield b"sequence %d" % len(value)
        for item in value:
            yield from _parts(item)
    elif hasattr(value, "dtype") and hasattr(value, "shape"):
        array = _array(value)
        yield f"array {array.dtype} {array.shape}".encode()
        yield array.tobytes()
    else:
        raise TypeError(f"a cache key is made of plain data and arrays, not of {value!r}")


def _array(value: Any) -> np.ndarray:
    if str(value.dtype).startswith("key<"):
        import jax

        value = jax.random.key_data(value)
    return np.asarray(value)


def _place(root: str, name: str, key_parts: Any) -> Path:
    return Path(root) / name / f"{digest([source(), _kernels, key_parts])}.npz"


def _arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in values.items()}


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None when it is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (FileNotFoundError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, compute: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    began = time.monotonic()
    arrays = _arrays(compute())
    seconds = arrays.pop(SECONDS, np.array(time.monotonic() - began))
    part = path.with_suffix(f".{os.getpid()}.part")
    with files.refusals(path):
        with part.open("wb") as file:
            np.savez(file, **arrays, **{SECONDS: seconds, OWNER: _owner})  # type: ignore[arg-type]
        part.replace(path)
    return arrays


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock of the path's own; a process that is killed lets it go."""
    lock = path.with_suffix(".lock")
    with files.refusals(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
