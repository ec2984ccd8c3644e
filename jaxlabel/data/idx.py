"""Reader of MNIST's IDX format: a folder with four files, gzipped or not."""

import math
import zlib
from pathlib import Path

import numpy as np

from jaxlabel.data.dataset import Options, Source
from jaxlabel.data.images import from_array
from jaxlabel.errors import DataError

STEMS = {"train": "train", "test": "t10k"}
UNSIGNED_BYTE = 8  # the code of this data type in the header of an IDX file


def read(location: str, options: Options) -> Source:
    """Read the training and test images of a folder in MNIST's IDX format, without its labels.

    Args:
      location: the folder, which has a file of training images and a file of test images.
      options: the settings for reading images.

    Raises:
      DataError: a file is missing, corrupt, cut short, or not in IDX format.
    """
    files = {split: _find_or_raise(location, split, "images-idx3-ubyte") for split in STEMS}
    train, test = (from_array(read_idx(file), str(file), options) for file in files.values())
    return Source(train, test)


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """Return the labels of the split "train" or "test" in a folder of IDX files, in image order.

    Raises:
      DataError: a file is missing, corrupt, cut short, or not in IDX format, or the number of
        labels differs from the number of images.
    """
    file = _find_or_raise(location, split, "labels-idx1-ubyte")
    images = _find_or_raise(location, split, "images-idx3-ubyte")
    array, num_images = read_idx(file), len(read_idx(images))
    if array.ndim != 1:
        raise DataError(f"{file} holds {array.ndim}-dimensional data, not a list of labels")
    if len(array) != num_images:
        raise DataError(f"{file} has {len(array):,} labels, but {images.name} has "
                        f"{num_images:,} images")  # fmt: skip
    return array


def has_labels(location: str, options: Options) -> bool:
    """Return True if the folder contains a file of training labels in IDX format."""
    return _find_file(Path(location).expanduser(), "train", "labels-idx1-ubyte") is not None


def _find_or_raise(location: str, split: str, name: str) -> Path:
    folder = Path(location).expanduser()
    if not folder.is_dir():
        raise DataError(f"idx:{location}: there is no such folder")
    file = _find_file(folder, split, name)
    if file is None:
        raise DataError(f"idx:{location} has no {STEMS[split]}-{name}.gz: put MNIST's four files "
                        "there, gzipped or not ({train,t10k}-{images-idx3,labels-idx1}-ubyte)"
                        )  # fmt: skip
    return file


def _find_file(folder: Path, split: str, name: str) -> Path | None:
    stem = f"{STEMS[split]}-{name}"
    dotted = stem.replace("-idx", ".idx")  # some unpacking programs write the names so
    candidates = (folder / f"{s}{end}" for s in (stem, dotted) for end in ("", ".gz"))
    return next((file for file in candidates if file.is_file()), None)


def read_idx(file: Path) -> np.ndarray:
    """Return the content of an IDX file of bytes as a read-only array.

    The file may be compressed by gzip.

    Raises:
      DataError: the file does not begin with the header of an IDX file of bytes, or its length
        differs from the length in the header.
    """
    data = _content(file)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTE or not 1 <= data[3] <= 4:
        raise DataError(f"{file} is not an IDX file of bytes: it begins with 0x{data[:4].hex()}, "
                        "not with 0x00000801 (labels) or 0x00000803 (images)")  # fmt: skip
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DataError(f"{file} is cut short in its header; fetch it again")
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist())
    expected = start + math.prod(shape)
    if len(data) != expected:
        state = "cut short" if len(data) < expected else "too long"
        raise DataError(f"{file} is {state}: {len(data):,} bytes, but its header {shape} "
                        f"requires {expected:,}; fetch it again")  # fmt: skip
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _content(file: Path) -> bytes:
    data = file.read_bytes()
    if data[:2] != b"\x1f\x8b":
        if file.suffix == ".gz":
            raise DataError(f"{file} is not gzipped, though its name says so: rename or replace it")
        return data
    try:
        # zlib.decompress also checks length and checksum, and is faster than the gzip module.
        return zlib.decompress(data, wbits=31)
    except zlib.error as error:
        reason = "cut short" if "incomplete" in str(error) else "corrupt"
        raise DataError(f"{file} is {reason} ({error}): fetch it again") from error
