"""Reader of NumPy archives (NPZ files).

The arrays are called train_images, train_labels, test_images and test_labels, or as in Keras
x_train, y_train, x_test and y_test.
"""

import zipfile
from pathlib import Path

import numpy as np

from jaxlabel.data.dataset import Options, Source
from jaxlabel.data.images import from_array
from jaxlabel.errors import DataError, NoLabels, reason_of

IMAGES = {"train": ("train_images", "x_train"), "test": ("test_images", "x_test"),
          "val": ("val_images", "x_val", "valid_images", "x_valid")}  # fmt: skip
LABELS = {"train": ("train_labels", "y_train"), "test": ("test_labels", "y_test"),
          "val": ("val_labels", "y_val", "valid_labels", "y_valid")}  # fmt: skip


def read(location: str, options: Options) -> Source:
    """Read the images of a NumPy archive (NPZ file), without reading its labels.

    Validation images (val_images or x_val) are appended to the training images. Test images are
    optional.

    Args:
      location: the NPZ file.
      options: the settings for reading images.

    Raises:
      DataError: the file does not exist, is not an NPZ archive, is corrupt, or has no training
        images.
    """
    train = _read_array(location, IMAGES["train"])
    if train is None:
        raise DataError(f"npz:{location} has no array train_images or x_train, but "
                        f"{', '.join(_array_names(location)) or 'nothing'}")  # fmt: skip
    test, val = (_read_array(location, IMAGES[split]) for split in ("test", "val"))
    notes = []
    if val is not None and len(val):
        if val.shape[1:] != train.shape[1:] or val.dtype != train.dtype:
            raise DataError(f"npz:{location}: the validation images are {val.dtype} "
                            f"{val.shape[1:]}, the training images {train.dtype} "
                            f"{train.shape[1:]}: save them alike")  # fmt: skip
        notes.append(f"to train: {len(train):,} training images and {len(val):,} validation images "
                     "(they join the training images)")  # fmt: skip
        train = np.concatenate([train, val])
    known = {name for names in (*IMAGES.values(), *LABELS.values()) for name in names}
    others = [name for name in _array_names(location) if name not in known]
    if others:
        notes.append(f"npz:{location}: arrays that are not read: {', '.join(others)}")
    return Source(
        from_array(train, f"npz:{location} (train)", options),
        from_array(test, f"npz:{location} (test)", options)
        if test is not None and len(test)
        else None,
        notes=tuple(notes),
    )


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """Return the labels of the split "train" or "test" of an NPZ file, in the order of the images.

    The labels of validation images follow those of the training images.

    Raises:
      NoLabels: there are no labels.
      DataError: they are not a list of whole numbers, or their number differs
        from the number of images.
    """
    found = _labels(location, split)
    val = _read_array(location, IMAGES["val"]) if split == "train" else None
    return (
        found if val is None or not len(val) else np.concatenate([found, _labels(location, "val")])
    )


def _labels(location: str, split: str) -> np.ndarray:
    """Return the labels of the split "train", "val" or "test" of an NPZ file."""
    array, images = _read_array(location, LABELS[split]), _read_array(location, IMAGES[split])
    if array is None or images is None:
        names = " or ".join(LABELS[split])
        raise NoLabels(f"npz:{location} has no {split} labels: it needs an array {names}")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(f"npz:{location}: the {split} labels are {array.dtype} {array.shape}, "
                        "not a list of whole numbers")  # fmt: skip
    if len(array) != len(images):
        raise DataError(f"npz:{location} has {len(array):,} {split} labels, but "
                        f"{len(images):,} images")  # fmt: skip
    return array


def has_labels(location: str, options: Options) -> bool:
    """Return True if the NPZ file has an array of training labels."""
    return any(key in LABELS["train"] for key in _array_names(location))


def _array_names(location: str) -> list[str]:
    with _open(location) as archive:
        return archive.files


def _read_array(location: str, keys: tuple[str, ...]) -> np.ndarray | None:
    with _open(location) as archive:
        key = next((key for key in keys if key in archive.files), None)
        if key is None:
            return None
        try:
            array = archive[key]
        except Exception as error:  # a damaged archive raises many types of exceptions
            raise DataError(f"npz:{location}: the array {key} cannot be read "
                            f"({reason_of(error)})") from error  # fmt: skip
    if array.ndim == 0:
        raise DataError(f"npz:{location}: the array {key} is a single value")
    return array


def _open(location: str) -> np.lib.npyio.NpzFile:
    file = Path(location).expanduser()
    if not file.is_file():
        raise DataError(f"npz:{location}: there is no such file")
    if not zipfile.is_zipfile(file):
        with file.open("rb") as stream:
            is_array = stream.read(6) == b"\x93NUMPY"
        fault = "is a single array" if is_array else "is not an NPZ archive, or is cut short"
        raise DataError(
            f"npz:{location} {fault}: save an archive with numpy.savez, or fetch it again"
        )
    try:
        return np.load(file)
    except Exception as error:  # a damaged archive raises many types of exceptions
        raise DataError(
            f"npz:{location} cannot be read ({reason_of(error)}): fetch it again"
        ) from error
