"""Which images an audit draws how often: the weights under which a bet is expected to grow most.

Nothing here bears on validity: any positive weights, chosen before the labels are seen, are valid.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

STAKES = np.geomspace(0.02, 0.98, 16)  # shares of the largest stake that cannot ruin
POWERS = (0.0, 0.25, 0.5, 0.75)  # 0.5 makes the variance least (Kossen et al. 2021)
FLOORS = (0.03, 0.1, 0.25)  # a share of uniform draws, which bounds the largest loss
BINS = 24
NEWTON_STEPS = 6
HOPE = 0.85  # of the limit: the error rate supposed where the model expects a larger one
LOWEST, HIGHEST = 1e-4, 0.9  # what an error probability may be


class Weighting(NamedTuple):
    """Weights of draws, and what is expected of them."""

    weights: Float[np.ndarray, "n"]
    growth: Float[np.ndarray, "stakes"]  # expected log growth of a draw, for each of STAKES


class ErrorModel:
    """How probable an error is, by the model's own word and by the labels seen so far.

    Logistic calibration (Platt 1999) of the log odds, with a Gaussian prior around the identity:
    offset 0 +- 1, slope 1 +- 0.5.
    """

    def __init__(self, claimed: Float[np.ndarray, "n"]):
        self._odds = odds(claimed)

    def errors(
        self, drawn: Int[np.ndarray, "m"], wrong: Bool[np.ndarray, "m"]
    ) -> Float[np.ndarray, "n"]:
        """Each image's probability of an error."""
        prior, precision = np.array([0.0, 1.0]), np.diag([1.0, 4.0])
        inputs = np.stack([np.ones(len(drawn)), self._odds[drawn]], axis=1)
        fitted = prior
        for _ in range(NEWTON_STEPS if len(drawn) else 0):
            share = logistic(inputs @ fitted)
            slope = inputs.T @ (wrong - share) - precision @ (fitted - prior)
            curvature = (inputs * (share * (1 - share))[:, None]).T @ inputs + precision
            fitted = fitted + np.clip(np.linalg.solve(curvature, slope), -1, 1)
        return np.clip(logistic(fitted[0] + fitted[1] * self._odds), LOWEST, HIGHEST)


def choose_weights(errors: Float[np.ndarray, "n"], limit: float) -> Weighting:
    """Weights (e (1 - e))^power + floor, of the power and floor whose best stake grows most.

    The growth rate is that of Kelly 1956, E log(1 - stake (Y - limit)), for the images' `errors`.
    """
    shares, expected = _binned(errors)
    # without an edge nothing grows; suppose one
    hoped = expected * min(1.0, HOPE * limit / np.sum(shares * expected))
    power, floor, growth = _best(shares, expected, hoped, limit)
    spread = (errors * (1 - errors)) ** power
    return Weighting((1 - floor) * spread / spread.mean() + floor, growth)


def fastest_growth(errors: Float[np.ndarray, "n"], limit: float) -> float:
    """The growth rate of the best stake under the best weights, were the `errors` the truth."""
    shares, expected = _binned(errors)
    return float(_best(shares, expected, expected, limit)[2].max())


def odds(claimed: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The log odds of probabilities, none of them certain."""
    claimed = np.clip(claimed, 1e-6, HIGHEST)
    return np.log(claimed) - np.log1p(-claimed)


def logistic(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The probabilities of log odds."""
    return 0.5 * (1 + np.tanh(0.5 * values))


def _best(
    shares: Float[np.ndarray, "bins"],
    expected: Float[np.ndarray, "bins"],
    hoped: Float[np.ndarray, "bins"],
    limit: float,
) -> tuple[float, float, Float[np.ndarray, "stakes"]]:
    """Power and floor for the `expected` errors, and the growth by stake if `hoped` are true."""
    found = []
    for power in POWERS:
        scaled = (expected * (1 - expected)) ** power
        scaled = scaled / np.sum(shares * scaled)
        for floor in FLOORS:
            growth = _growth(shares, hoped, (1 - floor) * scaled + floor, limit)
            found.append((power, floor, growth))
    return max(found, key=lambda design: design[2].max())


def _growth(
    shares: Float[np.ndarray, "bins"],
    errors: Float[np.ndarray, "bins"],
    weights: Float[np.ndarray, "bins"],
    limit: float,
) -> Float[np.ndarray, "stakes"]:
    """The expected logarithm of a draw's factor, `errors` being true and the control variate."""
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
    """Shares of the images in bins of like errors, and the mean error of each."""
    logs = np.log(errors)
    place = (logs - logs.min()) / max(np.ptp(logs), 1e-9) * BINS
    place = np.minimum(place.astype(int), BINS - 1)
    counts, sums = np.bincount(place, minlength=BINS), np.bincount(place, errors, BINS)
    filled = counts > 0
    return counts[filled] / len(errors), sums[filled] / counts[filled]
