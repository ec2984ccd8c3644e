"""The labels that medoid doubling (medoids.py) gives to clusters and to unlabelled images."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.query import Labelled


class Round(NamedTuple):
    """The result of one round: a clustering of the images, and labels for clusters and images.

    Attributes:
      labelled: the labels bought so far, including those of this round.
      medoids: for each cluster, the index of the image nearest to the centroid; empty clusters are
        left out here and in the next two attributes.
      sizes: the number of images in each cluster.
      cluster_labels: the label given to each cluster.
      labels: the label given to each image.
      rank: the rank of each image by distance from the centroid, among the images of its cluster.
        The nearest image has rank 0 and the farthest has rank 1.
      new: the indices of the images whose labels were bought in this round.
      weights: for each image in `new`, the number of images in its cluster.
      complete: False if the budget did not suffice for all the labels that the round needed.
    """

    labelled: Labelled
    medoids: Int[np.ndarray, "k"]
    sizes: Int[np.ndarray, "k"]
    cluster_labels: Int[np.ndarray, "k"]
    labels: Int[np.ndarray, "n"]
    rank: Float[np.ndarray, "n"]
    new: Int[np.ndarray, "q"]
    weights: Float[np.ndarray, "q"]
    complete: bool


def rank_in_cluster(
    distances: Float[np.ndarray, "n"],
    assignments: Int[np.ndarray, "n"],
    sizes: Int[np.ndarray, "k"],
) -> Float[np.ndarray, "n"]:
    """Return the rank of each image by distance from the centroid, among its cluster's images.

    The nearest image of a cluster has rank 0 and the farthest has rank 1.

    Args:
      distances: the distance of each image from the centroid of its cluster.
      assignments: the cluster of each image.
      sizes: the number of images in each cluster.
    """
    order = np.lexsort((distances, assignments))
    clusters = assignments[order]
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(distances))
    rank[order] = (np.arange(len(distances)) - starts[clusters]) / np.maximum(
        sizes[clusters] - 1, 1
    )
    return rank


def spread_labels(
    config: Any, graph: cluster.GraphSpace, labelled: Labelled, by_cluster: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "n"]:
    """Give every image a label, by the method that the setting `spread` names; return the labels.

    With "cluster", an image gets the label of its cluster; with "nearest", that of the nearest
    labelled image; with "diffusion", a label propagated over the neighbour graph. Labelled images
    keep their labels.

    Args:
      config: the settings of the run, among them `spread`.
      graph: the points that represent the images, and the neighbour graph of the points.
      labelled: the labels bought so far.
      by_cluster: for each image, the label of its cluster.
    """
    labels = by_cluster.copy()
    if config.spread == "nearest":
        squared = -2 * graph.points @ graph.points[labelled.indices].T
        squared += np.sum(graph.points[labelled.indices] ** 2, axis=1)
        labels = labelled.labels[np.argmin(squared, axis=1)]
    elif config.spread == "diffusion":
        labels = cluster.diffuse_labels(graph, labelled.indices, labelled.labels)
    labels[labelled.indices] = labelled.labels
    return labels


def label_clusters(
    centroids: Float[np.ndarray, "k d"],
    assignments: Int[np.ndarray, "n"],
    space: Float[np.ndarray, "n d"],
    labelled: Labelled,
) -> Int[np.ndarray, "k"]:
    """Return a label for each cluster: the label of the labelled image nearest to its centroid.

    Only images of the cluster count, unless it has no labelled image; then all labelled images
    count.

    Args:
      centroids: the centroid of each cluster.
      assignments: the cluster of each image.
      space: the points that represent the images.
      labelled: the labels bought so far.
    """
    points = space[labelled.indices].astype(float)
    # squared distances minus the centroid's squared norm, which does not change the order
    squared = np.sum(points**2, axis=1) - 2 * centroids @ points.T
    outside = assignments[labelled.indices] != np.arange(len(centroids))[:, None]
    return labelled.labels[np.lexsort((squared, outside), axis=-1)[:, 0]]
