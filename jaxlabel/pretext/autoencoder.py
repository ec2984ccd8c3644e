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
    learning_rate: float = 1e-3,
) -> Float[np.ndarray, "n code"]:
    """Return the images' codes from an autoencoder that restores clean images from deformed ones.

    This is a denoising autoencoder (Vincent et al. 2008) whose noise is a small affine transform,
    so that the code describes an image's content rather than its position. The codes are cached:
    runs of a sweep with equal settings share them. The log gets a few reconstructions.

    Args:
      network: "dense" (fully connected, with layers of width, width/2, width/4, and code, as in the
        baseline S0) or "conv".
      code: dimensions of the code.
      width: units of the dense network's first layer.
      deformed: strength of the deformation; 1 means up to 7% of the side, a quarter radian, and 15%
        of the size; 0 trains a plain autoencoder.
    """
    deform = augment.deform(
        max_shift=0.07 * deformed, max_rotation=0.25 * deformed, max_scale=0.15 * deformed
    )
    settings = (network, code, width, num_steps, batch_size, deformed, learning_rate)

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
            optimizer=train.warmup_cosine(learning_rate, num_steps),
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
    """Return the loss function of a denoising autoencoder (Vincent et al. 2008), for `train.fit`.

    Its value is the mean over the batch, in nats, of the loss of reconstructing clean images from
    deformed ones.

    Args:
      deform: the random transform of the inputs; None for a plain autoencoder.
    """

    def loss(model: Any, batch: UInt8[Array, "batch h w c"], key: Key[Array, ""]) -> Any:
        clean = augment.as_float(batch)
        inputs = deform(key, clean) if deform else clean
        return jnp.mean(losses.bernoulli_reconstruction(model(inputs), clean)), {}

    return loss
