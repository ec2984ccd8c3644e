"""Call a query strategy that is the user's own function, and check what it returns."""

import inspect

import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel.config import own_part
from jaxlabel.errors import UsageError

NAME = "the query strategy"  # of the setting, for error messages


def needs_probabilities(strategy: str) -> bool:
    """Return True if the user's own function has an argument `probabilities`.

    Args:
      strategy: the function as "module:function".
    """
    return "probabilities" in inspect.signature(own_part(strategy, NAME)).parameters


def choose(
    strategy: str,
    key: Key[Array, ""],
    features: Float[Array, "n d"],
    count: int,
    asked: Int[np.ndarray, "m"],
    probabilities: Float[Array, "n classes"] | None,
) -> Int[np.ndarray, "at_least_count"]:
    """Choose the next points to label by the user's own function, and return their indices.

    Args:
      strategy: the function as "module:function"; the other arguments are those of `query.select`.
        More than `count` points must be unlabelled.

    Raises:
      UsageError: the function does not return at least `count` different indices of unlabelled
        points.
    """
    extra = {"probabilities": probabilities} if needs_probabilities(strategy) else {}
    answer = own_part(strategy, NAME)(key, features, count, asked, **extra)
    found = np.asarray(answer)
    if fault := _fault(found, len(features), count, asked):
        raise UsageError(
            f"query strategy {strategy} returned {fault}: it must return the indices of {count} "
            f"different unlabelled rows of features, integers from 0 to {len(features) - 1}"
        )
    return found.astype(np.int64)


def _fault(found: np.ndarray, num_points: int, count: int, asked: Int[np.ndarray, "m"]) -> str:
    """Return what is wrong with the indices that the user's own function found; "" if nothing."""
    if found.ndim != 1 or (len(found) and not np.issubdtype(found.dtype, np.integer)):
        return f"a {found.dtype} array of shape {found.shape}"
    if len(found) < count:
        return f"only {len(found)} indices"
    if found.min() < 0 or found.max() >= num_points:
        return f"indices from {found.min()} to {found.max()}"
    values, counts = np.unique(found, return_counts=True)
    if counts.max() > 1:
        return f"the index {values[counts.argmax()]} {counts.max()} times"
    if (labelled := np.intersect1d(values, asked)).size:
        return f"the index {labelled[0]} of a row that is labelled already"
    return ""
