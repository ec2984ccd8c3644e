"""Losses of a semi-supervised GAN whose discriminator has K class logits (Salimans et al. 2016).

Their section 5 shows that of K + 1 outputs, the last for "generated", one is redundant, so the last
is fixed at zero. With Z(x) = sum over k of exp l_k(x), an image is real with probability D(x) = Z /
(Z + 1).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def real_logit(logits: Float[Array, "batch classes"]) -> Float[Array, "batch"]:
    """Return log Z, the logit of "real": D(x) = sigmoid(log Z) (Salimans et al., section 5)."""
    return jax.nn.logsumexp(logits, axis=-1)


def real_loss(logits: Float[Array, "batch classes"], target: float = 1.0) -> Float[Array, "batch"]:
    """Return the discriminator's loss -log D(x) on real images (Salimans et al. 2016, section 5).

    Args:
      target: D's target probability; below 1 for one-sided label smoothing (section 3.4).
    """
    score = real_logit(logits)
    return target * jax.nn.softplus(-score) + (1 - target) * jax.nn.softplus(score)


def fake_loss(logits: Float[Array, "batch classes"]) -> Float[Array, "batch"]:
    """Return the discriminator's loss -log(1 - D(x)) on generated images (Salimans et al. 2016)."""
    return jax.nn.softplus(real_logit(logits))


def feature_matching(real: Float[Array, "n d"], generated: Float[Array, "m d"]) -> Float[Array, ""]:
    """Return the generator's feature matching loss || mean f(real) - mean f(generated) ||^2.

    It compares two batches, so it is one number and not a loss per example (Salimans et al. 2016,
    section 3.1). The generator has no other loss.
    """
    return jnp.sum(jnp.square(jnp.mean(real, axis=0) - jnp.mean(generated, axis=0)))


def conditional_entropy(logits: Float[Array, "batch classes"]) -> Float[Array, "batch"]:
    """Return the entropy H[p(y | x)] of each example's class probabilities.

    Springenberg 2016, eq. 4. Minimising it makes a discriminator confident of real images' classes.
    Dai et al. 2017 (eq. 7) add it to the discriminator's loss on unlabelled images.
    """
    logs = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(logs) * logs, axis=-1)
