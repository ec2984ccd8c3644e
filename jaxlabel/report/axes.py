"""Compute the scales and tick marks of a chart's axes."""

import math
from collections.abc import Sequence
from typing import Any


def scale(values: Sequence[float], start: float, end: float, log: bool) -> Any:
    """Return a function that maps a value to its position in pixels.

    Args:
      values: the smallest of them is mapped to `start`, the largest to `end`.
      start: a position in pixels.
      end: a position in pixels.
      log: True for a logarithmic scale.
    """
    transform = (lambda v: math.log(max(v, 1e-12))) if log else float
    low, high = transform(min(values)), transform(max(values))
    span = high - low or 1.0
    return lambda value: start + (transform(value) - low) / span * (end - start)


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers, the first at most `low` and the last at least `high`."""
    if high <= low:
        low, high = low - abs(low) * 0.5 - 1e-9, high + abs(high) * 0.5 + 1e-9
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def inner_ticks(low: float, high: float) -> list[float]:
    """Return the round numbers of `ticks` that lie between `low` and `high`."""
    return [t for t in ticks(low, high) if low <= t <= high] if low < high else [low]


def doublings(values: Sequence[float]) -> list[float]:
    """Return tick marks for a logarithmic axis: the values without those whose texts overlap."""
    kept: list[float] = []
    span = math.log(max(values) / min(values)) or 1.0
    for value in sorted(set(values)):
        if not kept or math.log(value / kept[-1]) / span > 0.07:
            kept.append(value)
    return kept


def tick_text(value: float, percent: bool = False) -> str:
    """Return a number as a short text for an axis, such as "12k" or "85%"."""
    if percent:
        return f"{100 * value:.3g}%"
    if abs(value) >= 1e4:
        return f"{value / 1000:g}k" if abs(value) < 1e6 else f"{value / 1e6:g}M"
    return f"{value:.4g}"
