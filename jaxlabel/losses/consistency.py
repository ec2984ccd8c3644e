"""Losses and training targets of semi-supervised learning on unlabelled images.

Losses are per example, in nats or, where stated, squared probabilities. A target is a vector of
class probabilities, and no gradient passes through it. The caller computes it from another
augmentation of the image, from an EMA teacher, or both. `losses.thresholds` computes weights for
the targets.
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
    """Return the loss -log p(y) of each example, where y is the most probable class of its target.

    p is the softmax of the example's logits, and its target is a vector of class probabilities (Lee
    2013, eq. 14-15). Multiplied by a mask that is 1 for confident targets and 0 for others, this is
    FixMatch's loss (Sohn et al. 2020, eq. 4).
    """
    labels = jnp.argmax(lax.stop_gradient(targets), axis=-1)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def soft_cross_entropy(
    logits: Float[Array, "batch classes"], targets: Probabilities
) -> Float[Array, "batch"]:
    """Return the cross-entropy -sum_c target_c log p_c of each prediction p with its soft target.

    p is the softmax of the example's logits, and the target is a vector of class probabilities.
    This is MixMatch's loss on labelled, mixed images (Berthelot et al. 2019, eq. 3).
    """
    return optax.softmax_cross_entropy(logits, lax.stop_gradient(targets))


def squared_difference(
    logits: Float[Array, "batch classes"], targets: Probabilities
) -> Float[Array, "batch"]:
    """Return the squared distance |p - target|^2 of each example's probabilities from its target.

    p is the softmax of the example's logits, and the target is a vector of class probabilities.
    This is mean teacher's consistency loss (Tarvainen & Valpola 2017, eq. 1). Divided by the number
    of classes it is MixMatch's unlabelled loss (Berthelot et al. 2019, eq. 4). Unlike the
    cross-entropy it is bounded, so a wrong target does little harm.
    """
    difference = jax.nn.softmax(logits) - lax.stop_gradient(targets)
    return jnp.sum(jnp.square(difference), axis=-1)


def divergence(
    logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
) -> Float[Array, "batch"]:
    """Return the Kullback-Leibler divergence KL(q || p) of each example, in nats.

    p is the softmax of the example's row of `logits`, and q is the softmax of its row of `targets`.
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
) -> Float[Array, "batch"]:
    """Return the loss of virtual adversarial training (VAT) for each image.

    The loss is KL(p(image) || p(image + d)), where p are the predicted class probabilities, and d
    is the perturbation of Euclidean length `radius` that changes p most (Miyato et al. 2018, eq.
    5-6).

    Args:
      predict: a function from images to logits.
      radius: the length of the perturbation, the paper's epsilon.
      probe: the step size of the finite difference that finds d, the paper's xi. Float32 needs a
        larger value than the paper's 1e-6.
    """
    targets = lax.stop_gradient(predict(images))
    direction = adversarial_direction(predict, images, targets, key, probe=probe, num_iterations=1)
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
    """Return, for each image, the direction in which a small change alters the prediction most.

    The direction is an array of the image's shape and of length 1. It is the direction of largest
    curvature of the KL divergence between the predictions for the image and for the perturbed
    image, found by power iterations from a random start (Miyato et al. 2018, eq. 9-12). Each
    iteration replaces the direction d by the normalised gradient of that divergence at the
    perturbation probe * d.

    Args:
      predict: a function from images to logits.
      targets: the logits of the unperturbed images.
      probe: the step size of the finite difference, the paper's xi.
      num_iterations: the number of power iterations.
    """

    def total_divergence(perturbation: Float[Array, "batch h w c"]) -> Float[Array, ""]:
        return jnp.sum(divergence(predict(images + perturbation), targets))

    direction = _unit(jax.random.normal(key, images.shape))
    for _ in range(num_iterations):
        direction = _unit(jax.grad(total_divergence)(probe * direction))
    return lax.stop_gradient(direction)


