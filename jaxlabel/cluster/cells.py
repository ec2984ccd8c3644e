"""Approximate nearest neighbours among many points: each point is compared with nearby cells only.

The points are divided into small cells by k-means (an inverted file, as in Jégou, Douze & Schmid
2011, section 4, with exact distances). Each point is compared with the points of the cells nearest
to its own. The number of these cells is not a setting: it is measured on a sample of points whose
neighbours are computed exactly, and the share of neighbours found is measured on another sample.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key

from jaxlabel.cluster.graph import Graph, knn_graph
from jaxlabel.cluster.lloyd import kmeans
from jaxlabel.cluster.nearest import divide_into_lanes, smallest_scores
from jaxlabel.cluster.neighbours import knn, rank_candidates
from jaxlabel.log import Log

EXACT_UP_TO = 100_000  # points, up to which neighbours are exact
SAMPLE = 1_000  # points with exact neighbours that choose the number of cells; as many measure it
AIM = 0.97  # recall for which cells are searched; 0.95 is promised
POINTS_PER_CENTROID = 32  # number of points from which k-means computes each centroid
ITERATIONS = 5


class Neighbours(NamedTuple):
    """The nearest neighbours of every point.

    Attributes:
      indices: the indices of each point's neighbours, nearest first.
      distances: the Euclidean distances to these neighbours.
      recall: the share of the true neighbours that were found, measured on 1,000 points; 1 if the
        search was exact.
      first: the first copy of each image, among which the neighbours were searched; None if all
        images are distinct.
    """

    indices: Int[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]
    recall: float | Float[np.ndarray, ""]
    first: Int[np.ndarray, "n"] | None = None

    def graph(self) -> Graph:
        """Return the weighted graph that joins each point to its neighbours (`knn_graph`)."""
        return knn_graph(self.indices, self.distances, self.first)


class Cells(NamedTuple):
    """Points divided into cells of at most a fixed number of points that are near each other.

    Attributes:
      members: the indices of the points of each cell; -1 fills up cells with fewer points.
      centres: the mean of the points of each cell.
    """

    members: Int[np.ndarray, "cells size"]
    centres: Float[np.ndarray, "cells d"]

    def slots(self) -> Int[np.ndarray, "n"]:
        """Return the position of each point in the flattened array `members`."""
        flat = self.members.reshape(-1)
        used = np.flatnonzero(flat >= 0)
        positions = np.empty(len(used), np.int64)
        positions[flat[used]] = used
        return positions


def report_recall(recall: float | Float[np.ndarray, ""], log: Log) -> None:
    """Print how many of the true neighbours an approximate search found; nothing if it was exact.

    Args:
      recall: the share that was found, `Neighbours.recall`.
    """
    if recall < 1:
        log.say(f"neighbours found: {recall:.1%} (with more than {EXACT_UP_TO:,} images the search "
                "is approximate; measured on 1,000 of them)")  # fmt: skip


def nearest_neighbours(
    features: Float[np.ndarray | Array, "n d"],
    k: int,
    *,
    first: Int[np.ndarray, "n"] | None = None,
    seed: int = 0,
    exact_up_to: int = EXACT_UP_TO,
) -> Neighbours:
    """Find the k nearest neighbours of every point among the other points.

    Up to `exact_up_to` points the search is exact, as by `knn`, and its time grows with the square
    of their number. Of more points it finds about 97% of the neighbours, in a time that grows about
    with the power 1.5. If the cells do not help, as with noise of many dimensions, it is exact.

    Args:
      features: the points, one per row.
      k: the number of neighbours of each point. If there are fewer points, all are returned.
      first: the first copy of each image, from `first_copies`; None if all images are distinct.
        Then only first copies are neighbours, and all copies of an image have the neighbours of the
        first one.
      seed: the seed of the random division into cells. Runs of all seeds use the same one, because
        they share the neighbours in the cache.
      exact_up_to: the largest number of points for which the search is exact.
    """
    if first is not None:
        rows, point_of = np.unique(first, return_inverse=True)
        among = nearest_neighbours(features[rows], k, seed=seed, exact_up_to=exact_up_to)
        return Neighbours(
            rows[among.indices[point_of]], among.distances[point_of], among.recall, first
        )
    points = jnp.asarray(features, jnp.float32)
    if len(points) > exact_up_to:
        found = _by_cells(jax.random.key(seed), points, k)
        if found is not None:
            return found
    indices, distances = knn(points, None, k)
    return Neighbours(np.asarray(indices), np.asarray(distances), 1.0)


def _by_cells(key: Key[Array, ""], points: Float[Array, "n d"], k: int) -> Neighbours | None:
    """Find neighbours in the nearest cells; return None if an exact search costs little more."""
    cell_key, sample_key = jax.random.split(key)
    cells = divide_into_cells(cell_key, points)
    sample = np.asarray(jax.random.choice(sample_key, len(points), (2 * SAMPLE,), replace=False))
    true_indices, true_distances = map(np.asarray, knn(points, points[sample], k + 1))
    num_searched = max(k + 1, _num_cells_to_search(cells, sample[:SAMPLE], true_indices[:SAMPLE]))
    if num_searched > len(cells.centres) // 3:
        return None
    nearest = knn(jnp.asarray(cells.centres), jnp.asarray(cells.centres), num_searched)[0]
    found, found_distances = _search(points, jnp.asarray(cells.members), nearest, k)
    slots = cells.slots()
    indices, distances = (np.asarray(a).reshape(-1, k)[slots] for a in (found, found_distances))
    # The recall is measured on other points than those that chose the number of cells. The point
    # itself is among the k + 1 neighbours. Equally far points count as found.
    hits = distances[sample[SAMPLE:]] <= true_distances[SAMPLE:, -1:] * (1 + 1e-5)
    return Neighbours(indices, distances, float(hits.mean()))


def divide_into_cells(key: Key[Array, ""], points: Float[Array, "n d"]) -> Cells:
    """Divide points into cells of at most sqrt(n) / 4 points, by k-means on a random sample.

    A cluster of more points becomes several cells.
    """
    size = max(1, round(len(points) ** 0.5 / 4))
    num_clusters = max(1, len(points) // size)
    rows = jax.random.permutation(key, len(points))[: POINTS_PER_CENTROID * num_clusters]
    start = points[rows[:num_clusters]]
    centroids = kmeans(
        key, points[rows], num_clusters, init=start, num_iterations=ITERATIONS
    ).centroids
    owners = np.asarray(knn(centroids, points, 1)[0])[:, 0]
    order = np.argsort(owners, kind="stable")
    counts = np.bincount(owners, minlength=num_clusters)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    cell = np.cumsum(rank % size == 0) - 1
    members = np.full((cell[-1] + 1, size), -1, np.int32)
    members[cell, rank % size] = order
    # On the host: a GPU adds in an order that differs from run to run.
    sums = np.add.reduceat(np.asarray(points)[order], np.flatnonzero(rank % size == 0))
    return Cells(members, sums / np.bincount(cell)[:, None])


def _num_cells_to_search(
    cells: Cells, sample: Int[np.ndarray, "m"], neighbours: Int[np.ndarray, "m k"]
) -> int:
    """Return how many of the nearest cells contain the share AIM of the neighbours of a sample."""
    cell_of = cells.slots() // cells.members.shape[1]
    norms = np.sum(np.square(cells.centres), axis=1)
    squared = norms - 2 * cells.centres[cell_of[sample]] @ cells.centres.T
    distances = np.take_along_axis(squared, cell_of[neighbours], axis=1)[:, 1:]
    ranks = np.array(
        [np.searchsorted(np.sort(a), b) for a, b in zip(squared, distances, strict=True)]
    )
    return int(np.quantile(ranks, AIM, method="higher")) + 1


@partial(jax.jit, static_argnames="k")
def _search(
    points: Float[Array, "n d"],
    members: Int[Array, "cells size"],
    nearest: Int[Array, "cells searched"],
    k: int,
) -> tuple[Int[Array, "cells size k"], Float[Array, "cells size k"]]:
    """Return the neighbours of the points of each cell among the points of its nearest cells.

    Each cell contains a point, so k + 1 nearest cells are enough for k neighbours.
    """
    points = points - jnp.mean(points, axis=0)  # centred: products lose fewer digits

    def search(cell: tuple[Array, Array]) -> tuple[Array, Array]:
        own, others = cell
        candidates = members[others].reshape(-1)
        among = points[candidates]
        columns = divide_into_lanes(among, k + 1)
        filled = jnp.pad(candidates >= 0, (0, columns.offsets.size - len(candidates)))
        offsets = jnp.where(filled.reshape(columns.offsets.shape), columns.offsets, jnp.inf)
        _, chosen = smallest_scores(columns._replace(offsets=offsets), points[own], k + 1)
        found, distances = rank_candidates(points, points[own], candidates[chosen], own, k)
        return found, distances

    return lax.map(search, (members, nearest))
