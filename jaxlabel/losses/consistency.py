"""Losses and targets of semi-supervised learning: what an unlabelled image is to agree with.

Losses are per example in nats or, where said, squared probabilities. Targets are probabilities
that no gradient goes through: a caller makes them of another view, an EMA teacher, or both.
What decides how far a target is trusted is in `losses.thresholds`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Key

Probabilities = Float[Array, "batch classes"]
Logits = Callable[[Float[Array, "batch h w c"]], Float[Array, "batch classes"]]


def pseudo_label(
    logits: Float[Array, "batch classes"], targets: Probabilities
) -> Float[Array, "batch"]:
    """-log p(argmax of the target): the most probable class taken for true (Lee 2013, eq. 14-15).

    Times a mask of confident targets it is FixMatch's (Sohn et al. 2020, eq. 4).
    """
    labels = jnp.argmax(lax.stop_gradient(targets), axis=-1)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def soft_cross_entropy(
    logits: Float[Array, "batch classes"], targets: Probabilities
) -> Float[Array, "batch"]:
    """-sum_c target_c log p_c, the logits' softmax being p (MixMatch, eq. 3, for mixed labels)."""
    return optax.softmax_cross_entropy(logits, lax.stop_gradient(targets))


def squared_difference(
    logits: Float[Array, "batch classes"], targets: Probabilities
) -> Float[Array, "batch"]:
    """|p - target|^2: mean teacher's consistency (Tarvainen & Valpola 2017, eq. 1).

    Divided by the number of classes it is MixMatch's unlabelled loss (Berthelot et al. 2019, eq.
    4). Bounded, so that a wrong target does little harm.
    """
    difference = jax.nn.softmax(logits) - lax.stop_gradient(targets)
    return jnp.sum(jnp.square(difference), axis=-1)


def divergence(
    logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
) -> Float[Array, "batch"]:
    """KL(q || p) of the logits' softmax p from the softmax q of `targets`, which are logits too."""
    expected = jax.nn.log_softmax(targets)
    difference = expected - jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(expected) * difference, axis=-1)


def virtual_adversarial(
    predict: Logits,
    images: Float[Array, "batch h w c"],
    key: Key[Array, ""],
    *,
    radius: float = 2.0,
    probe: float = 0.1,
    num_iterations: int = 1,
) -> Float[Array, "batch"]:
    """KL from p(image) to p at the worst point `radius` away (VAT; Miyato et al. 2018, eq. 5-6).

    Args:
      predict: images to logits.
      radius: Euclidean length of the perturbation, the paper's epsilon.
      probe: how far the finite difference looks, the paper's xi. Float32 needs more than its 1e-6.
      num_iterations: steps of the power method towards the direction of the largest curvature.
    """
    targets = lax.stop_gradient(predict(images))
    direction = adversarial_direction(
        predict, images, targets, key, probe=probe, num_iterations=num_iterations
    )
    return divergence(predict(images + radius * direction), targets)


def adversarial_direction(
    predict: Logits,
    images: Float[Array, "batch h w c"],
    targets: Float[Array, "batch classes"],
    key: Key[Array, ""],
    *,
    probe: float,
    num_iterations: int,
) -> Float[Array, "batch h w c"]:
    """Unit directions of the divergence's largest curvature, by the power method.

    Miyato et al. 2018, eq. 9-12: d becomes the unit vector of the gradient of KL at probe * d.
    """

    def away(perturbation: Float[Array, "batch h w c"]) -> Float[Array, ""]:
        return jnp.sum(divergence(predict(images + perturbation), targets))

    direction = _unit(jax.random.normal(key, images.shape))
    for _ in range(num_iterations):
        direction = _unit(jax.grad(away)(probe * direction))
    return lax.stop_gradient(direction)


def sharpen(probabilities: Probabilities, temperature: float) -> Probabilities:
    """p^(1/T) / sum p^(1/T): lower entropy for T < 1 (Berthelot et al. 2019, eq. 7)."""
    return jax.nn.softmax(jnp.log(jnp.maximum(probabilities, 1e-30)) / temperature)


def guess(logits: Float[Array, "views batch classes"], temperature: float) -> Probabilities:
    """The sharpened mean prediction over an image's views (MixMatch; eq. 6-7)."""
    return sharpen(jnp.mean(jax.nn.softmax(logits), axis=0), temperature)


def mixup(
    key: Key[Array, ""],
    images: Float[Array, "n h w c"],
    targets: Float[Array, "n classes"],
    *,
    concentration: float,
) -> tuple[Float[Array, "n h w c"], Float[Array, "n classes"]]:
    """Each row mixed with a random other one, itself weighing at least a half.

    lambda ~ Beta(a, a), lambda' = max(lambda, 1 - lambda) (Berthelot et al. 2019, eq. 8-11). So
    that a mixed row still belongs where it came from: to the labelled or to the unlabelled ones.
    """
    order_key, share_key = jax.random.split(key)
    order = jax.random.permutation(order_key, len(images))
    share = jax.random.beta(share_key, concentration, concentration, (len(images),))
    share = jnp.maximum(share, 1 - share)
    across = share[:, None, None, None]
    mixed = across * images + (1 - across) * images[order]
    return mixed, share[:, None] * targets + (1 - share[:, None]) * targets[order]


def align(
    probabilities: Probabilities, prior: Float[Array, "classes"], mean: Float[Array, "classes"]
) -> Probabilities:
    """p times prior / mean, scaled to sum 1: distribution alignment (Berthelot et al. 2020, 3.1).

    Args:
      prior: how often each class is expected. A uniform one is outside information that no label
        paid for, unless the data set is known to be balanced; `paid_prior` is the alternative.
      mean: the running mean of the model's predictions.
    """
    scaled = probabilities * (prior / jnp.maximum(mean, 1e-6))
    return scaled / jnp.sum(scaled, axis=-1, keepdims=True)


def labelled_prior(
    counts: Float[Array, "classes"], strength: float = 1.0
) -> Float[Array, "classes"]:
    """The classes' shares among paid labels, with `strength` imagined labels per class.

    The posterior mean under a symmetric Dirichlet prior (Laplace's rule for strength 1). Honest
    where the labels were drawn at random; a query strategy that avoids a class biases it.
    """
    return (counts + strength) / jnp.sum(counts + strength)


def ramp_up(step: Float[Array, ""] | float, length: float) -> Float[Array, ""]:
    """exp(-5 (1 - t)^2), t from 0 to 1 over `length` steps, then 1.

    The weight of consistency in mean teacher (Tarvainen & Valpola 2017, section 3): early targets
    are noise.
    """
    passed = jnp.clip(step / jnp.maximum(length, 1e-9), 0.0, 1.0)
    return jnp.exp(-5.0 * jnp.square(1.0 - passed))


def _unit(vectors: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
    flat = vectors.reshape(len(vectors), -1)
    # a gradient of 1e-20 has a direction too: scaled first, its square does not vanish
    flat = flat / jnp.maximum(jnp.max(jnp.abs(flat), axis=1, keepdims=True), 1e-30)
    lengths = jnp.sqrt(jnp.sum(jnp.square(flat), axis=1, keepdims=True))
    return (flat / jnp.maximum(lengths, 1e-12)).reshape(vectors.shape)
