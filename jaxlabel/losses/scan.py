"""The losses of SCAN (Van Gansbeke et al. 2020): clustering with neighbours, and self-labelling."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxlabel.losses import cross_entropy


def consistency(
    logits: Float[Array, "batch clusters"], neighbours: Float[Array, "batch clusters"]
) -> Float[Array, "batch"]:
    """Return SCAN's consistency loss for each image and one of its nearest neighbours.

    It is -log of the dot product of the two images' cluster probabilities (Van Gansbeke et al.
    2020, eq. 2, first term), and 0 if both images are in the same cluster with probability 1.

    Args:
      logits: the cluster logits of the images.
      neighbours: the cluster logits of one neighbour of each image.
    """
    return -jax.nn.logsumexp(jax.nn.log_softmax(logits) + jax.nn.log_softmax(neighbours), axis=-1)


def prior_divergence(
    logits: Float[Array, "batch clusters"], prior: Float[Array, "clusters"] | None = None
) -> Float[Array, ""]:
    """Return KL(m || prior), where m is the batch's mean vector of cluster probabilities.

    As a loss, it keeps clusters from becoming empty. For a uniform prior it is log(clusters) minus
    the entropy of m, so up to a constant it is the second term of SCAN's loss (Van Gansbeke et al.
    2020, eq. 2).

    Args:
      logits: the cluster logits of the batch.
      prior: the expected sizes of the clusters, as fractions; None for a uniform prior.
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
    """Return SCAN's clustering loss for each image and one of its nearest neighbours.

    Van Gansbeke et al. 2020, eq. 2. The first term, `consistency`, is small if both images are in
    one cluster. The second term, `entropy_weight` times `prior_divergence`, is small if the
    clusters have their expected sizes; it is one number for the whole batch.

    Args:
      logits: the cluster logits of the images.
      neighbours: the cluster logits of one neighbour of each image.
      entropy_weight: the weight of the second term, the paper's lambda.
      prior: the expected sizes of the clusters, as fractions; None for a uniform prior.
    """
    return consistency(logits, neighbours) + entropy_weight * prior_divergence(logits, prior)


def self_label(
    teacher: Float[Array, "batch clusters"],
    student: Float[Array, "batch clusters"],
    threshold: float,
) -> tuple[Float[Array, "batch"], Bool[Array, "batch"]]:
    """Return SCAN's self-labelling loss per image, and a mask of the images with a pseudo-label.

    Van Gansbeke et al. 2020, section 2.3. Pseudo-labels come from the predictions of a network, the
    teacher. An image has a pseudo-label if the teacher's largest cluster probability for it is at
    least `threshold`; the pseudo-label is that cluster. The loss is the cross-entropy of the
    trained network, the student, with the pseudo-label. Images are weighted so that every cluster
    with pseudo-labels has the same total weight, and the mean of the losses is the class-balanced
    cross-entropy. Images without a pseudo-label have loss 0.

    Args:
      teacher: the teacher's cluster logits for the unaugmented images.
      student: the student's cluster logits for the strongly augmented images.
      threshold: the smallest cluster probability that gives a pseudo-label.
    """
    shares = jax.lax.stop_gradient(jax.nn.softmax(teacher))
    labels = jnp.argmax(shares, axis=-1)
    confident = jnp.max(shares, axis=-1) >= threshold
    members = jax.nn.one_hot(labels, shares.shape[-1]) * confident[:, None]
    counts = jnp.sum(members, axis=0)
    weights = jnp.where(confident, 1 / jnp.maximum(counts, 1.0)[labels], 0.0)
    share = weights * len(labels) / jnp.maximum(jnp.sum(counts > 0), 1)
    return share * cross_entropy(student, labels), confident
