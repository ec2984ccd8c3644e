"""Choose the weights of an audit's random draws, so that the bets are expected to grow fastest.

A certificate is valid for any positive weights that are chosen before the labels are bought. The
choice here only affects how many labels an audit takes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

STAKES = np.geomspace(0.02, 0.98, 16)  # as shares of the largest stake that cannot lose everything
POWERS = (0.0, 0.25, 0.5, 0.75)  # 0.5 minimises the variance (Kossen et al. 2021)
FLOORS = (0.03, 0.1, 0.25)  # shares of uniform draws, which limit the largest possible loss
BINS = 24  # images are grouped by error probability, to compute the growth of bets quickly
NEWTON_STEPS = 6
MAX_ASSUMED_ERROR = 0.85  # times the limit: the largest mean error rate assumed to choose stakes
MIN_ERROR, MAX_ERROR = 1e-4, 0.9  # error probabilities are clipped to this range


class Weighting(NamedTuple):
    """The weights with which an audit draws random images, and how well bets do with them.

    To certify a model's accuracy, an audit bets on each draw against the hypothesis that the error
    rate is above a limit. The capital of the bets grows if the hypothesis is false.

    Attributes:
      weights: for each image, the weight with which it is drawn.
      growth: for each stake in STAKES, by how much the logarithm of the capital is expected to grow
        per draw.
    """

    weights: Float[np.ndarray, "n"]
    growth: Float[np.ndarray, "stakes"]


class ErrorModel:
    """A model of the probability that each prediction of a classifier is wrong.

    It is calibrated on the labels that an audit has bought for some images of the pool (the images
    that the audit may draw). The log odds of an error are calibrated by logistic regression (Platt
    1999) with a Gaussian prior around the identity: offset 0 +- 1, slope 1 +- 0.5.

    Args:
      probabilities: for each image of the pool, the classifier's own probability that its
        prediction is wrong (1 - confidence).
    """

    def __init__(self, probabilities: Float[np.ndarray, "n"]):
        self._log_odds = log_odds(probabilities)

    def errors(
        self, drawn: Int[np.ndarray, "m"], wrong: Bool[np.ndarray, "m"]
    ) -> Float[np.ndarray, "n"]:
        """Return, for each image of the pool, the calibrated probability of a wrong prediction.

        The pool is the set of images whose labels an audit may buy to certify the accuracy. The
        labels that it has bought so far are used for the calibration.

        Args:
          drawn: the indices of the images drawn so far, whose labels were bought.
          wrong: for each of these images, whether the prediction is wrong.
        """
        prior, precision = np.array([0.0, 1.0]), np.diag([1.0, 4.0])
        inputs = np.stack([np.ones(len(drawn)), self._log_odds[drawn]], axis=1)
        parameters = prior
        for _ in range(NEWTON_STEPS if len(drawn) else 0):
            fitted = logistic(inputs @ parameters)
            gradient = inputs.T @ (wrong - fitted) - precision @ (parameters - prior)
            hessian = (inputs * (fitted * (1 - fitted))[:, None]).T @ inputs + precision
            parameters = parameters + np.clip(np.linalg.solve(hessian, gradient), -1, 1)
        return np.clip(
            logistic(parameters[0] + parameters[1] * self._log_odds), MIN_ERROR, MAX_ERROR
        )


def choose_weights(errors: Float[np.ndarray, "n"], limit: float) -> Weighting:
    """Choose weights for random draws of images, so that few labels can certify the error rate.

    On each draw, bets are made against the hypothesis that the error rate is above `limit`. With
    the chosen weights, the capital of the best bet is expected to grow fastest. The weights are (1
    - floor) (e (1 - e))^power / mean + floor, where e is an image's probability of an error, and
    `mean` is the mean of (e (1 - e))^power over all images. The power is chosen from POWERS and the
    floor from FLOORS. The growth rate of a stake is E log(1 - stake (Y - limit)), as in Kelly 1956,
    where Y is the value of a draw (see `betting.ConfidenceSequence`).

    Args:
      errors: the probability that the prediction is wrong, for each image that may be drawn.
      limit: the error rate that the draws have to test.
    """
    shares, expected = _binned(errors)
    # If the mean expected error is above the limit, no stake grows. So means above
    # MAX_ASSUMED_ERROR times the limit are scaled down to this value to choose the stakes.
    assumed = expected * min(1.0, MAX_ASSUMED_ERROR * limit / np.sum(shares * expected))
    power, floor, growth = _best_design(shares, expected, assumed, limit)
    uncertainty = (errors * (1 - errors)) ** power
    return Weighting((1 - floor) * uncertainty / uncertainty.mean() + floor, growth)


def fastest_growth(errors: Float[np.ndarray, "n"], limit: float) -> float:
    """Return how fast the best bets against a high error rate are expected to grow.

    On each random draw of an image, a bet is made against the hypothesis that the model's error
    rate is above `limit`. The growth is that of the logarithm of the bets' capital, per draw. It is
    the largest over all stakes and all weights of the draws.

    Args:
      errors: for each image, the true probability that the prediction is wrong.
      limit: the error rate that the draws have to test.
    """
    shares, expected = _binned(errors)
    return float(_best_design(shares, expected, expected, limit)[2].max())


def log_odds(probabilities: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Return the log odds of `probabilities`, which are first clipped to [1e-6, MAX_ERROR]."""
    probabilities = np.clip(probabilities, 1e-6, MAX_ERROR)
    return np.log(probabilities) - np.log1p(-probabilities)


