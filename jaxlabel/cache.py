"""A cache on disk for arrays that several runs need: codes, clusterings, nearest neighbours.

The environment variable JAXLABEL_CACHE names the cache's directory; `jaxlabel sweep` sets it for
its runs. If it is not set, a run uses a folder in its own directory until it ends, so that a run
that is started again does not compute the same arrays again. Outside of runs nothing is cached
then.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import platform
import tempfile
import threading
import time
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


class _Run(threading.local):
    """How the run of this thread uses the cache; a program may have several runs at a time.

    Attributes:
      owner: the name of the run.
      folder: the cache of this run alone, if JAXLABEL_CACHE is not set.
      kernels: the convolution kernels in use: results of different kernels differ by rounding.
      saved: the seconds that each array read from the cache once took to compute.
    """

    owner = folder = kernels = ""

    def __init__(self) -> None:
        self.saved: list[float] = []


_run = _Run()


def cached(
    name: str, key_parts: Any, compute: Callable[[], Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Return the arrays that the function `compute` computes, from the cache on disk if possible.

    If the cache has no arrays for `key_parts`, `compute` is called, and its arrays are stored in
    the cache. If two processes need the same arrays at the same time, one computes them and the
    other waits. Any change of jaxlabel's source code makes all cached arrays invalid. A call of
    `compute` may be skipped, so it must have no side effects, such as writing to the log.

    Args:
      name: the folder in the cache, such as "codes" or "kmeans".
      key_parts: everything on which the result depends, including seeds and settings: numbers,
        strings, None, dataclasses, arrays (compared by content), JAX keys, and lists, tuples and
        dicts of these.
      compute: a function that returns a dict of arrays by name. It may also return a number under
        the name `SECONDS`, which then counts as the seconds that the computation took.
    """
    root = _root()
    if not root:
        return {name: array for name, array in _to_arrays(compute()).items() if name != SECONDS}
    path = _cache_path(root, name, key_parts)
    if (arrays := _read_arrays(path)) is None:
        with _locked(path):
            if (arrays := _read_arrays(path)) is None:
                return _compute_and_write(path, compute)
    seconds, owner = float(arrays.pop(SECONDS)), str(arrays.pop(OWNER, ""))
    if root != _run.folder and (not owner or owner != _run.owner):
        _run.saved.append(seconds)
    return arrays


def begin(owner: str, kernels: str = "", folder: str = "") -> None:
    """Set which run uses the cache in this thread from now on, and reset the saved seconds.

    The next call ends this run's use of the cache.

    Time counts as saved if a run reads arrays that a run of another name computed. So a run that is
    killed and started again does not count its own earlier work as saved.

    Args:
      owner: the name of the run.
      kernels: the convolution kernels in use; arrays that other kernels computed are not read.
      folder: the cache's directory if the variable JAXLABEL_CACHE is not set; empty for none.
    """
    _run.owner, _run.kernels, _run.folder = owner, kernels, folder
    _run.saved.clear()


def known(name: str, key_parts: Any) -> bool:
    """Return True if the folder `name` of the cache has the arrays for `key_parts`.

    Return False if it does not, or if no cache directory is set.
    """
    root = _root()
    return bool(root and _cache_path(root, name, key_parts).is_file())


def take_saved_seconds() -> float:
    """Return the seconds of computation that the cache has saved since the last call.

    These are the seconds that it once took to compute the arrays that were read from the cache.
    """
    total = sum(_run.saved)
    _run.saved.clear()
    return round(total, 2)


def digest(value: Any) -> str:
    """Return a hash of the content of `value`, 32 hexadecimal digits; it is equal in every process.

    Raises:
      TypeError: the value contains an object that is neither plain data nor an array.
    """
    hashed = hashlib.sha256()
    for part in _hash_parts(value):
        hashed.update(len(part).to_bytes(8, "big"))
        hashed.update(part)
    return hashed.hexdigest()[:32]


@functools.cache
def source() -> str:
    """Return a hash of the text of all Python files of the package jaxlabel."""
    folder = Path(__file__).parent
    paths = sorted(folder.rglob("*.py"))
    return digest([[str(path.relative_to(folder)), path.read_bytes()] for path in paths])


