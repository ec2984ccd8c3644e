"""Where a classifier starts: from scratch, or from an encoder that has seen the images."""

from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Key, UInt8

from jaxlabel import augment, nets, train
from jaxlabel.autoencode import denoising_loss
from jaxlabel.log import Log

STARTS = ("scratch", "autoencoder")


class Autoencoder(nnx.Module):
    """An encoder with a dense decoder behind its features: what it learns stays when it goes."""

    def __init__(self, encoder: Any, shape: tuple[int, ...], rngs: nnx.Rngs):
        self.encoder = encoder
        self.shape = tuple(shape)
        self.decoder = nets.Dense((encoder.num_features, 512, int(np.prod(shape))), rngs)

    def __call__(self, images: Array) -> Array:
        return self.decoder(self.encoder.features(images)).reshape(len(images), *self.shape)


def pretrained(
    encoder: Any,
    manner: str,
    images: UInt8[np.ndarray, "n h w c"],
    key: Key[Array, ""],
    log: Log,
    *,
    num_steps: int,
    batch_size: int = 256,
) -> Any:
    """The encoder after it learned from images without labels.

    Args:
      manner: "scratch" leaves it as it is; "autoencoder" gives back clean images for moved ones
        (Vincent et al. 2008).
    """
    if manner == "scratch":
        return encoder
    init_key, fit_key = jax.random.split(key)
    deform = augment.deform(max_shift=0.07, max_rotation=0.15, max_scale=0.1)
    model = Autoencoder(encoder, images.shape[1:], nnx.Rngs(init_key))
    fitted = train.fit(
        denoising_loss(deform), model, images, fit_key, log, name="autoencoder",
        num_steps=num_steps, batch_size=batch_size,
        optimizer=train.warmup_cosine(1e-3, num_steps),
    )  # fmt: skip
    return fitted.encoder
