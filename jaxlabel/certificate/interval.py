"""Confidence intervals of shares."""

import math
from typing import NamedTuple

import numpy as np

NORMAL_975 = 1.959963984540054  # the normal distribution's 97.5% quantile: 95% lie within it


class Interval(NamedTuple):
    """A 95% interval."""

    low: float
    high: float


def wilson_interval(correct: float, total: float) -> Interval:
    """The 95% interval of a share of which `correct` of `total` independent draws were seen.

    Wilson 1927; it stays within [0, 1], and nothing drawn says nothing: (0, 1).
    """
    if total <= 0:
        return Interval(0.0, 1.0)
    square = NORMAL_975**2
    share, scale = correct / total, 1 + square / total
    middle = (share + square / (2 * total)) / scale
    spread = share * (1 - share) / total + square / (4 * total**2)
    half = NORMAL_975 / scale * np.sqrt(max(spread, 0.0))
    return Interval(float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def at_least(share: float, digits: int) -> str:
    """A lower bound in percent, as people read it: never more than it is."""
    return f"{math.floor(share * 10 ** (digits + 2) + 1e-6) / 10**digits:.{digits}f}%"


def at_most(share: float, digits: int) -> str:
    """An upper bound in percent: never less than it is."""
    return f"{math.ceil(share * 10 ** (digits + 2) - 1e-6) / 10**digits:.{digits}f}%"
