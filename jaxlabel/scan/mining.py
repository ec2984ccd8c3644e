"""The nearest neighbours of each image, and the spectral embedding of the neighbour graph."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.cache import cached
from jaxlabel.log import Log


class Mined(NamedTuple):
    """Features of images, with a nearest-neighbour graph that was computed from them.

    Attributes:
      features: the feature vector of each image.
      neighbours: the indices of each image's nearest neighbours, nearest first.
      space: the spectral embedding (leading eigenvectors) of the graph that joins each image to its
        nearest neighbours.
    """

    features: Float[np.ndarray, "n d"]
    neighbours: Int[np.ndarray, "n k"]
    space: cluster.GraphSpace


def mine(
    features: Float[np.ndarray, "n d"], num_neighbours: int, num_joined: int, num_components: int,
    log: Log, first: Int[np.ndarray, "n"] | None = None,
) -> Mined:  # fmt: skip
    """Find each image's nearest neighbours, and embed the graph that joins these neighbours.

    The embedding consists of the leading eigenvectors of the graph. The result is stored in a cache
    on disk, and later calls with equal arguments load it.

    Args:
      features: the feature vector of each image.
      num_neighbours: the number of nearest neighbours of each image to return.
      num_joined: the number of nearest neighbours of each image to join to it in the graph.
      num_components: the number of eigenvectors of the graph to compute.
      first: the first copy of each image, from `cluster.first_copies`; None if all images are
        distinct. Neighbours are then other images, not copies.
    """
    log.progress("mining", 0, 1, "neighbours and their graph")

    def compute() -> dict[str, Any]:
        num_searched = max(num_neighbours, num_joined)
        found = cluster.nearest_neighbours(features, num_searched, first=first)
        joined = found._replace(
            indices=found.indices[:, :num_joined], distances=found.distances[:, :num_joined]
        )
        space = cluster.graph_space(joined.graph(), num_components=num_components)
        neighbours = found.indices[:, :num_neighbours]
        return {"neighbours": neighbours, "recall": found.recall, **space._asdict()}

    arrays = cached(
        "mining", [features, num_neighbours, num_joined, num_components, first], compute
    )
    log.progress("mining", 1, 1)
    cluster.report_recall(float(arrays.pop("recall")), log)
    return Mined(features, arrays.pop("neighbours"), cluster.GraphSpace(**arrays))
