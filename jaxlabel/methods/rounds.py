"""The steps of one round of the flagship (active.py): predict, buy labels, train."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import cluster, query, semisupervised
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import PoolPredictions, predict_pool
from jaxlabel.query import Labelled, needs_model
from jaxlabel.semisupervised import cycles, refinement, sequential_queries, setup
from jaxlabel.semisupervised.propagation import Propagated
from jaxlabel.semisupervised.training import State

# A round chooses from a random sample of so many images: to predict all 60,000 of Fashion-MNIST in
# each round took seven minutes of a run.
POOL = 20_000
GROWTH = 1.6  # each round increases the number of labels by this factor


class Context(NamedTuple):
    """The inputs of an active-learning run.

    Only `spaces` and `regions` change, when sequential queries use learned features.

    Attributes:
      config: the settings of the run, an `active.Config`.
      first_query: the query strategy of the first labels.
      images: all training images.
      spaces: the features that query strategies and label propagation use.
      regions: a division of the images into regions, for sequential queries (labels bought one or
        a few at a time, each in an uncertain region). None if the run has none.
      oracle: the object that sells labels and keeps the budget.
      capacity: the number of labels that the whole budget is expected to buy.
      log: the log for metrics, messages and checkpoints.
    """

    config: Any
    first_query: str
    images: UInt8[np.ndarray, "n h w c"]
    spaces: setup.Spaces
    regions: sequential_queries.Regions | None
    oracle: Oracle
    capacity: int
    log: Log

    def asks_sequentially(self, labels: int, trained_on: int | None = None) -> bool:
        """Return True if the labels after the first `labels` ones are bought by a sequential query.

        It buys one label, or a few, where label propagation is most uncertain.

        Args:
          labels: the number of labels bought so far.
          trained_on: the number of labels on which the network was last trained, 0 if it is
            untrained. If given, the answer is False if the network must be trained before the next
            label is chosen: for the first time with 20 labels, and then in every round.
        """
        if self.regions is None or not 0 < labels < self.config.sequential_until:
            return False
        if trained_on is None:
            return True
        again = grown(trained_on) if trained_on else 0
        return labels < max(sequential_queries.FIRST_TRAINING, again)


def num_labels_after_round(context: Context, labels: int) -> int:
    """Return how many labels there should be after a round that starts with `labels` labels."""
    if context.asks_sequentially(labels):
        count = 1 if context.oracle.recorded else sequential_queries.ASKED_TOGETHER
        return min(labels + count, context.config.sequential_until)
    return grown(labels) if labels else context.config.initial_labels


def grown(labels: int) -> int:
    """Return with how many labels the network is trained next, after a training on `labels`."""
    return round(GROWTH * labels)


def pool_predictions(
    context: Context, state: State, labelled: Labelled, key: Key[Array, ""]
) -> PoolPredictions:
    """Predict features and class probabilities of a random sample of the training images.

    The sample has at least `POOL` images, if there are as many, and contains all labelled
    images. It is large enough to choose the labels of the next round from it.

    Args:
      context: the inputs of the run.
      state: the training state of the network that makes the predictions.
      labelled: the labels bought so far.
      key: the random key of the sample.
    """
    bought, classes = len(labelled.indices), context.oracle.num_classes
    size = max(POOL, 2 * num_labels_after_round(context, bought))
    model = setup.average_mirrored(context.config, state.teacher)
    return predict_pool(model, context.images, classes, size, labelled.indices, key)


def buy(
    context: Context,
    pool: PoolPredictions | None,
    labelled: Labelled,
    count: int,
    number: int,
    key: Key[Array, ""],
) -> Labelled:
    """Buy up to `count` more labels within the budget and return the whole labelled set.

    If `count` is 0 or negative, nothing is bought. It can be negative after a failed audit (an
    attempt to certify the accuracy by labels of random images), because the labels that the audit
    bought also count towards the planned number of labels of the round.

    Args:
      context: the inputs of the run.
      pool: the network's predictions, which uncertainty strategies use; None before the first
        training.
      labelled: the labels bought so far.
      count: the number of labels to buy.
      number: the number of the round, from 0. Round 0 uses the strategy of the first labels.
      key: the random key of the query strategy.
    """
    excluded = query.unavailable(context.oracle, np.arange(len(context.images)), labelled.indices)
    count = min(count, len(context.images) - len(excluded) - len(labelled.indices))
    if count <= 0:
        return labelled

    def choose() -> Int[np.ndarray, "count"]:
        if context.regions and context.asks_sequentially(len(labelled.indices)):
            classes = context.oracle.num_classes
            return sequential_queries.choose_queries(
                context.config, context.regions, labelled, classes, count, excluded
            )
        strategy = context.config.query if number else context.first_query
        if needs_model(strategy) and pool is not None:
            others = query.unavailable(context.oracle, pool.rows, labelled.indices)
            allowed = np.flatnonzero(~np.isin(pool.rows, others))
            features, probabilities = (jnp.asarray(each)[allowed] for each in pool.predictions)
            asked = np.flatnonzero(np.isin(pool.rows[allowed], labelled.indices))
            selected = query.select(strategy, key, features, count, asked, probabilities)
            return pool.rows[allowed[selected]]
        space = jnp.asarray(context.spaces.query)
        return query.select_affordable(
            context.oracle, strategy, key, space, count, labelled.indices
        )

    oracle, num_images = context.oracle, len(context.images)
    wanted = query.chosen(oracle, context.log, number, count, num_images, labelled, choose)
    return query.buy(oracle, labelled, wanted, number)


class Learned(NamedTuple):
    """What sequential queries need of the features that the network has learned.

    Attributes:
      neighbours: for each image, the indices of its nearest neighbours.
      distances: the distances to these neighbours.
      medoids: for each region, the index of the image at its centre.
      assignments: the region of each image.
    """

    neighbours: Int[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]
    medoids: Int[np.ndarray, "regions"]
    assignments: Int[np.ndarray, "n"]


def learn_regions(
    context: Context, state: State, labelled: Labelled, name: str, cycle: cycles.Cycle,
    key: Key[Array, ""],
) -> tuple[State, Context]:  # fmt: skip
    """Refine the network once, and build graph and regions for queries from its features.

    The features are joined with those before any label. The result is saved in a checkpoint,
    because a run whose labels come from a person starts again after each answer.

    Args:
      context: the inputs of the run; its graph and regions are replaced.
      state: the state of the network after the training of this round.
      labelled: the labels bought so far.
      name: the first part of the checkpoints' names.
      cycle: the training cycle of a refinement. With `refinements=0` there is none.
      key: the random key of the refinement and of the regions.

    Returns:
      The state of the refined network, and the context with the new graph and regions.
    """
    train_key, region_key = jax.random.split(key)
    config, images, log = context.config, context.images, context.log
    data, times = training_data(context, labelled, None), min(1, config.refinements)
    count = min(max(sequential_queries.REGIONS, 2 * len(labelled.indices)), len(images))
    first = cluster.first_copies(images)
    num_distinct = len(images) if first is None else len(np.unique(first))
    near = np.zeros((len(images), min(setup.NEIGHBOURS, num_distinct - 1)))
    like = Learned(
        near.astype(np.int32), near.astype(np.float32), np.zeros(count, np.int32),
        np.zeros(len(images), np.int32),
    )  # fmt: skip
    base = context.spaces.base
    state = refinement.refine(
        cycle, state, data, base, labelled, train_key, log, name, times,
        finds_classes=refinement.finds_unlabelled_classes(config),
    )  # fmt: skip
    found = restore_learned(log, f"{name}_regions", like, context.oracle.num_classes, first)
    if found is not None:
        graph = cluster.Neighbours(found.neighbours, found.distances, 1.0, first).graph()
        regions = sequential_queries.Regions(graph, found.medoids, found.assignments)
    else:
        space = refinement.learned_space(
            setup.average_mirrored(config, state.teacher), images, base
        )
        nearest = refinement.search_neighbours(space, setup.NEIGHBOURS, log, first)
        spaces = setup.Spaces(base, space, nearest.graph())
        regions = sequential_queries.find_regions(spaces, region_key, count)
        parts = nearest.indices, nearest.distances, regions.medoids, regions.assignments
        found = Learned(*(np.asarray(a, b.dtype) for a, b in zip(parts, like, strict=True)))
        log.save(f"{name}_regions", context.oracle.num_classes, found)
    spaces = context.spaces._replace(graph=regions.graph)
    return state, context._replace(spaces=spaces, regions=regions)


def restore_learned(
    log: Log, name: str, like: Learned, num_classes: int, first: Int[np.ndarray, "n"] | None
) -> Learned | None:
    """Return what `learn_regions` saved in a checkpoint, or None if it must be computed again.

    That is so if there is no checkpoint, if it was made with another number of classes, or if an
    earlier version made it, which took copies of an image for its neighbours.

    Args:
      log: the run's log, which stores the checkpoint.
      name: the checkpoint's name.
      like: arrays of the shapes and types of the result.
      num_classes: the number of known classes.
      first: the first copy of each image, from `cluster.first_copies`; None if all images are
        distinct.
    """
    restored = log.restore(name, like)
    if restored is None or restored[0] != num_classes:
        return None
    found = Learned(*map(np.asarray, restored[1]))
    if first is not None and (first[found.neighbours] == first[:, None]).any():
        return None
    return found


def train_network(
    context: Context,
    state: State,
    labelled: Labelled,
    name: str,
    cycle: cycles.Cycle,
    key: Key[Array, ""],
) -> State:
    """Train the network for one learning-rate cycle on the labelled set; return its new state.

    Args:
      context: the inputs of the run.
      state: the state of the network before this training.
      labelled: the labels bought so far.
      name: the name under which metrics and checkpoints are logged.
      cycle: the number of training steps and the compiled training step.
    """
    propagated = setup.propagate_labels(
        context.config, context.spaces.graph, labelled, context.oracle.num_classes
    )
    data = training_data(context, labelled, propagated)
    return cycles.train_cycle(cycle, state, data, key, context.log, name)


def training_data(
    context: Context, labelled: Labelled, propagated: Propagated | None
) -> semisupervised.Data:
    """Return the training data: all images, the labelled set, and targets from label propagation.

    Args:
      context: the inputs of the run.
      labelled: the labels bought so far.
      propagated: the labels propagated over the neighbour graph; None for training without them.
    """
    n, classes = len(context.images), context.oracle.num_classes
    graph_targets = setup.make_graph_targets(propagated, n, classes)
    prior = setup.class_prior(context.config, labelled, classes)
    return semisupervised.pad(
        context.images, labelled.indices, labelled.labels, context.capacity, graph_targets, prior
    )
