"""Compute confidence intervals of proportions, and format their ends as percentages."""

import math
from typing import NamedTuple

import numpy as np

NORMAL_975 = 1.959963984540054  # the 97.5% quantile of the standard normal distribution


class Interval(NamedTuple):
    """A 95% confidence interval, from `low` to `high`."""

    low: float
    high: float


def wilson_interval(correct: float, total: float) -> Interval:
    """Return Wilson's 95% confidence interval of a proportion (Wilson 1927), within [0, 1].

    Args:
      correct: the number of successes.
      total: the number of independent trials; 0 gives the interval (0, 1).
    """
    if total <= 0:
        return Interval(0.0, 1.0)
    square = NORMAL_975**2
    share, scale = correct / total, 1 + square / total
    middle = (share + square / (2 * total)) / scale
    variance = share * (1 - share) / total + square / (4 * total**2)
    half = NORMAL_975 / scale * np.sqrt(max(variance, 0.0))
    return Interval(float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def at_least(share: float, digits: int) -> str:
    """Format a lower bound, a fraction, as a percentage rounded down to `digits` decimals."""
    return f"{math.floor(share * 10 ** (digits + 2) + 1e-6) / 10**digits:.{digits}f}%"


def at_most(share: float, digits: int) -> str:
    """Format an upper bound, a fraction, as a percentage rounded up to `digits` decimals."""
    return f"{math.ceil(share * 10 ** (digits + 2) - 1e-6) / 10**digits:.{digits}f}%"
