"""What features say before anything is clustered: who is near whom, and where it is compact."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cluster
from jaxlabel.cache import cached
from jaxlabel.log import Log


class Mined(NamedTuple):
    """Features, each image's nearest neighbours in them, and the space of their graph."""

    features: Float[np.ndarray, "n d"]
    neighbours: Int[np.ndarray, "n k"]
    space: cluster.GraphSpace


def mine(
    features: Float[np.ndarray, "n d"], num_neighbours: int, num_joined: int, num_components: int,
    log: Log,
) -> Mined:  # fmt: skip
    """The images' neighbours in the features, exact and block by block, and their graph.

    Args:
      num_neighbours: mined for each image.
      num_joined: neighbours that the graph joins.
      num_components: of its eigenvectors.
    """
    log.progress("mining", 0, 1, "neighbours and their graph")

    def compute() -> dict[str, Any]:
        most = max(num_neighbours, num_joined)
        near, far = map(np.asarray, cluster.knn(jnp.asarray(features), None, most))
        graph = cluster.knn_graph(near[:, :num_joined], far[:, :num_joined])
        space = cluster.graph_space(graph, num_components=num_components)
        return {"neighbours": near[:, :num_neighbours], **space._asdict()}

    found = cached("mining", [features, num_neighbours, num_joined, num_components], compute)
    log.progress("mining", 1, 1)
    return Mined(features, found.pop("neighbours"), cluster.GraphSpace(**found))
