"""Losses of a semi-supervised GAN whose discriminator has K class logits (Salimans et al. 2016).

A discriminator with K + 1 outputs, the last for "generated", has one redundant output (section 5),
so the last one is fixed at zero. With Z(x) = sum over k of exp l_k(x), the discriminator's
probability that image x is real is D(x) = Z / (Z + 1).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def real_logit(logits: Float[Array, "batch classes"]) -> Float[Array, "batch"]:
    """Return a GAN discriminator's logit for "the image is real", computed from its class logits.

    The logit is log Z = logsumexp(class logits). The probability that image x is real is D(x) =
    sigmoid(log Z) (Salimans et al. 2016, section 5).
    """
    return jax.nn.logsumexp(logits, axis=-1)


def real_loss(logits: Float[Array, "batch classes"], target: float = 1.0) -> Float[Array, "batch"]:
    """Return a GAN discriminator's loss -log D(x) for each real image, from its class logits.

    D(x) = Z / (Z + 1) is the discriminator's probability that image x is real, where Z is the sum
    of exp(logit) over the classes (Salimans et al. 2016, section 5).

    Args:
      logits: the class logits of real images.
      target: the target value of D(x). With a value below 1 (one-sided label smoothing, section
        3.4) the loss is the cross-entropy between this target and D(x).
    """
    score = real_logit(logits)
    return target * jax.nn.softplus(-score) + (1 - target) * jax.nn.softplus(score)


def fake_loss(logits: Float[Array, "batch classes"]) -> Float[Array, "batch"]:
    """Return a GAN discriminator's loss -log(1 - D(x)) for each generated image.

    D(x) = Z / (Z + 1) is the discriminator's probability that image x is real, where Z is the sum
    of exp(logit) over the class logits of the image (Salimans et al. 2016, section 5).
    """
    return jax.nn.softplus(real_logit(logits))


def feature_matching(real: Float[Array, "n d"], generated: Float[Array, "m d"]) -> Float[Array, ""]:
    """Return a GAN generator's feature matching loss || mean f(real) - mean f(generated) ||^2.

    f(x) is the vector of the discriminator's hidden features for image x, and the means are over a
    batch of real and a batch of generated images. So the loss is one number and not one per example
    (Salimans et al. 2016, section 3.1). The generator is trained on this loss alone.
    """
    return jnp.sum(jnp.square(jnp.mean(real, axis=0) - jnp.mean(generated, axis=0)))
