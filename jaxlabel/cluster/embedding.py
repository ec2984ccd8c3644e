"""Spectral embedding of a neighbour graph, and diffusion of labels in it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlabel.cluster.graph import Graph, knn_graph, spectral_embedding
from jaxlabel.cluster.neighbours import knn


class GraphSpace(NamedTuple):
    """The leading eigenvectors of a neighbour graph, scaled for clustering and for label diffusion.

    Attributes:
      points: the points to cluster: leading eigenvectors times (1 - eigenvalue + 0.02)^-1/2, with
        rows scaled to unit length.
      modes: D^-1/2 times all eigenvectors but the first, constant one, for label diffusion.
      gains: 1 / (1 - eigenvalue) of each mode.
    """

    points: Float[np.ndarray, "n d"]
    modes: Float[np.ndarray, "n m"]
    gains: Float[np.ndarray, "m"]


def nearest_graph(features: Float[np.ndarray, "n f"], num_neighbours: int) -> Graph:
    """Return the weighted graph of the features' exact nearest neighbours."""
    return knn_graph(*map(np.asarray, knn(jnp.asarray(features), None, num_neighbours)))


def graph_space(graph: Graph, *, num_components: int, num_modes: int = 60) -> GraphSpace:
    """Compute a graph's spectral embedding, with at most one dimension fewer than there are points.

    The method is that of Ng, Jordan & Weiss 2002; the scaling by eigenvalues is that of commute
    times (Qiu & Hancock 2007), which gives more weight to the leading eigenvectors, those that
    separate classes.

    Args:
      num_components: number of eigenvectors for clustering.
      num_modes: number of eigenvectors for label diffusion.
    """
    max_vectors = len(graph.degrees) - 1
    spectrum = spectral_embedding(graph, min(max(num_modes, num_components), max_vectors))
    gaps = np.maximum(1 - spectrum.values, 1e-6)
    points = (spectrum.vectors / np.sqrt(gaps + 0.02))[:, :num_components]
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1.0))[:, None]
    return GraphSpace(
        (points / np.maximum(lengths, 1e-12)).astype(np.float32),
        (spectrum.vectors / roots)[:, 1:].astype(np.float32),
        (1 / gaps[1:]).astype(np.float32),
    )


def diffuse_labels(
    space: GraphSpace, indices: Int[np.ndarray, "m"], labels: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "n"]:
    """Predict each point's class by Poisson learning on the graph's leading eigenvectors.

    Calder et al. 2020, eq. 2.1. The graph's Laplacian is inverted only on its leading eigenvectors,
    which separate the classes. Scores are divided by the number of labels of their class. A class
    without labels is never predicted.

    Args:
      indices: the labelled points.
      labels: their labels.
    """
    classes, columns = np.unique(labels, return_inverse=True)
    one_hot = (columns[:, None] == np.arange(len(classes))).astype(np.float32)
    sources = space.modes[indices].T @ (one_hot - one_hot.mean(axis=0))
    scores = space.modes @ (space.gains[:, None] * sources) / one_hot.sum(axis=0)
    return classes[np.argmax(scores, axis=1)]
