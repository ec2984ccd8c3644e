"""Codes without labels: a denoising autoencoder, trained on images that were moved a little."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import augment, losses, nets, train
from jaxlabel.cache import cached
from jaxlabel.log import Log

SHOWN = 20  # how many reconstructions the report shows


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
    """The codes of an autoencoder that sees deformed images and is to give back the clean ones.

    Vincent et al. 2008 (denoising autoencoders). What is undone here is a small affine transform,
    so that the code keeps what an image shows rather than where. Runs of a sweep share the codes.

    Args:
      network: "dense" (S0's, fully connected: width, width/2, width/4, code) or "conv".
      deformed: how far the input is moved, 1 being 7% of the side, a quarter radian and 15% of
        the size; 0 makes it a plain autoencoder.
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

    found = cached("codes", [settings, images, key], compute)
    originals, remade = images[:SHOWN], found["reconstructions"]
    log.arrays("reconstructions", originals=originals, reconstructions=remade)
    log.images("reconstructions", num_steps, np.concatenate([originals, remade]))
    return found["codes"]


def denoising_loss(deform: augment.Transform | None) -> train.Loss:
    """The mean loss in nats of giving back clean images for deformed ones (Vincent et al. 2008)."""

    def loss(model: Any, batch: UInt8[Array, "batch h w c"], key: Key[Array, ""]) -> Any:
        clean = augment.as_float(batch)
        seen = deform(key, clean) if deform else clean
        return jnp.mean(losses.bernoulli_reconstruction(model(seen), clean)), {}

    return loss