def sharpen(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return class probabilities sharpened by a temperature T: p^(1/T) / sum p^(1/T).

    T < 1 lowers the entropy of each prediction p (Berthelot et al. 2019, eq. 7).
    """
    return jax.nn.softmax(jnp.log(jnp.maximum(probabilities, 1e-30)) / temperature)


def average_and_sharpen(
    logits: Float[Array, "views batch classes"], temperature: float
) -> Probabilities:
    """Average each image's class probabilities over several views, and sharpen the mean.

    A view is one random augmentation of the image. MixMatch (Berthelot et al. 2019, eq. 6-7) uses
    the result as the target of an unlabelled image.

    Args:
      logits: the class logits for each view of each image.
      temperature: the temperature T of `sharpen`; below 1 to lower the entropy.

    Returns:
      The sharpened class probabilities of each image.
    """
    return sharpen(jnp.mean(jax.nn.softmax(logits), axis=0), temperature)


def mixup(
    key: Key[Array, ""],
    images: Float[Array, "n h w c"],
    targets: Float[Array, "n classes"],
    *,
    concentration: float,
) -> tuple[Float[Array, "n h w c"], Float[Array, "n classes"]]:
    """Mix each image and its target with a randomly chosen image of the batch and its target.

    The method is that of MixMatch (Berthelot et al. 2019, eq. 8-11). The weight of the image itself
    is lambda' = max(lambda, 1 - lambda) with lambda ~ Beta(a, a), where a is `concentration`. It is
    at least 1/2, so a mixed image still counts as labelled if the image itself is labelled.

    Args:
      images: the images of the batch.
      targets: the class probabilities of each image.
      concentration: the parameter a of the Beta distribution.

    Returns:
      The mixed images and their mixed targets.
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
    """Rescale predicted probabilities towards expected class frequencies (distribution alignment).

    Args:
      probabilities: the predicted class probabilities of each example.
      prior: the expected class frequencies. The function `labelled_prior` estimates them from the
        labels. A uniform prior is only justified if the classes are known to be equally frequent,
        which a few labels cannot show.
      mean: the running mean of the model's predicted class probabilities.

    Returns:
      For each prediction p the vector p * prior / mean, scaled to sum to 1 (Berthelot et al. 2020,
      section 3.1).
    """
    scaled = probabilities * (prior / jnp.maximum(mean, 1e-6))
    return scaled / jnp.sum(scaled, axis=-1, keepdims=True)


def labelled_prior(counts: Float[Array, "classes"]) -> Float[Array, "classes"]:
    """Estimate the class frequencies from the numbers of labels per class.

    The estimate adds 1 to each number (Laplace's rule): it is the posterior mean under a uniform
    prior. It assumes that the labelled images were chosen at random: if a query strategy
    avoids a class, the estimate for that class is too low.

    Args:
      counts: the number of labels of each class.
    """
    return (counts + 1.0) / jnp.sum(counts + 1.0)


def ramp_up(step: Float[Array, ""] | float, length: float) -> Float[Array, ""]:
    """Return the weight of a consistency loss, which rises from about 0 to 1 at `step` = `length`.

    The weight is exp(-5 (1 - t)^2) with t = step / length, and 1 afterwards (mean teacher;
    Tarvainen & Valpola 2017, section 3). It is small at first because early targets are mostly
    noise.

    Args:
      step: the number of steps done, or their share of all steps of the training.
      length: the length of the rise, in the same unit.
    """
    passed = jnp.clip(step / jnp.maximum(length, 1e-9), 0.0, 1.0)
    return jnp.exp(-5.0 * jnp.square(1.0 - passed))


def _unit(vectors: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
    flat = vectors.reshape(len(vectors), -1)
    # Scale by the largest element first: the square of a gradient of 1e-20 would underflow to 0.
    flat = flat / jnp.maximum(jnp.max(jnp.abs(flat), axis=1, keepdims=True), 1e-30)
    lengths = jnp.sqrt(jnp.sum(jnp.square(flat), axis=1, keepdims=True))
    return (flat / jnp.maximum(lengths, 1e-12)).reshape(vectors.shape)
