"""Loss functions: most return one loss per example, in nats."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, "batch"]
) -> Float[Array, "batch"]:
    """Return the cross-entropy -log p(label) of each example, in nats.

    p is the softmax of the example's logits (Goodfellow et al. 2016, eq. 6.12).
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def bernoulli_reconstruction(
    logits: Float[Array, "batch *shape"], images: Float[Array, "batch *shape"]
) -> Float[Array, "batch"]:
    """Return the reconstruction loss -log p(image) of each image, summed over its pixels, in nats.

    p is a Bernoulli distribution for each pixel, whose logit is in `logits`. A grey value in [0, 1]
    counts as the pixel's probability of being white (Kingma & Welling 2014, appendix C.1).
    """
    losses = optax.sigmoid_binary_cross_entropy(logits, images)
    return jnp.sum(losses.reshape(len(losses), -1), axis=-1)
