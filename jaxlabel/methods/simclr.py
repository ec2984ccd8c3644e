"""SimCLR: features without labels, by telling an image's own views from all other images.

Chen et al. 2020. The run asks nothing. How good its features are is counted by the evaluator, with
labels that the run never saw: the accuracy of the nearest neighbours among the training images.
What two views may differ in is the kind's (`augment.contrastive`): the paper's recipe for
photographs, and for small centred grey images something milder, because crops throw away the
alignment that tells a coat from a shirt. Positives may also be neighbours in pixel space.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, Key, UInt8

from jaxlabel import cluster, nets, pretext
from jaxlabel.cache import VARIABLE, cached
from jaxlabel.config import RunConfig, setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor


@dataclasses.dataclass
class Config(RunConfig):
    """Settings of the pretext task; configs/simclr.py has them for several data sets."""

    encoder: str = setting("conv", "the network", choices=nets.ENCODERS, own=True)
    width: int = setting(0, "its channels in the first layer; 0: the network's own", low=0)
    pretext_steps: int = setting(1000, "training steps of the encoder", low=0)
    pretext_batch: int = setting(256, "images in such a step, two views of each", low=2)
    temperature: float = setting(0.2, "of the loss: lower looks at nearer images", low=0.01)
    projection: int = setting(64, "dimensions in which views are compared", low=2)
    optimizer: str = setting("adamw", "of the encoder", choices=pretext.OPTIMIZERS)
    pretext_rate: float = setting(2e-3, "its learning rate at the peak", low=0.0)
    pretext_decay: float = setting(1e-4, "its weight decay", low=0.0)
    strength: float = setting(
        1.0, "how far views of grey images are moved and changed", low=0.0, high=2.0
    )
    partners: int = setting(
        0, "how many of an image's neighbours by those components may be its other view", low=0
    )
    partner_share: float = setting(0.5, "how often one of them is", low=0.0, high=1.0)
    pretext_seeds: int = setting(
        1, "where this run's encoder is to be trained: train those of this many seeds side by "
        "side, from its own on, and leave them in JAXLABEL_CACHE, where the other runs find them; "
        "for an accelerator", low=1, high=64,
    )  # fmt: skip
    components: int = setting(64, "principal components beside the features; 0: none", low=0)
    given: str = setting(
        "gradients", "of the pixels, or of their pooled orientations",
        choices=pretext.GIVEN,
    )  # fmt: skip
    component_share: float = setting(0.3, "of the squared length, theirs", low=0.0, high=1.0)


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """The features; the oracle is asked nothing."""
    encoder = pretrain(config, images, key, log)
    model = represent(config, encoder, images)
    features = pretext.features_of(model, images)
    return Predictor(model, None, features, "nothing to ask", {}, gives="features")


def pretrain(
    config: Config, images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log,
    derive: Callable[[Key[Array, ""]], Key[Array, ""]] = lambda key: key,
) -> Any:  # fmt: skip
    """The encoder, trained on the images without labels.

    Args:
      derive: from a run's key to the one of its encoder, which is `key` for this run.

    Raises:
      UsageError: encoders of other seeds are wanted and there is no cache to leave them in.
    """
    if config.pretext_seeds > 1 and not os.environ.get(VARIABLE):
        raise UsageError(f"config.pretext_seeds={config.pretext_seeds} leaves encoders in the "
                         f"cache: set {VARIABLE}=DIR, for this run and for theirs")  # fmt: skip
    seeds = range(config.seed + 1, config.seed + config.pretext_seeds)
    partners = given_neighbours(config, images) if config.partners else None
    return pretext.contrastive_encoder(
        settings_of(config), config.kind, images, key, log, partners=partners,
        others=[derive(jax.random.key(seed)) for seed in seeds],
    )  # fmt: skip


def represent(
    config: Config, encoder: Any, images: UInt8[np.ndarray, "n h w c"]
) -> pretext.Representation:
    """The encoder's features beside the principal components, as the configuration has it."""
    return pretext.represent(
        encoder, images, config.components, config.component_share, config.given
    )


def settings_of(config: Config) -> pretext.Settings:
    """The part of the configuration that is the pretext's."""
    return pretext.Settings(
        config.encoder, config.width, config.pretext_steps, config.pretext_batch,
        config.temperature, config.projection, config.optimizer, config.pretext_rate,
        config.pretext_decay, config.strength, config.partners, config.partner_share,
    )  # fmt: skip


def given_neighbours(
    config: Config, images: UInt8[np.ndarray, "n h w c"]
) -> Int[np.ndarray, "n count"]:
    """Each image's nearest others by the principal components alone, before anything is learned."""

    def compute() -> dict[str, Any]:
        points = pretext.given_points(images, config.components or 64, config.given)
        return {"indices": cluster.knn(points, None, config.partners)[0]}

    parts = [images, config.partners, config.components, config.given]
    return cached("neighbours", parts, compute)["indices"]


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """What makes the representation, to load it: it gives features, not classes."""

    def make(rngs: Any) -> pretext.Representation:
        encoder = nets.make_encoder(config.encoder, shape, rngs, config.width or None)
        return pretext.Representation(
            encoder, shape, config.components, config.component_share, config.given
        )

    return make
