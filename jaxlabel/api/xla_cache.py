"""Delete half-written files of XLA's cache of compiled code. This module does not import JAX.

JAX does not write a file of the cache in one step, so a process that is killed may leave half a
file. JAX never replaces a file that it cannot read: without this module, every later process would
print a warning and compile the same code again.
"""

import contextlib
import importlib
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

CHECKED = ".checked"  # the name of an empty file, whose time of change is that of the last check
ZLIB, ZSTD = b"\x78", b"\x28\xb5\x2f\xfd"  # the first bytes of compressed data in either format


def delete_half_written(folder: Path) -> None:
    """Delete the half-written files of a folder of compiled code.

    Only files that were written since the last check are read. If one of them is being written by
    another process just now, it may be deleted too; then a later process compiles its code again.

    Args:
      folder: the folder in which JAX keeps compiled code. If it does not exist or this user may not
        write it, nothing happens.
    """
    marker, began = folder / CHECKED, time.time() - 1  # a file's time may lag behind the clock
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        last = marker.stat().st_mtime if marker.exists() else 0.0
        for entry in entries:
            # Another process has deleted it, or this user may not read it.
            with contextlib.suppress(OSError):
                is_new = entry.name.endswith("-cache") and entry.stat().st_mtime >= last
                if is_new and not _is_whole(Path(entry.path).read_bytes()):
                    os.unlink(entry.path)
        marker.touch()
        os.utime(marker, (began, began))


def _is_whole(content: bytes) -> bool:
    """Return False if compressed data is cut off; True if its format is unknown."""
    if len(content) < len(ZSTD):
        return False
    if content.startswith(ZLIB):
        decompress: Callable[[bytes], bytes] = zlib.decompress
    elif content.startswith(ZSTD) and (found := _zstd()):
        decompress = found
    else:
        return True
    try:
        decompress(content)
    except Exception:  # each of these modules raises errors of another class
        return False
    return True


def _zstd() -> Callable[[bytes], bytes] | None:
    """Return the function by which JAX decompresses zstd, or None; older Pythons have no zstd."""
    for name in ("compression.zstd", "zstandard"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            decompress: Callable[[bytes], bytes] = module.decompress
            return decompress
    return None
