"""The CSV file of predictions: a row per image with its class and the probability of each class."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxlabel import files
from jaxlabel.data.dataset import Dataset

COLUMNS = ("split", "index", "file", "label", "probability")
ERROR = "error"  # the last column: why an image could not be read; empty for all others


def predictions_csv(
    probabilities: dict[str, Float[np.ndarray, "n classes"]],
    classes: tuple[str, ...],
    dataset: Dataset,
) -> str:
    """Return predictions as the text of a CSV file: a header line, and a line per image.

    Args:
      probabilities: for "train" and "test" an array of class probabilities, a row per image. One of
        the two may be missing.
      classes: the name of the class that each column of the arrays stands for.
      dataset: the data set, which has the files of the images, and those that cannot be read.

    Returns:
      The text. Each line has "train" or "test", the image's index, its file (empty if it has none),
      the most probable class, the probability of that class, the probabilities of all classes, and
      an error. An image that cannot be read has a line with its split, its file and the error only.
    """

    def rows() -> Iterator[list[Any]]:  # one at a time, because a list of them takes much memory
        yield [*COLUMNS, *(f"probability {name}" for name in classes), ERROR]
        for split, shares in probabilities.items():
            paths = dataset.paths if split == "train" else dataset.test_paths
            for index, row in enumerate(shares):
                best = int(row.argmax())
                numbers = [f"{probability:.6f}" for probability in row]
                path = paths[index] if paths else ""
                yield [split, index, path, classes[best], numbers[best], *numbers, ""]
        for one in dataset.unread:
            yield [one.split, "", one.file, "", "", *[""] * len(classes), one.reason]

    return files.csv_text(rows())
