"""The number of clusters, the networks and the final classifier of the SCAN recipe (scan.py)."""

from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Int, Key, UInt8

from jaxlabel import nets, scan, train
from jaxlabel.errors import UsageError
from jaxlabel.log import Log


def count_clusters(config: Any, num_classes: int, num_images: int | None = None) -> int:
    """Return the number of clusters: `config.clusters`, or the number of classes if that is 0.

    Raises:
      UsageError: the number is below 2, above `num_images`, or differs from the number of expected
        cluster sizes in `config.prior`.
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
    """Return the number of clusters of a run, which stays the same if the run is resumed later.

    A checkpoint keeps the number. If a person names a new class in the middle of a run, the number
    of clusters does not change: new clusters would have other medoids (central images), and the
    labels bought for the old medoids would be wasted. A run without a budget keeps no such
    checkpoint.
    """
    if config.budget <= 0:
        return count_clusters(config, num_classes, num_images)
    saved = log.restore("num_clusters", np.zeros(1, int))
    count = count_clusters(config, num_classes if saved is None else int(saved[1][0]), num_images)
    log.save("num_clusters", 0, np.array([count]))
    return count


def make_student(
    config: Any, model: scan.Assigner, shape: tuple[int, ...], outputs: int,
    key: Key[Array, ""], *, fresh: bool = False,
) -> scan.Assigner:  # fmt: skip
    """Return the network that learns to predict the clusters or the classes named after them.

    Args:
      config: the settings of SCAN. `config.student` names the network; "same" stands for `model`.
      model: the trained encoder with the best clustering head.
      shape: the shape of an image.
      outputs: the number of clusters or classes.
      fresh: used only if `config.student` is "same". True returns the encoder of `model` with an
        untrained head; False returns `model` unchanged. Any other student is always a new network.
    """
    if config.student == "same" and not fresh:
        return model
    if config.student == "same":
        return train.init(
            lambda rngs: scan.Assigner(model.encoder, _head(model.encoder, outputs, rngs)), key
        )
    return train.init(lambda rngs: make_assigner(config, True, shape, outputs, rngs), key)


def make_assigner(
    config: Any, student: bool, shape: tuple[int, ...], outputs: int, rngs: nnx.Rngs
) -> scan.Assigner:
    """Return an untrained network that assigns images to clusters or classes.

    It is an encoder with a linear head.

    Args:
      config: the settings of SCAN.
      student: whether to use the encoder that `config.student` names, instead of `config.encoder`.
      shape: the shape of an image.
      outputs: the number of clusters or classes.
    """
    name, width = (
        (config.student, config.student_width) if student else (config.encoder, config.width)
    )
    encoder = nets.make_encoder(name, shape, rngs, width or None)
    return scan.Assigner(encoder, _head(encoder, outputs, rngs))


def _head(encoder: Any, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    """Return an untrained linear layer that maps the features of `encoder` to `outputs` logits."""
    return nnx.Linear(encoder.num_features, outputs, rngs=rngs)


def train_classifier(
    config: Any, model: scan.Assigner, images: UInt8[np.ndarray, "n h w c"], mined: scan.Mined,
    labels: Int[np.ndarray, "n"], num_classes: int, key: Key[Array, ""], log: Log,
) -> scan.Assigner:  # fmt: skip
    """Train a classifier on labels of all images and return it.

    The target of an image is the distribution of `labels` among its nearest neighbours.

    Args:
      model: the network that predicts clusters, whose encoder the classifier may start from.
      mined: the nearest neighbours of each image.
      labels: the label of each image, taken from its labelled cluster.
    """
    init_key, fit_key = jax.random.split(key)
    start = make_student(config, model, images.shape[1:], num_classes, init_key, fresh=True)
    shares = scan.vote(labels, mined.neighbours, num_classes)
    return scan.train_on_probabilities(
        start, shares, images, config.kind, fit_key, log, num_steps=config.name_steps,
        batch_size=config.self_batch, learning_rate=config.self_rate,
    )  # fmt: skip
