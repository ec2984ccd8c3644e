"""From the accuracy on a pool of images to that on what the images were drawn from."""

from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

SHARE = 0.2  # of the error that is allowed: for the images having been a sample


class Population(NamedTuple):
    """`num_images` independent draws, of which `num_pool` are audited; the others were bought."""

    num_images: int
    num_pool: int
    error: float  # how probable it may be that the whole statement is wrong

    @property
    def error_left(self) -> float:
        """What is left of the error for the audit itself."""
        return (1 - SHARE) * self.error

    def interval(self, low: float, high: float, lower_share: float) -> tuple[float, float]:
        """The accuracy's interval, from the pool's: Clopper & Pearson's of the worst counts."""
        right = np.ceil(low * self.num_pool - 1e-6)  # and every bought one wrong
        wrong = np.ceil((1 - high) * self.num_pool - 1e-6)  # and every bought one right
        return self._least(right, lower_share), 1 - self._least(wrong, 1 - lower_share)

    def needed(self, target: float, lower_share: float) -> float:
        """The least accuracy on the pool that certifies `target`; 1 where none does."""
        count = bisect_left(
            range(self.num_pool + 1), target, key=lambda right: self._least(right, lower_share)
        )
        return min(1.0, count / self.num_pool)

    def _least(self, count: float, share: float) -> float:
        """The least share under which `count` or more of all images are not too improbable."""
        if count <= 0:
            return 0.0
        return float(beta.ppf(SHARE * self.error * share, count, self.num_images - count + 1))
