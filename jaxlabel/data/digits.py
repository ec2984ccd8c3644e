"""Reader of scikit-learn's digits data set: 1,797 images of 8 x 8 pixels, without a download."""

import gzip
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxlabel.data.dataset import DIGITS, Options, Source
from jaxlabel.data.images import from_array

NUM_TRAIN = 1297


def read(location: str, options: Options) -> Source:
    """Return scikit-learn's digits: always the same 1,297 training and 500 test images."""
    pixels = np.round(_read_columns(range(64)) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    order = _permutation(len(pixels))
    train, test = (
        from_array(pixels[part], "digits", options) for part in np.split(order, [NUM_TRAIN])
    )
    return Source(train, test, DIGITS)


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """Return the labels of the split "train" or "test" of scikit-learn's digits, in order."""
    column = _read_columns([64])[:, 0]
    train, test = np.split(_permutation(len(column)), [NUM_TRAIN])
    return column[train if split == "train" else test].astype(np.int64)


def has_labels(location: str, options: Options) -> bool:
    """Return True: the digits data set always contains its labels."""
    return True


def _permutation(num: int) -> np.ndarray:
    # NumPy promises that this legacy generator never changes, so the split never changes either.
    return np.random.RandomState(0).permutation(num)


def _read_columns(columns: Sequence[int]) -> np.ndarray:
    """Return some columns of the table of scikit-learn's digits, which has a row per image.

    Columns 0 to 63 are pixels with values from 0 to 16, and column 64 is the label.
    """
    # find_spec locates scikit-learn without importing it, because the import takes 1.5 s.
    sklearn = importlib.util.find_spec("sklearn")
    if sklearn is not None and sklearn.origin is not None:
        file = Path(sklearn.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            text = gzip.decompress(file.read_bytes()).decode()
            rows = (row.split(",") for row in text.split())
            return np.array([[row[column] for column in columns] for row in rows], float)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])[:, list(columns)]
