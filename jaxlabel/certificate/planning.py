"""Specify what an audit must certify, and predict how many labels the audit will take.

The prediction is used to decide when a run should begin an audit.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from jaxlabel.certificate.betting import VARIANCE_SHARE, ConfidenceSequence
from jaxlabel.certificate.design import MIN_ERROR, STAKES, fastest_growth, log_odds, logistic
from jaxlabel.certificate.population import Population
from jaxlabel.errors import UsageError

# The share of the allowed error probability that is used for the lower end of the interval. It is
# large because the target is a lower bound.
LOWER_SHARE = 0.9
# An audit takes this many times the draws that it would take with known error probabilities,
# because it has to calibrate them first.
CALIBRATION_FACTOR = 1.25


@dataclasses.dataclass(frozen=True)
class Terms:
    """The claim that an audit has to certify: a model's accuracy is at least `target`.

    An audit buys labels of random images. The pool is the set of images that it may draw.

    Attributes:
      target: the accuracy to certify.
      confidence: the probability with which the confidence interval must cover the accuracy.
      num_images: the number of all images.
      num_bought: the number of images whose labels were bought before; these are not in the pool.
      population: whether to certify the accuracy on new images instead of the pool (see the
        docstring of `jaxlabel.certificate`).

    Raises:
      UsageError: the target or the confidence is not in (0, 1), or the pool is empty.
    """

    target: float
    confidence: float
    num_images: int
    num_bought: int = 0
    population: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.target < 1 and 0 < self.confidence < 1):
            raise UsageError(
                f"target {self.target:g}, confidence {self.confidence:g}: both must be between 0 "
                "and 1"
            )
        if self.num_pool < 1:
            raise UsageError("every image was bought: none left to audit the model on")

    @property
    def num_pool(self) -> int:
        """Return the number of images in the pool, the set of images that an audit may draw."""
        return self.num_images - self.num_bought

    @property
    def population_bounds(self) -> Population | None:
        """Return the object that converts accuracy bounds on the pool to bounds on new images.

        The pool is the set of images that an audit may draw. If the accuracy on new images is not
        to be certified (`population` is False), None is returned.
        """
        if not self.population:
            return None
        return Population(self.num_images, self.num_pool, 1 - self.confidence)

    @property
    def pool_target(self) -> float:
        """Return the smallest accuracy on the pool that certifies the target; 1 if none does.

        The pool is the set of images that an audit may draw. The target is the accuracy to certify.
        """
        bounds = self.population_bounds
        return self.target if bounds is None else bounds.needed_accuracy(self.target, LOWER_SHARE)

    @property
    def pool_error(self) -> float:
        """Return the allowed probability that the interval of the accuracy on the pool is wrong.

        The pool is the set of images that an audit (the purchase of random labels) may draw.
        """
        bounds = self.population_bounds
        return 1 - self.confidence if bounds is None else bounds.pool_error

    def fewest_labels(self) -> float:
        """Return the smallest number of uniform draws of images with which an audit can succeed.

        This is the number of draws needed if every drawn prediction is right. On each draw, an
        audit bets that the error rate is low enough (`jaxlabel.certificate.betting`), and it
        succeeds when the capital of the bets is large enough. Here the bets are made with the
        largest of their stakes. An audit also succeeds when it has drawn as many right predictions
        as the whole pool of images must have.

        Returns:
          The number of labels; infinity if no audit can succeed.
        """
        limit, pool = 1 - self.pool_target, self.num_pool
        if limit <= 0:
            return math.inf
        errors = LOWER_SHARE * self.pool_error, (1 - LOWER_SHARE) * self.pool_error
        sequence = ConfidenceSequence(pool, limit, *errors)
        # each bet multiplies nine tenths of the capital by at least 1 + (largest stake) * limit
        enough = math.log(1 / errors[0] / (1 - VARIANCE_SHARE)) / math.log1p(STAKES[-1] * limit)
        draws = np.arange(min(pool, math.ceil(enough) + 1))
        sequence.update(
            np.arange(pool), draws, np.ones(pool), np.zeros(pool), np.zeros(len(draws), bool),
            np.arange(len(STAKES), dtype=float),  # the largest stake is taken
        )  # fmt: skip
        all_right = math.ceil(self.pool_target * pool - 1e-9)
        return min(sequence.num_draws_to_certify(), all_right)

    def expected_labels(self, probabilities: Float[np.ndarray, "m"], mean: float) -> float:
        """Return the number of labels with which an audit succeeds with a probability of about 1/2.

        On each draw of an image, an audit bets that the error rate is low enough. It succeeds when
        the capital of the bets, which starts at 1, reaches 1 / error, where error is the allowed
        probability of a wrong certificate. The number of draws follows from the expected growth of
        the log capital of the best bet (Kelly 1956). The images' probabilities of an error are
        assumed to be `probabilities` after scaling by a temperature (Guo et al. 2017) that makes
        their mean equal to `mean`. The number is reduced if it is a large part of the pool (Cochran
        1977, eq. 4.2). Simulated audits take 0.7 to 1.1 times this number
        (experiments/certificate.md).

        Args:
          probabilities: for images of the pool (those that the audit may draw), the model's own
            probability that its prediction is wrong (1 - confidence).
          mean: the assumed error rate on the pool.

        Returns:
          The number of labels; infinity if `mean` is not below the allowed error rate, or is NaN.
        """
        limit = 1 - self.pool_target
        if not mean < limit:
            return math.inf
        growth = max(0.0, fastest_growth(scale_by_temperature(probabilities, mean), limit))
        by_bets = growth / (CALIBRATION_FACTOR * math.log(1 / (LOWER_SHARE * self.pool_error)))
        return 1 / (by_bets + 1 / self.num_pool)


def scale_by_temperature(
    probabilities: Float[np.ndarray, "n"], mean: float
) -> Float[np.ndarray, "n"]:
    """Scale `probabilities` by a temperature so that their mean becomes `mean`, and return them.

    The log odds of all probabilities are divided by one temperature between 1/20 and 20.
    Probabilities above 1/2 count as 1/2. If no temperature gives the mean, the one that comes
    nearest is used.
    """
    logits = log_odds(np.minimum(probabilities, 0.5))
    low, high = -3.0, 3.0  # logarithms of the temperature, with which the mean increases
    for _ in range(40):
        middle = 0.5 * (low + high)
        too_small = logistic(logits / math.exp(middle)).mean() < mean
        low, high = (middle, high) if too_small else (low, middle)
    return np.maximum(logistic(logits / math.exp(high)), MIN_ERROR)
