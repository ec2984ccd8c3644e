"""How far a target is trusted: thresholds and weights of pseudo-labels, per example in [0, 1].

The four rules of the FixMatch family differ in nothing else: a fixed threshold (FixMatch), one per
class by how much of it is learned (FlexMatch), one that follows the model's own confidence
(FreeMatch), and a smooth weight in its place (SoftMatch).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Probabilities = Float[Array, "batch classes"]


def fixed_mask(probabilities: Probabilities, threshold: float) -> Float[Array, "batch"]:
    """1 where the largest probability reaches the threshold (FixMatch; Sohn et al. 2020, eq. 4)."""
    return (jnp.max(probabilities, axis=-1) >= threshold).astype(jnp.float32)


def class_mask(
    probabilities: Probabilities, thresholds: Float[Array, "classes"]
) -> Float[Array, "batch"]:
    """1 where the largest probability reaches its own class's threshold."""
    labels = jnp.argmax(probabilities, axis=-1)
    return (jnp.max(probabilities, axis=-1) >= thresholds[labels]).astype(jnp.float32)


def remember(
    chosen: Int[Array, "n"],
    rows: Int[Array, "batch"],
    probabilities: Probabilities,
    threshold: float,
) -> Int[Array, "n"]:
    """Each image's last confident class, or -1 before there was one (FlexMatch, algorithm 1).

    An image that is twice in the batch, with two confident classes, takes the larger number:
    which of two writes comes last no backend promises.
    """
    confident = jnp.max(probabilities, axis=-1) >= threshold
    labels = jnp.argmax(probabilities, axis=-1).astype(chosen.dtype)
    fresh = jnp.full_like(chosen, -1).at[rows].max(jnp.where(confident, labels, -1))
    return jnp.where(fresh >= 0, fresh, chosen)


def curriculum_thresholds(
    chosen: Int[Array, "n"], num_classes: int, threshold: float
) -> Float[Array, "classes"]:
    """FlexMatch's thresholds: lower for a class that few images were confidently given to.

    Zhang et al. 2021: eq. 5 counts, eq. 11 (warm-up) divides by the largest count or by the number
    of images never confident, whichever is more, and eq. 12 maps x to x / (2 - x).
    """
    counts = jnp.zeros(num_classes).at[jnp.maximum(chosen, 0)].add(chosen >= 0)
    unused = jnp.sum(chosen < 0)
    learned = counts / jnp.maximum(jnp.maximum(jnp.max(counts), unused), 1.0)
    return threshold * learned / (2.0 - learned)


class Confidence(NamedTuple):
    """Running statistics of the model's predictions on unlabelled images.

    Attributes:
      level: mean largest probability.
      spread: variance of the largest probability.
      mean: mean prediction.
    """

    level: Float[Array, ""]
    spread: Float[Array, ""]
    mean: Float[Array, "classes"]


def unsure(num_classes: int) -> Confidence:
    """The statistics at the start: every class alike (FreeMatch and SoftMatch start so)."""
    share = jnp.float32(1 / num_classes)
    return Confidence(share, jnp.float32(1.0), jnp.full(num_classes, share))


def observe(before: Confidence, probabilities: Probabilities, decay: float) -> Confidence:
    """The statistics after one batch more, by exponential moving averages.

    FreeMatch (Wang et al. 2023), eq. 5 and 8; SoftMatch (Chen et al. 2023), eq. 6-7, whose
    variance is that of a sample.
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


def adaptive_thresholds(seen: Confidence, most: float = 1.0) -> Float[Array, "classes"]:
    """FreeMatch's thresholds: the mean confidence, times each class's share over the largest.

    Wang et al. 2023, eq. 9. `most` is an upper end, of our own.
    """
    return jnp.minimum(seen.level, most) * seen.mean / jnp.max(seen.mean)


def gaussian_weights(probabilities: Probabilities, seen: Confidence) -> Float[Array, "batch"]:
    """SoftMatch's weights: exp(-(max p - level)^2 / (2 spread)) below the mean confidence, else 1.

    Chen et al. 2023, eq. 5, with lambda_max = 1.
    """
    largest = jnp.max(probabilities, axis=-1)
    below = jnp.minimum(largest - seen.level, 0.0)
    return jnp.exp(-jnp.square(below) / (2.0 * jnp.maximum(seen.spread, 1e-6)))
