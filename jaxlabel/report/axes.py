"""Compute the scales and tick marks of a chart's axes."""

import math
from collections.abc import Sequence
from typing import Any


def make_scale(values: Sequence[float], start: float, end: float, log: bool) -> Any:
    """Return a function that maps a number to its position on a chart's axis, in pixels.

    Args:
      values: numbers on the axis. The smallest is mapped to `start`, the largest to `end`.
      start: the position of the smallest number, in pixels.
      end: the position of the largest number, in pixels.
      log: True for a logarithmic scale, False for a linear one.
    """
    transform = (lambda v: math.log(max(v, 1e-12))) if log else float
    low, high = transform(min(values)), transform(max(values))
    span = high - low or 1.0
    return lambda value: start + (transform(value) - low) / span * (end - start)


def ticks(low: float, high: float) -> list[float]:
    """Return about five round, equally spaced numbers that mark an axis from `low` to `high`.

    The first number is at most `low` and the last is at least `high`. For example, `low` = 0 and
    `high` = 1 yield 0, 0.25, 0.5, 0.75 and 1.
    """
    if high <= low:
        low, high = low - abs(low) * 0.5 - 1e-9, high + abs(high) * 0.5 + 1e-9
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def inner_ticks(low: float, high: float) -> list[float]:
    """Return about four round, equally spaced numbers between `low` and `high` that mark an axis.

    Unlike `ticks`, it returns no number outside this range. If the range is empty, it returns
    [low].
    """
    return [t for t in ticks(low, high) if low <= t <= high] if low < high else [low]


def log_ticks(values: Sequence[float]) -> list[float]:
    """Return the numbers that mark a logarithmic axis, chosen from the points' positions `values`.

    A number is left out if its text would overlap with the text of a smaller number.
    """
    kept: list[float] = []
    span = math.log(max(values) / min(values)) or 1.0
    for value in sorted(set(values)):
        if not kept or math.log(value / kept[-1]) / span > 0.07:
            kept.append(value)
    return kept


def tick_text(value: float, percent: bool = False) -> str:
    """Return a number as a short text for an axis, such as "12k" for 12000.

    If `percent` is True, the number is a fraction and printed as a percentage: "85%" for 0.85.
    """
    if percent:
        return f"{100 * value:.3g}%"
    if abs(value) >= 1e4:
        return f"{value / 1000:g}k" if abs(value) < 1e6 else f"{value / 1e6:g}M"
    return f"{value:.4g}"
