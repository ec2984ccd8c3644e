"""A cache on disk for arrays that several runs need: codes, clusterings, nearest neighbours.

The environment variable JAXLABEL_CACHE names the cache's directory. If it is not set, nothing is
cached. `jaxlabel sweep` sets it for its runs.
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
# Names of two entries that each file has beside the arrays. The names contain spaces, which the
# names of arrays must not contain.
SECONDS = "seconds to compute"
OWNER = "who computed it"
_saved: list[float] = []  # the seconds that each array read from the cache once took to compute
_owner = ""  # the run that computes now, set by `begin`


def cached(
    name: str, key_parts: Any, compute: Callable[[], Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Return the arrays that `compute` gives, from the cache on disk if they are there.

    Otherwise `compute` is called, and its arrays are stored in the cache. If two processes need the
    same arrays at the same time, one computes them and the other waits. Any change of jaxlabel's
    source code makes all cached arrays invalid. A call of `compute` may be skipped, so it must have
    no side effects, such as writing to the log.

    Args:
      name: the folder in the cache, such as "codes" or "kmeans".
      key_parts: everything on which the result depends, including seeds and settings: numbers,
        strings, None, dataclasses, arrays (compared by content), JAX keys, and lists, tuples and
        dicts of these.
      compute: a function that returns the arrays by name. It may also return a number under the
        name `SECONDS`, which then counts as the seconds that the computation took.
    """
    root = os.environ.get(VARIABLE)
    if not root:
        return {name: array for name, array in _to_arrays(compute()).items() if name != SECONDS}
    path = _cache_path(root, name, key_parts)
    if (arrays := _read(path)) is None:
        with _locked(path):
            if (arrays := _read(path)) is None:
                return _write(path, compute)
    seconds, owner = float(arrays.pop(SECONDS)), str(arrays.pop(OWNER, ""))
    if not owner or owner != _owner:
        _saved.append(seconds)
    return arrays


def begin(owner: str) -> None:
    """Tell the cache which run is using it from now on, and reset the count of saved seconds.

    Arrays that a run with the same name computed before do not count as saved time. So a run that
    is killed and started again does not count its own earlier work as saved.

    Args:
      owner: the name of the run.
    """
    global _owner
    _owner = owner
    _saved.clear()


def known(name: str, key_parts: Any) -> bool:
    """Return True if the arrays for `key_parts` are in the cache.

    Return False if they are not, or if no cache directory is set.
    """
    root = os.environ.get(VARIABLE)
    return bool(root and _cache_path(root, name, key_parts).is_file())


def take_saved_seconds() -> float:
    """Return the seconds of computation that the cache has saved since the last call.

    The seconds are those that the arrays read from the cache once took to compute.
    """
    total = sum(_saved)
    _saved.clear()
    return round(total, 2)


def digest(value: Any) -> str:
    """Return a hash of a value's content as 32 hexadecimal digits, the same in every process.

    Raises:
      TypeError: the value contains an object that is neither plain data nor an array.
    """
    hashed = hashlib.sha256()
    for part in _parts(value):
        hashed.update(len(part).to_bytes(8, "big"))
        hashed.update(part)
    return hashed.hexdigest()[:32]


@functools.cache
def source() -> str:
    """Return a hash of the text of all Python files of the package jaxlabel."""
    folder = Path(__file__).parent
    paths = sorted(folder.rglob("*.py"))
    return digest([[str(path.relative_to(folder)), path.read_bytes()] for path in paths])


def _parts(value: Any) -> Iterator[bytes]:
    """Yield bytes that describe a value for hashing, with the type of each part.

    The types make sure that 1 and "1" have different hashes.
    """
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


def _cache_path(root: str, name: str, key_parts: Any) -> Path:
    return Path(root) / name / f"{digest([source(), key_parts])}.npz"


def _to_arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in values.items()}


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """Read the arrays of the file `path`; return None if the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (FileNotFoundError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, compute: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Call `compute`, write its arrays to the file `path` atomically, and return them."""
    start = time.monotonic()
    arrays = _to_arrays(compute())
    seconds = arrays.pop(SECONDS, np.array(time.monotonic() - start))
    part = path.with_suffix(f".{os.getpid()}.part")
    with files.write_errors(path):
        with part.open("wb") as file:
            np.savez(file, **arrays, **{SECONDS: seconds, OWNER: _owner})  # type: ignore[arg-type]
        part.replace(path)
    return arrays


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock for the file `path` inside a `with` block.

    Other processes wait for the lock. The system releases it if this process is killed.
    """
    lock = path.with_suffix(".lock")
    with files.write_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
