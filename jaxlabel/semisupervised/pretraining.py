"""Features of a contrastive encoder, trained on images without labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import pretext
from jaxlabel.log import Log


class NamedLog:
    """A log that adds a suffix to every name and passes the records on to another log.

    With it, two trainings of the same kind in one run can write to the same log without overwriting
    each other's records and checkpoints.

    Args:
      log: the log that gets the records.
      suffix: the text to add to every name.
    """

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


def contrastive_settings(
    network: str, width: int, num_steps: int, batch_size: int = 256
) -> pretext.Settings:
    """Return settings for training an encoder by SimCLR.

    Settings that are not arguments have the default values of methods/simclr.py.
    """
    return pretext.Settings(
        network, width, num_steps, batch_size, temperature=0.2, projection=64, optimizer="adamw",
        learning_rate=2e-3,
    )  # fmt: skip


def features_with_components(
    images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log, *, kind: str, given: str,
    components: int, num_steps: int,
) -> Float[np.ndarray, "n d"]:  # fmt: skip
    """Train a contrastive encoder; return its features concatenated with principal components.

    The encoder's input is the oriented gradients of the images, as in configs/simclr.py for grey
    images on a CPU. In each returned vector, the encoder's features make up 2/5 of the squared
    Euclidean norm, and the principal components 3/5. No labels are used.

    Args:
      images: the training images.
      kind: the kind of images, such as "digits", which decides how images are transformed.
      given: what the principal components are computed from, "pixels" or "gradients".
      components: the number of principal components.
      num_steps: the number of training steps of the encoder.
    """
    settings = contrastive_settings("gradients", 32, num_steps)
    encoder = pretext.contrastive_encoder(settings, kind, images, key, NamedLog(log, "_space"))
    return pretext.features_of(
        pretext.fit_representation(encoder, images, components, 0.6, given), images
    )
