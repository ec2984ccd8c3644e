"""Query strategies: choose the next training images to label, from features and a random key.

    indices = query.select("typiclust", key, features, 40, asked)
    labels = oracle.ask(query.affordable(oracle, indices))

COVERAGE strategies use only the features. UNCERTAINTY strategies also use a model's class
probabilities, so a COVERAGE strategy must choose the first images.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel.config import is_own
from jaxlabel.errors import DataError, UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.query import own
from jaxlabel.query.clusters import medoids, typiclust
from jaxlabel.query.cover import maxherding, probcover
from jaxlabel.query.purchase import (
    NO_LABELS,
    Labelled,
    affordable,
    buy,
    chosen,
    chosen_first,
    highest_price,
    num_affordable,
    num_in_budget,
    num_labels_in_budget,
    restore_indices,
    restored_choice,
    save_indices,
    unaffordable,
    unavailable,
)
from jaxlabel.query.seeding import coreset, spread_out
from jaxlabel.query.uncertainty import badge, diverse, entropy, margin

__all__ = [
    "COVERAGE",
    "NO_LABELS",
    "STRATEGIES",
    "UNCERTAINTY",
    "Labelled",
    "affordable",
    "buy",
    "buy_by",
    "chosen",
    "chosen_first",
    "highest_price",
    "labels_per_round",
    "looks_at_features",
    "needs_model",
    "num_affordable",
    "num_in_budget",
    "num_labels_in_budget",
    "restore_indices",
    "restored_choice",
    "save_indices",
    "select",
    "select_affordable",
    "spread_out",
    "unaffordable",
    "unavailable",
]  # fmt: skip


def random_points(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Return the indices of `count` points to label, chosen uniformly from the unlabelled ones.

    Args:
      features: one feature vector per point.
      count: the number of points to choose; if fewer are unlabelled, all of them are returned.
      asked: the indices of the points that are labelled already.
    """
    order = np.asarray(jax.random.permutation(key, len(features)))
    return order[~np.isin(order, asked)][:count]


