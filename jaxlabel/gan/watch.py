"""Quality measures of a GAN's generated images, and a diagnosis of failed training.

The measures need no labels. They compare features and class probabilities of generated and real
images.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Limits below which `verdict` reports a failure, for the fields of `Measures` in order.
COLLAPSED = 0.4  # diversity: fraction of the real images' mean pairwise distance
ONE_SIDED = 0.6  # class_entropy: fraction of the real images' class entropy
DEFEATED = 0.02  # loss_ratio: fraction of the loss of a discriminator that guesses


class Measures(NamedTuple):
    """Quality measures of a GAN's generated images (samples), relative to real images.

    The first two are 1 if samples are as good as real images, and smaller if they are worse. They
    are also 1 if real images do not vary, because there is only one image or one class.

    Attributes:
      diversity: the mean pairwise distance of the samples in the discriminator's feature space,
        divided by that of real images. Features are scaled to unit length first, because the
        discriminator computes shorter features for images that it classifies as generated.
      class_entropy: the entropy of the mean class probabilities of the samples, divided by that of
        real images. It is small if the samples show only some of the classes.
      loss_ratio: the discriminator's loss in telling real from generated images, divided by 2 log
        2. It is 1 for a discriminator that cannot tell them apart and always answers 1/2
        (Goodfellow et al. 2014, section 4.1), and near 0 for one that always can.
    """

    diversity: Float[Array, ""]
    class_entropy: Float[Array, ""]
    loss_ratio: Float[Array, ""]


def measure_samples(
    real: Float[Array, "n d"],
    generated: Float[Array, "m d"],
    real_logits: Float[Array, "n classes"],
    generated_logits: Float[Array, "m classes"],
    loss: Float[Array, ""],
) -> Measures:
    """Return quality measures of a batch of generated images, relative to a batch of real images.

    Args:
      real: the discriminator's features of the real images.
      generated: the discriminator's features of the generated images.
      real_logits: the class logits of the real images.
      generated_logits: the class logits of the generated images.
      loss: the sum of the discriminator's mean losses on real and on generated images, in nats.
    """

    def relative(value: Float[Array, ""], to: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.where(to > 1e-6, value / (to + 1e-6), 1.0)

    return Measures(
        relative(
            mean_distance(scale_to_unit_length(generated)),
            mean_distance(scale_to_unit_length(real)),
        ),
        relative(class_entropy(generated_logits), class_entropy(real_logits)),
        loss / (2 * jnp.log(2.0)),
    )


def scale_to_unit_length(features: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Scale each feature vector to unit length."""
    return features / (jnp.linalg.norm(features, axis=1, keepdims=True) + 1e-6)


def mean_distance(features: Float[Array, "n d"]) -> Float[Array, ""]:
    """Return the mean Euclidean distance over all pairs of different rows; 0 for a single row."""
    centred = features - jnp.mean(features, axis=0)
    squares = jnp.sum(jnp.square(centred), axis=1)
    products = jnp.matmul(centred, centred.T, precision=jax.lax.Precision.HIGHEST)
    squared = squares[:, None] + squares - 2 * products
    pairs = 1 - jnp.eye(len(features))
    return jnp.sum(jnp.sqrt(jnp.maximum(squared, 0.0)) * pairs) / jnp.maximum(jnp.sum(pairs), 1)


def class_entropy(logits: Float[Array, "n classes"]) -> Float[Array, ""]:
    """Return the entropy, in nats, of the class probabilities averaged over all examples.

    The result is log K if the averaged probabilities of K classes are equal.
    """
    mean = jnp.mean(jax.nn.softmax(logits), axis=0)
    return -jnp.sum(jax.scipy.special.xlogy(mean, mean))


def verdict(history: Sequence[Mapping[str, float]]) -> str:
    """Return a sentence on the result of GAN training: sound, or how it failed and what to change.

    For example: "mode collapse: samples are 20% as far apart as real images: set a lower
    config.learning_rate, or ...".

    Args:
      history: the quality measures of the generated images by name (the fields of `Measures`): one
        mapping for each time that they were recorded, oldest first.
    """
    last = history[-1]
    best = max(row["diversity"] for row in history)
    spread = f"samples are {last['diversity']:.0%} as far apart as real images"
    if last["diversity"] < COLLAPSED:
        decline = f", after {best:.0%} at best" if best > 2 * last["diversity"] else ""
        return (
            f"mode collapse: {spread}{decline}: set a lower config.learning_rate, or a larger "
            "config.batch_size so that feature matching compares more samples"
        )
    if last["class_entropy"] < ONE_SIDED:
        return (
            f"classes are missing: the samples' class entropy is {last['class_entropy']:.0%} of "
            "the real images': set a larger config.batch_size, or buy more labels of each class"
        )
    if last["loss_ratio"] < DEFEATED:
        return (
            f"the discriminator won: its loss is {last['loss_ratio']:.1%} of chance, so it learns "
            "nothing more from samples: set a higher config.discriminator_noise, "
            "config.smoothing=0.1, or a lower config.learning_rate"
        )
    return f"the generator is sound: {spread}, and no classes are missing"
