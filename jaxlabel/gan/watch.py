"""What became of a generator: how far apart its samples are, of which classes, and what to change.

The measures look at features and class probabilities of generated and of real images; no label is
in them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

COLLAPSED = 0.4  # of the real images' mean pairwise distance
ONE_SIDED = 0.6  # of the real images' class entropy
DEFEATED = 0.02  # of the loss of a discriminator that cannot tell the two apart


class Measures(NamedTuple):
    """Each is 1 where generated images are like real ones.

    Attributes:
      diversity: the samples' mean pairwise distance in feature space over the real images'. It is
        of directions: a discriminator's features of what it takes for generated are just shorter.
      class_entropy: the entropy of the samples' mean class probabilities over the real images'.
      loss_ratio: the discriminator's loss in telling the two apart, over 2 log 2, which is the
        loss of one that cannot (Goodfellow et al. 2014, section 4.1).
    """

    diversity: Float[Array, ""]
    class_entropy: Float[Array, ""]
    loss_ratio: Float[Array, ""]


def measure(
    real: Float[Array, "n d"],
    generated: Float[Array, "m d"],
    real_logits: Float[Array, "n classes"],
    generated_logits: Float[Array, "m classes"],
    loss: Float[Array, ""],
) -> Measures:
    """The measures of a batch of generated images against one of real images.

    Args:
      real, generated: their features.
      loss: the discriminator's mean loss on real plus that on generated images, in nats.
    """
    tiny = 1e-6
    return Measures(
        mean_distance(directions(generated)) / (mean_distance(directions(real)) + tiny),
        class_entropy(generated_logits) / (class_entropy(real_logits) + tiny),
        loss / (2 * jnp.log(2.0)),
    )


def directions(features: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The features at length 1."""
    return features / (jnp.linalg.norm(features, axis=1, keepdims=True) + 1e-6)


def mean_distance(features: Float[Array, "n d"]) -> Float[Array, ""]:
    """The mean Euclidean distance over all pairs of different points."""
    centred = features - jnp.mean(features, axis=0)
    squares = jnp.sum(jnp.square(centred), axis=1)
    products = jnp.matmul(centred, centred.T, precision=jax.lax.Precision.HIGHEST)
    squared = squares[:, None] + squares - 2 * products
    pairs = 1 - jnp.eye(len(features))
    return jnp.sum(jnp.sqrt(jnp.maximum(squared, 0.0)) * pairs) / jnp.sum(pairs)


def class_entropy(logits: Float[Array, "n classes"]) -> Float[Array, ""]:
    """The entropy in nats of the mean class probabilities: log K when all classes are there."""
    mean = jnp.mean(jax.nn.softmax(logits), axis=0)
    return -jnp.sum(jax.scipy.special.xlogy(mean, mean))


def verdict(history: Sequence[Mapping[str, float]]) -> str:
    """A line that says what happened to the generator over time, and what to change if it failed.

    Args:
      history: `Measures` as numbers, oldest first.
    """
    last = history[-1]
    best = max(row["diversity"] for row in history)
    seen = f"samples are {last['diversity']:.0%} as far apart as real images"
    if last["diversity"] < COLLAPSED:
        fell = f", after {best:.0%} at best" if best > 2 * last["diversity"] else ""
        return (
            f"mode collapse: {seen}{fell}: take a lower config.learning_rate, or a larger "
            "config.batch_size, by which feature matching sees more of the distribution"
        )
    if last["class_entropy"] < ONE_SIDED:
        return (
            f"classes are missing: the samples' class entropy is {last['class_entropy']:.0%} of "
            "the real images': take a larger config.batch_size, or more labels of each class"
        )
    if last["loss_ratio"] < DEFEATED:
        return (
            f"the discriminator won: its loss is {last['loss_ratio']:.1%} of chance, so it learns "
            "nothing more from samples: take a higher config.discriminator_noise, "
            "config.smoothing=0.1, or a lower config.learning_rate"
        )
    return f"the generator is sound: {seen}, of as many classes"
