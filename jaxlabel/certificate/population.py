"""Convert bounds of the accuracy on a pool of images to bounds of the accuracy on new images."""

from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

# The share of the allowed error probability that is used for the step from the pool to new images.
SAMPLING_SHARE = 0.2


class Population(NamedTuple):
    """A conversion of accuracy bounds on a pool of images to accuracy bounds on new images.

    All images count as a random sample from the distribution of new images. The pool consists of
    the images whose labels were not bought before an audit.

    Attributes:
      num_images: the number of all images.
      num_pool: the number of images in the pool.
      error: the allowed probability that the interval of the accuracy on new images is wrong.
    """

    num_images: int
    num_pool: int
    error: float

    @property
    def pool_error(self) -> float:
        """Return the allowed probability that the interval of the accuracy on the pool is wrong.

        The pool is the set of images whose labels were not bought before. The result is a part of
        `error`, the allowed probability for new images. The other part is used for the step from
        the pool to new images.
        """
        return (1 - SAMPLING_SHARE) * self.error

    def interval(self, low: float, high: float, lower_share: float) -> tuple[float, float]:
        """Convert an interval of the accuracy on the pool to one of the accuracy on new images.

        The pool is the set of images whose labels were not bought before. The bounds are those of
        Clopper & Pearson 1934 for the least favourable counts: every image whose label was bought
        before counts as wrong in the lower bound, and as right in the upper bound.

        Args:
          low: the lower end of the accuracy on the pool.
          high: the upper end of the accuracy on the pool.
          lower_share: the share of the allowed error probability that is used for the lower end.

        Returns:
          The ends (low, high) of the interval of the accuracy on new images.
        """
        right = np.ceil(low * self.num_pool - 1e-6)
        wrong = np.ceil((1 - high) * self.num_pool - 1e-6)
        return self._lower_bound(right, lower_share), 1 - self._lower_bound(wrong, 1 - lower_share)

    def needed_accuracy(self, target: float, lower_share: float) -> float:
        """Return the smallest accuracy on the pool that certifies an accuracy on new images.

        The pool is the set of images whose labels were not bought before. The result is 1 if no
        accuracy on the pool certifies the target.

        Args:
          target: the accuracy on new images to certify.
          lower_share: the share of the allowed error probability that is used for the lower bound.
        """
        count = bisect_left(
            range(self.num_pool + 1),
            target,
            key=lambda right: self._lower_bound(right, lower_share),
        )
        return min(1.0, count / self.num_pool)

    def _lower_bound(self, count: float, share: float) -> float:
        """Return a lower bound of the accuracy on new images (Clopper & Pearson 1934).

        Args:
          count: the number of right predictions among all images.
          share: the share of the allowed error probability that this bound may use.
        """
        if count <= 0:
            return 0.0
        return float(
            beta.ppf(SAMPLING_SHARE * self.error * share, count, self.num_images - count + 1)
        )
