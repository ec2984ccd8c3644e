"""The number of clusters and the networks of the SCAN recipe (scan.py)."""

from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Key

from jaxlabel import nets, scan, train
from jaxlabel.errors import UsageError
from jaxlabel.log import Log


def count_clusters(config: Any, num_classes: int, num_images: int | None = None) -> int:
    """Return the number of clusters that the settings ask for.

    Raises:
      UsageError: it is below 2, above `num_images`, or differs from the number of prior shares.
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


def count_once(config: Any, num_classes: int, num_images: int, log: Log) -> int:
    """Return `count_clusters` for the classes that were known when a run with a budget began.

    If a person names a new class later, the number of clusters stays: new clusters would have other
    medoids, and the labels bought so far would be wasted. A checkpoint keeps the number.
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
    """Return the network that learns from the clusters.

    Args:
      config: settings of SCAN; `student` names the network.
      model: the trained encoder with the best clustering head.
      shape: shape of an image.
      outputs: number of clusters or classes.
      fresh: with `student=same`, replace the head of `model` by an untrained one; otherwise
        `model` itself is returned. Any other student is a new network in all cases.
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
    """Return an untrained encoder with a linear head: the configured encoder, or the student."""
    name, width = (
        (config.student, config.student_width) if student else (config.encoder, config.width)
    )
    encoder = nets.make_encoder(name, shape, rngs, width or None)
    return scan.Assigner(encoder, _head(encoder, outputs, rngs))


def _head(encoder: Any, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    """Return an untrained linear head for the features of `encoder`."""
    return nnx.Linear(encoder.num_features, outputs, rngs=rngs)
