"""What the report draws of clusters: their images, what the guard measured, who was asked."""

import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxlabel.log import Log
from jaxlabel.scan.guard import Guard
from jaxlabel.scan.naming import Named

SHOWN = 24  # images of each cluster


def show(
    images: UInt8[np.ndarray, "n h w c"], shares: Float[np.ndarray, "n k"], guard: Guard,
    names: Int[np.ndarray, "k"], warnings: list[str], log: Log,
) -> None:  # fmt: skip
    """Writes down the images that are surest of their cluster, and what the guard measured."""
    clusters, sure = shares.argmax(axis=1), shares.max(axis=1)
    rows = [
        np.flatnonzero(clusters == number)[np.argsort(-sure[clusters == number], kind="stable")]
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


def show_asked(images: UInt8[np.ndarray, "n h w c"], named: Named, log: Log) -> None:
    """Writes down the images asked about, as medoids."""
    sizes = np.bincount(named.parts, minlength=len(named.indices))
    log.arrays("medoids", images=images[named.indices], labels=named.labels, sizes=sizes)


def majority(
    clusters: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"], num_clusters: int
) -> Int[np.ndarray, "k"]:
    """The most frequent label in each cluster; -1 where it is empty."""
    table = np.zeros((num_clusters, labels.max() + 1), int)
    np.add.at(table, (clusters, labels), 1)
    return np.where(table.any(axis=1), table.argmax(axis=1), -1)
