"""Confidence thresholds and weights in [0, 1] of pseudo-labels, one per unlabelled example.

They are all that distinguishes four methods: FixMatch has a fixed threshold, FlexMatch one per
class that follows how well the class is learned, FreeMatch one that follows the model's mean
confidence, and SoftMatch a smooth weight.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Probabilities = Float[Array, "batch classes"]


def fixed_mask(probabilities: Probabilities, threshold: float) -> Float[Array, "batch"]:
    """Return 1 where the largest probability reaches the threshold, else 0 (FixMatch).

    Sohn et al. 2020, eq. 4.
    """
    return (jnp.max(probabilities, axis=-1) >= threshold).astype(jnp.float32)


def class_mask(
    probabilities: Probabilities, thresholds: Float[Array, "classes"]
) -> Float[Array, "batch"]:
    """Return 1 where the largest probability reaches the predicted class's threshold, else 0."""
    labels = jnp.argmax(probabilities, axis=-1)
    return (jnp.max(probabilities, axis=-1) >= thresholds[labels]).astype(jnp.float32)


def remember(
    chosen: Int[Array, "n"],
    rows: Int[Array, "batch"],
    probabilities: Probabilities,
    threshold: float,
) -> Int[Array, "n"]:
    """Update the last confident class of each image; -1 if it never had one.

    FlexMatch (Zhang et al. 2021), algorithm 1. If an image is in the batch twice, with two
    different confident classes, the class with the larger number wins, because JAX does not define
    which of two writes comes last.

    Args:
      chosen: the last confident class of every image so far.
      rows: the indices of the batch's images.
      probabilities: the predictions for the batch.
      threshold: the confidence at which a prediction counts.
    """
    confident = jnp.max(probabilities, axis=-1) >= threshold
    labels = jnp.argmax(probabilities, axis=-1).astype(chosen.dtype)
    fresh = jnp.full_like(chosen, -1).at[rows].max(jnp.where(confident, labels, -1))
    return jnp.where(fresh >= 0, fresh, chosen)


def curriculum_thresholds(
    chosen: Int[Array, "n"], num_classes: int, threshold: float
) -> Float[Array, "classes"]:
    """Return FlexMatch's threshold per class, lower for classes with few confident images.

    Zhang et al. 2021: eq. 5 counts the images per class; eq. 11 (warm-up) divides by the largest
    count, or by the number of images that were never confident if that is more; eq. 12 maps x to
    x / (2 - x).

    Args:
      chosen: the last confident class of every image, -1 if it never had one.
      threshold: the threshold of a fully learned class.
    """
    counts = jnp.zeros(num_classes).at[jnp.maximum(chosen, 0)].add(chosen >= 0)
    unused = jnp.sum(chosen < 0)
    learned = counts / jnp.maximum(jnp.maximum(jnp.max(counts), unused), 1.0)
    return threshold * learned / (2.0 - learned)


class Confidence(NamedTuple):
    """Running statistics of the model's predictions on unlabelled images.

    Attributes:
      level: mean of the largest probability.
      spread: variance of the largest probability.
      mean: mean prediction, one probability per class.
    """

    level: Float[Array, ""]
    spread: Float[Array, ""]
    mean: Float[Array, "classes"]


def initial_statistics(num_classes: int) -> Confidence:
    """Return the initial statistics, for uniform predictions, as in FreeMatch and SoftMatch."""
    share = jnp.float32(1 / num_classes)
    return Confidence(share, jnp.float32(1.0), jnp.full(num_classes, share))


def update_statistics(before: Confidence, probabilities: Probabilities, decay: float) -> Confidence:
    """Update the running statistics with one batch, by exponential moving averages.

    FreeMatch (Wang et al. 2023), eq. 5 and 8; SoftMatch (Chen et al. 2023), eq. 6-7, with the
    unbiased sample variance.

    Args:
      before: the statistics before the batch.
      probabilities: the predictions for the batch.
      decay: the weight of the old statistics.
    """
    largest = jnp.max(probabilities, axis=-1)
    variance = jnp.var(largest) * len(largest) / max(1, len(largest) - 1)

    def average(old: Array, new: Array) -> Array:
        return decay * old + (1 - decay) * new

    return Confidence(
        average(before.level, jnp.mean(largest)),
        average(before.spread, variance),
        average(before.mean, jnp.mean(probabilities, axis=0)),
    )


def adaptive_thresholds(statistics: Confidence, max_level: float = 1.0) -> Float[Array, "classes"]:
    """Return FreeMatch's threshold per class.

    Wang et al. 2023, eq. 9: the mean confidence times the class's mean probability, divided by the
    largest class's mean probability. The upper limit `max_level` of the mean confidence is not in
    the paper.
    """
    return jnp.minimum(statistics.level, max_level) * statistics.mean / jnp.max(statistics.mean)


def gaussian_weights(probabilities: Probabilities, statistics: Confidence) -> Float[Array, "batch"]:
    """Return SoftMatch's pseudo-label weights in [0, 1], smaller for less confident predictions.

    Chen et al. 2023, eq. 5, with lambda_max = 1: the weight is exp(-(max p - level)^2 / (2 spread))
    if max p is below `level`, else 1, where `level` and `spread` are the running mean and variance
    of the largest probability.
    """
    largest = jnp.max(probabilities, axis=-1)
    below = jnp.minimum(largest - statistics.level, 0.0)
    return jnp.exp(-jnp.square(below) / (2.0 * jnp.maximum(statistics.spread, 1e-6)))
