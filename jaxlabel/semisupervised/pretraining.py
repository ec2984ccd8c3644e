"""Where a classifier starts: from scratch, or from an encoder that has seen the images."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import augment, nets, pretext, train
from jaxlabel.log import Log
from jaxlabel.pretext.autoencoder import denoising_loss

STARTS = ("scratch", "autoencoder", "simclr")


class Autoencoder(nnx.Module):
    """An encoder with a dense decoder behind its features: what it learns stays when it goes."""

    def __init__(self, encoder: Any, shape: tuple[int, ...], rngs: nnx.Rngs):
        self.encoder = encoder
        self.shape = tuple(shape)
        self.decoder = nets.Dense((encoder.num_features, 512, int(np.prod(shape))), rngs)

    def __call__(self, images: Array) -> Array:
        return self.decoder(self.encoder.features(images)).reshape(len(images), *self.shape)


class NamedLog:
    """A log whose records and checkpoints all have a suffix, so that two trainings stay apart."""

    def __init__(self, log: Log, suffix: str):
        self._log, self._suffix = log, suffix

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        self._log.scalars(phase + self._suffix, step, values)

    def images(self, name: str, step: int, images: np.ndarray) -> None:
        self._log.images(name + self._suffix, step, images)

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        self._log.arrays(name + self._suffix, **arrays)

    def progress(self, phase: str, step: int, num_steps: int, note: str = "") -> None:
        self._log.progress(phase + self._suffix, step, num_steps, note)

    def say(self, text: str) -> None:
        self._log.say(text)

    def save(self, name: str, step: int, tree: Any) -> None:
        self._log.save(name + self._suffix, step, tree)

    def restore(self, name: str, like: Any) -> tuple[int, Any] | None:
        return self._log.restore(name + self._suffix, like)


def pretrained(
    encoder: Any,
    method: str,
    images: UInt8[np.ndarray, "n h w c"],
    key: Key[Array, ""],
    log: Log,
    *,
    network: str,
    width: int,
    kind: str,
    num_steps: int,
    batch_size: int = 256,
    name: str = "",
) -> Any:
    """The encoder after it learned from images without labels.

    Args:
      encoder: `network` of that width, untrained.
      manner: "scratch" leaves it as it is; "autoencoder" gives back clean images for moved ones
        (Vincent et al. 2008); "simclr" tells an image's own views from all other images (Chen et
        al. 2020), with the settings that methods/simclr.py starts from.
      name: a suffix of the checkpoint's name, where several encoders are trained in one run.
    """
    if method == "scratch":
        return encoder
    log = NamedLog(log, name)
    if method == "simclr":
        settings = contrastive_settings(network, width, num_steps, batch_size)
        return pretext.contrastive_encoder(settings, kind, images, key, log)
    init_key, fit_key = jax.random.split(key)
    deform = augment.deform(max_shift=0.07, max_rotation=0.15, max_scale=0.1)
    model = Autoencoder(encoder, images.shape[1:], nnx.Rngs(init_key))
    fitted = train.fit(
        denoising_loss(deform), model, images, fit_key, log, name="start_autoencoder",
        num_steps=num_steps, batch_size=batch_size,
        optimizer=train.warmup_cosine(1e-3, num_steps),
    )  # fmt: skip
    return fitted.encoder


def contrastive_settings(
    network: str, width: int, num_steps: int, batch_size: int = 256
) -> pretext.Settings:
    """SimCLR's settings: what methods/simclr.py has where a config says nothing else."""
    return pretext.Settings(
        network, width, num_steps, batch_size, temperature=0.2, projection=64, optimizer="adamw",
        learning_rate=2e-3, weight_decay=1e-4, strength=1.0, partners=0, partner_share=0.0,
    )  # fmt: skip


def beside_components(
    images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log, *, kind: str, given: str,
    components: int, num_steps: int,
) -> Float[np.ndarray, "n d"]:  # fmt: skip
    """Contrastive features beside the principal components of what is given, all without labels.

    As configs/simclr.py has it for grey images on a CPU: an encoder of oriented gradients, whose
    features are two fifths of the squared length.
    """
    settings = contrastive_settings("gradients", 32, num_steps)
    encoder = pretext.contrastive_encoder(settings, kind, images, key, NamedLog(log, "_space"))
    return pretext.features_of(pretext.represent(encoder, images, components, 0.6, given), images)
