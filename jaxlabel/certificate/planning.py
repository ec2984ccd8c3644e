"""How many labels an audit is likely to take: to know when to begin one."""

import math

import numpy as np
from jaxtyping import Float

from jaxlabel.certificate.design import LOWEST, fastest_growth, logistic, odds

LEARNING = 1.25  # how many times the draws of a gambler who knows the errors' odds from the start


def expected_draws(
    claimed: Float[np.ndarray, "n"], mean: float, limit: float, error: float
) -> float:
    """The draws after which the first gambler is likely to have multiplied the money by 1 / error.

    The best bet's expected logarithm is its growth rate (Kelly 1956), for images whose odds of an
    error are the model's own but for one temperature (Guo et al. 2017), at which their mean is
    `mean`. Simulated audits take .8 to 1.3 times as many (experiments/certificate.md).

    Args:
      claimed: the probability of an error that the model owns up to, by image.
      mean: the share of errors that is supposed.
      limit: the error rate that is bet against.

    Returns:
      Infinity where more errors are supposed than the limit allows.
    """
    if mean >= limit:
        return math.inf
    growth = fastest_growth(tempered(claimed, mean), limit)
    return LEARNING * math.log(1 / error) / growth if growth > 0 else math.inf


def fewest_draws(limit: float, error: float) -> float:
    """The even draws below which the first gambler cannot succeed: all bets placed and won.

    A bet won multiplies the money by less than 1 + limit, and one over the error is wanted.
    """
    return math.log(1 / error) / math.log1p(limit)


def tempered(claimed: Float[np.ndarray, "n"], mean: float) -> Float[np.ndarray, "n"]:
    """The probabilities with log odds divided by one temperature, so that their mean is `mean`.

    A mean that no temperature between 1/20 and 20 gives is the nearest that one does.
    """
    logits = odds(claimed)
    low, high = -3.0, 3.0  # logarithms of the temperature; the mean grows with it below 1/2
    for _ in range(40):
        middle = 0.5 * (low + high)
        short = logistic(logits / math.exp(middle)).mean() < mean
        low, high = (middle, high) if short else (low, middle)
    return np.maximum(logistic(logits / math.exp(high)), LOWEST)
