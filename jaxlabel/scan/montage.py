"""Data for the report's figures of clusters: sample images, quality measures, labelled images."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxlabel import cluster
from jaxlabel.log import Log
from jaxlabel.query import Labelled
from jaxlabel.scan.guard import Guard

SHOWN = 24  # the number of images shown of each cluster


def show(
    images: UInt8[np.ndarray, "n h w c"], shares: Float[np.ndarray, "n k"], guard: Guard,
    names: Int[np.ndarray, "k"], warnings: list[str], log: Log,
) -> None:  # fmt: skip
    """Log sample images and quality measures of each cluster, for the figures of the run's report.

    The samples of a cluster are ordered from the most to the least confident image.

    Args:
      images: all training images.
      shares: the cluster probabilities of each image.
      guard: the quality measures of the clustering.
      names: for each cluster, the index of the class whose name is printed beside it.
      warnings: sentences of advice to print beside the clusters.
    """
    clusters, confidence = shares.argmax(axis=1), shares.max(axis=1)
    rows = [
        np.flatnonzero(clusters == number)[
            np.argsort(-confidence[clusters == number], kind="stable")
        ]
        for number in range(shares.shape[1])
    ]
    chosen = [row[np.linspace(0, len(row) - 1, min(SHOWN, len(row))).astype(int)] for row in rows]
    log.arrays(
        "clusters", images=images[np.concatenate(chosen)],
        numbers=np.repeat(np.arange(len(chosen)), [len(row) for row in chosen]),
        sizes=guard.sizes, confident=guard.confident_by_cluster,
        agreement=guard.agreement_by_cluster, names=names, warnings=np.array(warnings, str),
    )  # fmt: skip
    log.images("clusters", 0, images[np.concatenate([row[:10] for row in chosen])])


def log_labelled(
    images: UInt8[np.ndarray, "n h w c"], points: Float[np.ndarray, "n d"], labelled: Labelled,
    log: Log,
) -> None:  # fmt: skip
    """Log the labelled images for the report, with the number of images nearest to each.

    Args:
      images: all training images.
      points: one vector per image, between which distances are measured.
      labelled: the labels bought.
    """
    nearest, _ = cluster.knn(jnp.asarray(points[labelled.indices]), jnp.asarray(points), 1)
    sizes = np.bincount(np.asarray(nearest)[:, 0], minlength=len(labelled.indices))
    bought = np.ones(len(sizes), bool)
    log.arrays("medoids", images=images[labelled.indices], labels=labelled.labels, sizes=sizes,
               bought=bought)  # fmt: skip


def majority(
    clusters: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"], num_clusters: int
) -> Int[np.ndarray, "k"]:
    """Return the most frequent label of each cluster's images; -1 for an empty cluster.

    Args:
      clusters: the index of each image's cluster.
      labels: the label of each image.
      num_clusters: the number of clusters.
    """
    table = np.zeros((num_clusters, labels.max() + 1), int)
    np.add.at(table, (clusters, labels), 1)
    return np.where(table.any(axis=1), table.argmax(axis=1), -1)