_BY_FEATURES: dict[str, Callable[..., Int[np.ndarray, "count"]]] = {
    "random": random_points,
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
    """Return True if a query strategy needs a model's class probabilities to choose images.

    Args:
      strategy: the name of a strategy, such as "margin". Or "module:function", the user's own
        function, which needs the probabilities if it has an argument `probabilities`.
    """
    if is_own(strategy):
        return own.needs_probabilities(strategy)
    return strategy in UNCERTAINTY


def labels_per_round(strategy: str, capacity: int, rounds: int, first: int = 0) -> list[int]:
    """Return a list with the number of labels to buy in each round; the sum is `capacity`.

    The first labels are bought in a round of their own, and `rounds` rounds buy equal shares of the
    rest. Rounds that buy nothing are left out.

    Args:
      strategy: the query strategy.
      capacity: the number of labels in all.
      rounds: the number of rounds after the first labels.
      first: the number of first labels. 0: a third of all labels if the strategy needs a trained
        model; otherwise there are none.
    """
    if not first and needs_model(strategy):
        first = max(1, capacity // 3)
    first = min(first, capacity)
    edges = [first + (capacity - first) * i // rounds for i in range(rounds + 1)]
    return [b - a for a, b in itertools.pairwise([0, *edges]) if b > a]


def looks_at_features(strategy: str) -> bool:
    """Return True if a query strategy chooses images by their features, without a trained model.

    That is so for all strategies except "random" and those that need a model's class probabilities.
    """
    return strategy != "random" and not needs_model(strategy)


def select(
    strategy: str,
    key: Key[Array, ""],
    features: Float[Array, "n d"],
    count: int,
    asked: Int[np.ndarray, "m"],
    probabilities: Float[Array, "n classes"] | None = None,
) -> Int[np.ndarray, "count"]:
    """Choose the next `count` points to label by a query strategy, and return their indices.

    A point is an image, given by its feature vector. The point that the strategy ranks first comes
    first. No labelled point is chosen, and no point twice. If at most `count` points are
    unlabelled, all of them are returned. If a strategy of jaxlabel finds fewer than `count` points
    (for example because only duplicates of labelled points are left), random unlabelled points
    follow. Calls with equal arguments return equal results.

    Args:
      strategy: the name of the strategy, one of those in the tuple `STRATEGIES`. Or
        "module:function", the user's own function of (key, features, count, asked), which returns
        the indices of at least `count` different unlabelled points. It gets `probabilities` too if
        it has an argument of that name.
      features: one feature vector per point. Strategies compare points by Euclidean distance, so
        the scale of each feature matters: standardise or whiten the features first.
      count: the number of points to choose.
      asked: the indices of the points that are labelled already; may be empty.
      probabilities: a model's class probabilities for every point. The strategies in the tuple
        `UNCERTAINTY` need them, the others ignore them.

    Raises:
      UsageError: the strategy is unknown, `count` is negative, an index is out of range, the
        numbers of rows do not agree, `probabilities` is missing for a strategy that needs it, or
        the user's own function does not return `count` different unlabelled indices.
      DataError: a feature is NaN or infinite.
    """
    asked = np.unique(np.asarray(asked, np.int64))
    _check(strategy, len(features), count, asked, probabilities)
    left = len(features) - len(asked)
    if count >= left:
        return np.setdiff1d(np.arange(len(features)), asked)
    if count == 0:
        return np.zeros(0, np.int64)
    features = jnp.asarray(features, jnp.float32)
    wrong = 0 if strategy == "random" else int(jnp.sum(~jnp.isfinite(features).all(axis=1)))
    if wrong:
        raise DataError(f"the features of {wrong} of {len(features)} images have NaN or infinite "
                        "values: the file of features has such values, or the network's training "
                        "diverged (lower config.learning_rate)")  # fmt: skip
    if is_own(strategy):
        selected = own.choose(strategy, key, features, count, asked, probabilities)
    elif strategy in _BY_FEATURES:
        selected = _BY_FEATURES[strategy](key, features, count, asked)
    else:
        probabilities = jnp.asarray(probabilities)
        selected = _BY_PROBABILITIES[strategy](key, features, count, asked, probabilities)
    rest = random_points(jax.random.fold_in(key, 1), features, left, asked)
    together = np.concatenate([selected[~np.isin(selected, asked)], rest])
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
    """Choose the next `count` images to label by a query strategy, but only affordable ones.

    An image is not affordable if its label alone costs more than the budget that remains. Of
    identical images only one is chosen, and none if one of them is labelled. The strategy gets only
    the features of labelled images and of those that may be chosen. All chosen labels together may
    still cost more than the budget. All arguments except `oracle`, and the errors, are those of
    `select`. Fewer images are returned if fewer may be chosen.

    Args:
      oracle: the object that sells labels and keeps the budget.
    """
    excluded = unavailable(oracle, np.arange(len(features)), asked)
    if not len(excluded):
        return select(strategy, key, features, count, asked, probabilities)
    rows = np.setdiff1d(np.arange(len(features)), excluded)
    within = np.searchsorted(rows, asked)
    if probabilities is not None:
        probabilities = probabilities[rows]
    return rows[select(strategy, key, features[rows], count, within, probabilities)]


def buy_by(
    strategy: str,
    oracle: Oracle,
    log: Log,
    key: Key[Array, ""],
    labelled: Labelled,
    count: int,
    number: int,
    num_images: int,
    features: Callable[[], Float[np.ndarray, "n d"]],
    predictions: Callable[[], tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n classes"]]],
) -> Labelled:
    """Choose up to `count` images by a query strategy, buy their labels, and return all labelled.

    A resumed run buys the labels that it had chosen before it was interrupted; see `chosen`.

    Args:
      strategy: the query strategy, as for `select`.
      oracle: the object that sells labels and keeps the budget.
      log: the run's log, which stores the choice.
      key: the random key of the strategy.
      labelled: the labels bought so far.
      count: the number of labels to buy.
      number: the index of the round (a round is one purchase of labels and the training after it).
      num_images: the number of training images.
      features: a function that returns a feature vector of each image. It is called if the strategy
        needs no model.
      predictions: a function that returns a model's features and class probabilities of each image.
        It is called if the strategy needs a model.
    """

    def choose() -> Int[np.ndarray, "count"]:
        space, probabilities = predictions() if needs_model(strategy) else (features(), None)
        return select_affordable(
            oracle, strategy, key, jnp.asarray(space), count, labelled.indices,
            None if probabilities is None else jnp.asarray(probabilities),
        )  # fmt: skip

    wanted = chosen(oracle, log, number, count, num_images, labelled, choose)
    return buy(oracle, labelled, wanted, number)


def _check(
    strategy: str,
    num_points: int,
    count: int,
    asked: Int[np.ndarray, "m"],
    probabilities: Float[Array, "n classes"] | None,
) -> None:
    if strategy not in STRATEGIES and not is_own(strategy):
        raise UsageError(f"no query strategy {strategy!r}: it is one of {', '.join(STRATEGIES)}")
    if count < 0:
        raise UsageError(f"cannot select {count} points: ask for 0 or more")
    if len(asked) and not 0 <= asked[0] <= asked[-1] < num_points:
        raise UsageError(f"asked holds {asked[0]} and {asked[-1]}: indices go to {num_points - 1}")
    if needs_model(strategy) and probabilities is None:
        raise UsageError(
            f"query strategy {strategy!r} needs a trained model's probabilities: "
            f"choose the first images by one of {', '.join(COVERAGE)}"
        )
    if probabilities is not None and len(probabilities) != num_points:
        raise UsageError(f"{len(probabilities)} rows of probabilities for {num_points} points")
