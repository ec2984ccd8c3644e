"""A weighted graph of nearest neighbours, its spectrum, and labels spread over it.

Sparse products of this size are quicker in SciPy than as gathers on the device, and an Arnoldi
solver worth its name is there too; so the graph lives on the host.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from jaxlabel.errors import UsageError


class Graph(NamedTuple):
    """An undirected graph: `weights[i, j]` is how alike i and j are, in (0, 1], or absent."""

    weights: sparse.csr_array  # (n, n), symmetric, float32, nothing on the diagonal
    degrees: Float[np.ndarray, "n"]


class Spectrum(NamedTuple):
    """The top eigenvectors of D^-1/2 W D^-1/2, the largest eigenvalue first."""

    vectors: Float[np.ndarray, "n num_components"]  # of unit length
    values: Float[np.ndarray, "num_components"]  # 1 once per connected component, then below


def knn_graph(
    indices: Int[np.ndarray, "n k"],
    distances: Float[np.ndarray, "n k"],
    *,
    scale_neighbour: int = 7,
) -> Graph:
    """The graph that joins two points if either is among the other's k nearest (as from `knn`).

    The weight is exp(-d_ij^2 / (s_i s_j)), s_i being the distance to the 7th neighbour, or to the
    last where there are fewer (Zelnik-Manor & Perona 2004, eq. 1).
    """
    indices, distances = np.asarray(indices), np.asarray(distances, np.float64)
    num_points, k = indices.shape
    scales = np.maximum(distances[:, min(scale_neighbour, k) - 1], np.finfo(np.float32).tiny)
    exponents = np.square(distances) / (scales[:, None] * scales[indices])
    # far pairs keep a weight that float32 can hold, so that no point loses all its neighbours
    weights = np.exp(-np.minimum(exponents, 60.0)).astype(np.float32)
    rows = np.repeat(np.arange(num_points, dtype=np.int32), k)
    columns = indices.astype(np.int32).ravel()  # 32-bit indices halve what a product reads
    shape = (num_points, num_points)
    directed = sparse.coo_array((weights.ravel(), (rows, columns)), shape=shape).tocsr()
    symmetric = directed.maximum(directed.T).tocsr()
    return Graph(symmetric, np.asarray(symmetric.sum(axis=1)).ravel())


def normalised(graph: Graph) -> sparse.csr_array:
    """D^-1/2 W D^-1/2; rows of points without neighbours are zero."""
    roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1.0)).astype(np.float32)
    scaled = graph.weights.tocoo()
    data = scaled.data / (roots[scaled.row] * roots[scaled.col])
    return sparse.coo_array((data, (scaled.row, scaled.col)), shape=scaled.shape).tocsr()


def spectral_embedding(graph: Graph, num_components: int, *, tolerance: float = 1e-3) -> Spectrum:
    """The eigenvectors on which clusters come apart (Ng, Jordan & Weiss 2002, step 3).

    Nothing is random; the entry of each vector that is largest in magnitude is positive. Ng,
    Jordan & Weiss scale the rows to unit length before k-means; diffusion maps (Coifman & Lafon
    2006) leave out the first vector, divide rows by sqrt(degree) and multiply by the eigenvalues.

    Raises:
      UsageError: not fewer components than points.
    """
    from scipy.sparse.linalg import eigsh

    num_points = len(graph.degrees)
    if not 1 <= num_components < num_points:
        raise UsageError(
            f"{num_components} components of {num_points} points: ask for 1 to {num_points - 1}"
        )
    # a start without symmetry: one in an eigenvector's span would end the iteration early
    start = np.random.default_rng(0).standard_normal(num_points).astype(np.float32)
    # a larger basis than ARPACK's 2k + 1 took half the time, 60,000 x 15 neighbours, k = 10
    basis = min(num_points, max(20, 5 * num_components))
    values, vectors = eigsh(
        normalised(graph), num_components, which="LA", tol=tolerance, v0=start, ncv=basis
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
    """Class scores by label spreading: (1 - alpha) (I - alpha S)^-1 Y (Zhou et al. 2004, sec. 2).

    Args:
      labels: a class, or -1 where it is unknown.
      num_iterations: the most steps of conjugate gradients, which needs a tenth of the steps of
        the paper's own iteration.

    Returns:
      Scores, the label being their argmax; all zero where no label can be reached.
    """
    known = _one_hot(labels, num_classes)
    return (1 - alpha) * _solve(normalised(graph), known, alpha, num_iterations)


def poisson_learning(
    graph: Graph,
    labels: Int[np.ndarray, "n"],
    num_classes: int,
    *,
    class_priors: Float[np.ndarray, "classes"] | None = None,
    num_iterations: int = 100,
) -> Float[np.ndarray, "n classes"]:
    """Class scores u towards L u = sum_j (y_j - mean y) delta_j (Calder et al. 2020, algorithm 1).

    It stays sensible with one label a class, where label spreading's scores go flat. With
    `class_priors`, columns are scaled by them over the labelled shares (the paper's last step).
    More steps are not better: on Fashion-MNIST 100 gave more than 200 or the exact solution.
    """
    known = _one_hot(labels, num_classes)
    labelled = np.asarray(labels) >= 0
    shares = known[labelled].mean(axis=0)
    inverse = 1 / np.where(graph.degrees > 0, graph.degrees, 1.0).astype(np.float32)
    source = np.where(labelled[:, None], known - shares, 0.0).astype(np.float32) * inverse[:, None]
    scores = np.zeros_like(known)
    for _ in range(num_iterations):
        scores = inverse[:, None] * (graph.weights @ scores) + source
    if class_priors is None:
        return scores
    return scores * np.where(shares > 0, class_priors / np.where(shares > 0, shares, 1.0), 0.0)


def _one_hot(labels: Int[np.ndarray, "n"], num_classes: int) -> Float[np.ndarray, "n classes"]:
    labels = np.asarray(labels)
    if not (labels >= 0).any():
        raise UsageError("no point has a label: at least one must, to be spread")
    if labels.max() >= num_classes:
        raise UsageError(f"label {labels.max()} among {num_classes} classes: the last is one less")
    return (labels[:, None] == np.arange(num_classes)).astype(np.float32)


def _solve(
    matrix: sparse.csr_array,
    rhs: Float[np.ndarray, "n classes"],
    alpha: float,
    num_iterations: int,
    tolerance: float = 1e-5,
) -> Float[np.ndarray, "n classes"]:
    """(I - alpha matrix)^-1 rhs by conjugate gradients (Hestenes & Stiefel 1952), by column."""
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
