"""Few labels spread over a graph of nearest neighbours: a target for every image at no cost."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.cache import cached
from jaxlabel.cluster.volume import poisson_mbo
from jaxlabel.log import Log

METHODS = ("spreading", "poisson", "mbo", "diffusion")


def propagate(
    method: str,
    features: Float[np.ndarray, "n d"],
    indices: Int[np.ndarray, "m"],
    labels: Int[np.ndarray, "m"],
    prior: Float[np.ndarray, "classes"],
    log: Log,
    *,
    num_neighbours: int = 10,
) -> Int[np.ndarray, "n"]:
    """A class for every image, from the paid ones, which keep theirs.

    Args:
      method: label spreading (Zhou et al. 2004), Poisson learning, Poisson MBO, which keeps the
        classes' sizes at `prior` (Calder et al. 2020), or Poisson learning on the graph's slow
        modes alone.
      features: where neighbours are near.
    """
    if method == "diffusion":
        space = slow_modes(features, num_neighbours, log)
        found = cluster.diffuse_labels(space, indices, labels)
    else:
        graph, known = neighbour_graph(features, num_neighbours, log), np.full(len(features), -1)
        known[indices] = labels
        found = np.argmax(_scores(method, graph, known, prior), axis=1)
    found[indices] = labels
    return found.astype(np.int32)


def slow_modes(
    features: Float[np.ndarray, "n d"], num_neighbours: int, log: Log
) -> cluster.GraphSpace:
    """The leading eigenvectors of the features' graph."""
    sizes: Any = {"num_neighbours": min(num_neighbours, len(features) - 1)}
    sizes["num_components"] = min(20, len(features) - 1)
    log.progress("graph", 0, 1, "neighbours and eigenvectors")
    space = cached(
        "graph", [features, sizes], lambda: cluster.graph_space(features, **sizes)._asdict()
    )
    log.progress("graph", 1, 1)
    return cluster.GraphSpace(**space)


def neighbour_graph(
    features: Float[np.ndarray, "n d"], num_neighbours: int, log: Log
) -> cluster.Graph:
    """The weighted graph of exact nearest neighbours."""

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
