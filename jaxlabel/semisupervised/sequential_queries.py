"""The first questions, one after the other, where labels spread over the graph leave most in doubt.

The middles of as many clusters as there are labels are asked all at once, so several of them show
the same class, and another class shows in none. Who asks one at a time sees it coming: the paid
labels are spread over the graph, and the next question goes to the middle of the region in which
they leave most in doubt. While there are fewer labels than classes, what few labels reach is in
doubt: another class may be there. Then what lies between two classes is, as much. No network is
trained for it. Figures: experiments/semisup.md, "One question after the other".
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel import cluster, query
from jaxlabel.config import setting
from jaxlabel.errors import UsageError
from jaxlabel.query import NO_LABELS, Labelled
from jaxlabel.semisupervised.propagation import Joined, propagate
from jaxlabel.semisupervised.setup import ModelSettings, Spaces, class_prior

REGIONS = 40
WITH_UNCERTAINTY = ("poisson", "spreading")  # ways to spread labels whose scores have margins


@dataclasses.dataclass
class Settings(ModelSettings):
    """Until when scouts ask, and how many at a time: part of a recipe's own `Config`."""

    sequential_until: int = setting(
        0, "above `first`: from there up to so many labels, each is asked where the labels spread "
        "over the graph leave most in doubt, before a network is trained; 0: none", low=0,
    )  # fmt: skip
    sequential_batch: int = setting(1, "how many of those are asked at a time", low=1)

    def asks_sequentially(self, num_labels: int) -> bool:
        """Whether scouts ask next, when so many labels are paid for."""
        return 0 < num_labels < self.sequential_until

    def check(self) -> None:
        """Refuses scouts where no labels are spread, or none leaves a doubt."""
        super().check()
        if self.sequential_until and not self.uses_graph_targets(self.sequential_until):
            raise UsageError(
                f"config.sequential_until={self.sequential_until} asks where label propagation "
                "over the graph is uncertain, but no setting propagates labels: take "
                "config.sequential_until=0, or config.objective=graph, or "
                "config.graph_targets with a config.graph_targets_until of at least as many labels"
            )
        if self.sequential_until and self.propagation not in WITH_UNCERTAINTY:
            known = " or ".join(WITH_UNCERTAINTY)
            raise UsageError(
                "config.sequential_until needs an uncertainty for every image, and "
                f"config.propagation={self.propagation} gives none: take {known}"
            )


class Regions(NamedTuple):
    """Where scouts ask.

    Attributes:
      graph: what labels are spread on.
      middles: the image in the middle of each region.
      own: the region of each image.
    """

    graph: Joined
    middles: Int[np.ndarray, "regions"]
    own: Int[np.ndarray, "n"]


def regions(spaces: Spaces, key: Key[Array, ""]) -> Regions:
    """The medoids of k-means clusters, each with the images to which it is the nearest.

    Raises:
      TypeError: there is no graph.
    """
    if spaces.graph is None:
        raise TypeError("scouts need a graph")
    points = jnp.asarray(spaces.query)
    middles = query.select(
        "medoids", key, points, min(REGIONS, len(points)), query.NO_LABELS.indices
    )
    own = cluster.knn(points[middles], points, 1)[0]
    return Regions(spaces.graph, middles, np.asarray(own)[:, 0])


def choose(
    config: Settings, where: Regions, labelled: Labelled, num_classes: int, count: int,
    excluded: Int[np.ndarray, "m"] = NO_LABELS.indices,
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """The images to ask about next, by what the graph makes of the labels paid for.

    Args:
      barred: images that are not to be asked about, such as those that are too dear.
    """
    prior = class_prior(config, labelled, num_classes)
    found = propagate(config.propagation, where.graph, labelled.indices, labelled.labels, prior)
    uncertainties = 1 - found.reach
    if len(labelled.indices) >= num_classes:
        uncertainties = (uncertainties + 1 - np.maximum(found.certainty, 0.0)) / 2
    return most_uncertain(where, uncertainties, labelled.indices, count, excluded)


def most_uncertain(
    where: Regions, uncertainties: Float[np.ndarray, "n"], asked: Int[np.ndarray, "m"], count: int,
    excluded: Int[np.ndarray, "b"] = NO_LABELS.indices,
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """One image of each of the `count` regions in which most is in doubt, that region's first.

    Our own rule. A region's doubt is the sum of the squares of its images', halved for each of
    them that was asked. The middle is asked, or where it was, the most doubtful image. Where there
    is no doubt, regions count by their size.
    """
    num_regions = len(where.middles)
    squares = np.square(uncertainties) if uncertainties.any() else np.ones(len(uncertainties))
    known = np.bincount(where.own[asked], minlength=num_regions)
    totals = np.bincount(where.own, squares, num_regions) * 0.5**known
    free = np.ones(len(uncertainties), bool)
    free[asked] = free[excluded] = False
    chosen: list[int] = []
    while len(chosen) < count and free.any():  # as a rule once: there are more regions than asked
        for region in np.argsort(-totals, kind="stable")[: count - len(chosen)]:
            rows = np.flatnonzero((where.own == region) & free)
            if not len(rows):
                totals[region] = -1.0  # nothing is left there
                continue
            middle = where.middles[region]
            chosen.append(int(middle if free[middle] else rows[np.argmax(uncertainties[rows])]))
            free[chosen[-1]] = False
    return np.array(chosen, np.int64)
