"""The labels that medoid doubling (medoids.py) gives to clusters and to unlabelled images."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.query import Labelled


class Round(NamedTuple):
    """One clustering, and the labels after its queries.

    Attributes:
      labelled: the labels bought so far.
      medoids: the medoid of each non-empty cluster.
      sizes: number of images in each cluster.
      cluster_labels: the label of each cluster.
      labels: the label given to each image.
      rank: rank of each image in its cluster by distance from the centroid, 0 nearest, 1 farthest.
      new: the images queried in this round.
      weights: sizes of the clusters of these images.
      complete: False if the budget was too small for all queries.
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
    """Return a label for each image, by the method `config.spread`; labelled images keep theirs."""
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
    """Return each cluster's label, taken from the labelled image nearest to its centroid.

    Labelled images of the cluster come first; a cluster without any takes the nearest of all.
    """
    points = space[labelled.indices].astype(float)
    # squared distances minus the centroid's squared norm, which does not change the order
    squared = np.sum(points**2, axis=1) - 2 * centroids @ points.T
    outside = assignments[labelled.indices] != np.arange(len(centroids))[:, None]
    return labelled.labels[np.lexsort((squared, outside), axis=-1)[:, 0]]
