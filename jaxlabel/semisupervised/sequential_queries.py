"""Sequential seed queries: choose each early label where label propagation is most uncertain.

If the medoids of k clusters are all labelled at once, several of them have the same class, and
other classes are missed. Here the labels are bought one after another instead: the labelled set is
propagated over the neighbour graph, and the next query is the medoid of the region of the graph
with the largest total uncertainty. While there are fewer labels than classes, images that labels
hardly reach are uncertain, as they may belong to a new class. Later, images between two classes
count as uncertain to the same degree. With fewer than `FIRST_TRAINING` labels no network is trained
for this; later the graph is one of the features that the network has learned from the labels so
far (methods/rounds.py, `learn_regions`). Figures: experiments/semisup.md, "One question after the
other", and experiments/flagship.md, "Sequential queries on the graph of learned features".
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel import cluster, query
from jaxlabel.query import NO_LABELS, Labelled
from jaxlabel.semisupervised.propagation import propagate
from jaxlabel.semisupervised.setup import ModelSettings, Spaces, class_prior

UNTIL = 100  # the number of labels up to which the flagship asks sequential queries
# Somebody who has to be asked gets so many sequential queries at a time: few files to fill in. With
# 100 labels of Overhead-MNIST (one seed) 0.1 points fewer of the training images and 0.6 fewer of
# the test images were right than with one at a time (experiments/flagship.md).
ASKED_TOGETHER = 20
REGIONS = 40  # least number of k-means clusters that the images are divided into
FIRST_TRAINING = 20  # the number of labels at which sequential queries stop for a first training


class Regions(NamedTuple):
    """A division of the images into regions; a sequential query chooses a region, then an image.

    Attributes:
      graph: the neighbour graph over which labels are propagated.
      medoids: for each region, the index of the image at its centre.
      assignments: the region of each image.
    """

    graph: cluster.Graph
    medoids: Int[np.ndarray, "regions"]
    assignments: Int[np.ndarray, "n"]


def find_regions(spaces: Spaces, key: Key[Array, ""], count: int = REGIONS) -> Regions:
    """Divide the images into regions around medoids, which are the central images of clusters.

    The clusters come from k-means. Each image belongs to the region of the nearest medoid. Of
    identical images, the first one is the medoid.

    Args:
      spaces: the features and the neighbour graph of the images.
      key: the random key of k-means.
      count: the number of regions.

    Raises:
      TypeError: `spaces` has no graph.
    """
    if spaces.graph is None:
        raise TypeError("sequential queries need a neighbour graph")
    points = jnp.asarray(spaces.query)
    medoids = query.select("medoids", key, points, min(count, len(points)), query.NO_LABELS.indices)
    if (point_of := spaces.graph.point_of) is not None:
        medoids = np.unique(point_of, return_index=True)[1][point_of[medoids]]
    assignments = cluster.knn(points[medoids], points, 1)[0]
    return Regions(spaces.graph, medoids, np.asarray(assignments)[:, 0])


def choose_queries(
    config: ModelSettings, regions: Regions, labelled: Labelled, num_classes: int, count: int,
    excluded: Int[np.ndarray, "m"] = NO_LABELS.indices,
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Propagate the labels bought so far, and return the indices of the images to label next.

    Args:
      config: the settings of the run, which say how the shares of the classes are estimated.
      regions: the regions to choose from, and the neighbour graph.
      labelled: the labels bought so far.
      num_classes: the number of known classes. Once there are as many labels as classes, images
        between two classes count as uncertain too.
      count: the number of images to choose.
      excluded: the indices of images that must not be chosen, for example because their labels are
        too expensive.
    """
    prior = class_prior(config, labelled, num_classes)
    propagated = propagate(regions.graph, labelled.indices, labelled.labels, prior)
    uncertainties = 1 - propagated.reach
    if len(labelled.indices) >= num_classes:
        uncertainties = (uncertainties + 1 - np.maximum(propagated.certainty, 0.0)) / 2
    return most_uncertain(regions, uncertainties, labelled.indices, count, excluded)


def most_uncertain(
    regions: Regions, uncertainties: Float[np.ndarray, "n"], asked: Int[np.ndarray, "m"],
    count: int, excluded: Int[np.ndarray, "b"] = NO_LABELS.indices,
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Choose an image from each of the `count` most uncertain regions and return their indices.

    The rule is our own. The most uncertain region comes first. The uncertainty of a region is the
    sum of the squared uncertainties of its images, halved for each image in it that is already
    labelled. The chosen image is the region's medoid (its central image). If the medoid is labelled
    or excluded, the most uncertain other image of the region is chosen. If all uncertainties are 0,
    regions are ordered by size.

    Args:
      regions: the regions to choose from.
      uncertainties: the uncertainty of each image, between 0 and 1.
      asked: the indices of the images that are already labelled.
      count: the number of images to choose. Fewer are returned if there are not enough images.
      excluded: the indices of images that must not be chosen.
    """
    num_regions = len(regions.medoids)
    squares = np.square(uncertainties) if uncertainties.any() else np.ones(len(uncertainties))
    num_asked = np.bincount(regions.assignments[asked], minlength=num_regions)
    totals = np.bincount(regions.assignments, squares, num_regions) * 0.5**num_asked
    free = np.ones(len(uncertainties), bool)
    free[asked] = free[excluded] = False
    chosen: list[int] = []
    # one pass is enough unless `count` exceeds the number of regions that have a free image
    while len(chosen) < count and free.any():
        for region in np.argsort(-totals, kind="stable")[: count - len(chosen)]:
            rows = np.flatnonzero((regions.assignments == region) & free)
            if not len(rows):
                totals[region] = -1.0  # the region has no free image left
                continue
            medoid = regions.medoids[region]
            chosen.append(int(medoid if free[medoid] else rows[np.argmax(uncertainties[rows])]))
            free[chosen[-1]] = False
    return np.array(chosen, np.int64)
