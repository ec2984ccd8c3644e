"""Helpers of the SCAN recipe (scan.py): choose the number of clusters, and build the networks."""

from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Key

from jaxlabel import nets, scan, train
from jaxlabel.errors import UsageError
from jaxlabel.log import Log


def count_clusters(config: Any, num_classes: int, num_images: int | None = None) -> int:
    """Return the number of clusters: the setting `clusters`, or if it is 0 the number of classes.

    Raises:
      UsageError: the number is below 2, above the number of images, or not the number of shares in
        the setting `prior`, which lists the expected share of each cluster.
    """
    count = config.clusters or num_classes
    shares = config.shares()
    if not config.clusters and count < 2:
        raise UsageError("config.clusters is 0 and the label store knows fewer than two classes: "
                         "give a number of clusters")  # fmt: skip
    if count < 2:
        raise UsageError("config.clusters is 1, which would put all images together: set 2 or more")
    if num_images is not None and count > num_images:
        raise UsageError(f"{count} clusters of {num_images} images: ask for {num_images} at most")
    if shares is not None and len(shares) != count:
        raise UsageError(f"config.prior has {len(shares)} shares, but there are {count} clusters: "
                         "give one share per cluster")  # fmt: skip
    return count


def count_clusters_once(config: Any, num_classes: int, num_images: int, log: Log) -> int:
    """Return the number of clusters of a run, which does not change if the run is later resumed.

    The number is stored in a checkpoint. If the user adds a new class in the middle of a run, the
    number of clusters stays the same: new clusters would have other medoids (central images), and
    the labels bought for the old medoids would be wasted. A run without a budget buys no labels and
    stores no such checkpoint.
    """
    if config.budget <= 0:
        return count_clusters(config, num_classes, num_images)
    saved = log.restore("num_clusters", np.zeros(1, int))
    count = count_clusters(config, num_classes if saved is None else int(saved[1][0]), num_images)
    log.save("num_clusters", 0, np.array([count]))
    return count


def with_new_head(model: scan.Assigner, outputs: int, key: Key[Array, ""]) -> scan.Assigner:
    """Return a copy of a network with an untrained linear head that has `outputs` outputs.

    Args:
      model: an encoder with a head; the encoder keeps its weights.
      outputs: the number of clusters or classes.
    """
    return train.init(
        lambda rngs: scan.Assigner(model.encoder, _make_head(model.encoder, outputs, rngs)), key
    )


def make_assigner(
    config: Any, shape: tuple[int, ...], outputs: int, rngs: nnx.Rngs
) -> scan.Assigner:
    """Return an untrained network that assigns images to clusters or classes.

    It is the encoder that the setting `encoder` names, with a linear head.

    Args:
      config: the settings of SCAN.
      shape: the shape of an image.
      outputs: the number of clusters or classes.
    """
    encoder = nets.make_encoder(config.encoder, shape, rngs, config.width or None)
    return scan.Assigner(encoder, _make_head(encoder, outputs, rngs))


def _make_head(encoder: Any, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    """Return an untrained linear layer that maps the features of `encoder` to `outputs` logits."""
    return nnx.Linear(encoder.num_features, outputs, rngs=rngs)
