"""Two gamblers' books: one bets that the errors are rarer than the limit, one that they are not."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlabel.certificate.design import STAKES

PRIOR_DRAWS = 40  # how many draws the expected growth of a stake counts for
ASIDE = 0.1  # of the first gambler's capital: bet without regard to the limit, for the interval
LEAST_VARIANCE = 1e-12  # where the limit is 0, so is the variance that is supposed before a draw
LARGEST = 0.75  # of a stake that cannot ruin, where it is set by the variance


class Ledger:
    """What was drawn from a pool of `num_pool` images, and what follows for its error rate m.

    Each draw gives Y = (errors found before) / n + sum over what is left of s / n
    + (wrong_i - s_i) / (n q_i), with q_i the probability of that draw and s_i a prediction of
    wrong_i: whatever came before, the mean of Y is m (Shekhar et al. 2023, with their control
    variates). So the products of 1 - stake (Y - m), and of 1 + stake' (Y - m) are
    nonnegative martingales for stakes fixed before the draw, and pass 1/a ever with probability
    at most a (Ville 1939). They are monotone in m because the stakes do not depend on it.

    Args:
      limit: the error rate that is bet against.
      error_low, error_high: how probable it may be that m is above, or below, the interval.
    """

    def __init__(self, num_pool: int, limit: float, error_low: float, error_high: float):
        self.num_pool, self.limit = num_pool, limit
        self._log_low, self._log_high = -np.log(error_low), -np.log(error_high)
        self.drawn = np.zeros(0, np.int64)
        self.wrong = np.zeros(0, bool)
        self._values, self._stakes, self._stakes_any, self._stakes_up = np.zeros((4, 0))
        self._by_stake = np.zeros(len(STAKES))  # log capital at the limit, of each fixed stake

    @property
    def num_labels(self) -> int:
        """How many labels were bought."""
        return len(self.drawn)

    def enter(
        self, left: Int[np.ndarray, "l"], first: Int[np.ndarray, "b"],
        weights: Float[np.ndarray, "l"], predicted: Float[np.ndarray, "l"],
        wrong: Bool[np.ndarray, "b"], expected_growth: Float[np.ndarray, "stakes"],
    ) -> None:  # fmt: skip
        """Books the draws `first` of the images `left`, made one after the other by `weights`."""
        n = self.num_pool
        before = np.sum(self.wrong) + np.concatenate([[0], np.cumsum(wrong[:-1])])
        weight_left = _left(weights, first)
        centre = (before + _left(predicted, first)) / n
        scale = weight_left / (n * weights[first])
        values = centre + (wrong - predicted[first]) * scale
        # the largest and the smallest Y that the draw could give, known before it
        rise = np.max((1 - predicted) / weights) * weight_left / n
        fall = np.max(predicted / weights) * weight_left / n
        stakes = STAKES / (centre + rise)[:, None]
        logs = np.log1p(-stakes * (values - self.limit)[:, None])
        past = self._by_stake + np.cumsum(logs, axis=0) - logs
        followed = np.argmax(PRIOR_DRAWS * expected_growth + past, axis=1)
        self._by_stake = self._by_stake + logs.sum(axis=0)
        any_limit = np.minimum(self._by_variance(values, self._log_low), LARGEST / (centre + rise))
        up = np.minimum(self._by_variance(values, self._log_high), LARGEST / (1 - centre + fall))
        self._values = np.append(self._values, values)
        self._stakes = np.append(self._stakes, stakes[np.arange(len(values)), followed])
        self._stakes_any = np.append(self._stakes_any, any_limit)
        self._stakes_up = np.append(self._stakes_up, up)
        self.drawn = np.append(self.drawn, left[first])
        self.wrong = np.append(self.wrong, wrong)

    def _by_variance(self, values: Float[np.ndarray, "b"], log: float) -> Float[np.ndarray, "b"]:
        """Stakes sqrt(2 log(1/a) / (past variance t log(1 + t))), whatever the limit.

        They are those of the predictable plug-in bets of Waudby-Smith & Ramdas 2024.
        """
        past = np.concatenate([self._values, values])
        times = np.arange(1, len(past) + 1)
        mean = (self.limit + np.cumsum(past)) / (times + 1)
        squares = (self.limit * (1 - self.limit) + np.cumsum((past - mean) ** 2)) / (times + 1)
        variance = np.concatenate([[self.limit * (1 - self.limit)], squares[:-1]])
        variance = np.maximum(variance, LEAST_VARIANCE)
        bets = np.sqrt(2 * log / (variance * times * np.log1p(times)))
        return bets[len(self._values) :]

    def is_below_limit(self) -> bool:
        """Whether the error rate is certified to be at most the limit."""
        certain = 1 - np.sum(~self.wrong) / self.num_pool <= self.limit
        return bool(certain or self._capital(self.limit) >= self._log_low)

    def is_above_limit(self) -> bool:
        """Whether it is certified to be more than the limit."""
        certain = np.sum(self.wrong) / self.num_pool > self.limit
        return bool(certain or self._capital_up(self.limit) >= self._log_high)

    def interval(self) -> tuple[float, float]:
        """The least and the greatest accuracy that no gambler has ruled out."""
        least = np.sum(self.wrong) / self.num_pool
        most = 1 - np.sum(~self.wrong) / self.num_pool
        above = _root(lambda m: self._capital(m) >= self._log_low, least, most)
        below = 1 - _root(lambda m: self._capital_up(1 - m) >= self._log_high, 1 - most, 1 - least)
        return float(1 - above), float(1 - below)

    def estimate(self) -> float:
        """The accuracy by LURE's weights of the draws (Farquhar et al. 2021)."""
        m, n = self.num_labels, self.num_pool
        if m == 0:
            return float("nan")
        if m == n:
            return float(1 - np.mean(self.wrong))
        draw = np.arange(1, m + 1)
        parts = n / m * (n - m) / ((n - draw) * (n - draw + 1.0))
        return float(1 - np.sum(parts * self._values))

    def _capital(self, m: float) -> float:
        """The logarithm of the most that the first gambler ever had, were the error rate m."""
        by_limit = np.cumsum(np.log1p(-self._stakes * (self._values - m)))
        by_variance = np.cumsum(np.log1p(-self._stakes_any * (self._values - m)))
        both = np.logaddexp(by_limit + np.log1p(-ASIDE), by_variance + np.log(ASIDE))
        return float(np.max(both, initial=0.0))

    def _capital_up(self, m: float) -> float:
        logs = np.log1p(self._stakes_up * (self._values - m))
        return float(np.max(np.cumsum(logs), initial=0.0))


def _left(amounts: Float[np.ndarray, "l"], first: Int[np.ndarray, "b"]) -> Float[np.ndarray, "b"]:
    """The sum of the amounts that are left before each of the draws."""
    taken = np.cumsum(amounts[first])
    return np.sum(amounts) - np.concatenate([[0.0], taken[:-1]])


def _root(is_ruled_out: Callable[[float], bool], low: float, high: float) -> float:
    """The least value in [low, high] that is ruled out, all above it being so; else `high`."""
    if not is_ruled_out(high):
        return high
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if is_ruled_out(middle) else (middle, high)
    return high