def logistic(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Convert log odds to probabilities."""
    return 0.5 * (1 + np.tanh(0.5 * values))


def _best_design(
    shares: Float[np.ndarray, "bins"],
    expected: Float[np.ndarray, "bins"],
    assumed: Float[np.ndarray, "bins"],
    limit: float,
) -> tuple[float, float, Float[np.ndarray, "stakes"]]:
    """Choose the weights of random draws of images with which the best bet grows fastest.

    On each draw, bets are made that the model's error rate is at most `limit`; their capital grows
    if this is true. The docstring of `choose_weights` gives the formula of the weights.

    Args:
      shares: the share of the images in each bin; a bin holds images of similar error probability.
      expected: the error probability of each bin, from which the weights are computed.
      assumed: the error probability of each bin with which the growth of bets is computed.
      limit: the error rate that the draws have to test.

    Returns:
      The power and the floor in the formula, and for each stake in STAKES the expected growth of
      the logarithm of the capital per draw.
    """
    designs = []
    for power in POWERS:
        scaled = (expected * (1 - expected)) ** power
        scaled = scaled / np.sum(shares * scaled)
        for floor in FLOORS:
            growth = _expected_growth(shares, assumed, (1 - floor) * scaled + floor, limit)
            designs.append((power, floor, growth))
    return max(designs, key=lambda design: design[2].max())


def _expected_growth(
    shares: Float[np.ndarray, "bins"],
    errors: Float[np.ndarray, "bins"],
    weights: Float[np.ndarray, "bins"],
    limit: float,
) -> Float[np.ndarray, "stakes"]:
    """Return, for each stake in STAKES, the expected growth of a bet's log capital per draw.

    On each random draw of an image, a bet is made that the model's error rate is at most `limit`.
    The capital of the bet grows if this is true.

    Args:
      shares: the share of the images in each bin; a bin holds images of similar error probability.
      errors: the error probability of each bin, which is assumed to be true and also used as the
        control variate.
      weights: the weight of the images in each bin, with which they are drawn.
      limit: the error rate that the draws have to test.
    """
    total = np.sum(shares * weights)
    centre, scale = np.sum(shares * errors), total / weights
    if_wrong, if_right = centre + (1 - errors) * scale, centre - errors * scale
    stakes = (STAKES / if_wrong.max())[:, None]
    gains = errors * np.log1p(-stakes * (if_wrong - limit))
    gains += (1 - errors) * np.log1p(-stakes * (if_right - limit))
    return np.sum(shares * weights / total * gains, axis=1)


def _binned(
    errors: Float[np.ndarray, "n"],
) -> tuple[Float[np.ndarray, "bins"], Float[np.ndarray, "bins"]]:
    """Group images into bins by the logarithm of their probability of a wrong prediction, `errors`.

    Returns:
      The share of the images and the mean error probability in each bin that is not empty.
    """
    logs = np.log(errors)
    bins = (logs - logs.min()) / max(np.ptp(logs), 1e-9) * BINS
    bins = np.minimum(bins.astype(int), BINS - 1)
    counts, sums = np.bincount(bins, minlength=BINS), np.bincount(bins, errors, BINS)
    filled = counts > 0
    return counts[filled] / len(errors), sums[filled] / counts[filled]
