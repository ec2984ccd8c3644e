"""scikit-learn's digits, which need no download: 1,797 images of 8 x 8."""

import gzip
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxlabel.data.dataset import DIGITS, Options, Source
from jaxlabel.data.images import from_array

NUM_TRAIN = 1297


def read(location: str, options: Options) -> Source:
    """The images of the fixed split: 1,297 to train and 500 to test."""
    pixels = np.round(_table(range(64)) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    order = _order(len(pixels))
    train, test = (
        from_array(pixels[part], "digits", options) for part in np.split(order, [NUM_TRAIN])
    )
    return Source(train, test, DIGITS)


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """The labels of "train" or "test"."""
    column = _table([64])[:, 0]
    train, test = np.split(_order(len(column)), [NUM_TRAIN])
    return column[train if split == "train" else test].astype(np.int64)


def has_labels(location: str, options: Options) -> bool:
    """True."""
    return True


def _order(num: int) -> np.ndarray:
    # NumPy promises that this old stream never changes, so the split never does.
    return np.random.RandomState(0).permutation(num)


def _table(columns: Sequence[int]) -> np.ndarray:
    """Some columns of the table: 64 pixels from 0 to 16, then the label."""
    sklearn = importlib.util.find_spec("sklearn")  # finds the package without importing it: 1.5 s
    if sklearn is not None and sklearn.origin is not None:
        file = Path(sklearn.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            text = gzip.decompress(file.read_bytes()).decode()
            rows = (row.split(",") for row in text.split())
            return np.array([[row[column] for column in columns] for row in rows], float)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])[:, list(columns)]
