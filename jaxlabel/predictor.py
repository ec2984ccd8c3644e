"""The result that a method returns: a model and more; and predictions for many images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel.train import apply_batched


class Predictor(NamedTuple):
    """The result of one run of a labelling method: the trained model and further findings.

    Attributes:
      model: the trained network, a pytree. Calling it on float32 images in [0, 1] returns logits.
      train_labels: the class that the run assigns to each training image; None if it assigns none.
      features: the feature vectors of the training images that the run clustered, from which the
        report makes a map of the images; None if there are none.
      stopped_by: the reason why the run bought no further labels, for example "target" (the target
        accuracy was reached) or "budget" (the budget was used up).
      summary: numbers to write into result.json, such as the estimated accuracy. The entry
        "verdict", if there is one, is a sentence on the outcome, which is printed at the end of the
        run.
      gives: what the model's outputs mean: "classes" for class logits, "clusters" for logits of
        clusters without class names, or "features" for feature vectors.
      clusters: the index of each training image's cluster; None if the method makes no clusters.
    """

    model: Any
    train_labels: Int[np.ndarray, "n"] | None
    features: Float[np.ndarray, "n d"] | None
    stopped_by: str
    summary: Mapping[str, float | str]
    gives: str = "classes"
    clusters: Int[np.ndarray, "n"] | None = None


class Predictions(NamedTuple):
    """A model's features and class probabilities for a set of images, one row per image.

    Attributes:
      features: the feature vectors.
      probabilities: the class probabilities.
    """

    features: Float[np.ndarray, "n d"]
    probabilities: Float[np.ndarray, "n classes"]


def predict_all(model: Any, images: UInt8[np.ndarray, "n h w c"], num_classes: int) -> Predictions:
    """Return a model's features and class probabilities for the given images, from one pass.

    Args:
      model: a classifier that returns class logits and has a method `features`.
      images: the images, uint8.
      num_classes: the number of logits that the model returns per image.
    """
    both = apply_batched(_features_and_probabilities, model, images)
    return Predictions(both[:, :-num_classes], both[:, -num_classes:])


class PoolPredictions(NamedTuple):
    """A model's features and class probabilities for a subset of the training images.

    Attributes:
      rows: the indices of these training images, in ascending order.
      predictions: the features and class probabilities of these images, in the order of `rows`.
    """

    rows: Int[np.ndarray, "m"]
    predictions: Predictions

    def map_points(self) -> Float[np.ndarray, "m 2"]:
        """Return the first two principal components of the features, for a map of the images."""
        centred = self.predictions.features - self.predictions.features.mean(axis=0)
        _, vectors = np.linalg.eigh(centred.T @ centred)  # in the order of rising variance
        points = centred @ vectors[:, :-3:-1]
        return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # a single feature: 0 upwards


def predict_pool(
    model: Any, images: UInt8[np.ndarray, "n h w c"], num_classes: int, size: int,
    labelled: Int[np.ndarray, "m"], key: Key[Array, ""],
) -> PoolPredictions:  # fmt: skip
    """Return a model's predictions for random training images and for all labelled images.

    The random sample has `size` images. If there are at most `size` training images, the
    predictions are for all of them.

    Args:
      model: a classifier that returns class logits and has a method `features`.
      images: all training images, uint8.
      num_classes: the number of logits that the model returns per image.
      size: the number of training images in the random sample, which is drawn without replacement.
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
    """Return a model's class probabilities for each image: the softmax of its logits."""
    return apply_batched(_probabilities, model, images)


def _probabilities(model: Any, batch: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
    return jax.nn.softmax(model(batch))
