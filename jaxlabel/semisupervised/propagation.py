"""Label propagation: few labels, spread over a graph of nearest neighbours to all images."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.cache import cached
from jaxlabel.log import Log

COMPONENTS = 20  # leading eigenvectors of the graph, as features for query strategies


class Propagated(NamedTuple):
    """The result of label propagation: for every image, a class and how certain it is.

    Attributes:
      labels: the class given to each image.
      certainty: the rank of each image by margin (best minus second-best class score), among the
        images of the same class. The most certain image has 1 and the least certain has 0. It is -1
        for an image that no label reaches, because it is not connected in the graph to a labelled
        image; the class of such an image has no meaning.
      reach: the rank of each image, among all images, by how strongly labels reach it. The
        strongest has 1; an image that no label reaches has 0.
    """

    labels: Int[np.ndarray, "n"]
    certainty: Float[np.ndarray, "n"]
    reach: Float[np.ndarray, "n"]


def propagate(
    graph: cluster.Graph,
    indices: Int[np.ndarray, "m"],
    labels: Int[np.ndarray, "m"],
    prior: Float[np.ndarray, "classes"],
) -> Propagated:
    """Propagate labels over the neighbour graph to all images; labelled images keep their labels.

    The method is Poisson learning (Calder et al. 2020). The certainty of a propagated label is the
    image's rank by the margin between its two best class scores, times its degree in the graph.
    Ranks are computed within each class, so that no class is left out. With 20 labelled digits,
    95.8% of the propagated labels are right, and 99.9% of the most certain 70% (neighbours by
    principal components of pixels). With a single class, all propagated labels have certainty 1.
    Identical images that share a point of the graph get the same result, and the label of one of
    them counts for all.

    Args:
      graph: the neighbour graph.
      indices: the indices of the labelled images.
      labels: the classes of the labelled images.
      prior: the expected share of each class.
    """
    if graph.point_of is not None:
        distinct = propagate(graph._replace(point_of=None), graph.point_of[indices], labels, prior)
        found = Propagated(*(result[graph.point_of] for result in distinct))
        found.labels[indices] = labels
        return found
    known = np.full(len(graph.degrees), -1)
    known[indices] = labels
    scores = cluster.poisson_learning(graph, known, len(prior), class_priors=prior)
    classes = np.argmax(scores, axis=1).astype(np.int32)
    strength = np.abs(scores).max(axis=1) * graph.degrees
    reach = rank_within(np.zeros(len(classes), int), strength) * (strength > 0)
    certainty = np.ones(len(classes))
    if len(prior) > 1:
        best = np.partition(scores, -2, axis=1)
        certainty = rank_within(classes, (best[:, -1] - best[:, -2]) * graph.degrees)
        certainty[~scores.any(axis=1)] = -1.0
    classes[indices], certainty[indices], reach[indices] = labels, 1.0, 1.0
    return Propagated(classes, certainty, reach)


def rank_within(
    groups: Int[np.ndarray, "n"], values: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Return the rank of each value among the values of its group, scaled to [0, 1].

    The smallest value of a group has rank 0 and the largest has rank 1. A value that is alone in
    its group has rank 1.

    Args:
      groups: the group number of each value.
      values: the values to rank.
    """
    ranks = np.ones(len(values))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        order = rows[np.argsort(values[rows], kind="stable")]
        ranks[order] = np.linspace(0.0, 1.0, len(rows)) if len(rows) > 1 else 1.0
    return ranks


def leading_eigenvectors(graph: cluster.Graph, log: Log) -> cluster.GraphSpace:
    """Return the leading eigenvectors of a neighbour graph; the result is cached on disk."""
    weights = graph.weights
    log.progress("graph", 0, 1, "eigenvectors")
    space = cached(
        "graph", [weights.data, weights.indices, weights.indptr, graph.point_of, COMPONENTS],
        lambda: cluster.graph_space(graph, num_components=COMPONENTS)._asdict(),
    )  # fmt: skip
    log.progress("graph", 1, 1)
    return cluster.GraphSpace(**space)


def neighbour_graph(
    features: Float[np.ndarray, "n d"], num_neighbours: int, log: Log,
    first: Int[np.ndarray, "n"] | None = None,
) -> cluster.Graph:  # fmt: skip
    """Return the graph that connects each image to its `num_neighbours` nearest neighbours.

    Distances are measured between the rows of `features`. The search is cached on disk, because
    other runs often use the same features.

    Args:
      features: the feature vector of each image.
      num_neighbours: the number of neighbours of each image.
      first: the first copy of each image, from `cluster.first_copies`; None if all images are
        distinct. Identical images share a point of the graph.
    """

    def compute() -> dict[str, Any]:
        found = cluster.nearest_neighbours(features, num_neighbours, first=first)
        return {name: value for name, value in found._asdict().items() if name != "first"}

    log.progress("neighbours", 0, 1)
    arrays = cached("neighbours", [features, num_neighbours, first], compute)
    found = cluster.Neighbours(**arrays, first=first)
    log.progress("neighbours", 1, 1)
    cluster.report_recall(found.recall, log)
    return found.graph()
