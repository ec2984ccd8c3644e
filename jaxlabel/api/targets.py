"""Read the labels `y` of the scikit-learn classifier; a marker stands for a missing label."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped
from sklearn.utils.validation import column_or_1d

from jaxlabel.api.labels import is_na


def to_label_array(y: Any) -> Shaped[np.ndarray, "n"]:
    """Return the labels `y` as a one-dimensional array.

    Raises:
      ValueError: `y` has another shape, or a string that stands for a missing label.
    """
    if y is None:
        raise ValueError("FewLabelClassifier requires y to be passed, but the target y is None")
    array = np.asarray(y)
    if array.dtype.kind == "U" and not isinstance(y, np.ndarray):
        array = np.asarray(y, object)  # so that None and NaN in a list stay what they are
    column = column_or_1d(array, warn=True)
    if column.dtype.kind not in "biuf":
        strings = {label for label in column.tolist() if isinstance(label, str)}
        if wrong := sorted(strings & {"nan", "-1", "-1.0"}):
            raise ValueError(
                f"y has the string {wrong[0]!r}, which NumPy makes of {wrong[0]} in an array of "
                "strings: give samples without a label the empty string ''"
            )
    return column


def unlabelled(labels: Shaped[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Return a boolean array that is True where a label is missing.

    A missing label is -1, None, NaN, `pandas.NA` or an empty string.
    """
    if labels.dtype.kind in "iu":
        return labels == -1
    if labels.dtype.kind == "f":
        return (labels == -1) | np.isnan(labels)
    return np.array(
        [one is None or is_na(one) or one != one or (isinstance(one, str) and one == "")
         or (not isinstance(one, str | bool) and one == -1) for one in labels.tolist()], bool
    )  # fmt: skip


def of_one_type(labels: Shaped[np.ndarray, "n"]) -> Shaped[np.ndarray, "n"]:
    """Convert labels in an object array to an array of strings or of numbers.

    Labels in an array of another type are returned unchanged.

    Raises:
      ValueError: the labels contain strings as well as numbers, or infinity.
    """
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise ValueError("Input y contains infinity")
    if labels.dtype.kind != "O":
        return labels
    kinds = {str if isinstance(label, str) else type(label) for label in labels.tolist()}
    if str in kinds and len(kinds) > 1:
        raise ValueError("y holds strings and numbers: labels are all strings or all numbers")
    return labels if str in kinds else np.array(labels.tolist())
