"""Confidence thresholds and weights of pseudo-labels: a number in [0, 1] per unlabelled example.

Four methods differ only in these. FixMatch has one fixed threshold. FlexMatch has a threshold per
class, which rises as the class is learned. FreeMatch derives a threshold per class from the model's
mean confidence. SoftMatch has a smooth weight in place of a threshold.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Probabilities = Float[Array, "batch classes"]
CONFIDENT = 0.95  # the confidence from which a prediction is a target in FixMatch


def fixed_mask(probabilities: Probabilities, threshold: float) -> Float[Array, "batch"]:
    """Return 1.0 for each prediction whose largest probability is at least `threshold`, else 0.0.

    This is the pseudo-label mask of FixMatch (Sohn et al. 2020, eq. 4).
    """
    return (jnp.max(probabilities, axis=-1) >= threshold).astype(jnp.float32)


def class_mask(
    probabilities: Probabilities, thresholds: Float[Array, "classes"]
) -> Float[Array, "batch"]:
    """Return 1.0 for each prediction that is confident by a threshold of its class, else 0.0.

    The class of a prediction is the most probable one. The prediction is confident if the
    probability of this class is at least the threshold of this class.

    Args:
      probabilities: the predicted class probabilities of each image.
      thresholds: the threshold of each class.
    """
    labels = jnp.argmax(probabilities, axis=-1)
    return (jnp.max(probabilities, axis=-1) >= thresholds[labels]).astype(jnp.float32)


def remember(
    chosen: Int[Array, "n"],
    rows: Int[Array, "batch"],
    probabilities: Probabilities,
    threshold: float,
) -> Int[Array, "n"]:
    """Update the record of each training image's last confident prediction, and return it.

    FlexMatch (Zhang et al. 2021, algorithm 1) counts the classes in this record. If a batch holds
    an image twice with different confident classes, the class with the larger index is recorded,
    because JAX does not define which of two writes comes last.

    Args:
      chosen: the record: for every training image, the class of its last confident prediction; -1
        if it never had one.
      rows: the indices of the batch's images in `chosen`.
      probabilities: the predicted class probabilities of the batch's images.
      threshold: a prediction is confident if its largest probability is at least this.
    """
    confident = jnp.max(probabilities, axis=-1) >= threshold
    labels = jnp.argmax(probabilities, axis=-1).astype(chosen.dtype)
    fresh = jnp.full_like(chosen, -1).at[rows].max(jnp.where(confident, labels, -1))
    return jnp.where(fresh >= 0, fresh, chosen)


def curriculum_thresholds(
    chosen: Int[Array, "n"], num_classes: int, threshold: float
) -> Float[Array, "classes"]:
    """Return FlexMatch's confidence threshold of each class, lower for less learned classes.

    The measure of how well a class is learned is the number of images whose last confident
    prediction is this class (Zhang et al. 2021, eq. 5). This number is divided by that of the best
    learned class, or by the number of images without a confident prediction if that is larger (eq.
    11, warm-up). The threshold of a class with ratio x is `threshold` times x / (2 - x) (eq. 12).

    Args:
      chosen: for every training image, the class of its last confident prediction; -1 if it never
        had one.
      num_classes: the number of classes.
      threshold: the threshold of a fully learned class.
    """
    counts = jnp.zeros(num_classes).at[jnp.maximum(chosen, 0)].add(chosen >= 0)
    unused = jnp.sum(chosen < 0)
    learned = counts / jnp.maximum(jnp.maximum(jnp.max(counts), unused), 1.0)
    return threshold * learned / (2.0 - learned)


class Confidence(NamedTuple):
    """Running statistics of a model's predictions on unlabelled images.

    Attributes:
      level: the mean confidence; the confidence of a prediction is its largest class probability.
      spread: the variance of the confidence.
      mean: the mean predicted probability of each class.
    """

    level: Float[Array, ""]
    spread: Float[Array, ""]
    mean: Float[Array, "classes"]


def initial_statistics(num_classes: int) -> Confidence:
    """Return the running statistics (`Confidence`) to start from, before the first training step.

    They are those of a model that predicts all classes with equal probability, as in FreeMatch and
    SoftMatch.
    """
    share = jnp.float32(1 / num_classes)
    return Confidence(share, jnp.float32(1.0), jnp.full(num_classes, share))


def update_statistics(before: Confidence, probabilities: Probabilities, decay: float) -> Confidence:
    """Return the running statistics of a model's predictions, updated with one more batch.

    The statistics are exponential moving averages, as in FreeMatch (Wang et al. 2023, eq. 5 and 8)
    and SoftMatch (Chen et al. 2023, eq. 6-7). The variance is the unbiased sample variance.

    Args:
      before: the statistics before this batch.
      probabilities: the predicted class probabilities of the batch's images.
      decay: the weight of the old statistics; the batch has weight 1 - decay.
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
    """Return FreeMatch's confidence threshold of each class.

    Wang et al. 2023, eq. 9: the threshold is the model's mean confidence times the class's mean
    probability, divided by the largest mean probability of any class.

    Args:
      statistics: the running means of the model's confidence and of its class probabilities.
      max_level: an upper limit of the mean confidence, which is not in the paper.
    """
    return jnp.minimum(statistics.level, max_level) * statistics.mean / jnp.max(statistics.mean)


def gaussian_weights(probabilities: Probabilities, statistics: Confidence) -> Float[Array, "batch"]:
    """Return SoftMatch's weight in [0, 1] of each pseudo-label, smaller for less confident ones.

    Chen et al. 2023, eq. 5, with lambda_max = 1. The confidence of a prediction is its largest
    class probability. The weight is 1 if the confidence is at least its running mean `level`, and
    otherwise exp(-(confidence - level)^2 / (2 spread)), where `spread` is the confidence's running
    variance.

    Args:
      probabilities: the predicted class probabilities of each image.
      statistics: the running statistics `level` and `spread`.
    """
    largest = jnp.max(probabilities, axis=-1)
    below = jnp.minimum(largest - statistics.level, 0.0)
    return jnp.exp(-jnp.square(below) / (2.0 * jnp.maximum(statistics.spread, 1e-6)))
