"""Codes without labels: a denoising autoencoder, trained on images that were moved a little."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import augment, losses, nets, train
from jaxlabel.log import Log

NETWORKS = {"dense": nets.DenseAutoencoder, "conv": nets.ConvAutoencoder}


def learn_codes(
    network: str,
    images: UInt8[np.ndarray, "n h w c"],
    key: Key[Array, ""],
    log: Log,
    *,
    code: int,
    num_steps: int,
    batch_size: int,
    learning_rate: float = 1e-3,
    deform: augment.Transform,
) -> Float[np.ndarray, "n code"]:
    """The codes of an autoencoder that sees deformed images and is to give back the clean ones.

    Vincent et al. 2008 (denoising autoencoders). What is undone here is a small affine transform,
    so that the code keeps what an image shows rather than where.

    Args:
      network: "dense" (S0's, fully connected) or "conv".
    """
    init_key, fit_key = jax.random.split(key)

    def make(rngs: nnx.Rngs) -> Any:
        return NETWORKS[network](images.shape[1:], code, rngs)

    def loss(model: Any, batch: UInt8[Array, "batch h w c"], key: Key[Array, ""]) -> Any:
        clean = augment.as_float(batch)
        return jnp.mean(losses.bernoulli_reconstruction(model(deform(key, clean)), clean)), {}

    model = train.fit(
        loss, train.init(make, init_key), images, fit_key, log,
        name="autoencoder", num_steps=num_steps, batch_size=batch_size,
        optimizer=train.warmup_cosine(learning_rate, num_steps),
    )  # fmt: skip
    shown = images[:20]
    outputs = train.apply_batched(lambda m, x: jax.nn.sigmoid(m(x)), model, shown)
    remade = np.round(255 * outputs).astype(np.uint8)
    log.arrays("reconstructions", originals=shown, reconstructions=remade)
    log.images("reconstructions", num_steps, np.concatenate([shown, remade]))
    return train.apply_batched(lambda m, x: m.features(x), model, images)
