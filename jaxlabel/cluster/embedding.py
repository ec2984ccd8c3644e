"""The space in which classes are compact: the leading eigenvectors of a neighbour graph."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlabel.cluster.graph import Graph, knn_graph, spectral_embedding
from jaxlabel.cluster.neighbours import knn


class GraphSpace(NamedTuple):
    """A neighbour graph's spectrum in two forms: to cluster in, and to spread labels by.

    Attributes:
      points: leading eigenvectors times (1 - eigenvalue + 0.02)^-1/2, rows of unit length.
      modes: D^-1/2 times all the eigenvectors but the first, constant one.
      gains: 1 / (1 - eigenvalue) of each mode.
    """

    points: Float[np.ndarray, "n d"]
    modes: Float[np.ndarray, "n m"]
    gains: Float[np.ndarray, "m"]


def nearest_graph(features: Float[np.ndarray, "n f"], num_neighbours: int) -> Graph:
    """The weighted graph of the features' exact nearest neighbours."""
    return knn_graph(*map(np.asarray, knn(jnp.asarray(features), None, num_neighbours)))


def graph_space(graph: Graph, *, num_components: int, num_modes: int = 60) -> GraphSpace:
    """The graph's leading eigenvectors, at most one fewer than there are points.

    Ng, Jordan & Weiss 2002; the scaling by eigenvalues is that of commute times (Qiu & Hancock
    2007), which counts the slow modes, those between classes, for more.
    """
    most = len(graph.degrees) - 1
    spectrum = spectral_embedding(graph, min(max(num_modes, num_components), most))
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
    """Each point's class by Poisson learning (Calder et al. 2020, eq. 2.1) on the modes alone.

    The graph's Laplacian is inverted on its slowest modes, which is what tells classes apart;
    columns are divided by the number of labels of their class. A class without a label is never
    given.
    """
    classes, known = np.unique(labels, return_inverse=True)
    one_hot = (known[:, None] == np.arange(len(classes))).astype(np.float32)
    sources = space.modes[indices].T @ (one_hot - one_hot.mean(axis=0))
    scores = space.modes @ (space.gains[:, None] * sources) / one_hot.sum(axis=0)
    return classes[np.argmax(scores, axis=1)]
