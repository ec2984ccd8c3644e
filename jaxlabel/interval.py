"""Confidence intervals of shares."""

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
