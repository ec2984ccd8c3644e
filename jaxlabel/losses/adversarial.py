"""Losses of a semi-supervised GAN whose discriminator has K class logits (Salimans et al. 2016).

Section 5 there: of K + 1 outputs, the last one being "generated", one is redundant, so it is fixed
at zero. With Z(x) = sum over k of exp l_k(x), an image is real with probability D = Z / (Z + 1).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def realness(logits: Float[Array, "batch classes"]) -> Float[Array, "batch"]:
    """log Z, the logit of "real": D(x) = sigmoid(log Z) (Salimans et al. 2016, section 5)."""
    return jax.nn.logsumexp(logits, axis=-1)


def real_loss(logits: Float[Array, "batch classes"], target: float = 1.0) -> Float[Array, "batch"]:
    """-log D(x) of images that are real: the first unsupervised term of Salimans et al. section 5.

    Args:
      target: below 1 for one-sided label smoothing (section 3.4): the cross-entropy of D to it.
    """
    score = realness(logits)
    return target * jax.nn.softplus(-score) + (1 - target) * jax.nn.softplus(score)


def fake_loss(logits: Float[Array, "batch classes"]) -> Float[Array, "batch"]:
    """-log(1 - D(x)) of images that are generated: the second term of the same loss."""
    return jax.nn.softplus(realness(logits))


def feature_matching(real: Float[Array, "n d"], generated: Float[Array, "m d"]) -> Float[Array, ""]:
    """|| mean f(real) - mean f(generated) ||^2 (Salimans et al. 2016, section 3.1).

    It is a loss of two batches, not of examples; the generator's only one.
    """
    return jnp.sum(jnp.square(jnp.mean(real, axis=0) - jnp.mean(generated, axis=0)))


def conditional_entropy(logits: Float[Array, "batch classes"]) -> Float[Array, "batch"]:
    """H[p(y | x)]: a discriminator that is sure of real images' classes (Springenberg 2016, eq. 4).

    Dai et al. 2017 (eq. 7) add it to the loss above, on unlabelled images.
    """
    logs = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(logs) * logs, axis=-1)
