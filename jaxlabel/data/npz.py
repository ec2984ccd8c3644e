"""NumPy archives: `train_images, train_labels, test_images, test_labels`, or Keras' `x_train`..."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxlabel.data.dataset import Options, Source
from jaxlabel.data.images import from_array
from jaxlabel.errors import DataError

IMAGES = {"train": ("train_images", "x_train"), "test": ("test_images", "x_test")}
LABELS = {"train": ("train_labels", "y_train"), "test": ("test_labels", "y_test")}


def read(location: str, options: Options) -> Source:
    """The images of an archive; its label arrays stay packed. It may have no test images.

    Raises:
      DataError: no such file, not an archive, corrupt, or without training images.
    """
    train = _array(location, IMAGES["train"])
    if train is None:
        raise DataError(f"npz:{location} has no array train_images or x_train, but "
                        f"{_keys(location)}")  # fmt: skip
    test = _array(location, IMAGES["test"])
    return Source(
        from_array(train, f"npz:{location} (train)", options),
        from_array(test, f"npz:{location} (test)", options)
        if test is not None and len(test)
        else None,
    )


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """The labels of "train" or "test".

    Raises:
      DataError: there are none, they are not one whole number each, or of another count.
    """
    found, images = _array(location, LABELS[split]), _array(location, IMAGES[split])
    if found is None or images is None:
        wanted = " or ".join(LABELS[split])
        raise DataError(f"npz:{location} has no {split} labels: it needs an array {wanted}")
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise DataError(f"npz:{location}: the {split} labels are {found.dtype} {found.shape}, "
                        "not a list of whole numbers")  # fmt: skip
    if len(found) != len(images):
        raise DataError(f"npz:{location} has {len(found):,} {split} labels, but "
                        f"{len(images):,} images")  # fmt: skip
    return found


def has_labels(location: str, options: Options) -> bool:
    """Whether there is an array of training labels."""
    return any(key in LABELS["train"] for key in _keys(location).split(", "))


def _keys(location: str) -> str:
    with _open(location) as archive:
        return ", ".join(archive.files) or "nothing"


def _array(location: str, keys: tuple[str, ...]) -> np.ndarray | None:
    with _open(location) as archive:
        key = next((key for key in keys if key in archive.files), None)
        try:
            return None if key is None else archive[key]
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"npz:{location}: the array {key} cannot be read ({error})") from error


def _open(location: str) -> np.lib.npyio.NpzFile:
    file = Path(location).expanduser()
    if not file.is_file():
        raise DataError(f"npz:{location}: there is no such file")
    if not zipfile.is_zipfile(file):
        with file.open("rb") as stream:
            is_array = stream.read(6) == b"\x93NUMPY"
        fault = "is a single array" if is_array else "is not an NPZ archive, or cut short"
        raise DataError(f"npz:{location} {fault}: save one with numpy.savez, or fetch it again")
    return np.load(file)
