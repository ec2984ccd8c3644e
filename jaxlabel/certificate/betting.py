"""A confidence sequence for a model's error rate, from the capital of bets on the draws.

A bettor who bets against the hypothesis that the error rate is m starts with a capital of 1. If the
hypothesis is true, the capital rarely becomes large. So a value m at which the capital becomes
large can be ruled out. One bettor rules out large error rates, another rules out small ones.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlabel.certificate.design import STAKES

PRIOR_DRAWS = 40  # the number of draws as which a stake's expected growth counts
# The share of the first bettor's capital that is staked by the variance of past draws, not by the
# limit. It narrows the interval at error rates other than the limit.
VARIANCE_SHARE = 0.1
MIN_VARIANCE = 1e-12  # avoids division by 0: the variance assumed at first is 0 if the limit is 0
MAX_STAKE = 0.75  # stakes by variance are at most this share of the largest stake without ruin


class ConfidenceSequence:
    """A confidence interval for a model's error rate that is valid after every draw of an audit.

    An audit draws random images one by one and buys their labels. Let m be the error rate on a pool
    of n images. Each draw of an image i gives a value Y = (errors found before) / n + (sum of s
    over the remaining images) / n + (wrong_i - s_i) / (n q_i). Here wrong_i is 1 if the prediction
    for image i is wrong and 0 if not, q_i is the probability of drawing i, and s_i is a prediction
    of wrong_i (a control variate). Given all earlier draws, the mean of Y is m (Shekhar et al.
    2023). So a bet that multiplies its capital by 1 - stake (Y - m) in each draw is fair if the
    stake is fixed before the draw: the capital is a nonnegative martingale, and the probability
    that it ever exceeds 1/a times its start is at most a (Ville 1939). A value m at which this
    happens is ruled out. Such bets rule out error rates that are too large; bets with 1 + stake (Y
    - m) rule out those that are too small. The stakes do not depend on m, so the capital is
    monotone in m.

    Args:
      num_pool: the number n of images in the pool.
      limit: the error rate to test: the audit has to find out whether m is at most `limit`.
      error_low: the allowed probability that m is above the interval of error rates.
      error_high: the allowed probability that m is below the interval of error rates.

    Attributes:
      drawn: the images drawn, as indices into the pool, in the order of the draws.
      wrong: for each image drawn, whether the model's prediction is wrong.
    """

    def __init__(self, num_pool: int, limit: float, error_low: float, error_high: float):
        self.num_pool, self.limit = num_pool, limit
        # 1e-9 allows for rounding: 1 - 0.9 is slightly below 0.1, but 1 error in 10 is allowed.
        self._allowed_errors = limit * num_pool + 1e-9
        self._log_low, self._log_high = -np.log(error_low), -np.log(error_high)
        self.drawn = np.zeros(0, np.int64)
        self.wrong = np.zeros(0, bool)
        self._values, self._stakes, self._stakes_by_variance, self._stakes_up = np.zeros((4, 0))
        # The logarithm of the capital at the limit that each of the fixed STAKES would have.
        self._log_capitals = np.zeros(len(STAKES))

    @property
    def num_labels(self) -> int:
        """Return the number of labels that have been bought so far, one for each image drawn."""
        return len(self.drawn)

    def update(
        self, remaining: Int[np.ndarray, "l"], first: Int[np.ndarray, "b"],
        weights: Float[np.ndarray, "l"], predicted: Float[np.ndarray, "l"],
        wrong: Bool[np.ndarray, "b"], expected_growth: Float[np.ndarray, "stakes"],
    ) -> None:  # fmt: skip
        """Add the draws of a batch of images, whose labels show whether the model is wrong on them.

        The draws were made one after the other, without replacement.

        Args:
          remaining: the images that were not drawn before, as indices into the pool.
          first: the draws in order, as indices into `remaining`.
          weights: for each image in `remaining`, the weight with which it was drawn.
          predicted: for each image in `remaining`, the predicted probability of an error.
          wrong: for each draw, whether the model's prediction is wrong.
          expected_growth: for each stake in STAKES, the expected growth of the logarithm of the
            capital when one bet is made on each draw.
        """
        n = self.num_pool
        errors_before = np.sum(self.wrong) + np.concatenate([[0], np.cumsum(wrong[:-1])])
        total_weight = _sum_remaining(weights, first)
        centre = (errors_before + _sum_remaining(predicted, first)) / n
        scale = total_weight / (n * weights[first])
        values = centre + (wrong - predicted[first]) * scale
        # Before each draw, Y is known to be at most centre + rise and at least centre - fall.
        rise = np.max((1 - predicted) / weights) * total_weight / n
        fall = np.max(predicted / weights) * total_weight / n
        stakes = STAKES / (centre + rise)[:, None]
        logs = np.log1p(-stakes * (values - self.limit)[:, None])
        past = self._log_capitals + np.cumsum(logs, axis=0) - logs
        best = np.argmax(PRIOR_DRAWS * expected_growth + past, axis=1)  # uses earlier draws only
        self._log_capitals = self._log_capitals + logs.sum(axis=0)
        variance_stakes = self._variance_stakes(values, self._log_low)
        variance_stakes = np.minimum(variance_stakes, MAX_STAKE / (centre + rise))
        up_stakes = self._variance_stakes(values, self._log_high)
        up_stakes = np.minimum(up_stakes, MAX_STAKE / (1 - centre + fall))
        self._values = np.append(self._values, values)
        self._stakes = np.append(self._stakes, stakes[np.arange(len(values)), best])
        self._stakes_by_variance = np.append(self._stakes_by_variance, variance_stakes)
        self._stakes_up = np.append(self._stakes_up, up_stakes)
        self.drawn = np.append(self.drawn, remaining[first])
        self.wrong = np.append(self.wrong, wrong)

    def _variance_stakes(
        self, values: Float[np.ndarray, "b"], log: float
    ) -> Float[np.ndarray, "b"]:
        """Return the stakes of the bets on new draws, from the variance of the earlier values.

        A bet is made on each draw (see the class docstring). The stake of draw t is sqrt(2 log(1/a)
        / (variance t log(1 + t))), the predictable plug-in bet of Waudby-Smith & Ramdas 2024. It
        depends on `limit` only because `limit` is the mean that is assumed before the first draw.

        Args:
          values: the values Y of the new draws (see the class docstring).
          log: log(1/a), where a is the allowed probability of an error.
        """
        past = np.concatenate([self._values, values])
        times = np.arange(1, len(past) + 1)
        mean = (self.limit + np.cumsum(past)) / (times + 1)
        squares = (self.limit * (1 - self.limit) + np.cumsum((past - mean) ** 2)) / (times + 1)
        variance = np.concatenate([[self.limit * (1 - self.limit)], squares[:-1]])
        variance = np.maximum(variance, MIN_VARIANCE)
        bets = np.sqrt(2 * log / (variance * times * np.log1p(times)))
        return bets[len(self._values) :]

    def is_below_limit(self) -> bool:
        """Return True if the labels so far certify that the error rate is at most `limit`.

        `limit` is the error rate to test, an argument of the constructor.
        """
        certain = self.num_pool - np.sum(~self.wrong) <= self._allowed_errors
        return bool(certain or self._max_log_capital(self.limit) >= self._log_low)

    def is_above_limit(self) -> bool:
        """Return True if the labels so far certify that the error rate is above `limit`.

        `limit` is the error rate to test, an argument of the constructor.
        """
        certain = np.sum(self.wrong) > self._allowed_errors
        return bool(certain or self._max_log_capital_up(self.limit) >= self._log_high)

    def interval(self) -> tuple[float, float]:
        """Return the confidence interval of the model's accuracy as (low, high).

        It contains the accuracies that the draws so far do not rule out.
        """
        min_error = np.sum(self.wrong) / self.num_pool
        max_error = 1 - np.sum(~self.wrong) / self.num_pool
        above = _smallest_ruled_out(
            lambda m: self._max_log_capital(m) >= self._log_low, min_error, max_error
        )
        below = 1 - _smallest_ruled_out(
            lambda accuracy: self._max_log_capital_up(1 - accuracy) >= self._log_high,
            1 - max_error,
            1 - min_error,
        )
        return float(1 - above), float(1 - below)

    def estimate(self) -> float:
        """Return the LURE estimate of the accuracy (Farquhar et al. 2021); NaN without labels."""
        m, n = self.num_labels, self.num_pool
        if m == 0:
            return float("nan")
        if m == n:
            return float(1 - np.mean(self.wrong))
        draw = np.arange(1, m + 1)
        parts = n / m * (n - m) / ((n - draw) * (n - draw + 1.0))
        return float(1 - np.sum(parts * self._values))

    def num_draws_to_certify(self) -> float:
        """Return after how many draws the bets first ruled out an error rate above `limit`.

        Returns:
          The number of draws; infinity if the draws so far do not suffice.
        """
        enough = np.flatnonzero(self._log_capital(self.limit) >= self._log_low)
        return int(enough[0]) + 1 if len(enough) else np.inf

    def _max_log_capital(self, m: float) -> float:
        """Return the largest log capital so far of bets that the model's error rate is below `m`.

        One bet is made on each image drawn. If the error rate is `m` or more, the capital, which
        starts at 1, rarely becomes large. So a large capital is evidence that the error rate is
        below `m`.
        """
        return float(np.max(self._log_capital(m), initial=0.0))

    def _log_capital(self, m: float) -> Float[np.ndarray, "draws"]:
        """Return the log capital after each draw, of bets that the error rate is below `m`."""
        by_limit = np.cumsum(np.log1p(-self._stakes * (self._values - m)))
        by_variance = np.cumsum(np.log1p(-self._stakes_by_variance * (self._values - m)))
        return np.logaddexp(
            by_limit + np.log1p(-VARIANCE_SHARE), by_variance + np.log(VARIANCE_SHARE)
        )

    def _max_log_capital_up(self, m: float) -> float:
        """Return the largest log capital so far of bets that the model's error rate is above `m`.

        One bet is made on each image drawn. If the error rate is `m` or less, the capital, which
        starts at 1, rarely becomes large. So a large capital is evidence that the error rate is
        above `m`.
        """
        logs = np.log1p(self._stakes_up * (self._values - m))
        return float(np.max(np.cumsum(logs), initial=0.0))


def _sum_remaining(
    amounts: Float[np.ndarray, "l"], first: Int[np.ndarray, "b"]
) -> Float[np.ndarray, "b"]:
    """Return, for each draw, the sum of `amounts` over the images that were not drawn before it.

    Images are drawn at random, one after the other and without replacement.

    Args:
      amounts: one number for each image.
      first: the draws in order, as indices into `amounts`.
    """
    taken = np.cumsum(amounts[first])
    return np.sum(amounts) - np.concatenate([[0.0], taken[:-1]])


def _smallest_ruled_out(is_ruled_out: Callable[[float], bool], low: float, high: float) -> float:
    """Return the smallest value in [low, high] for which `is_ruled_out` returns True.

    `is_ruled_out` is a function that must also return True for all larger values. The value is
    found by bisection and accurate to 1e-9. If the function returns True for no value, `high` is
    returned.
    """
    if not is_ruled_out(high):
        return high
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if is_ruled_out(middle) else (middle, high)
    return high
