"""Naming of clusters: label each cluster's medoid, then with more budget split the widest clusters.

A part is a group of images that one labelled image represents. Parts start as the clusters.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxlabel import cluster, query
from jaxlabel.oracle import Oracle


class Named(NamedTuple):
    """The labelled images in order of purchase, and the part that each image belongs to.

    Attributes:
      indices: the labelled images.
      labels: their labels.
      parts: for each image, the position in `indices` of the labelled image that represents it.
    """

    indices: Int[np.ndarray, "q"]
    labels: Int[np.ndarray, "q"]
    parts: Int[np.ndarray, "n"]


def ask_clusters(
    oracle: Oracle,
    points: Float[np.ndarray, "n d"],
    clusters: Int[np.ndarray, "n"],
) -> Named:
    """Buy the labels of the clusters' medoids, then of the medoids of halves of the widest parts.

    The first round labels the medoid of each cluster, the largest cluster first. Each further round
    splits the parts with the largest inertia in two, at most as many as there are parts, and labels
    the medoid of each half without a labelled image. The halves come from 2-means that starts from
    the labelled image and the point farthest from it. So every label stays in use, and the number
    of labels at most doubles in a round (S0, this project's first method).

    Args:
      points: the space in which clusters are compact.
      clusters: the cluster of each image.

    Raises:
      BudgetExceeded: the budget does not buy a single label.
    """
    parts, centres = _medoids(points, clusters)
    named = Named(np.zeros(0, int), np.zeros(0, int), parts)
    wanted, number = centres, 0
    while len(wanted):
        before = query.Labelled(named.indices, named.labels)
        named = _assign_representatives(query.buy(oracle, before, wanted, number), wanted, parts)
        if len(named.indices) < len(before.indices) + len(wanted) or oracle.remaining <= 0:
            break
        number += 1
        wanted, parts = _split(
            points, named, max(1, query.num_affordable(oracle, len(points), named.indices))
        )
        named = named._replace(parts=parts)
    return _fill_unlabelled_parts(points, named)


def label_new_clusters(
    oracle: Oracle, points: Float[np.ndarray, "n d"], count: int, key: Key[Array, ""]
) -> Named:
    """Cluster the points anew into `count` clusters by k-means, and buy the medoids' labels.

    Labels are bought within the budget. New, finer clusters fit the points better than halves of
    halves of coarse clusters.

    Raises:
      BudgetExceeded: the budget does not buy a single label.
    """
    clustering = cluster.kmeans(key, jnp.asarray(points), count, num_init=3)
    parts, centres = _medoids(points, np.asarray(clustering.assignments))
    labelled = query.buy(oracle, query.NO_LABELS, centres, 0)
    return _fill_unlabelled_parts(points, _assign_representatives(labelled, centres, parts))


def label_all_by_graph(
    named: Named, space: cluster.GraphSpace, method: str
) -> Int[np.ndarray, "n"]:
    """Return a label for every image: its part's, or one propagated over the neighbour graph.

    Args:
      named: the labelled images and the parts.
      space: the spectral space of the neighbour graph.
      method: "diffusion" to propagate the labels over the graph; otherwise the part's label.
    """
    labels = named.labels[named.parts]
    if method == "diffusion" and len(np.unique(named.labels)) > 1:
        labels = cluster.diffuse_labels(space, named.indices, named.labels)
    labels[named.indices] = named.labels
    return labels


def _assign_representatives(
    labelled: query.Labelled, wanted: Int[np.ndarray, "w"], parts: Int[np.ndarray, "n"]
) -> Named:
    """Renumber the parts by the labelled images that represent them; -1 if a part has none.

    Args:
      labelled: the labelled set: earlier representatives, then those of `wanted` that were bought.
      wanted: the images that should represent the new parts.
      parts: for each image, a position among the earlier representatives followed by `wanted`.
    """
    bought = np.isin(wanted, labelled.indices)
    before = len(labelled.indices) - int(bought.sum())
    places = np.where(bought, before + np.cumsum(bought) - 1, -1)
    return Named(labelled.indices, labelled.labels, np.append(np.arange(before), places)[parts])


def _fill_unlabelled_parts(points: Float[np.ndarray, "n d"], named: Named) -> Named:
    """Move each point of a part without a labelled image to the nearest labelled image's part."""
    nearest = _nearest_row(points, points[named.indices])
    return named._replace(parts=np.where(named.parts >= 0, named.parts, nearest))


def _medoids(
    points: Float[np.ndarray, "n d"], clusters: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "k"]]:
    """Return the clusters renumbered by descending size, and the medoid of each."""
    _, numbers, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), int)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    parts = rank[numbers]
    sums = np.zeros((len(sizes), points.shape[1]))
    np.add.at(sums, parts, points)
    means = (sums / np.sort(sizes)[::-1][:, None]).astype(np.float32)
    return parts, np.asarray(
        cluster.medoids(jnp.asarray(points), jnp.asarray(means), jnp.asarray(parts))
    )


def _split(
    points: Float[np.ndarray, "n d"], named: Named, max_splits: int
) -> tuple[Int[np.ndarray, "q"], Int[np.ndarray, "n"]]:
    """Split the widest parts in two; return the medoids of the new halves and the parts afterwards.

    A part's width is its inertia; at most `max_splits` parts are split.
    """
    count = len(named.indices)
    total = np.zeros(count)
    for part in range(count):
        members = points[named.parts == part]
        total[part] = len(members) * members.var(axis=0).sum()
    order = np.argsort(-total, kind="stable")[: min(max_splits, count)]
    parts, representatives = named.parts.copy(), list[int]()
    for part in order:
        members = np.flatnonzero(named.parts == part)
        other = _other_half(points[members], points[named.indices[part]])
        if not other.any():
            continue
        half = members[other]
        distances = np.sum((points[half] - points[half].mean(axis=0)) ** 2, axis=1)
        parts[half] = count + len(representatives)
        representatives.append(int(half[np.argmin(distances)]))
    return np.array(representatives, int), parts


def _other_half(
    points: Float[np.ndarray, "m d"], labelled: Float[np.ndarray, "d"], num_iterations: int = 20
) -> Bool[np.ndarray, "m"]:
    """Split the points by 2-means; return True for points outside the labelled point's half."""
    away = np.sum((points - labelled) ** 2, axis=1)
    centres = np.stack([labelled, points[np.argmax(away)]])
    if away.max() <= 0:
        return np.zeros(len(points), bool)
    for _ in range(num_iterations):
        other = _nearest_row(points, centres) == 1
        if not 0 < other.sum() < len(points):
            break
        centres = np.stack([points[~other].mean(axis=0), points[other].mean(axis=0)])
    return _nearest_row(points, centres) != _nearest_row(labelled[None], centres)[0]


def _nearest_row(
    points: Float[np.ndarray, "n d"], rows: Float[np.ndarray, "q d"]
) -> Int[np.ndarray, "n"]:
    return np.argmin(np.sum(rows**2, axis=1) - 2 * points @ rows.T, axis=1)
