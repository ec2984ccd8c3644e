"""Loss functions: most return one loss per example, in nats."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, "batch"]
) -> Float[Array, "batch"]:
    """Return -log p(label), where p is the softmax (Goodfellow et al. 2016, eq. 6.12)."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def bernoulli_reconstruction(
    logits: Float[Array, "batch *shape"], images: Float[Array, "batch *shape"]
) -> Float[Array, "batch"]:
    """Return the loss -log p(image) with one Bernoulli distribution per pixel, summed over pixels.

    Grey values in [0, 1] are taken as probabilities (Kingma & Welling 2014, appendix C.1).
    """
    losses = optax.sigmoid_binary_cross_entropy(logits, images)
    return jnp.sum(losses.reshape(len(losses), -1), axis=-1)
