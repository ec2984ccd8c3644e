"""The query strategies with the interface of scikit-activeml's pool-based strategies."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from jaxlabel import query
from jaxlabel.api.labels import is_na
from jaxlabel.errors import DataError, UsageError


class QueryStrategy(BaseEstimator):
    """A query strategy of jaxlabel, which chooses the samples to label next.

        strategy = jaxlabel.QueryStrategy("typiclust", random_state=0)
        indices = strategy.query(X, y, batch_size=10)       # y: NaN for samples without a label

    It has the interface of the pool-based strategies of scikit-activeml (`skactiveml.pool`), but
    does not need that package.

    Args:
      strategy: the name of the strategy. "random", "medoids", "typiclust", "probcover",
        "maxherding" and "coreset" need only the features. "margin", "entropy", "badge" and
        "diverse" also need class probabilities: pass `clf` or `probabilities` to `query`. A string
        of the form `module:function` names a function of the user.
      missing_label: the value in `y` that marks a sample without a label: NaN, None, or another
        value such as -1 or "". The missing value of pandas, `pandas.NA`, always marks one.
      random_state: a seed, a `numpy.random.RandomState`, or None for a new seed in each call.
    """

    def __init__(
        self, strategy: str = "typiclust", *, missing_label: Any = np.nan, random_state: Any = None
    ):
        self.strategy = strategy
        self.missing_label = missing_label
        self.random_state = random_state

    def query(
        self,
        X: Any,
        y: Any,
        candidates: Any = None,
        batch_size: int = 1,
        return_utilities: bool = False,
        *,
        clf: Any = None,
        fit_clf: bool = True,
        probabilities: Any = None,
    ) -> Any:
        """Return the indices of the samples to label next.

        Args:
          X: the features of all samples, labelled and unlabelled, of shape (n, d). Further axes are
            flattened. Strategies compare distances, so standardise features of different scales
            first.
          y: the labels of the n samples, with `missing_label` for samples without a label.
          candidates: the samples to choose from. None: all unlabelled samples. Integers: the
            samples of `X` with these indices. An array of shape (m, d): the features of samples
            that need not be in `X`; the returned indices are then rows of this array.
          batch_size: the number of samples to choose. If there are fewer candidates, all are
            chosen.
          return_utilities: whether to return the utilities too (see Returns).
          clf: a classifier with the methods `fit` and `predict_proba`, for strategies that need
            class probabilities. A copy of it is fitted to the labelled samples.
          fit_clf: whether to fit the copy of `clf`; False if `clf` is already fitted.
          probabilities: class probabilities to use instead of `clf`, with one row for each sample
            of `X`, or for each row of `candidates` if this is an array of features.

        Returns:
          The indices, with the most useful sample first. If `return_utilities` is True, a pair of
          the indices and an array with one row for each chosen sample and one column for each
          sample of `X` or row of `candidates`. Row b has 1 for the sample that was chosen in step
          b, 0 for the other candidates, and NaN for samples that are not candidates or were chosen
          in an earlier step. The strategies choose whole batches, so they give no other utilities.

        Raises:
          UsageError: the strategy does not exist, it needs class probabilities and none are given,
            or `batch_size` is no whole number of at least 1.
          DataError: `y` is None, the shapes of the arrays do not match, `X` or the class
            probabilities have a value that is not finite, a candidate does not exist, or no sample
            is unlabelled.
        """
        points = _points(X, "X")
        if y is None or np.ndim(y) != 1:
            raise DataError(f"y is {'None' if y is None else f'of shape {np.shape(y)}'}: it takes "
                            "one label for each sample of X, missing_label for those without one"
                            )  # fmt: skip
        unlabelled = is_missing(y, self.missing_label)
        if len(unlabelled) != len(points):
            raise DataError(f"y holds {len(unlabelled)} labels for {len(points)} samples of X")
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise UsageError(f"batch_size is {batch_size!r}: it takes a whole number of at least 1")
        if candidates is None and not unlabelled.any():
            raise DataError(f"every sample has a label: none equals missing_label "
                            f"({self.missing_label!r}); if -1 marks samples without a label, pass "
                            "missing_label=-1")  # fmt: skip
        known, free, offset = points, np.flatnonzero(unlabelled), 0
        if candidates is not None and np.ndim(candidates) == 1:
            free = _indices(candidates, len(points))
        elif candidates is not None:
            others, labelled = _points(candidates, "candidates"), points[~unlabelled]
            if others.shape[1] != points.shape[1]:
                raise DataError(f"candidates has {others.shape[1]} features, X {points.shape[1]}")
            known, free = np.concatenate([others, labelled]), np.arange(len(others))
            unlabelled = np.arange(len(known)) < len(others)
            offset = len(labelled)
        asked = np.flatnonzero(~unlabelled)
        wanted = self._probabilities(X, y, candidates, clf, fit_clf, probabilities, offset)
        picks = self._select(known, free, asked, wanted, batch_size)
        if not return_utilities:
            return picks
        return picks, _utilities(picks, free, len(known) - offset)

    def _select(
        self, points: Float[np.ndarray, "n d"], free: Int[np.ndarray, "m"],
        asked: Int[np.ndarray, "k"], probabilities: Float[np.ndarray, "n classes"] | None,
        count: int,
    ) -> Int[np.ndarray, "count"]:  # fmt: skip
        """Choose `count` of the candidates and return their indices in `points`.

        Samples that are neither candidates nor labelled are left out. If a candidate is already
        labelled, it is treated as unlabelled.

        Args:
          points: the features of all samples.
          free: the indices of the candidates.
          asked: the indices of the labelled samples.
          probabilities: the class probabilities of all samples; None if the strategy needs none.
        """
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        key = jax.random.key(seed)
        asked = np.setdiff1d(asked, free)
        # the engine chooses among all that are not asked: leave the others out
        kept = np.union1d(free, asked)
        shares = None if probabilities is None else jnp.asarray(probabilities[kept])
        place = np.searchsorted(kept, asked)
        found = query.select(self.strategy, key, jnp.asarray(points[kept]), count, place, shares)
        return kept[found]

    def _probabilities(
        self, X: Any, y: Any, candidates: Any, clf: Any, fit_clf: bool, given: Any, offset: int
    ) -> Float[np.ndarray, "n classes"] | None:
        """Return the class probabilities of all samples, or None if the strategy does not use them.

        Args:
          X, y, candidates, clf, fit_clf: the arguments of `query`.
          given: the argument `probabilities` of `query`.
          offset: the number of rows of zeros to append, for labelled samples that follow the
            candidates.
        """
        if not query.needs_model(self.strategy):
            return None
        if given is None and clf is None:
            raise UsageError(f"query strategy {self.strategy!r} needs a model: pass clf or "
                             "probabilities to query()")  # fmt: skip
        samples = candidates if candidates is not None and np.ndim(candidates) > 1 else X
        if given is None:
            if fit_clf:
                from sklearn.base import clone

                labelled = ~is_missing(y, self.missing_label)
                given_labels = np.array(np.asarray(y, object)[labelled].tolist())
                clf = clone(clf).fit(np.asarray(X)[labelled], given_labels)
            given = clf.predict_proba(samples)
        shares = np.asarray(given, np.float32)
        if shares.ndim != 2 or len(shares) != len(samples):
            raise DataError(f"probabilities has the shape {shares.shape}: it takes "
                            f"({len(samples)}, classes)")  # fmt: skip
        if not np.isfinite(shares).all():
            raise DataError("probabilities holds NaN or infinity")
        return np.pad(shares, ((0, offset), (0, 0)))  # labelled samples are not chosen: any will do


def is_missing(y: Any, missing_label: Any) -> Bool[np.ndarray, "n"]:
    """Return a boolean array that is True for each label in `y` that equals `missing_label`.

    If `missing_label` is NaN or `pandas.NA`, NaN in `y` is missing. `pandas.NA` in `y` is always
    missing.
    """
    values = np.asarray(y, object).tolist()  # NaN in a list of strings stays NaN
    if missing_label is None:
        return np.array([value is None or is_na(value) for value in values], bool)
    if is_na(missing_label) or missing_label != missing_label:
        return np.array([is_na(value) or value != value for value in values], bool)
    return np.array([is_na(value) or value == missing_label for value in values], bool)


def _points(X: Any, name: str) -> Float[np.ndarray, "n d"]:
    points = np.asarray(X, np.float32)
    if points.ndim < 2 or not len(points):
        raise DataError(f"{name} has the shape {points.shape}: it takes (samples, features)")
    if not np.isfinite(points).all():
        raise DataError(f"{name} holds NaN or infinity")
    return points.reshape(len(points), -1)


def _indices(candidates: Any, count: int) -> Int[np.ndarray, "m"]:
    array = np.asarray(candidates)
    if array.dtype.kind not in "iu" or not len(array):
        raise DataError(f"candidates is {array.dtype} of shape {array.shape}: it takes indices of "
                        "X, or samples")  # fmt: skip
    if array.min() < 0 or array.max() >= count:
        raise DataError(f"candidates holds {array.min()} to {array.max()}: indices of X go from 0 "
                        f"to {count - 1}")  # fmt: skip
    return np.unique(array).astype(np.int64)


def _utilities(
    picks: Int[np.ndarray, "b"], free: Int[np.ndarray, "m"], count: int
) -> Float[np.ndarray, "b n"]:
    utilities = np.full((len(picks), count), np.nan)
    utilities[:, free] = 0.0
    for step, pick in enumerate(picks):
        utilities[step, pick] = 1.0
        utilities[step + 1 :, pick] = np.nan
    return utilities
