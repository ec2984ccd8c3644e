"""Match feature vectors that another program computed to the images of a data set.

A row of the file belongs to the image that the row names or, if rows have no names, to the image
at the same position.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel.data import feature_files
from jaxlabel.data.dataset import Dataset
from jaxlabel.data.feature_files import FeatureFile
from jaxlabel.errors import DataError


class Features(NamedTuple):
    """A feature vector for each image of a data set.

    Attributes:
      train: the feature vectors of the training images.
      test: the feature vectors of the test images; None if there are no test images, or the file
        has no rows for them.
      notes: messages for the user: how rows were matched to images, and which were left out.
    """

    train: Float[np.ndarray, "n d"]
    test: Float[np.ndarray, "m d"] | None
    notes: tuple[str, ...]

    def digest(self) -> str:
        """Return a hash of all numbers, which changes if a number or the order of rows changes."""
        digest = hashlib.blake2b(repr(self.train.shape).encode(), digest_size=16)
        for values in (self.train, self.test):
            if values is not None:
                digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()


def load(location: str, dataset: Dataset) -> Features:
    """Read a file of feature vectors, and return the vector of each image of a data set.

    Args:
      location: the file, which ends with .npy, .npz or .parquet (`feature_files.read`).
      dataset: the images.

    Raises:
      DataError: the file cannot be read, an image has no row or two rows, or the number of rows
        differs from the number of images.
    """
    found = feature_files.read(location)
    named = [rows.names is not None for rows in found if rows is not None]
    if any(named) and not all(named):
        raise DataError(f"features {location} names the rows of one split only: name all or none")
    return (_by_name if any(named) else _by_order)(location, found, dataset)


def _by_order(location: str, found: FeatureFile, dataset: Dataset) -> Features:
    """Return the rows of a file as the features of the images at the same positions.

    A file with one array may have the rows of the training images alone, or those of the training
    images and after them those of the test images.
    """
    train, test = found.train.values, found.test.values if found.test else None
    counts = len(dataset.train_images), len(dataset.test_images)
    if test is None and counts[1] and len(train) == sum(counts):
        train, test = np.split(train, [counts[0]])
    notes = ["rows are taken in the order of the images, because they have no file names"]
    if test is not None and not counts[1]:
        notes.append(f"{len(test):,} rows of test images are left out: there are no test images")
        test = None
    if len(train) != counts[0] or (test is not None and len(test) != counts[1]):
        given = f"{len(train):,} rows" if test is None else (
            f"{len(train):,} training and {len(test):,} test rows")  # fmt: skip
        images = f"{counts[0]:,} training and {counts[1]:,} test images"
        raise DataError(f"features {location} has {given}, {dataset.name} has {images}: write a "
                        "row per training image, or per training and then per test image"
                        )  # fmt: skip
    return Features(train, test, tuple(notes))


def _by_name(location: str, found: FeatureFile, dataset: Dataset) -> Features:
    """Return for each image the row whose name is the image's file.

    Raises:
      DataError: the images have no files, an image has no row or two rows, or a name may stand for
        two images.
    """
    paths = (*dataset.paths, *dataset.test_paths)
    if len(dataset.paths) != len(dataset.train_images):
        raise DataError(f"features {location} names its rows, but the images of {dataset.name} are "
                        "not separate files: leave the names out and keep the order")  # fmt: skip
    parts = [rows for rows in found if rows is not None]
    names = [name for rows in parts for name in rows.names or ()]
    rows, left_out = _row_of_each(location, names, paths)
    values = np.concatenate([part.values for part in parts])
    count = len(dataset.paths)
    train = _complete(location, values, rows[:count], dataset.paths)
    has_test = (rows[count:] >= 0).any()
    test = _complete(location, values, rows[count:], dataset.test_paths) if has_test else None
    notes = ["rows are matched to the images by file name"]
    if left_out:
        notes.append(f"{left_out:,} rows are left out: they name no image of {dataset.name}")
    return Features(train, test, tuple(notes))


def _complete(
    location: str, values: np.ndarray, rows: Int[np.ndarray, "n"], paths: Sequence[str]
) -> np.ndarray:
    """Return the chosen rows of an array; raise a DataError if an image has none (-1)."""
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise DataError(f"features {location} has no row for {len(missing):,} of {len(rows):,} "
                        f"images, the first is {paths[missing[0]]}")  # fmt: skip
    return values[rows]


def _row_of_each(
    location: str, names: Sequence[str], paths: Sequence[str]
) -> tuple[Int[np.ndarray, "n"], int]:
    """Return the row that names each image (-1 for none), and how many rows name no image.

    A name is the image's path or the end of that path, such as "cat/1.png" for
    "pictures/cat/1.png". It may also be a longer path that ends with an entry of `paths`.

    Args:
      location: the file, for error messages.
      names: the name of each row.
      paths: the file of each image.
    """
    cleaned = ["/".join(_parts(name)) for name in names]
    by_end = _images_by_end(paths, {name.count("/") + 1 for name in cleaned})
    given = {"/".join(_parts(path)): index for index, path in enumerate(paths)}
    depths = sorted({path.count("/") + 1 for path in given if "/" in path}, reverse=True)
    rows, left_out = np.full(len(paths), -1), 0
    for row, name in enumerate(cleaned):
        images = by_end.get(name) or [given[end] for end in _ends(name, depths) if end in given][:1]
        if not images:
            left_out += 1
            continue
        if len(images) > 1:
            raise DataError(f"features {location}: the name {names[row]} fits {paths[images[0]]} "
                            f"and {paths[images[1]]}: write more of the path")  # fmt: skip
        if rows[images[0]] >= 0:
            raise DataError(f"features {location} has two rows for {paths[images[0]]}: rows "
                            f"{rows[images[0]] + 1:,} and {row + 1:,}")  # fmt: skip
        rows[images[0]] = row
    return rows, left_out


def _images_by_end(paths: Sequence[str], depths: set[int]) -> dict[str, list[int]]:
    """Map the end of a path, such as "cat/1.png", to the indices of the images with that end.

    Args:
      paths: the file of each image; the ends are those of its absolute path.
      depths: the numbers of parts of the ends, such as 2 for "cat/1.png".
    """
    found: dict[str, list[int]] = {}
    for index, path in enumerate(paths):
        for end in _ends("/".join(_parts(os.path.abspath(path))), depths):
            found.setdefault(end, []).append(index)
    return found


def _ends(path: str, depths: Sequence[int] | set[int]) -> Iterator[str]:
    """Yield the last parts of a path, for each number of parts in `depths`."""
    parts = path.split("/")
    for depth in depths:
        if depth <= len(parts):
            yield "/".join(parts[-depth:])


def _parts(path: str) -> list[str]:
    """Split a path at slashes and backslashes; empty parts and "." are left out."""
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
