"""The SimCLR recipe (Chen et al. 2020): learn features without labels.

An encoder learns to recognise two views of the same image among the views of all other images. The
run buys no labels. The evaluator measures the features with labels that the run never uses, by the
accuracy of nearest neighbours among the training images. The kind of images decides how two views
differ (`augment.contrastive`): photographs get the paper's transforms, small centred grey images
get milder ones, because crops would destroy the alignment that distinguishes a coat from a shirt.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key, UInt8

from jaxlabel import nets, pretext
from jaxlabel.cache import VARIABLE
from jaxlabel.config import RunConfig, setting
from jaxlabel.errors import UsageError
from jaxlabel.log import Log
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor

GIVEN = "gradients"  # input of the principal components: pooled oriented gradients


@dataclasses.dataclass
class Config(RunConfig):
    """Settings of SimCLR, a contrastive training of an encoder; configs/simclr.py has examples."""

    encoder: str = setting("conv", "network of the encoder", choices=nets.ENCODERS, own=True)
    width: int = setting(
        0, "channels of the encoder's first layer; 0: the network's default", low=0
    )
    pretext_steps: int = setting(1000, "training steps of the encoder", low=0)
    pretext_batch: int = setting(
        256, "images in a mini-batch of the encoder's training, with two views of each", low=2
    )
    temperature: float = setting(
        0.2, "temperature of the contrastive loss; lower: more weight on the nearest images",
        low=0.01,
    )  # fmt: skip
    projection: int = setting(64, "dimensions of the projection in which views are compared", low=2)
    optimizer: str = setting("adamw", "optimizer of the encoder", choices=pretext.OPTIMIZERS)
    pretext_rate: float = setting(2e-3, "peak learning rate of the encoder", low=0.0)
    pretext_seeds: int = setting(
        1, "train the encoders of this many seeds in parallel, from this run's seed on, and store "
        "them in JAXLABEL_CACHE for the runs of the other seeds; for an accelerator", low=1,
        high=64,
    )  # fmt: skip
    components: int = setting(
        64,
        "number of principal components of oriented gradients added to the features; 0: none",
        low=0,
    )
    component_share: float = setting(
        0.3, "share of the principal components in the squared length of the features", low=0.0,
        high=1.0,
    )  # fmt: skip


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """Train the encoder and return it together with the features of all images; buy no labels."""
    encoder = pretrain(config, images, key, log)
    model = fit_representation(config, encoder, images)
    features = pretext.features_of(model, images)
    return Predictor(model, None, features, "nothing to ask", {}, gives="features")


def pretrain(
    config: Config, images: UInt8[np.ndarray, "n h w c"], key: Key[Array, ""], log: Log,
    derive: Callable[[Key[Array, ""]], Key[Array, ""]] = lambda key: key,
) -> Any:  # fmt: skip
    """Train an encoder on the images by SimCLR, without labels, and return it.

    If the setting `pretext_seeds` is above 1, encoders for the next run seeds are trained in the
    same call and stored in the cache, so that runs with these seeds need not train them.

    Args:
      key: the random key of this run's encoder.
      derive: a function that maps the random key of a run to the random key of the run's encoder.

    Raises:
      UsageError: `pretext_seeds` is above 1, but no cache directory is set.
    """
    if config.pretext_seeds > 1 and not os.environ.get(VARIABLE):
        raise UsageError(f"config.pretext_seeds={config.pretext_seeds} stores encoders in a cache: "
                         f"set {VARIABLE}=DIR for the runs of all these seeds")  # fmt: skip
    seeds = range(config.seed + 1, config.seed + config.pretext_seeds)
    return pretext.contrastive_encoder(
        pretext_settings(config), config.kind, images, key, log,
        others=[derive(jax.random.key(seed)) for seed in seeds],
    )  # fmt: skip


def fit_representation(
    config: Config, encoder: Any, images: UInt8[np.ndarray, "n h w c"]
) -> pretext.Representation:
    """Return a model that maps an image to the encoder's features joined with principal components.

    The setting `components` is the number of principal components, and `component_share` is their
    share of the squared length of the joined features.
    """
    return pretext.fit_representation(
        encoder, images, config.components, config.component_share, GIVEN
    )


def pretext_settings(config: Config) -> pretext.Settings:
    """Return the settings for the training of the encoder, as a `pretext.Settings`."""
    return pretext.Settings(
        config.encoder, config.width, config.pretext_steps, config.pretext_batch,
        config.temperature, config.projection, config.optimizer, config.pretext_rate,
    )  # fmt: skip


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained model from an `nnx.Rngs`.

    To load a saved model, the caller builds a network with this function and then overwrites its
    weights with the saved ones. The model returns features instead of class logits.
    """

    def make(rngs: Any) -> pretext.Representation:
        encoder = nets.make_encoder(config.encoder, shape, rngs, config.width or None)
        return pretext.Representation(
            encoder, shape, config.components, config.component_share, GIVEN
        )

    return make
