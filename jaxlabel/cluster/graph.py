"""Nearest-neighbour graphs on the host: weights, spectrum, and propagation of labels.

SciPy's sparse products of this size are faster than gathers on the device, and SciPy has a good
Arnoldi eigensolver.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from jaxlabel.errors import UsageError


class Graph(NamedTuple):
    """An undirected graph whose edges are weighted by similarity, and its degrees.

    Attributes:
      weights: similarities in (0, 1] as a symmetric sparse matrix (n, n), float32; pairs without an
        edge are absent, and so is the diagonal.
      degrees: the sum of each point's weights.
    """

    weights: sparse.csr_array
    degrees: Float[np.ndarray, "n"]


class Spectrum(NamedTuple):
    """The leading eigenvectors of D^-1/2 W D^-1/2, by descending eigenvalue.

    Attributes:
      vectors: the eigenvectors, of unit length, as columns.
      values: the eigenvalues; 1 once per connected component, and below 1 after that.
    """

    vectors: Float[np.ndarray, "n num_components"]
    values: Float[np.ndarray, "num_components"]


def knn_graph(
    indices: Int[np.ndarray, "n k"],
    distances: Float[np.ndarray, "n k"],
    *,
    scale_neighbour: int = 7,
) -> Graph:
    """Return the graph that joins two points if either is among the other's k nearest neighbours.

    The weight is exp(-d_ij^2 / (s_i s_j)), where s_i is the distance of point i to its 7th
    neighbour, or to its last one if k < 7 (Zelnik-Manor & Perona 2004, eq. 1).

    Args:
      indices: each point's nearest neighbours, nearest first, as from `knn`.
      distances: the distances to them.
      scale_neighbour: the number of the neighbour that sets s_i.
    """
    indices, distances = np.asarray(indices), np.asarray(distances, np.float64)
    num_points, k = indices.shape
    scales = np.maximum(distances[:, min(scale_neighbour, k) - 1], np.finfo(np.float32).tiny)
    exponents = np.square(distances) / (scales[:, None] * scales[indices])
    # Bound the exponent so that float32 can hold the weight and no point loses all its neighbours.
    weights = np.exp(-np.minimum(exponents, 60.0)).astype(np.float32)
    rows = np.repeat(np.arange(num_points, dtype=np.int32), k)
    columns = indices.astype(np.int32).ravel()  # 32-bit: a product reads half the bytes
    shape = (num_points, num_points)
    directed = sparse.coo_array((weights.ravel(), (rows, columns)), shape=shape).tocsr()
    symmetric = directed.maximum(directed.T).tocsr()
    return Graph(symmetric, np.asarray(symmetric.sum(axis=1)).ravel())


def normalised_weights(graph: Graph) -> sparse.csr_array:
    """Return the normalised weights D^-1/2 W D^-1/2; rows of points without neighbours are zero."""
    roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1.0)).astype(np.float32)
    scaled = graph.weights.tocoo()
    data = scaled.data / (roots[scaled.row] * roots[scaled.col])
    return sparse.coo_array((data, (scaled.row, scaled.col)), shape=scaled.shape).tocsr()


def spectral_embedding(graph: Graph, num_components: int, *, tolerance: float = 1e-3) -> Spectrum:
    """Return the leading eigenvectors of the normalised graph (Ng, Jordan & Weiss 2002, step 3).

    The result is deterministic; the entry of largest magnitude is positive in each vector. The rows
    are not scaled: Ng, Jordan & Weiss scale them to unit length before k-means, while diffusion
    maps (Coifman & Lafon 2006) drop the first vector, divide rows by sqrt(degree), and multiply
    columns by the eigenvalues.

    Args:
      tolerance: relative accuracy of the eigenvalues.

    Raises:
      UsageError: `num_components` is not between 1 and the number of points - 1.
    """
    from scipy.sparse.linalg import eigsh

    num_points = len(graph.degrees)
    if not 1 <= num_components < num_points:
        raise UsageError(
            f"{num_components} components of {num_points} points: ask for 1 to {num_points - 1}"
        )
    # Start from a random vector: one in the span of few eigenvectors would end the iteration early.
    start = np.random.default_rng(0).standard_normal(num_points).astype(np.float32)
    # This basis is larger than ARPACK's default of 2k + 1, and took half the time for 60,000 points
    # with 15 neighbours and k = 10 components.
    basis = min(num_points, max(20, 5 * num_components))
    values, vectors = eigsh(
        normalised_weights(graph), num_components, which="LA", tol=tolerance, v0=start, ncv=basis
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    peaks = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(num_components)]
    return Spectrum(vectors * np.sign(peaks), values)


def spread_labels(
    graph: Graph,
    labels: Int[np.ndarray, "n"],
    num_classes: int,
    *,
    alpha: float = 0.99,
    num_iterations: int = 200,
) -> Float[np.ndarray, "n classes"]:
    """Propagate labels by label spreading (Zhou et al. 2004, section 2).

    The scores are (1 - alpha) (I - alpha S)^-1 Y, where S is `normalised_weights(graph)` and Y holds the
    one-hot labels.

    Args:
      labels: the class of each point, or -1 if it is unknown.
      alpha: the weight of the neighbours' scores against the initial labels.
      num_iterations: maximum number of conjugate gradient steps; conjugate gradients need a tenth
        of the steps of the paper's iteration.

    Returns:
      Class scores, whose argmax is the predicted class; all zero for a point that no label reaches.

    Raises:
      UsageError: no point has a label, or a label is not below `num_classes`.
    """
    one_hot = _one_hot(labels, num_classes)
    return (1 - alpha) * _solve(normalised_weights(graph), one_hot, alpha, num_iterations)


def poisson_learning(
    graph: Graph,
    labels: Int[np.ndarray, "n"],
    num_classes: int,
    *,
    class_priors: Float[np.ndarray, "classes"] | None = None,
    num_iterations: int = 100,
) -> Float[np.ndarray, "n classes"]:
    """Propagate labels by Poisson learning: L u = sum_j (y_j - mean y) delta_j.

    Calder et al. 2020, algorithm 1. It works with one label per class, where the scores of label
    spreading become nearly constant. More iterations are not better: on Fashion-MNIST, 100 were
    more accurate than 200 or the exact solution.

    Args:
      labels: the class of each point, or -1 if it is unknown.
      class_priors: the expected class frequencies; scores are multiplied by the prior divided by
        the class's fraction of the labels (the paper's last step). None to skip that step.
      num_iterations: the number of iterations.

    Returns:
      Class scores u, whose argmax is the predicted class.

    Raises:
      UsageError: no point has a label, or a label is not below `num_classes`.
    """
    one_hot = _one_hot(labels, num_classes)
    labelled = np.asarray(labels) >= 0
    shares = one_hot[labelled].mean(axis=0)
    inverse = 1 / np.where(graph.degrees > 0, graph.degrees, 1.0).astype(np.float32)
    source = (
        np.where(labelled[:, None], one_hot - shares, 0.0).astype(np.float32) * inverse[:, None]
    )
    scores = np.zeros_like(one_hot)
    for _ in range(num_iterations):
        scores = inverse[:, None] * (graph.weights @ scores) + source
    if class_priors is None:
        return scores
    return scores * np.where(shares > 0, class_priors / np.where(shares > 0, shares, 1.0), 0.0)


def _one_hot(labels: Int[np.ndarray, "n"], num_classes: int) -> Float[np.ndarray, "n classes"]:
    labels = np.asarray(labels)
    if not (labels >= 0).any():
        raise UsageError("no point has a label: label at least one point")
    if labels.max() >= num_classes:
        raise UsageError(
            f"label {labels.max()} among {num_classes} classes: labels go up to {num_classes - 1}"
        )
    return (labels[:, None] == np.arange(num_classes)).astype(np.float32)


def _solve(
    matrix: sparse.csr_array,
    rhs: Float[np.ndarray, "n classes"],
    alpha: float,
    num_iterations: int,
    tolerance: float = 1e-5,
) -> Float[np.ndarray, "n classes"]:
    """Solve (I - alpha matrix) x = rhs for each column of `rhs` by conjugate gradients.

    Hestenes & Stiefel 1952.
    """
    solution = np.zeros_like(rhs)
    residual, direction = rhs.copy(), rhs.copy()
    squared = np.sum(residual**2, axis=0)
    enough = tolerance**2 * squared
    for _ in range(num_iterations):
        if np.all(squared <= enough):
            break
        product = direction - np.float32(alpha) * (matrix @ direction)
        curvature = np.sum(direction * product, axis=0)
        step = np.where(squared > enough, squared / np.where(curvature > 0, curvature, 1.0), 0.0)
        solution += step * direction
        residual -= step * product
        previous, squared = squared, np.sum(residual**2, axis=0)
        direction = residual + squared / np.where(previous > 0, previous, 1.0) * direction
    return solution
