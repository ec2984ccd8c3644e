"""The losses of SCAN (Van Gansbeke et al. 2020): clustering with neighbours, and self-labelling."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxlabel.losses import cross_entropy


def consistency(
    logits: Float[Array, "batch clusters"], neighbours: Float[Array, "batch clusters"]
) -> Float[Array, "batch"]:
    """Return -log of the dot product of an image's and its neighbour's cluster probabilities.

    Van Gansbeke et al. 2020, eq. 2, first term. It is 0 if both are in one cluster with certainty.

    Args:
      logits: the cluster logits of the images.
      neighbours: the cluster logits of one neighbour of each image.
    """
    return -jax.nn.logsumexp(jax.nn.log_softmax(logits) + jax.nn.log_softmax(neighbours), axis=-1)


def prior_divergence(
    logits: Float[Array, "batch clusters"], prior: Float[Array, "clusters"] | None = None
) -> Float[Array, ""]:
    """Return KL(mean cluster probabilities of the batch || prior).

    It keeps clusters from becoming empty. With the uniform prior it is log(clusters) minus the
    entropy of the mean cluster probabilities: up to that constant the second term of Van Gansbeke
    et al. 2020, eq. 2.

    Args:
      logits: the cluster logits of the images.
      prior: the clusters' expected sizes as fractions; None for a uniform prior.
    """
    log_mean = jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0) - jnp.log(len(logits))
    log_prior = -jnp.log(logits.shape[-1]) if prior is None else jnp.log(prior)
    return jnp.sum(jnp.exp(log_mean) * (log_mean - log_prior))


def scan_loss(
    logits: Float[Array, "batch clusters"],
    neighbours: Float[Array, "batch clusters"],
    *,
    entropy_weight: float,
    prior: Float[Array, "clusters"] | None = None,
) -> Float[Array, "batch"]:
    """Return each image's consistency loss plus the batch's weighted divergence from the prior.

    Van Gansbeke et al. 2020, eq. 2, with lambda = `entropy_weight`; see `consistency` and
    `prior_divergence`.
    """
    return consistency(logits, neighbours) + entropy_weight * prior_divergence(logits, prior)


def self_label(
    teacher: Float[Array, "batch clusters"],
    student: Float[Array, "batch clusters"],
    threshold: float,
) -> tuple[Float[Array, "batch"], Bool[Array, "batch"]]:
    """Return SCAN's self-labelling losses, and a mask of the images whose cluster is confident.

    Van Gansbeke et al. 2020, section 2.3: if the teacher's largest probability reaches `threshold`,
    its cluster is the student's pseudo-label. The losses are weighted so that each cluster with
    confident images has the same total weight, and their mean is the class-balanced cross-entropy.
    If no image is confident, all losses and gradients are 0.

    Args:
      teacher: the cluster logits of the unaugmented images.
      student: the cluster logits of the strongly augmented images.
    """
    shares = jax.lax.stop_gradient(jax.nn.softmax(teacher))
    labels = jnp.argmax(shares, axis=-1)
    confident = jnp.max(shares, axis=-1) >= threshold
    members = jax.nn.one_hot(labels, shares.shape[-1]) * confident[:, None]
    counts = jnp.sum(members, axis=0)
    weights = jnp.where(confident, 1 / jnp.maximum(counts, 1.0)[labels], 0.0)
    share = weights * len(labels) / jnp.maximum(jnp.sum(counts > 0), 1)
    return share * cross_entropy(student, labels), confident
