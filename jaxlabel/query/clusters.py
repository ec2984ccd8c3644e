"""One point from each of many clusters: the most central one, or the most typical one."""

import heapq
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel import cluster

MOST_MEDOIDS = 1000  # clusters; beyond, a cluster gives more than one
MOST_TYPICAL = 500  # TypiClust's own limit (section 3.2)
TYPICAL_NEIGHBOURS = 20
SMALL = 5  # clusters below this size come last
DENSE_ROWS = 16_384  # above it, neighbours within a cluster are found on the device


def medoids(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Indices of the points nearest to the centroids of clusters in which nothing was asked.

    k-means with as many clusters as labels there will be; the largest cluster's medoid first.
    """
    num_clusters = min(len(features), len(asked) + count, MOST_MEDOIDS)
    found = cluster.kmeans(key, features, num_clusters, num_iterations=30)
    away = np.asarray(cluster.distances(features, found.centroids, found.assignments))
    return _from_clusters(np.asarray(found.assignments), count, asked, lambda own: away[own], 1)


def typiclust(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Indices of the most typical points of the largest clusters with the fewest asked.

    TypiClust (Hacohen et al. 2022, algorithm 1): a point's typicality is the inverse of its mean
    distance to its 20 nearest neighbours in the cluster (eq. 4). At most 500 clusters; those of
    fewer than 5 points come last.
    """
    num_clusters = min(len(features), len(asked) + count, MOST_TYPICAL)
    found = cluster.kmeans(key, features, num_clusters, num_iterations=30)
    points = np.asarray(features)
    assignments = np.asarray(found.assignments)
    return _from_clusters(
        assignments, count, asked, lambda own: neighbour_distance(points[own]), SMALL
    )


def neighbour_distance(
    points: Float[np.ndarray, "m d"], num_neighbours: int = TYPICAL_NEIGHBOURS
) -> Float[np.ndarray, "m"]:
    """Each point's mean distance to its nearest others; 0 for a point that is alone."""
    k = min(num_neighbours, len(points) - 1)
    if k < 1:
        return np.zeros(len(points), np.float32)
    if len(points) > DENSE_ROWS:
        return np.asarray(jnp.mean(cluster.knn(jnp.asarray(points), None, k)[1], axis=1))
    points = points - points.mean(axis=0)
    norms = np.sum(np.square(points), axis=1)
    means = []
    for start in range(0, len(points), 1024):
        rows = slice(start, start + 1024)
        squared = norms[rows, None] + norms - 2 * points[rows] @ points.T
        np.fill_diagonal(squared[:, start:], np.inf)
        nearest = np.partition(squared, k - 1, axis=1)[:, :k]
        means.append(np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1))
    return np.concatenate(means)


def _from_clusters(
    assignments: Int[np.ndarray, "n"],
    count: int,
    asked: Int[np.ndarray, "m"],
    cost: Callable[[Int[np.ndarray, "own"]], Float[np.ndarray, "own"]],
    small: int,
) -> Int[np.ndarray, "count"]:
    """The cheapest points of the clusters, again and again of one that has the fewest labels."""
    order = np.argsort(assignments, kind="stable")
    sizes = np.bincount(assignments)
    members = np.split(order, np.cumsum(sizes)[:-1])
    known = np.isin(np.arange(len(assignments)), asked)
    labels = np.bincount(assignments[asked], minlength=len(sizes))
    queue = [(size < small, int(labels[j]), -int(size), j) for j, size in enumerate(sizes)]
    heapq.heapify(queue)
    left: dict[int, list[int]] = {}
    chosen: list[int] = []
    while queue and len(chosen) < count:
        tiny, num_labels, size, j = heapq.heappop(queue)
        if j not in left:
            own = members[j][np.argsort(cost(members[j]), kind="stable")] if size else members[j]
            left[j] = own[~known[own]].tolist()[::-1]
        if left[j]:
            chosen.append(left[j].pop())
            heapq.heappush(queue, (tiny, num_labels + 1, size, j))
    return np.array(chosen, np.int64)
