"""Naming of clusters: label each cluster's medoid, then with more budget split the widest clusters.

A part is a group of images that are represented by one labelled image. At first, the parts are the
clusters.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxlabel import cluster, query
from jaxlabel.oracle import Oracle


class Named(NamedTuple):
    """The labelled images, and for each image the labelled image that represents it.

    A part is a group of images that one labelled image represents.

    Attributes:
      indices: the indices of the labelled images, in order of purchase.
      labels: the labels of the labelled images.
      parts: for each image, the number of its part: the position in `indices` of the labelled image
        that represents it.
    """

    indices: Int[np.ndarray, "q"]
    labels: Int[np.ndarray, "q"]
    parts: Int[np.ndarray, "n"]


def ask_clusters(
    oracle: Oracle,
    points: Float[np.ndarray, "n d"],
    clusters: Int[np.ndarray, "n"],
) -> Named:
    """Buy labels for the medoid of each cluster, then for medoids of ever smaller parts.

    A part is a group of images that one labelled image represents; at first the parts are the
    clusters. The first round labels the medoid of each cluster, the largest cluster first. Each
    further round splits the parts with the largest inertia in two: one half keeps the labelled
    image, and the medoid of the other half is labelled. Rounds go on until the budget is used up.
    The halves come from 2-means, which starts from the labelled image and the point farthest from
    it. So every label stays in use, and a round at most doubles the number of labels. (This was the
    project's first method.)

    Args:
      oracle: the labeller, from which labels are bought.
      points: one vector per image, in a space in which clusters are compact.
      clusters: the cluster of each image.

    Returns:
      The labelled images and the part of each image.

    Raises:
      BudgetExceeded: the budget does not buy a single label.
    """
    parts, centres = _rank_clusters_and_find_medoids(points, clusters)
    named = Named(np.zeros(0, int), np.zeros(0, int), parts)
    wanted, number = centres, 0
    while len(wanted):
        before = query.Labelled(named.indices, named.labels)
        named = _assign_representatives(query.buy(oracle, before, wanted, number), wanted, parts)
        if len(named.indices) < len(before.indices) + len(wanted) or oracle.remaining <= 0:
            break
        number += 1
        wanted, parts = _split_widest_parts(
            points, named, max(1, query.num_affordable(oracle, len(points), named.indices))
        )
        named = named._replace(parts=parts)
    return _fill_unlabelled_parts(points, named)


def label_new_clusters(
    oracle: Oracle, points: Float[np.ndarray, "n d"], count: int, key: Key[Array, ""]
) -> Named:
    """Cluster the images by k-means, and buy a label for the medoid of each cluster.

    Labels are bought as far as the budget allows, that of the largest cluster first. Images of a
    cluster without a label are represented by the nearest labelled image. With many labels, such
    fine clusters fit the points better than repeated halving of coarse ones (`ask_clusters`).

    Args:
      oracle: the labeller, from which labels are bought.
      points: one vector per image.
      count: the number of clusters.

    Returns:
      The labelled images, and for each image the labelled image that represents it.

    Raises:
      BudgetExceeded: the budget does not buy a single label.
    """
    clustering = cluster.kmeans(key, jnp.asarray(points), count, num_init=3)
    parts, centres = _rank_clusters_and_find_medoids(points, np.asarray(clustering.assignments))
    labelled = query.buy(oracle, query.NO_LABELS, centres, 0)
    return _fill_unlabelled_parts(points, _assign_representatives(labelled, centres, parts))


def label_all_by_graph(
    named: Named, space: cluster.GraphSpace, method: str
) -> Int[np.ndarray, "n"]:
    """Return a label for every image, derived from the labelled images.

    Args:
      named: the labelled images, and which of them represents each image.
      space: the spectral embedding of the images' nearest-neighbour graph.
      method: "diffusion" to propagate the labels over the graph (if there are at least two
        classes). Otherwise each image gets the label of the labelled image that represents it.
    """
    labels = named.labels[named.parts]
    if method == "diffusion" and len(np.unique(named.labels)) > 1:
        labels = cluster.diffuse_labels(space, named.indices, named.labels)
    labels[named.indices] = named.labels
    return labels


def _assign_representatives(
    labelled: query.Labelled, wanted: Int[np.ndarray, "w"], parts: Int[np.ndarray, "n"]
) -> Named:
    """Return, for each image, the labelled image that represents it, after a purchase of labels.

    The images of a part (a group of images with a common representative) get -1 if the label of the
    part's intended representative was not bought.

    Args:
      labelled: the labelled set: the representatives of earlier parts, followed by those images of
        `wanted` whose labels were bought.
      wanted: the images that were to represent the new parts.
      parts: the number of each image's part. The earlier parts come first in the order of
        `labelled`, then the new parts in the order of `wanted`.
    """
    bought = np.isin(wanted, labelled.indices)
    before = len(labelled.indices) - int(bought.sum())
    places = np.where(bought, before + np.cumsum(bought) - 1, -1)
    return Named(labelled.indices, labelled.labels, np.append(np.arange(before), places)[parts])


def _fill_unlabelled_parts(points: Float[np.ndarray, "n d"], named: Named) -> Named:
    """Assign each image that no labelled image represents to the nearest labelled image.

    Args:
      points: one vector per image.
      named: the labelled images, with -1 in `parts` for images that none represents.
    """
    nearest = _nearest_row(points, points[named.indices])
    return named._replace(parts=np.where(named.parts >= 0, named.parts, nearest))


def _rank_clusters_and_find_medoids(
    points: Float[np.ndarray, "n d"], clusters: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "k"]]:
    """Renumber clusters by descending size, and find the medoid of each.

    Args:
      points: one vector per image.
      clusters: the cluster of each image.

    Returns:
      The new number of each image's cluster, and the index of the medoid of each cluster.
    """
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


def _split_widest_parts(
    points: Float[np.ndarray, "n d"], named: Named, max_splits: int
) -> tuple[Int[np.ndarray, "q"], Int[np.ndarray, "n"]]:
    """Split the parts with the largest inertia into two halves each.

    A part is a group of images that one labelled image represents. One half keeps the labelled
    image, and the other half becomes a new part.

    Args:
      points: one vector per image.
      named: the labelled images and the part of each image.
      max_splits: the largest number of parts to split.

    Returns:
      The indices of the medoids of the new parts, and the part number of every image after the
      splits.
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
        other = _outside_labelled_half(points[members], points[named.indices[part]])
        if not other.any():
            continue
        half = members[other]
        distances = np.sum((points[half] - points[half].mean(axis=0)) ** 2, axis=1)
        parts[half] = count + len(representatives)
        representatives.append(int(half[np.argmin(distances)]))
    return np.array(representatives, int), parts


def _outside_labelled_half(
    points: Float[np.ndarray, "m d"], labelled: Float[np.ndarray, "d"], num_iterations: int = 20
) -> Bool[np.ndarray, "m"]:
    """Split points in two by 2-means; return a mask of the half without the labelled point.

    The mask is all False if all points are equal.

    Args:
      points: one point per row.
      labelled: the coordinates of the labelled point.
      num_iterations: the largest number of updates of the two centroids.
    """
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
