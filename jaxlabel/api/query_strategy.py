"""The query strategies with the interface of scikit-activeml's pool-based strategies."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from jaxlabel import query
from jaxlabel.errors import DataError, UsageError


class QueryStrategy(BaseEstimator):
    """Choose samples to be labelled, by one of jaxlabel's query strategies.

        strategy = jaxlabel.QueryStrategy("typiclust", random_state=0)
        indices = strategy.query(X, y, batch_size=10)       # y: NaN where there is no label

    It is used as scikit-activeml's strategies are (`skactiveml.pool`), which it does not need.

    Args:
      strategy: "random", "medoids", "typiclust", "probcover", "maxherding" or "coreset", which
        look at the features alone; or "margin", "entropy", "badge" or "diverse", which need class
        probabilities: pass `clf` or `probabilities` to `query`. Or `module:function`.
      missing_label: the value of `y` that marks a sample without a label: NaN, None, or a value
        such as -1 or "".
      random_state: a seed, a `numpy.random.RandomState`, or None for a new seed at each call.
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
          X: features of shape (n, d), labelled and unlabelled samples together. More axes are
            flattened. Their scale decides what is near: standardise them beforehand.
          y: the labels, of length n, with `missing_label` where there is none.
          candidates: None: all unlabelled samples. Integers: indices of the samples to choose
            among. An array of shape (m, d): other samples, which may be absent from `X`; indices
            then refer to it.
          batch_size: how many to choose; at most the number of candidates are returned.
          return_utilities: whether to return utilities as well.
          clf: a classifier with `fit` and `predict_proba`, for strategies that need probabilities.
            It is copied and fitted to the labelled samples.
          fit_clf: False: `clf` is fitted already.
          probabilities: the probability of each class for each sample, of shape (n, classes), in
            place of `clf`; with `candidates` of shape (m, d), of shape (m, classes).

        Returns:
          The indices, the most wanted first. With `return_utilities` a pair: the indices, and an
          array of shape (batch_size, n) or (batch_size, m). jaxlabel's strategies choose whole
          batches and rank no other samples, so that row b is 1 for the sample chosen in step b, 0
          for other candidates, and NaN for all others and those chosen before.

        Raises:
          UsageError: an unknown strategy, or one that needs probabilities without any.
          DataError: arrays whose shapes do not fit, a value of X that is not finite, or a candidate
            that does not exist.
        """
        points = _points(X, "X")
        unlabelled = is_missing(y, self.missing_label)
        if len(unlabelled) != len(points):
            raise DataError(f"y holds {len(unlabelled)} labels for {len(points)} samples of X")
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}: it takes 1 or more")
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
        """Choose among the candidates `free`, given the labelled samples `asked`.

        Samples that are neither stay in the features, as the density of all is what counts, unless
        a candidate was labelled already: it then counts as not labelled.
        """
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        key = jax.random.key(seed)
        asked = np.setdiff1d(asked, free)
        others = np.setdiff1d(np.arange(len(points)), np.append(free, asked))
        if len(others):  # the engine chooses among all that are not asked: leave the others out
            kept = np.sort(np.append(free, asked))
            shares = None if probabilities is None else probabilities[kept]
            place = np.searchsorted(kept, asked)
            found = query.select(
                self.strategy, key, jnp.asarray(points[kept]), count, place,
                None if shares is None else jnp.asarray(shares),
            )  # fmt: skip
            return kept[found]
        shares = None if probabilities is None else jnp.asarray(probabilities)
        return query.select(self.strategy, key, jnp.asarray(points), count, asked, shares)

    def _probabilities(
        self, X: Any, y: Any, candidates: Any, clf: Any, fit_clf: bool, given: Any, offset: int
    ) -> Float[np.ndarray, "n classes"] | None:
        """Return the probabilities of all points, if the strategy looks at them."""
        if not query.needs_model(self.strategy):
            return None
        if given is None and clf is None:
            raise UsageError(f"query strategy {self.strategy!r} needs a model: pass clf or "
                             "probabilities to query()")  # fmt: skip
        if given is None:
            if fit_clf:
                from sklearn.base import clone

                labelled = ~is_missing(y, self.missing_label)
                clf = clone(clf).fit(np.asarray(X)[labelled], np.asarray(y)[labelled])
            is_other = candidates is not None and np.ndim(candidates) > 1
            given = clf.predict_proba(candidates if is_other else X)
        shares = np.asarray(given, np.float32)
        return np.pad(shares, ((0, offset), (0, 0)))  # labelled samples are not chosen: any will do


def is_missing(y: Any, missing_label: Any) -> Bool[np.ndarray, "n"]:
    """Return True for each label that is `missing_label`, NaN being equal to NaN."""
    values = np.asarray(y)
    if missing_label is None:
        return np.array([value is None for value in values.tolist()], bool)
    if isinstance(missing_label, float) and np.isnan(missing_label):
        return np.array([value != value for value in values.tolist()], bool)
    return np.array([value == missing_label for value in values.tolist()], bool)


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
    return np.unique(array)


def _utilities(
    picks: Int[np.ndarray, "b"], free: Int[np.ndarray, "m"], count: int
) -> Float[np.ndarray, "b n"]:
    utilities = np.full((len(picks), count), np.nan)
    utilities[:, free] = 0.0
    for step, pick in enumerate(picks):
        utilities[step, pick] = 1.0
        utilities[step + 1 :, pick] = np.nan
    return utilities
