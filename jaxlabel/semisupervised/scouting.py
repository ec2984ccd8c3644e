"""The first questions, one after the other, where labels spread over the graph leave most in doubt.

The middles of as many clusters as there are labels are asked all at once, so several of them show
the same class, and another class shows in none. Who asks one at a time sees it coming: the paid
labels are spread over the graph, and the next question goes to the middle of the region in which
they leave most images in doubt. No network is trained for it. experiments/semisup.md has the
figures: ten labels of Fashion-MNIST tell the class of 66% of its images instead of 60%.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from jaxlabel import cluster, query
from jaxlabel.config import setting
from jaxlabel.errors import UsageError
from jaxlabel.query import Paid
from jaxlabel.semisupervised.problem import Problem, Spaces, prior_of
from jaxlabel.semisupervised.propagation import Joined, Spread, propagate

REGIONS = 40


@dataclasses.dataclass
class Settings(Problem):
    """Until when, which a recipe's own `Config` inherits."""

    scout_until: int = setting(
        0, "after the first labels and up to so many, each is asked where the labels spread over "
        "the graph leave most in doubt, before a network is trained; 0: none", low=0,
    )  # fmt: skip
    scouts: int = setting(1, "how many of those are asked at a time", low=1)

    def check(self) -> None:
        """Refuses scouts where no labels are spread, or without a doubt."""
        super().check()
        if self.scout_until and not self.guides(self.scout_until):
            raise UsageError(
                f"config.scout_until={self.scout_until} looks at labels spread over the graph, "
                "which nothing asks for: config.guide does up to config.guide_until labels, and "
                "config.objective=graph"
            )
        if self.scout_until and self.propagation == "diffusion":
            raise UsageError(
                "config.scout_until looks for doubts, and config.propagation=diffusion has none: "
                "take poisson"
            )

    def scouting(self, labels: int) -> bool:
        """Whether scouts ask next, when so many labels are paid for."""
        return 0 < labels < self.scout_until


class Ground(NamedTuple):
    """What scouts look at.

    Attributes:
      graph: what labels are spread on.
      middles: the image in the middle of each region.
      own: the region of each image.
    """

    graph: Joined
    middles: Int[np.ndarray, "regions"]
    own: Int[np.ndarray, "n"]


def ground(config: Settings, spaces: Spaces, key: Key[Array, ""]) -> Ground | None:
    """Regions around the medoids of k-means clusters, where scouts are to ask."""
    if not config.scout_until or spaces.graph is None:
        return None
    points = jnp.asarray(spaces.query)
    middles = query.select("medoids", key, points, min(REGIONS, len(points)), query.NOTHING.indices)
    own = cluster.knn(points[middles], points, 1)[0]
    return Ground(spaces.graph, middles, np.asarray(own)[:, 0])


def ask(
    config: Settings, around: Ground, paid: Paid, num_classes: int, count: int
) -> Int[np.ndarray, "count"]:
    """The images to ask about next, by what the graph makes of the labels paid for."""
    prior = prior_of(config, paid, num_classes)
    found = propagate(config.propagation, around.graph, paid.indices, paid.labels, prior)
    return most_in_doubt(around, found, paid.indices, count)


def most_in_doubt(
    around: Ground, found: Spread, asked: Int[np.ndarray, "m"], count: int
) -> Int[np.ndarray, "count"]:
    """One image of each of the `count` regions in which most is in doubt, the most doubtful first.

    An image's doubt is one minus its certainty, squared; a region's is the sum over its images,
    halved for each of them that was asked. The middle is asked, or where it was, the most doubtful
    image. Where no image is in doubt, as with one class, the largest regions come first.
    """
    doubts = 1 - np.clip(found.certainty, 0.0, 1.0)
    totals = np.bincount(around.own, np.square(doubts), len(around.middles))
    if not totals.any():
        totals = np.bincount(around.own, minlength=len(around.middles)).astype(float)
    totals = totals * 0.5 ** np.bincount(around.own[asked], minlength=len(around.middles))
    free = np.ones(len(doubts), bool)
    free[asked] = False
    chosen: list[int] = []
    while len(chosen) < count and free.any():  # as a rule once: there are more regions than asked
        for region in np.argsort(-totals, kind="stable")[: count - len(chosen)]:
            rows = np.flatnonzero((around.own == region) & free)
            if not len(rows):
                totals[region] = -1.0  # nothing is left there
                continue
            middle = around.middles[region]
            chosen.append(int(middle if free[middle] else rows[np.argmax(doubts[rows])]))
            free[chosen[-1]] = False
            totals[region] *= 0.5
    return np.array(chosen, np.int64)
