"""Query strategies that choose one point of each cluster: the most central or most typical."""

import heapq
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel import cluster
from jaxlabel.query.seeding import draw_candidates

MAX_MEDOID_CLUSTERS = 1000  # for more labels, a cluster gives more than one point
MAX_TYPICLUST_CLUSTERS = 500  # the paper's limit (TypiClust, section 3.2)
TYPICAL_NEIGHBOURS = 20
MOST_TYPICLUST_POINTS = 100_000  # of more points, TypiClust looks at a random sample
SMALL = 5  # TypiClust queries clusters of fewer points last
DENSE_ROWS = 16_384  # the device finds the neighbours within larger clusters


def medoids(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Return the indices of `count` points to label: medoids of clusters with the fewest labels.

    The points are clustered by k-means into as many clusters as there will be labelled points, but
    at most 1000. The medoid of a cluster is its point nearest to the centroid; once it is labelled,
    the next nearest point is used. Among clusters with equally few labels, the largest comes first.
    """
    num_clusters = min(len(features), len(asked) + count, MAX_MEDOID_CLUSTERS)
    clustering = cluster.kmeans(key, features, num_clusters, num_iterations=30)
    assignments = np.asarray(clustering.assignments)
    distances = np.asarray(
        cluster.distances(features, clustering.centroids, clustering.assignments)
    )
    return _choose_from_clusters(assignments, count, asked, lambda members: distances[members], 1)


def typiclust(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Return the indices of `count` points to label: typical points of clusters (TypiClust).

    Hacohen et al. 2022, algorithm 1. The most typical unlabelled point of a cluster is chosen
    first. A point's typicality is the inverse of its mean distance to its 20 nearest neighbours in
    its cluster (eq. 4). There are as many k-means clusters as there will be labelled points, but at
    most 500. Points come from the clusters with the fewest labels, and among these from the
    largest; clusters of fewer than 5 points are used last. If there are more than 100,000
    unlabelled points, only the labelled ones and a random sample of 100,000, or of 10 times `count`
    if that is more, are clustered: the typicality of all points would take a time that grows with
    the square of their number.
    """
    unlabelled = draw_candidates(key, len(features), count, asked, MOST_TYPICLUST_POINTS)
    rows = np.union1d(asked, unlabelled).astype(np.int64)
    points, asked = np.asarray(features)[rows], np.searchsorted(rows, asked)
    num_clusters = min(len(points), len(asked) + count, MAX_TYPICLUST_CLUSTERS)
    clustering = cluster.kmeans(key, jnp.asarray(points), num_clusters, num_iterations=30)
    assignments = np.asarray(clustering.assignments)
    chosen = _choose_from_clusters(
        assignments, count, asked, lambda members: mean_neighbour_distance(points[members]), SMALL
    )
    return rows[chosen]


def mean_neighbour_distance(points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m"]:
    """Return each point's mean distance to its nearest neighbours, or 0 for a single point.

    The number of neighbours is `TYPICAL_NEIGHBOURS`; if there are fewer other points, all of them
    are used.

    Args:
      points: one point per row.
    """
    k = min(TYPICAL_NEIGHBOURS, len(points) - 1)
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


def _choose_from_clusters(
    assignments: Int[np.ndarray, "n"],
    count: int,
    asked: Int[np.ndarray, "m"],
    cost: Callable[[Int[np.ndarray, "own"]], Float[np.ndarray, "own"]],
    small: int,
) -> Int[np.ndarray, "count"]:
    """Choose `count` points to label, one at a time, each from a cluster with the fewest labels.

    A point that was chosen counts as a labelled point of its cluster for the following choices.
    Among clusters with equally few labels the largest is used. In a cluster, the unlabelled point
    of lowest cost is chosen.

    Args:
      assignments: the cluster of each point.
      asked: the indices of the labelled points.
      cost: a function that takes the indices of a cluster's points and returns their costs.
      small: clusters of fewer points than this are used only after all others.

    Returns:
      The indices of the chosen points, in the order in which they were chosen.
    """
    order = np.argsort(assignments, kind="stable")
    sizes = np.bincount(assignments)
    members = np.split(order, np.cumsum(sizes)[:-1])
    labelled = np.isin(np.arange(len(assignments)), asked)
    labels = np.bincount(assignments[asked], minlength=len(sizes))
    queue = [(size < small, int(labels[j]), -int(size), j) for j, size in enumerate(sizes)]
    heapq.heapify(queue)
    left: dict[int, list[int]] = {}
    chosen: list[int] = []
    while queue and len(chosen) < count:
        tiny, num_labels, size, j = heapq.heappop(queue)
        if j not in left:
            ranked = members[j]
            if size:
                ranked = ranked[np.argsort(cost(ranked), kind="stable")]
            left[j] = ranked[~labelled[ranked]].tolist()[::-1]
        if left[j]:
            chosen.append(left[j].pop())
            heapq.heappush(queue, (tiny, num_labels + 1, size, j))
    return np.array(chosen, np.int64)
