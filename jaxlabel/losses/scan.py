"""The losses of SCAN (Van Gansbeke et al. 2020): clusters from neighbours, then from themselves."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxlabel.losses import cross_entropy


def consistency(
    logits: Float[Array, "batch clusters"], neighbours: Float[Array, "batch clusters"]
) -> Float[Array, "batch"]:
    """-log of the dot product of two assignments (Van Gansbeke et al. 2020, eq. 2, first term).

    It is 0 where an image and its neighbour are in one cluster for sure.
    """
    return -jax.nn.logsumexp(jax.nn.log_softmax(logits) + jax.nn.log_softmax(neighbours), axis=-1)


def prior_divergence(
    logits: Float[Array, "batch clusters"], prior: Float[Array, "clusters"] | None = None
) -> Float[Array, ""]:
    """KL(mean assignment of the batch || prior), what keeps clusters from vanishing.

    With the uniform prior, None, it is log(clusters) minus the entropy of the mean assignment: the
    second term of Van Gansbeke et al. 2020, eq. 2, but for that constant.
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
    """Each image's consistency with its neighbour plus the batch's divergence from the prior.

    Van Gansbeke et al. 2020, eq. 2, with lambda = `entropy_weight`.
    """
    return consistency(logits, neighbours) + entropy_weight * prior_divergence(logits, prior)


def self_label(
    teacher: Float[Array, "batch clusters"],
    student: Float[Array, "batch clusters"],
    threshold: float,
) -> tuple[Float[Array, "batch"], Bool[Array, "batch"]]:
    """Losses whose mean is the class-balanced cross-entropy, and which images are confident.

    Van Gansbeke et al. 2020, section 2.3: where the teacher (the logits of the image as it is)
    gives a cluster at least `threshold`, the student (the logits of its strong view) is to give it
    too. Confident images of a cluster that has few of them count for more: each cluster that has
    any weighs the same. Where nobody is confident all losses are 0, and so is their gradient.
    """
    shares = jax.lax.stop_gradient(jax.nn.softmax(teacher))
    labels = jnp.argmax(shares, axis=-1)
    confident = jnp.max(shares, axis=-1) >= threshold
    members = jax.nn.one_hot(labels, shares.shape[-1]) * confident[:, None]
    counts = jnp.sum(members, axis=0)
    weights = jnp.where(confident, 1 / jnp.maximum(counts, 1.0)[labels], 0.0)
    share = weights * len(labels) / jnp.maximum(jnp.sum(counts > 0), 1)
    return share * cross_entropy(student, labels), confident
