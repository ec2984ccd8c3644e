"""The labels that medoid doubling (medoids.py) gives to clusters and to unlabelled images."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.query import Labelled


class Round(NamedTuple):
    """The result of one round: a clustering of the images, and labels for clusters and images.

    Attributes:
      labelled: the labels bought so far, including this round's.
      medoids: for each non-empty cluster, the index of the image nearest to the centroid.
      sizes: the number of images in each of these clusters.
      cluster_labels: the label given to each of these clusters.
      labels: the label given to each image.
      rank: the rank of each image by distance from the centroid, among the images of its cluster.
        The nearest image has rank 0 and the farthest has rank 1.
      new: the indices of the images labelled in this round.
      weights: for each image in `new`, the number of images in its cluster.
      complete: False if the budget did not suffice for all the labels that the round wanted.
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


def spread_labels(
    config: Any, graph: cluster.GraphSpace, labelled: Labelled, by_cluster: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "n"]:
    """Give every image a label, by the method that `config.spread` names; return the labels.

    "cluster" takes the label of the image's cluster, "nearest" the label of the nearest labelled
    image, and "diffusion" propagates labels over the neighbour graph. Labelled images keep their
    labels.

    Args:
      graph: the points that represent the images, and their neighbour graph.
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
    """Return a label for each cluster, taken from one labelled image.

    It is the labelled image of the cluster that is nearest to the centroid. For a cluster without
    labelled images, it is the nearest labelled image of any cluster.
    """
    points = space[labelled.indices].astype(float)
    # squared distances minus the centroid's squared norm, which does not change the order
    squared = np.sum(points**2, axis=1) - 2 * centroids @ points.T
    outside = assignments[labelled.indices] != np.arange(len(centroids))[:, None]
    return labelled.labels[np.lexsort((squared, outside), axis=-1)[:, 0]]
