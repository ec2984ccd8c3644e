"""The weights of unlabelled images in the objectives of the FixMatch family."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlabel.losses import thresholds
from jaxlabel.semisupervised.batches import Batch, Memory
from jaxlabel.semisupervised.settings import Settings

# A prediction is a pseudo-label if its confidence is at least this; freematch: at most this.
THRESHOLD = thresholds.CONFIDENT


def fixmatch_weights(
    settings: Settings, targets: Array, batch: Batch, memory: Memory
) -> tuple[Float[Array, "u"], Memory]:
    """Return FixMatch's weights of unlabelled images: 1 for confident targets, else 0.

    A target is confident if its largest class probability is at least `THRESHOLD`.
    """
    return thresholds.fixed_mask(targets, THRESHOLD), memory


def flexmatch_weights(
    settings: Settings, targets: Array, batch: Batch, memory: Memory
) -> tuple[Float[Array, "u"], Memory]:
    """Return FlexMatch's weights (Zhang et al. 2021), which are 1 or 0.

    The weight is 1 if the largest class probability of an image's target is at least the threshold
    of that class.
    A class with few confident images so far has a lower threshold.
    """
    num_classes = targets.shape[-1]
    levels = thresholds.curriculum_thresholds(memory.chosen, num_classes, THRESHOLD)
    chosen = thresholds.remember(memory.chosen, batch.rows, targets, THRESHOLD)
    return thresholds.class_mask(targets, levels), memory._replace(chosen=chosen)


def freematch_weights(
    settings: Settings, targets: Array, batch: Batch, memory: Memory
) -> tuple[Float[Array, "u"], Memory]:
    """Return FreeMatch's weights (Wang et al. 2023), which are 1 or 0.

    The weight is 1 if the largest class probability of an image's target is at least the threshold
    of that class.
    Thresholds depend on the mean confidence and the mean predicted share of each class, before the
    predictions are adjusted to the expected class shares (alignment). The targets are taken after
    alignment. Alignment replaces the paper's fairness loss (SAF).
    """
    levels = thresholds.adaptive_thresholds(memory.seen, THRESHOLD)
    return thresholds.class_mask(targets, levels), memory


def full_weights(
    settings: Settings, targets: Array, batch: Batch, memory: Memory
) -> tuple[Float[Array, "u"], Memory]:
    """Return the weight 1 for every unlabelled image."""
    return jnp.ones(len(targets)), memory


def softmatch_weights(
    settings: Settings, targets: Array, batch: Batch, memory: Memory
) -> tuple[Float[Array, "u"], Memory]:
    """Return SoftMatch's weights (Chen et al. 2023): a Gaussian function of the confidence.

    The confidence is the largest class probability of an image's target, taken after the
    predictions are adjusted to the expected class shares.
    """
    return thresholds.gaussian_weights(targets, memory.seen), memory
