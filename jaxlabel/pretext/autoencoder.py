"""Image codes without labels, from a denoising autoencoder trained on slightly deformed images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import augment, losses, nets, train
from jaxlabel.cache import cached
from jaxlabel.log import Log

LEARNING_RATE = 1e-3
SHOWN = 20  # the number of reconstructions in the report


def learn_codes(
    network: str,
    images: UInt8[np.ndarray, "n h w c"],
    key: Key[Array, ""],
    log: Log,
    *,
    code: int,
    width: int,
    num_steps: int,
    batch_size: int,
    deformed: float,
) -> Float[np.ndarray, "n code"]:
    """Train a denoising autoencoder on unlabelled images, and return the code of each image.

    The code of an image is a short vector from which the network can reconstruct the image. The
    network sees an image after a small random affine transform, and restores the original (Vincent
    et al. 2008, with the transform as the noise). So the code describes the content of an image
    rather than its position. The codes are stored in a cache on disk, and later calls with equal
    arguments load them. A few reconstructions are logged for the run's report.

    Args:
      network: "dense" for an encoder with fully connected layers of `width`, `width`/2, `width`/4,
        and `code` units, or "conv" for a convolutional one.
      code: the number of dimensions of the code.
      width: the number of units of the dense encoder's first layer.
      deformed: the strength of the transform. 1 means shifts by up to 7% of the side, rotations by
        up to a quarter radian, and scaling by up to 15%. 0 trains a plain autoencoder.
    """
    deform = augment.deform(
        max_shift=0.07 * deformed, max_rotation=0.25 * deformed, max_scale=0.15 * deformed
    )
    settings = (network, code, width, num_steps, batch_size, deformed, LEARNING_RATE)

    def compute() -> dict[str, np.ndarray]:
        def make(rngs: nnx.Rngs) -> Any:
            if network == "conv":
                return nets.ConvAutoencoder(images.shape[1:], code, rngs)
            return nets.DenseAutoencoder(
                images.shape[1:], code, rngs, (width, width // 2, width // 4)
            )

        init_key, fit_key = jax.random.split(key)
        model = train.fit(
            denoising_loss(deform if deformed else None), train.init(make, init_key),
            images, fit_key, log,
            name="autoencoder", num_steps=num_steps, batch_size=batch_size,
            optimizer=train.warmup_cosine(LEARNING_RATE, num_steps),
        )  # fmt: skip
        outputs = train.apply_batched(lambda m, x: jax.nn.sigmoid(m(x)), model, images[:SHOWN])
        return {
            "codes": train.apply_batched(train.features_of, model, images),
            "reconstructions": np.round(255 * outputs).astype(np.uint8),
        }

    outcome = cached("codes", [settings, images, key], compute)
    originals, reconstructions = images[:SHOWN], outcome["reconstructions"]
    log.arrays("reconstructions", originals=originals, reconstructions=reconstructions)
    log.images("reconstructions", num_steps, np.concatenate([originals, reconstructions]))
    return outcome["codes"]


def denoising_loss(deform: augment.Transform | None) -> train.Loss:
    """Return the loss function of a denoising autoencoder, for the training loop `train.fit`.

    Vincent et al. 2008. The loss compares the reconstruction of a deformed image with the original
    image. It is the mean over the batch of the negative log-likelihood of the original's pixels, in
    nats.

    Args:
      deform: a function of (key, images) that deforms the network's inputs at random; None for a
        plain autoencoder.
    """

    def loss(model: Any, batch: UInt8[Array, "batch h w c"], key: Key[Array, ""]) -> Any:
        clean = augment.as_float(batch)
        inputs = deform(key, clean) if deform else clean
        return jnp.mean(losses.bernoulli_reconstruction(model(inputs), clean)), {}

    return loss
