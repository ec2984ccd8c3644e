"""The training losses of a semi-supervised GAN's two networks."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel import losses, train
from jaxlabel.gan.settings import Settings
from jaxlabel.losses import adversarial, consistency, thresholds


def discriminator_loss(
    discriminator: Any,
    settings: Settings,
    real: Float[Array, "labelled+batch h w c"],
    labels: Int[Array, "labelled"],
    made: Float[Array, "made h w c"],
    changed: Float[Array, "batch h w c"],
    targets: Float[Array, "batch classes"],
    key: Key[Array, ""],
) -> tuple[Float[Array, ""], train.Metrics]:
    """Return the discriminator's loss of a semi-supervised GAN, and a dict of its terms as metrics.

    The terms are the cross-entropy of labelled images, the losses of telling real from generated
    images (Salimans et al. 2016), each with the weight 0.5, and the consistency loss of FixMatch
    (Sohn et al. 2020): for a strongly transformed unlabelled image, the discriminator must predict
    the class that `targets` give to it with confidence.

    Args:
      settings: the settings of the training.
      real: real images: first the labelled ones, then unlabelled ones.
      labels: the labels of the labelled images.
      made: images from the generator.
      changed: the unlabelled images after a strong random transform (with `augment=False`, the
        images themselves).
      targets: the class probabilities of the unlabelled images, predicted by the moving average of
        the discriminator's weights from the weakly transformed images.
      key: the random key of the discriminator's noise.
    """
    logits = discriminator(jnp.concatenate([real, made, changed]), key)
    labelled, unlabelled, fake, strong = jnp.split(
        logits, np.cumsum([len(labels), len(real) - len(labels), len(made)])
    )
    mask = thresholds.fixed_mask(targets, thresholds.CONFIDENT)
    parts = {
        "supervised": jnp.mean(losses.cross_entropy(labelled, labels)),
        "real": jnp.mean(adversarial.real_loss(unlabelled, 1 - settings.smoothing)),
        "generated": jnp.mean(adversarial.fake_loss(fake)),
        "consistency": jnp.mean(mask * consistency.pseudo_label(strong, targets)),
    }
    loss = parts["supervised"] + 0.5 * (parts["real"] + parts["generated"])
    loss += parts["consistency"]
    return loss, {"loss": loss, **parts, "confident": jnp.mean(mask)}


def generator_loss(
    made: Float[Array, "batch h w c"],
    discriminator: Any,
    real: Float[Array, "batch h w c"],
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """Return the loss of a GAN's generator: feature matching.

    It compares the means of real and generated images in the discriminator's last hidden layer.

    Args:
      made: images from the generator.
      real: real images.
      key: the random key of the noise that the discriminator adds.
    """
    features = discriminator.features(jnp.concatenate([real, made]), key)
    return adversarial.feature_matching(features[: len(real)], features[len(real) :])
