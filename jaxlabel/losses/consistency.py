"""Losses and targets of semi-supervised learning on unlabelled images.

Losses are per example, in nats or, where stated, squared probabilities. A target is a vector of
class probabilities that no gradient passes through; a caller computes it from another view of the
image, an EMA teacher, or both. `losses.thresholds` has the weights of targets.
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
    """Return -log p(y), where y is the target's most probable class (Lee 2013, eq. 14-15).

    Multiplied by a mask of confident targets it is FixMatch's loss (Sohn et al. 2020, eq. 4).
    """
    labels = jnp.argmax(lax.stop_gradient(targets), axis=-1)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def soft_cross_entropy(
    logits: Float[Array, "batch classes"], targets: Probabilities
) -> Float[Array, "batch"]:
    """Return the cross-entropy with soft targets, -sum_c target_c log p_c, where p is the softmax.

    It is MixMatch's loss on labelled, mixed images (Berthelot et al. 2019, eq. 3).
    """
    return optax.softmax_cross_entropy(logits, lax.stop_gradient(targets))


def squared_difference(
    logits: Float[Array, "batch classes"], targets: Probabilities
) -> Float[Array, "batch"]:
    """Return the squared distance |p - target|^2 between the softmax p and the target.

    It is mean teacher's consistency loss (Tarvainen & Valpola 2017, eq. 1). Divided by the number
    of classes it is MixMatch's unlabelled loss (Berthelot et al. 2019, eq. 4). It is bounded, so a
    wrong target does little harm.
    """
    difference = jax.nn.softmax(logits) - lax.stop_gradient(targets)
    return jnp.sum(jnp.square(difference), axis=-1)


def divergence(
    logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
) -> Float[Array, "batch"]:
    """Return the divergence KL(q || p), where p is the softmax of `logits` and q that of `targets`.

    Both arguments are logits.
    """
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
    """Return VAT's loss: KL from p(image) to p(image + d), with the worst d of length `radius`.

    Virtual adversarial training, Miyato et al. 2018, eq. 5-6.

    Args:
      predict: a function from images to logits.
      radius: Euclidean length of the perturbation, the paper's epsilon.
      probe: step size of the finite difference, the paper's xi. Float32 needs a larger one than the
        paper's 1e-6.
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
    """Return the unit direction in which each image's KL divergence curves most.

    It is found by the power method. Miyato et al. 2018, eq. 9-12: each iteration replaces the
    direction d by the unit vector of the gradient of the KL divergence at probe * d.

    Args:
      predict: a function from images to logits.
      targets: the logits for the unperturbed images.
      probe: step size of the finite difference, the paper's xi.
      num_iterations: iterations of the power method.
    """

    def total_divergence(perturbation: Float[Array, "batch h w c"]) -> Float[Array, ""]:
        return jnp.sum(divergence(predict(images + perturbation), targets))

    direction = _unit(jax.random.normal(key, images.shape))
    for _ in range(num_iterations):
        direction = _unit(jax.grad(total_divergence)(probe * direction))
    return lax.stop_gradient(direction)


def sharpen(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Sharpen probabilities to p^(1/T) / sum p^(1/T), of lower entropy if the temperature T < 1.

    Berthelot et al. 2019, eq. 7.
    """
    return jax.nn.softmax(jnp.log(jnp.maximum(probabilities, 1e-30)) / temperature)


def average_and_sharpen(
    logits: Float[Array, "views batch classes"], temperature: float
) -> Probabilities:
    """Return the sharpened mean prediction over an image's views (MixMatch).

    Berthelot et al. 2019, eq. 6-7.
    """
    return sharpen(jnp.mean(jax.nn.softmax(logits), axis=0), temperature)


def mixup(
    key: Key[Array, ""],
    images: Float[Array, "n h w c"],
    targets: Float[Array, "n classes"],
    *,
    concentration: float,
) -> tuple[Float[Array, "n h w c"], Float[Array, "n classes"]]:
    """Mix each image and its target with another, random row, whose weight is at most 1/2.

    MixMatch (Berthelot et al. 2019, eq. 8-11): lambda ~ Beta(a, a), where a is `concentration`, and
    lambda' = max(lambda, 1 - lambda) is the row's own weight. As a row keeps at least half of the
    weight, a labelled row still counts as labelled, and an unlabelled one as unlabelled.
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
    """Return p * prior / mean, scaled to sum to 1 (distribution alignment).

    Berthelot et al. 2020, section 3.1.

    Args:
      prior: the expected class frequencies. A uniform prior is outside information that the labels
        do not contain, unless the data set is known to be balanced; `labelled_prior` is the
        alternative.
      mean: the running mean of the model's predictions.
    """
    scaled = probabilities * (prior / jnp.maximum(mean, 1e-6))
    return scaled / jnp.sum(scaled, axis=-1, keepdims=True)


def labelled_prior(
    counts: Float[Array, "classes"], strength: float = 1.0
) -> Float[Array, "classes"]:
    """Estimate the class frequencies from labels, with a pseudo-count per class.

    This is the posterior mean under a symmetric Dirichlet prior (Laplace's rule for strength 1). It
    is unbiased (up to the pseudo-counts) only if the labels were drawn at random: a query strategy
    that avoids a class biases it.

    Args:
      counts: number of labels per class.
      strength: pseudo-count added to each class.
    """
    return (counts + strength) / jnp.sum(counts + strength)


def ramp_up(step: Float[Array, ""] | float, length: float) -> Float[Array, ""]:
    """Return the weight exp(-5 (1 - t)^2), where t rises from 0 to 1 over `length` steps.

    It is mean teacher's weight of the consistency loss (Tarvainen & Valpola 2017, section 3): early
    targets are noise.
    """
    passed = jnp.clip(step / jnp.maximum(length, 1e-9), 0.0, 1.0)
    return jnp.exp(-5.0 * jnp.square(1.0 - passed))


def _unit(vectors: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
    flat = vectors.reshape(len(vectors), -1)
    # Scale by the largest element first: the square of a gradient of 1e-20 would underflow to 0.
    flat = flat / jnp.maximum(jnp.max(jnp.abs(flat), axis=1, keepdims=True), 1e-30)
    lengths = jnp.sqrt(jnp.sum(jnp.square(flat), axis=1, keepdims=True))
    return (flat / jnp.maximum(lengths, 1e-12)).reshape(vectors.shape)
