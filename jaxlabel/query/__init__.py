"""Which images to ask about: indices of the training images, from features and a key.

    indices = query.select("typiclust", key, features, 40, asked)
    labels = oracle.ask(query.affordable(oracle, indices))

COVERAGE strategies look at the features alone. UNCERTAINTY strategies look at a model's class
probabilities, so that the first images must be asked by one of the others.
"""

import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel.config import is_own, own_part
from jaxlabel.errors import UsageError
from jaxlabel.oracle import Oracle
from jaxlabel.query.clusters import medoids, typiclust
from jaxlabel.query.cover import maxherding, probcover
from jaxlabel.query.purchase import (
    NO_LABELS,
    Labelled,
    affordable,
    buy,
    chosen,
    chosen_before,
    num_affordable,
    plan,
    remember,
    remembered,
    unaffordable,
)
from jaxlabel.query.seeding import coreset, spread_out
from jaxlabel.query.uncertainty import badge, diverse, entropy, margin

__all__ = ["COVERAGE", "NO_LABELS", "STRATEGIES", "UNCERTAINTY", "Labelled", "affordable", "buy",
           "chosen", "chosen_before", "looks_at_features", "needs_model", "num_affordable", "plan",
           "remember", "remembered", "select", "select_affordable", "spread_out",
           "unaffordable"]  # fmt: skip


def shuffled(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Indices of `count` further points, all alike likely."""
    order = np.asarray(jax.random.permutation(key, len(features)))
    return order[~np.isin(order, asked)][:count]


_BY_FEATURES: dict[str, Callable[..., Int[np.ndarray, "count"]]] = {
    "random": shuffled,
    "medoids": medoids,
    "typiclust": typiclust,
    "probcover": probcover,
    "maxherding": maxherding,
    "coreset": coreset,
}
_BY_PROBABILITIES: dict[str, Callable[..., Int[np.ndarray, "count"]]] = {
    "margin": margin,
    "entropy": entropy,
    "badge": badge,
    "diverse": diverse,
}
COVERAGE = tuple(_BY_FEATURES)
UNCERTAINTY = tuple(_BY_PROBABILITIES)
STRATEGIES = COVERAGE + UNCERTAINTY


def needs_model(strategy: str) -> bool:
    """Return True if a strategy looks at a model's class probabilities.

    A strategy `module:function` does so if its function has an argument `probabilities`.
    """
    if is_own(strategy):
        return "probabilities" in inspect.signature(own_part(strategy)).parameters
    return strategy in UNCERTAINTY


def looks_at_features(strategy: str) -> bool:
    """Return True if a strategy looks at the features of the images before a model is trained."""
    return strategy != "random" and not needs_model(strategy)


def select(
    strategy: str,
    key: Key[Array, ""],
    features: Float[Array, "n d"],
    count: int,
    asked: Int[np.ndarray, "m"],
    probabilities: Float[Array, "n classes"] | None = None,
) -> Int[np.ndarray, "count"]:
    """Indices of the next `count` points to ask about, the most wanted first.

    None is in `asked` and none comes twice; where fewer than `count` are left, all that are left
    come. The same key gives the same answer. Where a strategy runs out (all is covered, or what is
    left is a copy of what is there), the rest is random.

    Args:
      strategy: one of `STRATEGIES`, or `module:function`: a function of key, features, count and
        asked, and of probabilities if it has an argument of that name, which returns indices.
      features: where near means alike; their scale decides, so standardise or whiten beforehand.
      asked: indices whose labels are known; may be empty.
      probabilities: a model's, for every point; the strategies of `COVERAGE` do not look.

    Raises:
      UsageError: an unknown strategy, indices out of range, shapes that do not fit, or one of
        `UNCERTAINTY` without probabilities.
    """
    asked = np.unique(np.asarray(asked, np.int64))
    _check(strategy, len(features), count, asked, probabilities)
    left = len(features) - len(asked)
    if count >= left:
        return np.setdiff1d(np.arange(len(features)), asked)
    if count == 0:
        return np.zeros(0, np.int64)
    features = jnp.asarray(features, jnp.float32)
    if is_own(strategy):
        extra = {"probabilities": probabilities} if needs_model(strategy) else {}
        found = np.asarray(own_part(strategy)(key, features, count, asked, **extra), np.int64)
    elif strategy in _BY_FEATURES:
        found = _BY_FEATURES[strategy](key, features, count, asked)
    else:
        found = _BY_PROBABILITIES[strategy](key, features, count, asked, jnp.asarray(probabilities))
    rest = shuffled(jax.random.fold_in(key, 1), features, left, asked)
    together = np.concatenate([found[~np.isin(found, asked)], rest])
    _, first = np.unique(together, return_index=True)
    return together[np.sort(first)][:count].astype(np.int64)


def select_affordable(
    oracle: Oracle,
    strategy: str,
    key: Key[Array, ""],
    features: Float[Array, "n d"],
    count: int,
    asked: Int[np.ndarray, "m"],
    probabilities: Float[Array, "n classes"] | None = None,
) -> Int[np.ndarray, "count"]:
    """The same among the points asked and those whose label the money left can buy."""
    excluded = np.setdiff1d(unaffordable(oracle, len(features)), asked)
    if not len(excluded):
        return select(strategy, key, features, count, asked, probabilities)
    rows = np.setdiff1d(np.arange(len(features)), excluded)
    within = np.searchsorted(rows, asked)
    if probabilities is not None:
        probabilities = probabilities[rows]
    return rows[select(strategy, key, features[rows], count, within, probabilities)]


def _check(
    strategy: str,
    num_points: int,
    count: int,
    asked: Int[np.ndarray, "m"],
    probabilities: Float[Array, "n classes"] | None,
) -> None:
    if strategy not in STRATEGIES and not is_own(strategy):
        raise UsageError(f"query {strategy!r}: it is one of {', '.join(STRATEGIES)}")
    if count < 0:
        raise UsageError(f"{count} points to be selected: ask for 0 or more")
    if len(asked) and not 0 <= asked[0] <= asked[-1] < num_points:
        raise UsageError(f"asked holds {asked[0]} and {asked[-1]}: indices go to {num_points - 1}")
    if needs_model(strategy) and probabilities is None:
        raise UsageError(
            f"query {strategy!r} needs a trained model's probabilities: "
            f"ask the first images by one of {', '.join(COVERAGE)}"
        )
    if probabilities is not None and len(probabilities) != num_points:
        raise UsageError(f"{len(probabilities)} rows of probabilities for {num_points} points")
