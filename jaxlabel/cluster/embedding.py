"""Spectral embedding of a nearest-neighbour graph, and propagation of labels in it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel.cluster.graph import Graph, spectral_embedding

# The number of eigenvectors for label diffusion, including the first one, which is left out.
NUM_MODES = 60


class GraphSpace(NamedTuple):
    """The spectral embedding of a neighbour graph, scaled for clustering and for label diffusion.

    Label diffusion predicts the classes of all points from a few labelled ones (`diffuse_labels`).
    The embedding consists of leading eigenvectors of D^-1/2 W D^-1/2, where W is the matrix of the
    graph's edge weights, and the diagonal matrix D holds the degrees (each point's sum of weights).

    Attributes:
      points: for clustering: one row of coordinates per point. The columns are the leading
        eigenvectors, each times (1 - eigenvalue + 0.02)^-1/2; then rows are scaled to unit length.
      modes: for label diffusion: D^-1/2 times the leading eigenvectors as columns. The first
        eigenvector is left out, because D^-1/2 makes it constant.
      gains: for label diffusion: 1 / (1 - eigenvalue) of each column of `modes`.
    """

    points: Float[np.ndarray, "n d"]
    modes: Float[np.ndarray, "n m"]
    gains: Float[np.ndarray, "m"]


def graph_space(graph: Graph, *, num_components: int) -> GraphSpace:
    """Return the spectral embedding of a neighbour graph (Ng, Jordan & Weiss 2002).

    Eigenvectors are scaled by their eigenvalues as for commute times (Qiu & Hancock 2007): this
    gives more weight to the leading eigenvectors, which separate the classes. For a graph of n
    points, at most n - 1 eigenvectors are computed, and otherwise at least `NUM_MODES`. Identical
    images that share a point of the graph have equal rows in the result.

    Args:
      num_components: the number of eigenvectors for clustering (`GraphSpace.points`).
    """
    max_vectors = len(graph.degrees) - 1
    spectrum = spectral_embedding(graph, min(max(NUM_MODES, num_components), max_vectors))
    gaps = np.maximum(1 - spectrum.values, 1e-6)
    points = (spectrum.vectors / np.sqrt(gaps + 0.02))[:, :num_components]
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1.0))[:, None]
    rows = slice(None) if graph.point_of is None else graph.point_of
    return GraphSpace(
        (points / np.maximum(lengths, 1e-12)).astype(np.float32)[rows],
        (spectrum.vectors / roots)[:, 1:].astype(np.float32)[rows],
        (1 / gaps[1:]).astype(np.float32),
    )


def diffuse_labels(
    space: GraphSpace, indices: Int[np.ndarray, "m"], labels: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "n"]:
    """Predict the class of every point by Poisson learning on the graph's leading eigenvectors.

    Calder et al. 2020, eq. 2.1. The inverse of the graph's Laplacian is approximated by the leading
    eigenvectors, which separate the classes. The score of a class is divided by the number of its
    labels. A class without labels is never predicted.

    Args:
      space: the graph's spectral embedding.
      indices: the indices of the labelled points.
      labels: the labels of these points.
    """
    classes, columns = np.unique(labels, return_inverse=True)
    one_hot = (columns[:, None] == np.arange(len(classes))).astype(np.float32)
    sources = space.modes[indices].T @ (one_hot - one_hot.mean(axis=0))
    scores = space.modes @ (space.gains[:, None] * sources) / one_hot.sum(axis=0)
    return classes[np.argmax(scores, axis=1)]
