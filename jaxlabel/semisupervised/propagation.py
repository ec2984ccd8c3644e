"""Label propagation: few labels, spread over a graph of nearest neighbours to all images."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.cache import cached
from jaxlabel.cluster.volume import poisson_mbo
from jaxlabel.log import Log

METHODS = ("spreading", "poisson", "mbo", "diffusion")
COMPONENTS = 20  # leading eigenvectors of the graph, as features for query strategies
Joined = cluster.Graph | cluster.GraphSpace  # a GraphSpace for diffusion, else a Graph


class Propagated(NamedTuple):
    """The result of label propagation: a class for every image, and its certainty.

    Attributes:
      labels: the propagated class of each image.
      certainty: rank of the image by margin among the images of its class, from 1 for the most
        certain to 0; -1 if no label reaches the image, as in a part of the graph without labels,
        and then its class has no meaning.
      reach: rank of the image among all by the strength with which labels reach it, from 1 for the
        strongest to 0; 0 if no label reaches it.
    """

    labels: Int[np.ndarray, "n"]
    certainty: Float[np.ndarray, "n"]
    reach: Float[np.ndarray, "n"]


def join(method: str, graph: cluster.Graph, log: Log) -> Joined:
    """Return what `propagate` takes for a method: the graph, or its eigenvectors for diffusion."""
    return leading_eigenvectors(graph, log) if method == "diffusion" else graph


def propagate(
    method: str,
    joined: Joined,
    indices: Int[np.ndarray, "m"],
    labels: Int[np.ndarray, "m"],
    prior: Float[np.ndarray, "classes"],
) -> Propagated:
    """Propagate labels over the neighbour graph to all images; labelled images keep their labels.

    Images are ranked by the margin between their two best scores times their degree. With 20
    labelled digits, 95.8% of the propagated labels are right, and 99.9% of the most certain 70%
    (neighbours by principal components of pixels). Ranks are within each class, so that no class is
    left out. Diffusion gives no margins: all its labels have certainty 1. The same holds if there
    is only one class.

    Args:
      method: "spreading" (label spreading, Zhou et al. 2004), "poisson" (Poisson learning, Calder
        et al. 2020), "mbo" (Poisson MBO, Calder et al. 2020, which keeps the class sizes at
        `prior`) or "diffusion" (Poisson learning on the leading eigenvectors of the graph).
      joined: the result of `join` for the same method.
      indices: indices of the labelled images.
      labels: their classes.
      prior: expected share of each class.

    Raises:
      TypeError: `joined` was made for another method.
    """
    if isinstance(joined, cluster.GraphSpace) != (method == "diffusion"):
        raise TypeError(f"{method} does not propagate labels on {type(joined).__name__}")
    if isinstance(joined, cluster.GraphSpace):
        classes = cluster.diffuse_labels(joined, indices, labels).astype(np.int32)
        certainty, reach = np.ones(len(classes)), np.ones(len(classes))
    else:
        known = np.full(len(joined.degrees), -1)
        known[indices] = labels
        scores = _scores(method, joined, known, prior)
        classes = np.argmax(scores, axis=1).astype(np.int32)
        strength = np.abs(scores).max(axis=1) * joined.degrees
        reach = rank_within(np.zeros(len(classes), int), strength) * (strength > 0)
        certainty = np.ones(len(classes))
        if len(prior) > 1:
            best = np.partition(scores, -2, axis=1)
            certainty = rank_within(classes, (best[:, -1] - best[:, -2]) * joined.degrees)
            certainty[~scores.any(axis=1)] = -1.0
    classes[indices], certainty[indices], reach[indices] = labels, 1.0, 1.0
    return Propagated(classes, certainty, reach)


def rank_within(
    groups: Int[np.ndarray, "n"], values: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Return the rank of each value within its group, from 0 for the smallest to 1.

    Args:
      groups: the group of each value.
      values: the values to rank; the only value of a group has rank 1.
    """
    ranks = np.ones(len(values))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        order = rows[np.argsort(values[rows], kind="stable")]
        ranks[order] = np.linspace(0.0, 1.0, len(rows)) if len(rows) > 1 else 1.0
    return ranks


def leading_eigenvectors(graph: cluster.Graph, log: Log) -> cluster.GraphSpace:
    """Return the leading eigenvectors of the neighbour graph, from the cache if they are there."""
    weights = graph.weights
    log.progress("graph", 0, 1, "eigenvectors")
    space = cached(
        "graph", [weights.data, weights.indices, weights.indptr, COMPONENTS],
        lambda: cluster.graph_space(graph, num_components=COMPONENTS)._asdict(),
    )  # fmt: skip
    log.progress("graph", 1, 1)
    return cluster.GraphSpace(**space)


def neighbour_graph(
    features: Float[np.ndarray, "n d"], num_neighbours: int, log: Log
) -> cluster.Graph:
    """Return the graph of each image's nearest neighbours, as `cluster.nearest_graph` does.

    The neighbours are cached, since other runs often have the same features.
    """

    def compute() -> dict[str, Any]:
        indices, distances = cluster.knn(jnp.asarray(features), None, num_neighbours)
        return {"indices": indices, "distances": distances}

    log.progress("neighbours", 0, 1)
    neighbours = cached("neighbours", [features, num_neighbours], compute)
    log.progress("neighbours", 1, 1)
    return cluster.knn_graph(neighbours["indices"], neighbours["distances"])


def _scores(
    method: str, graph: cluster.Graph, known: Int[np.ndarray, "n"],
    prior: Float[np.ndarray, "classes"],
) -> Float[np.ndarray, "n classes"]:  # fmt: skip
    """Return the score of each class for each image; `known` is -1 for unlabelled images."""
    num_classes = len(prior)
    if method == "spreading":
        return cluster.spread_labels(graph, known, num_classes)
    if method == "mbo":
        return poisson_mbo(graph, known, num_classes, prior)
    return cluster.poisson_learning(graph, known, num_classes, class_priors=prior)
