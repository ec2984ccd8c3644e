"""What an audit is to certify, and how many labels it is likely to take: to know when to begin."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from jaxlabel.certificate.design import LOWEST, fastest_growth, logistic, odds
from jaxlabel.certificate.population import Population
from jaxlabel.errors import UsageError

LOWER_SHARE = 0.9  # of the error that is allowed: the target is a lower bound
LEARNING = 1.25  # how many times the draws of a gambler who knows the errors' odds from the start


@dataclasses.dataclass(frozen=True)
class Terms:
    """An accuracy of at least `target` is to be certified, with `confidence` in being right.

    Attributes:
      num_images, num_bought: how many there are, and how many of these are not in the pool.
      population: of new images, not of the pool (statement 3 of `jaxlabel.certificate`).

    Raises:
      UsageError: a target or a confidence outside (0, 1), an empty pool.
    """

    target: float
    confidence: float
    num_images: int
    num_bought: int = 0
    population: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.target < 1 and 0 < self.confidence < 1):
            raise UsageError(
                f"target {self.target:g}, confidence {self.confidence:g}: both lie between 0 and 1"
            )
        if self.num_pool < 1:
            raise UsageError("every image was bought: there is none left to audit the model on")

    @property
    def num_pool(self) -> int:
        """How many images an audit draws from."""
        return self.num_images - self.num_bought

    @property
    def statement(self) -> Population | None:
        """What leads from the pool to new images."""
        if not self.population:
            return None
        return Population(self.num_images, self.num_pool, 1 - self.confidence)

    @property
    def goal(self) -> float:
        """The accuracy on the pool that certifies the target; 1 where none does."""
        statement = self.statement
        return self.target if statement is None else statement.needed(self.target, LOWER_SHARE)

    @property
    def error(self) -> float:
        """How probable it may be that the audit itself is wrong."""
        statement = self.statement
        return 1 - self.confidence if statement is None else statement.error_left

    def fewest_labels(self) -> float:
        """The even draws below which an audit cannot succeed: all bets placed and won.

        A bet won multiplies the money by less than one plus the share of errors that may be among
        the images that are left, and one over the error is wanted; or as many right answers are
        there as the pool must have. Infinity where none can.
        """
        limit, pool = 1 - self.goal, self.num_pool
        if limit <= 0:
            return math.inf
        left = pool - np.arange(pool)
        money = np.cumsum(np.log1p(limit * pool / left))
        bets = int(np.searchsorted(money, math.log(1 / self.error))) + 1
        return min(bets, math.ceil(self.goal * pool - 1e-9))

    def expected_labels(self, claimed: Float[np.ndarray, "m"], mean: float) -> float:
        """The labels with which an audit is about as likely as not to have succeeded.

        The gambler has one over the error when the logarithm of the money has grown by as much, and
        the best bet's expected growth is known (Kelly 1956), if the images' odds of an error are
        the model's own but for one temperature (Guo et al. 2017), at which their mean is `mean`.
        Fewer are needed where they are much of the pool (Cochran 1977, eq. 4.2). Simulated audits
        take .7 to 1.1 times as many (experiments/certificate.md).

        Args:
          claimed: the probability of an error that the model owns up to, for images of the pool.
          mean: the share of errors that is supposed in it.

        Returns:
          Infinity where it is more than is allowed, or is not a number.
        """
        limit = 1 - self.goal
        if not mean < limit:
            return math.inf
        growth = max(0.0, fastest_growth(tempered(claimed, mean), limit))
        by_bets = growth / (LEARNING * math.log(1 / (LOWER_SHARE * self.error)))
        return 1 / (by_bets + 1 / self.num_pool)


def tempered(claimed: Float[np.ndarray, "n"], mean: float) -> Float[np.ndarray, "n"]:
    """The probabilities with log odds divided by one temperature, so that their mean is `mean`.

    None counts as more than a half. A mean that no temperature between 1/20 and 20 gives is the
    nearest that one does.
    """
    logits = odds(np.minimum(claimed, 0.5))
    low, high = -3.0, 3.0  # logarithms of the temperature; the mean grows with it
    for _ in range(40):
        middle = 0.5 * (low + high)
        short = logistic(logits / math.exp(middle)).mean() < mean
        low, high = (middle, high) if short else (low, middle)
    return np.maximum(logistic(logits / math.exp(high)), LOWEST)
