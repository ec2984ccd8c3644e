"""Choose the images that a round of medoid doubling (medoids.py) asks about.

A medoid that nobody could label is replaced by another image of its cluster, and a cluster in which
nobody could label any image is left out. Both are saved in checkpoints. So a run that is started
again asks the same questions, even if somebody has labelled such an image in the meantime.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import query
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle


class Medoids(NamedTuple):
    """The medoids of a round, and the clusters whose medoids are to be labelled.

    Attributes:
      images: for each cluster, the index of the image nearest to its centroid that somebody could
        label; if there is none, of the nearest image.
      fresh: the clusters whose medoid is to be labelled, most wanted first.
      left_out: the wanted clusters in which nobody could label any image.
    """

    images: Int[np.ndarray, "k"]
    fresh: Int[np.ndarray, "q"]
    left_out: Int[np.ndarray, "r"]


def choose(
    oracle: Oracle, log: Log, number: int, nearest: Int[np.ndarray, "k"],
    distances: Float[np.ndarray, "n"], assignments: Int[np.ndarray, "n"],
    wanted: Int[np.ndarray, "w"], labelled: query.Labelled,
) -> Medoids:  # fmt: skip
    """Choose the medoids that round `number` asks about.

    Args:
      oracle: the object that sells labels; an image that nobody could label has an infinite price.
      log: the run's log, which stores the replacements.
      number: the number of the round.
      nearest: the index of the image nearest to the centroid of each cluster.
      distances: the distance of each image from the centroid of its cluster.
      assignments: the number of the cluster of each image.
      wanted: the clusters that need a label, most wanted first.
      labelled: the labels bought before this round.
    """
    num_images = len(assignments)
    saved = query.restore_indices(log, f"replaced_{number}", num_images)
    before = _with_replacements(nearest, assignments, saved)
    images = answerable(oracle, nearest, distances, assignments, saved)
    if len(new := images[images != before]):
        # An image may stand here twice: only a longer list replaces the one that is saved.
        ordered = np.append(new, saved)[:num_images]
        query.save_indices(log, f"replaced_{number}", ordered, num_images)
    skipped = query.restore_indices(log, f"left_out_{number}", num_images)
    wanted = wanted[~np.isin(images[wanted], labelled.indices)]
    is_answerable = np.isfinite(oracle.cost(images[wanted]))
    is_answerable &= ~np.isin(wanted, assignments[skipped])
    return Medoids(images, wanted[is_answerable], wanted[~is_answerable])


def save_left_out(log: Log, number: int, medoids: Medoids, num_images: int) -> None:
    """Save which clusters were left out, once the labels of round `number` have been bought.

    Later rounds depend on the labels of this round, so it must not get another label afterwards.
    """
    if len(medoids.left_out):
        images = medoids.images[medoids.left_out]
        query.save_indices(log, f"left_out_{number}", images, num_images)


def answerable(
    oracle: Oracle,
    medoids: Int[np.ndarray, "k"],
    distances: Float[np.ndarray, "n"],
    assignments: Int[np.ndarray, "n"],
    saved: Int[np.ndarray, "s"] = query.NO_LABELS.indices,
) -> Int[np.ndarray, "k"]:
    """Replace medoids that nobody could label by the next nearest image of the same cluster.

    The price of an image that nobody could label is infinite (`Oracle.cost`). The medoid of a
    cluster in which this is so for all images is not replaced.

    Args:
      oracle: the object that sells labels.
      medoids: the index of the image nearest to the centroid of each cluster.
      distances: the distance of each image from the centroid of its cluster.
      assignments: the number of the cluster of each image.
      saved: earlier replacements, the newest first. They stay if somebody can label them.
    """
    found = _with_replacements(medoids, assignments, saved[np.isfinite(oracle.cost(saved))])
    for number in np.flatnonzero(~np.isfinite(oracle.cost(found))):
        members = np.flatnonzero(assignments == number)
        members = members[np.isfinite(oracle.cost(members))]
        if len(members):
            found[number] = members[np.argmin(distances[members])]
    return found


def _with_replacements(
    medoids: Int[np.ndarray, "k"], assignments: Int[np.ndarray, "n"], saved: Int[np.ndarray, "s"]
) -> Int[np.ndarray, "k"]:
    """Return the medoids with those images in `saved` in place of the medoids of their clusters.

    If several of these images belong to one cluster, the first counts.
    """
    found = medoids.copy()
    found[assignments[saved[::-1]]] = saved[::-1]
    return found
