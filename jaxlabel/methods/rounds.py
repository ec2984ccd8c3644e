"""The steps of one round of the flagship (active.py): predict, buy labels, train."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt8

from jaxlabel import query, semisupervised
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import PoolPredictions, predict_pool
from jaxlabel.query import Labelled, needs_model
from jaxlabel.semisupervised import committee, sequential_queries, setup
from jaxlabel.semisupervised.propagation import Propagated


class Context(NamedTuple):
    """The inputs of a run that do not change between its rounds.

    Attributes:
      config: settings of the flagship, an `active.Config`.
      images: all training images.
      spaces: the features that query strategies and label propagation work on.
      regions: the regions that sequential queries choose from; None if the run has no sequential
        queries.
      oracle: sells the labels.
      capacity: how many labels the whole budget is expected to buy.
      log: receives metrics, messages and checkpoints.
    """

    config: Any
    images: UInt8[np.ndarray, "n h w c"]
    spaces: setup.Spaces
    regions: sequential_queries.Regions | None
    oracle: Oracle
    capacity: int
    log: Log

    def asks_sequentially(self, labels: int) -> bool:
        """Return True if the next queries, after `labels` bought labels, are sequential."""
        return self.regions is not None and self.config.asks_sequentially(labels)


def num_labels_after_round(config: Any, labels: int) -> int:
    """Return the number of labels planned for the end of a round that begins with `labels`."""
    if config.asks_sequentially(labels):
        return min(labels + config.sequential_batch, config.sequential_until)
    return max(labels + 1, round(config.growth * labels)) if labels else config.initial_labels


def pool_predictions(
    context: Context, state: Any, labelled: Labelled, key: Key[Array, ""]
) -> PoolPredictions:
    """Predict features and class probabilities for a random sample of images.

    The sample has at least `config.pool` images and always contains the labelled ones. It is large
    enough to choose the labels of the next round from.
    """
    bought, classes = len(labelled.indices), context.oracle.num_classes
    size = max(context.config.pool, 2 * num_labels_after_round(context.config, bought))
    models = committee.networks(context.config, state)
    return predict_pool(models, context.images, classes, size, labelled.indices, key)


def buy(
    context: Context,
    pool: PoolPredictions | None,
    labelled: Labelled,
    count: int,
    number: int,
    key: Key[Array, ""],
) -> Labelled:
    """Buy up to `count` more labels within the budget and return the whole labelled set.

    Nothing is bought if `count` is not positive: after a failed audit, the labels of the audit may
    already be as many as the round should end with.

    Args:
      pool: predictions of the networks, for uncertainty strategies; None before the first
        training.
      labelled: the labels bought so far.
      count: number of labels wanted.
      number: the round's number; round 0 uses `config.initial_query`.
      key: random key of the query strategy.
    """
    excluded = np.setdiff1d(
        query.unaffordable(context.oracle, len(context.images)), labelled.indices
    )
    count = min(count, len(context.images) - len(excluded) - len(labelled.indices))
    if count <= 0:
        return labelled

    def choose() -> Int[np.ndarray, "count"]:
        if context.regions and context.asks_sequentially(len(labelled.indices)):
            classes = context.oracle.num_classes
            return sequential_queries.choose(
                context.config, context.regions, labelled, classes, count, excluded
            )
        strategy = context.config.query if number else context.config.initial_query
        if needs_model(strategy) and pool is not None:
            allowed = np.flatnonzero(~np.isin(pool.rows, excluded))
            features, probabilities = (jnp.asarray(each)[allowed] for each in pool.predictions)
            asked = np.flatnonzero(np.isin(pool.rows[allowed], labelled.indices))
            selected = query.select(strategy, key, features, count, asked, probabilities)
            return pool.rows[allowed[selected]]
        space = jnp.asarray(context.spaces.query)
        return query.select_affordable(
            context.oracle, strategy, key, space, count, labelled.indices
        )

    wanted = query.chosen(context.log, number, count, len(context.images), labelled, choose)
    return query.buy(context.oracle, labelled, wanted, number)


def learn(
    context: Context,
    state: Any,
    labelled: Labelled,
    name: str,
    cycle: committee.Cycle,
    key: Key[Array, ""],
) -> Any:
    """Train the networks for one cycle on the labels bought so far and return their state."""
    propagated = setup.propagate_labels(
        context.config, context.spaces.graph, labelled, context.oracle.num_classes
    )
    data = training_data(context, labelled, propagated)
    return committee.learn(cycle, state, data, key, context.log, name)


def training_data(
    context: Context, labelled: Labelled, propagated: Propagated | None
) -> semisupervised.Data:
    """Return the training data: all images, the labelled set and the graph targets.

    Args:
      labelled: the labels bought so far.
      propagated: labels propagated over the graph; None for training without graph targets.
    """
    n, classes = len(context.images), context.oracle.num_classes
    graph_targets = setup.make_graph_targets(context.config, propagated, n, classes)
    prior = setup.class_prior(context.config, labelled, classes)
    return semisupervised.pad(
        context.images, labelled.indices, labelled.labels, context.capacity, graph_targets, prior
    )
