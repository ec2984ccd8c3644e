"""MNIST's IDX format: four files in a folder, gzipped or not."""

import math
import zlib
from pathlib import Path

import numpy as np

from jaxlabel.data.dataset import Options, Source
from jaxlabel.data.images import from_array
from jaxlabel.errors import DataError

STEMS = {"train": "train", "test": "t10k"}
UNSIGNED_BYTE = 8


def read(location: str, options: Options) -> Source:
    """The images of the two image files of a folder; its label files stay closed.

    Raises:
      DataError: a file is missing, corrupt, cut short, or not IDX.
    """
    files = {split: _find(location, split, "images-idx3-ubyte") for split in STEMS}
    train, test = (from_array(read_idx(file), str(file), options) for file in files.values())
    return Source(train, test)


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """The labels of "train" or "test".

    Raises:
      DataError: as `read`, or there are more or fewer labels than images.
    """
    file = _find(location, split, "labels-idx1-ubyte")
    images = _find(location, split, "images-idx3-ubyte")
    found, num_images = read_idx(file), len(read_idx(images))
    if found.ndim != 1:
        raise DataError(f"{file} holds {found.ndim}-dimensional data, not a list of labels")
    if len(found) != num_images:
        raise DataError(f"{file} has {len(found):,} labels, but {images.name} has "
                        f"{num_images:,} images")  # fmt: skip
    return found


def has_labels(location: str, options: Options) -> bool:
    """Whether the training labels' file is there."""
    return _look(Path(location).expanduser(), "train", "labels-idx1-ubyte") is not None


def _find(location: str, split: str, name: str) -> Path:
    folder = Path(location).expanduser()
    if not folder.is_dir():
        raise DataError(f"idx:{location}: there is no such folder")
    file = _look(folder, split, name)
    if file is None:
        raise DataError(f"idx:{location} has no {STEMS[split]}-{name}.gz: put MNIST's four files "
                        "there, gzipped or not ({train,t10k}-{images-idx3,labels-idx1}-ubyte)"
                        )  # fmt: skip
    return file


def _look(folder: Path, split: str, name: str) -> Path | None:
    stem = f"{STEMS[split]}-{name}"
    dotted = stem.replace("-idx", ".idx")  # as some unpackers write it
    candidates = (folder / f"{s}{end}" for s in (stem, dotted) for end in ("", ".gz"))
    return next((file for file in candidates if file.is_file()), None)


def read_idx(file: Path) -> np.ndarray:
    """The array of bytes that an IDX file holds, read-only.

    Raises:
      DataError: its first bytes are not IDX's, or its length is not what they say.
    """
    data = _content(file)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTE or not 1 <= data[3] <= 4:
        raise DataError(f"{file} is not an IDX file of bytes: it begins with 0x{data[:4].hex()}, "
                        "not with 0x00000801 (labels) or 0x00000803 (images)")  # fmt: skip
    start = 4 + 4 * data[3]
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist())
    wanted = start + math.prod(shape)
    if len(data) < start or len(data) != wanted:
        state = "cut short" if len(data) < wanted else "too long"
        raise DataError(f"{file} is {state}: {len(data):,} bytes, where its header {shape} "
                        f"makes {wanted:,}; fetch it again")  # fmt: skip
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _content(file: Path) -> bytes:
    data = file.read_bytes()
    if data[:2] != b"\x1f\x8b":
        if file.suffix == ".gz":
            raise DataError(f"{file} is not gzipped, though its name says so: rename or replace it")
        return data
    try:
        # zlib.decompress checks the length and the checksum, and lacks gzip's per-block overhead.
        return zlib.decompress(data, wbits=31)
    except zlib.error as error:
        reason = "cut short" if "incomplete" in str(error) else "corrupt"
        raise DataError(f"{file} is {reason} ({error}): fetch it again") from error
