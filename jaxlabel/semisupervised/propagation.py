"""Few labels spread over a graph of nearest neighbours: a target for every image at no cost."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.cache import cached
from jaxlabel.cluster.volume import poisson_mbo
from jaxlabel.log import Log

METHODS = ("spreading", "poisson", "mbo", "diffusion")
COMPONENTS = 20  # of the graph, in which strategies look
Joined = cluster.Graph | cluster.GraphSpace  # the latter for diffusion


class Propagated(NamedTuple):
    """A class for every image, and how sure it is.

    Attributes:
      certainty: an image's rank by margin among those of its class, 1 the surest, 0 the least;
        -1 where no label arrives, as in a part of the graph without any: there the class is none.
      reach: its rank among all by how much of any label arrives: 1 the most, 0 nothing.
    """

    labels: Int[np.ndarray, "n"]
    certainty: Float[np.ndarray, "n"]
    reach: Float[np.ndarray, "n"]


def join(method: str, graph: cluster.Graph, log: Log) -> Joined:
    """What labels are spread on by that method: the graph, or its slow modes."""
    return leading_eigenvectors(graph, log) if method == "diffusion" else graph


def propagate(
    method: str,
    joined: Joined,
    indices: Int[np.ndarray, "m"],
    labels: Int[np.ndarray, "m"],
    prior: Float[np.ndarray, "classes"],
) -> Propagated:
    """A class for every image, from the paid ones, which keep theirs.

    The margin between the two best scores, times the image's degree, ranks well: with 20 paid
    digits 95.8% of the labels are right, and 99.9% of the surest 70% (neighbours by principal
    components of pixels). Ranks are by class, so that no class is left out. Slow modes know no
    margin: there every label is as sure, and so it is where there is one class.

    Args:
      method: label spreading (Zhou et al. 2004), Poisson learning, Poisson MBO, which keeps the
        classes' sizes at `prior` (Calder et al. 2020), or Poisson learning on the graph's slow
        modes alone.
      joined: from `join`, by the same method.

    Raises:
      TypeError: it is from another one.
    """
    if isinstance(joined, cluster.GraphSpace) != (method == "diffusion"):
        raise TypeError(f"{method} does not spread labels on {type(joined).__name__}")
    if isinstance(joined, cluster.GraphSpace):
        found = cluster.diffuse_labels(joined, indices, labels).astype(np.int32)
        certainty, reach = np.ones(len(found)), np.ones(len(found))
    else:
        known = np.full(len(joined.degrees), -1)
        known[indices] = labels
        scores = _scores(method, joined, known, prior)
        found = np.argmax(scores, axis=1).astype(np.int32)
        most = np.abs(scores).max(axis=1) * joined.degrees
        reach = rank_within(np.zeros(len(found), int), most) * (most > 0)
        certainty = np.ones(len(found))
        if len(prior) > 1:
            best = np.partition(scores, -2, axis=1)
            certainty = rank_within(found, (best[:, -1] - best[:, -2]) * joined.degrees)
            certainty[~scores.any(axis=1)] = -1.0
    found[indices], certainty[indices], reach[indices] = labels, 1.0, 1.0
    return Propagated(found, certainty, reach)


def rank_within(
    groups: Int[np.ndarray, "n"], values: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Each value's rank in its own group: 1 the largest, 0 the smallest."""
    ranks = np.ones(len(values))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        order = rows[np.argsort(values[rows], kind="stable")]
        ranks[order] = np.linspace(0.0, 1.0, len(rows)) if len(rows) > 1 else 1.0
    return ranks


def leading_eigenvectors(graph: cluster.Graph, log: Log) -> cluster.GraphSpace:
    """The graph's leading eigenvectors."""
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
    """`cluster.nearest_graph`, for features that other runs have too: its neighbours are cached."""

    def compute() -> dict[str, Any]:
        indices, distances = cluster.knn(jnp.asarray(features), None, num_neighbours)
        return {"indices": indices, "distances": distances}

    log.progress("neighbours", 0, 1)
    found = cached("neighbours", [features, num_neighbours], compute)
    log.progress("neighbours", 1, 1)
    return cluster.knn_graph(found["indices"], found["distances"])


def _scores(
    method: str, graph: cluster.Graph, known: Int[np.ndarray, "n"],
    prior: Float[np.ndarray, "classes"],
) -> Float[np.ndarray, "n classes"]:  # fmt: skip
    num_classes = len(prior)
    if method == "spreading":
        return cluster.spread_labels(graph, known, num_classes)
    if method == "mbo":
        return poisson_mbo(graph, known, num_classes, prior)
    return cluster.poisson_learning(graph, known, num_classes, class_priors=prior)
