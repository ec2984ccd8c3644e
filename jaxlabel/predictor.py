"""The outcome of a method's run (a model and its results), and predictions for many images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel.train import apply_batched


class Predictor(NamedTuple):
    """The outcome of a method's run.

    Attributes:
      model: a pytree that is called with float32 images in [0, 1] and returns logits.
      train_labels: the class that the run assigns to each training image, or None.
      features: the features that the run clustered, or None; the report draws a map of them.
      stopped_by: why no further label was bought: "target", "budget", ...
      summary: entries of result.json: numbers, such as the run's estimate of its accuracy, and a
        "verdict" for the end of the run: what went wrong, and what to change.
      gives: what the model's outputs are: logits of "classes"; logits of "clusters" that have no
        class names; or "features", without logits.
      clusters: the cluster of each training image if the method makes clusters, or None.
    """

    model: Any
    train_labels: Int[np.ndarray, "n"] | None
    features: Float[np.ndarray, "n d"] | None
    stopped_by: str
    summary: Mapping[str, float | str]
    gives: str = "classes"
    clusters: Int[np.ndarray, "n"] | None = None


class Predictions(NamedTuple):
    """A model's predictions for a set of images.

    Attributes:
      features: the model's features of each image.
      probabilities: the class probabilities of each image.
    """

    features: Float[np.ndarray, "n d"]
    probabilities: Float[np.ndarray, "n classes"]


def predict_all(model: Any, images: UInt8[np.ndarray, "n h w c"], num_classes: int) -> Predictions:
    """Return a model's features and class probabilities for all images, in one pass.

    Args:
      num_classes: the number of the model's logits.
    """
    both = apply_batched(_features_and_probabilities, model, images)
    return Predictions(both[:, :-num_classes], both[:, -num_classes:])


class PoolPredictions(NamedTuple):
    """A model's predictions for a subset of the training images.

    Attributes:
      rows: the indices of the images, in ascending order.
      predictions: the model's predictions for these images.
    """

    rows: Int[np.ndarray, "m"]
    predictions: Predictions


def predict_pool(
    model: Any, images: UInt8[np.ndarray, "n h w c"], num_classes: int, size: int,
    labelled: Int[np.ndarray, "m"], key: Key[Array, ""],
) -> PoolPredictions:  # fmt: skip
    """Return a model's predictions for `size` random training images and all labelled images.

    If there are no more than `size` training images, the predictions are for all of them.

    Args:
      num_classes: the number of the model's logits.
      labelled: the indices of the labelled images.
    """
    rows = np.arange(len(images))
    if size < len(images):
        drawn = jax.random.choice(key, len(images), (size,), replace=False)
        rows = np.union1d(drawn, labelled)
    return PoolPredictions(rows, predict_all(model, images[rows], num_classes))


def _features_and_probabilities(
    model: Any, batch: Float[Array, "batch h w c"]
) -> Float[Array, "batch both"]:
    return jnp.concatenate([model.features(batch), jax.nn.softmax(model(batch))], axis=-1)


def predict_probabilities(
    model: Any, images: UInt8[np.ndarray, "n h w c"]
) -> Float[np.ndarray, "n classes"]:
    """Return the class probabilities (softmax of the logits) of the images."""
    return apply_batched(_probabilities, model, images)


def _probabilities(model: Any, batch: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
    return jax.nn.softmax(model(batch))
