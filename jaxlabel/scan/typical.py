"""The images that are labelled first: the most typical image of each cluster."""

import numpy as np
from jaxtyping import Float, Int

from jaxlabel.query.clusters import mean_neighbour_distance


def typical_images(
    points: Float[np.ndarray, "n d"], clusters: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "k"]:
    """Return the index of the most typical image of each cluster, the largest cluster first.

    It is the image with the smallest mean distance to its 20 nearest neighbours in the cluster
    (typicality: Hacohen et al. 2022, eq. 4). In a cluster that mixes several classes, it lies where
    one class is dense. The medoid may lie between the classes instead: on Fashion-MNIST, six of ten
    medoids did not have the most frequent class of their cluster (experiments/scan.md).

    Args:
      points: one vector per image.
      clusters: the cluster of each image. Numbers without an image are not clusters.
    """
    numbers, sizes = np.unique(clusters, return_counts=True)
    typical = []
    for number in numbers[np.argsort(-sizes, kind="stable")]:
        members = np.flatnonzero(clusters == number)
        typical.append(members[np.argmin(mean_neighbour_distance(points[members]))])
    return np.array(typical, np.int64)
