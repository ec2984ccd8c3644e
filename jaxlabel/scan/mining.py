"""Nearest neighbours of the images' features, and the spectral space of their graph."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.cache import cached
from jaxlabel.log import Log


class Mined(NamedTuple):
    """Features with each image's nearest neighbours and the spectral space of the neighbour graph.

    Attributes:
      features: the images' features.
      neighbours: the indices of each image's nearest neighbours, nearest first.
      space: the leading eigenvectors of the neighbour graph.
    """

    features: Float[np.ndarray, "n d"]
    neighbours: Int[np.ndarray, "n k"]
    space: cluster.GraphSpace


def mine(
    features: Float[np.ndarray, "n d"], num_neighbours: int, num_joined: int, num_components: int,
    log: Log,
) -> Mined:  # fmt: skip
    """Find each image's exact nearest neighbours and the spectral space of the neighbour graph.

    The result is cached.

    Args:
      num_neighbours: the number of neighbours to return for each image.
      num_joined: the number of neighbours to which the graph joins each image.
      num_components: the number of eigenvectors of the graph.
    """
    log.progress("mining", 0, 1, "neighbours and their graph")

    def compute() -> dict[str, Any]:
        num_searched = max(num_neighbours, num_joined)
        indices, distances = map(np.asarray, cluster.knn(jnp.asarray(features), None, num_searched))
        graph = cluster.knn_graph(indices[:, :num_joined], distances[:, :num_joined])
        space = cluster.graph_space(graph, num_components=num_components)
        return {"neighbours": indices[:, :num_neighbours], **space._asdict()}

    arrays = cached("mining", [features, num_neighbours, num_joined, num_components], compute)
    log.progress("mining", 1, 1)
    return Mined(features, arrays.pop("neighbours"), cluster.GraphSpace(**arrays))
