"""Data sets that are arrays in this process's memory, with specs such as `array:DIGEST/images`.

`hold` takes an array and returns its spec, which `data.load` can read until `release` is called
with it. Another process cannot read the spec; the error says what to do instead.
"""

import hashlib
import threading

import numpy as np
from jaxtyping import UInt8

from jaxlabel.data.dataset import Options, Source
from jaxlabel.data.images import from_array
from jaxlabel.errors import DataError, NoLabels

_held: dict[
    str, tuple[UInt8[np.ndarray, "n h w c"], int]
] = {}  # the images, and the number of `hold` calls
_lock = threading.Lock()


def hold(images: UInt8[np.ndarray, "n h w c"]) -> str:
    """Keep an array of images in memory and return a spec (a string) with which it can be loaded.

    The spec has a hash of the images, so equal arrays have equal specs.

    Args:
      images: uint8 images with 1 or 3 channels, all of one size. They are not copied, so they must
        not change before `release`.
    """
    digest = hashlib.blake2b(str(images.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(images).data)
    location = f"{digest.hexdigest()}/images"
    with _lock:
        _held[location] = images, _held.get(location, (images, 0))[1] + 1
    return f"array:{location}"


def release(spec: str) -> None:
    """Undo one call of `hold` for the spec that it returned.

    When each call of `hold` has been undone, the array is no longer kept in memory.
    """
    location = spec.removeprefix("array:")
    with _lock:
        images, holders = _held.pop(location)
        if holders > 1:
            _held[location] = images, holders - 1


def read(location: str, options: Options) -> Source:
    """Return the images that `hold` keeps in memory; all of them are training images.

    Raises:
      DataError: this process keeps no such images.
    """
    with _lock:
        images, _ = _held.get(location, (None, 0))
    if images is None:
        raise DataError(
            f"array:{location} was an array in the memory of another process: call jaxlabel.fit or "
            "jaxlabel.Session with the same images and the same workdir"
        )
    return Source(from_array(images, "images", options))


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """Raise a NoLabels error, because an array of images has no labels."""
    raise NoLabels(f"array:{location} has no {split} labels")


def has_labels(location: str, options: Options) -> bool:
    """Return False, because an array of images has no labels."""
    return False