def compiled_code_folder(kind: str) -> Path:
    """Return the folder for code compiled on processors like this one, in the user's cache.

    Args:
      kind: "xla" or "kernels", the name of a folder in ~/.cache/jaxlabel. For every kind of
        processor it contains another folder, because code compiled for one kind may crash on
        another.
    """
    return _user_cache() / kind / processor_fingerprint()


def pictures_folder() -> Path:
    """Return the folder for decoded pictures, in JAXLABEL_CACHE or else in the user's cache."""
    return Path(os.environ.get(VARIABLE) or _user_cache()) / "pictures"


def _user_cache() -> Path:
    """Return a writable directory for this user's cached files: ~/.cache/jaxlabel if possible.

    Without a home directory, or with one that is read-only, it is a directory of this user in the
    directory for temporary files.
    """
    home = os.path.expanduser("~")
    if os.path.isabs(home):
        wanted = os.path.join(home, ".cache", "jaxlabel")
        existing = wanted
        while not os.path.exists(existing):
            existing = os.path.dirname(existing)
        if os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK):
            return Path(wanted)
    fallback = Path(tempfile.gettempdir()) / f"jaxlabel-cache-{os.getuid()}"
    with contextlib.suppress(OSError):
        fallback.mkdir(mode=0o700, exist_ok=True)
        # Another user could have put a directory, and code to load, under this predictable name.
        if fallback.is_symlink() or fallback.stat().st_uid != os.getuid():
            return Path(tempfile.mkdtemp(prefix="jaxlabel-cache-"))
    return fallback


def processor_instructions() -> frozenset[str]:
    """Return the names of the processor's instruction sets, such as "avx2"; empty if unknown."""
    return frozenset(_processor_description().get("flags", "").split())


def processor_fingerprint() -> str:
    """Return a short hash of the processor's kind.

    Processors with different hashes cannot use each other's compiled code.
    """
    processor = _processor_description()
    names = ("vendor_id", "cpu family", "model", "stepping")
    parts = [platform.machine(), *(processor.get(name, "") for name in names)]
    parts += sorted(processor_instructions())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@functools.cache
def _processor_description() -> dict[str, str]:
    """Return Linux's description of the first processor, as a dict; empty on other systems."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _hash_parts(value: Any) -> Iterator[bytes]:
    """Yield the bytes from which the hash of `value` is computed.

    They contain the type of each element, so that 1 and "1" have different hashes.
    """
    if isinstance(value, bytes):
        yield from (b"bytes", value)
    elif value is None or isinstance(value, str | int | float | bool):
        yield from (type(value).__name__.encode(), json.dumps(value).encode())
    elif hasattr(value, "__dataclass_fields__"):
        yield type(value).__qualname__.encode()
        yield from _hash_parts(vars(value))
    elif isinstance(value, Mapping):
        yield b"mapping %d" % len(value)
        for key in sorted(value):
            yield from (*_hash_parts(key), *_hash_parts(value[key]))
    elif isinstance(value, list | tuple):
        yield b"sequence %d" % len(value)
        for item in value:
            yield from _hash_parts(item)
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


def _root() -> str:
    """Return the directory of the cache; empty if there is none."""
    return os.environ.get(VARIABLE) or _run.folder


def _cache_path(root: str, name: str, key_parts: Any) -> Path:
    return Path(root) / name / f"{digest([source(), _run.kernels, key_parts])}.npz"


def _to_arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in values.items()}


def _read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Read the arrays of the file `path`; return None if the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (FileNotFoundError, *files.DAMAGED_NPZ):
        return None


def _compute_and_write(
    path: Path, compute: Callable[[], Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Call `compute`, write its arrays to the file `path` atomically, and return them."""
    start = time.monotonic()
    arrays = _to_arrays(compute())
    seconds = arrays.pop(SECONDS, np.array(time.monotonic() - start))
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        with files.write_errors(path):
            with part.open("wb") as file:
                np.savez(file, **arrays, **{SECONDS: seconds, OWNER: _run.owner})  # type: ignore[arg-type]
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)  # a full disk leaves half of a file
        raise
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
