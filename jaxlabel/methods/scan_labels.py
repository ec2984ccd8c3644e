"""The second half of the SCAN recipe: with a budget, buy labels and train SCAN's network on them.

1. Build a neighbour graph of the features of SCAN's network, joined with the encoder's features.
2. Buy the label of the most typical image of each cluster. Then buy labels where the propagation
   of the labels over the graph is most uncertain, until the budget is spent.
3. Propagate the labels over the graph to all images.
4. Train SCAN's network on the labels and on the propagated labels, averaged over neighbours, with
   the training step of the semi-supervised recipe (semisupervised/training.py). A refinement
   repeats steps 3 and 4 on a graph of the trained network's features.

A cluster gives its images its label only while all labels bought in it agree. As soon as two labels
in a cluster contradict each other, the propagated labels decide, so that no bought label loses to a
cluster.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import cluster, query, scan
from jaxlabel.log import Log
from jaxlabel.methods.scan_setup import with_new_head
from jaxlabel.nets.linear import Ensemble
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import predict_probabilities
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import cycles, refinement, sequential_queries, setup, training
from jaxlabel.semisupervised.propagation import neighbour_graph

# Each round of queries buys this fraction of the labels bought before, and at least one label, so
# that the number of rounds grows with the logarithm of the budget.
GROWTH = 0.1
# The share of the SCAN network's features in the squared length of the first graph's features; the
# rest are the encoder's features before the clustering (experiments/scan.md).
SHARE = 0.5


class Trained(NamedTuple):
    """The result of buying labels and training on them.

    Attributes:
      model: the trained classifier.
      labelled: the labels bought, in order of purchase.
      labels: the class of each image: its label if that was bought, else the prediction of `model`.
    """

    model: Ensemble
    labelled: Labelled
    labels: Int[np.ndarray, "n"]


def learn_from_labels(
    config: Any, model: scan.Assigner, images: UInt8[np.ndarray, "n h w c"], mined: scan.Mined,
    clusters: Int[np.ndarray, "n"], oracle: Oracle, key: Key[Array, ""], log: Log,
) -> Trained:  # fmt: skip
    """Buy labels within the budget, and train SCAN's network on the labels and on all images.

    Args:
      config: the settings of SCAN (`scan.Config`).
      model: SCAN's network. The training starts from its encoder, with an untrained head.
      images: all training images.
      mined: the encoder's features of the images, their nearest neighbours, and the spectral
        embedding of their neighbour graph.
      clusters: the cluster of each image.
      oracle: the object that sells labels and keeps the budget.

    Raises:
      BudgetExceeded: the budget does not buy a single label.
    """
    head_key, region_key, train_key, refine_key = jax.random.split(key, 4)
    settings = training_settings(config)
    features = refinement.learned_space(
        setup.average_mirrored(settings, model), images, mined.features, SHARE
    )
    first = cluster.first_copies(images)
    graph = neighbour_graph(features, config.graph_neighbours, log, first)
    labelled = buy_labels(settings, graph, mined.space.points, clusters, oracle, region_key, log)
    num_classes = oracle.num_classes
    propagated = setup.propagate_labels(settings, graph, labelled, num_classes)
    targets = setup.make_graph_targets(propagated, len(images), num_classes, share=1.0)
    targets = name_agreeing_clusters(targets, clusters, labelled)
    targets = average_over_neighbours(targets, mined.neighbours, labelled)
    data = training.pad(
        images, labelled.indices, labelled.labels, len(labelled.indices), targets,
        setup.class_prior(settings, labelled, num_classes),
    )  # fmt: skip
    network = with_new_head(model, num_classes, head_key)
    state = training.start(settings, network, len(images), num_classes)
    cycle = refinement.make_cycle(settings, config.name_steps)
    state = cycles.train_cycle(cycle, state, data, train_key, log, "labels")
    state = refinement.refine(
        cycle, state, data, mined.features, labelled, refine_key, log, "refined",
        config.refinements, config.graph_neighbours,
    )  # fmt: skip
    classifier = setup.average_mirrored(settings, state.teacher)
    labels = predict_probabilities(classifier, images).argmax(axis=1).astype(np.int32)
    labels[labelled.indices] = labelled.labels
    return Trained(classifier, labelled, labels)


def training_settings(config: Any) -> setup.ModelSettings:
    """Return the settings of semi-supervised training that follow from the settings of SCAN.

    If `config.prior` is empty, all classes are assumed to be equally frequent. If it has other
    shares of the clusters, the class frequencies are estimated from the bought labels.

    Args:
      config: the settings of SCAN (`scan.Config`).
    """
    return setup.ModelSettings(
        kind=config.kind, objective="graph", learning_rate=config.self_rate,
        alignment="labelled" if config.prior else "uniform",
    )  # fmt: skip


def name_agreeing_clusters(
    targets: Float[np.ndarray, "n classes"], clusters: Int[np.ndarray, "n"], labelled: Labelled
) -> Float[np.ndarray, "n classes"]:
    """Replace the targets of each cluster in which all bought labels agree by that label.

    The other targets are returned unchanged: those in clusters without a bought label, and those in
    clusters whose bought labels differ.

    Args:
      targets: the one-hot targets of the images, from label propagation.
      clusters: the cluster of each image.
      labelled: the labels bought.
    """
    named, one_hot = targets.copy(), np.eye(targets.shape[1], dtype=targets.dtype)
    for cluster_number in np.unique(clusters[labelled.indices]):
        labels = np.unique(labelled.labels[clusters[labelled.indices] == cluster_number])
        if len(labels) == 1:
            named[clusters == cluster_number] = one_hot[labels[0]]
    return named


def average_over_neighbours(
    targets: Float[np.ndarray, "n classes"], neighbours: Int[np.ndarray, "n k"], labelled: Labelled
) -> Float[np.ndarray, "n classes"]:
    """Return, for each image, the mean of its target and the targets of its nearest neighbours.

    An image whose label was bought has this label as its one-hot target instead.

    Args:
      targets: the one-hot targets of the images.
      neighbours: the indices of each image's nearest neighbours.
      labelled: the labels bought.
    """
    total = targets.copy()
    for column in neighbours.T:
        total += targets[column]
    mean = total / (1 + neighbours.shape[1])
    mean[labelled.indices] = np.eye(targets.shape[1])[labelled.labels]
    return mean


def buy_labels(
    settings: setup.ModelSettings, graph: cluster.Graph, points: Float[np.ndarray, "n d"],
    clusters: Int[np.ndarray, "n"], oracle: Oracle, key: Key[Array, ""], log: Log,
) -> Labelled:  # fmt: skip
    """Spend the budget on labels of clustered images, and return the labels bought.

    The first round buys the label of the most typical image of each cluster, the largest cluster
    first. Each further round propagates the labels over the graph. It then buys the labels of the
    central images of those regions (groups of neighbouring images) in which the propagated labels
    are most uncertain (semisupervised/sequential_queries.py).

    Args:
      settings: the settings of the label propagation.
      graph: the neighbour graph of the images.
      points: one vector per image, in a space in which clusters are compact.
      clusters: the cluster of each image.
      oracle: the object that sells labels and keeps the budget.
      key: the random key of the division into regions.

    Raises:
      BudgetExceeded: the budget does not buy a single label.
    """
    labelled, number, num_images = query.NO_LABELS, 0, len(points)
    regions: dict[int, sequential_queries.Regions] = {}

    def choose(count: int) -> Int[np.ndarray, "count"]:
        if not len(labelled.indices):
            typical = available(scan.typical_images(points, clusters))
            return (typical if len(typical) else available(np.arange(num_images)))[:count]
        size = num_regions(len(labelled.indices))
        if size not in regions:
            spaces = setup.Spaces(None, points, graph)
            regions[size] = sequential_queries.find_regions(spaces, key, size)
        excluded = query.unavailable(oracle, np.arange(num_images), labelled.indices)
        return sequential_queries.choose_queries(
            settings, regions[size], labelled, oracle.num_classes, count, excluded
        )

    def available(rows: Int[np.ndarray, "m"]) -> Int[np.ndarray, "rest"]:
        return rows[~np.isin(rows, query.unavailable(oracle, rows, labelled.indices))]

    while True:
        bought = len(labelled.indices)
        most = int(GROWTH * bought) if bought else len(np.unique(clusters))
        count = min(max(1, most), query.num_affordable(oracle, num_images, labelled.indices))
        if bought and not count:
            return labelled
        wanted = query.chosen(
            oracle, log, number, count, num_images, labelled, functools.partial(choose, count)
        )
        labelled = query.buy(oracle, labelled, wanted, number)
        if len(labelled.indices) == bought:
            return labelled
        log.scalars("queries", number, {"labels_spent": len(labelled.indices)})
        number += 1


def num_regions(num_labels: int) -> int:
    """Return the number of regions into which the images are divided to choose the next queries.

    A region is a group of neighbouring images. The number is `sequential_queries.REGIONS`, doubled
    until it is at least two per label.

    Args:
      num_labels: the number of labels bought so far.
    """
    regions = sequential_queries.REGIONS
    while regions < 2 * num_labels:
        regions *= 2
    return regions
