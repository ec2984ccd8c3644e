"""What a recipe hands over when it is done: a model, and what it made of the data."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel.train import apply_batched


class Predictor(NamedTuple):
    """The outcome of a recipe's run.

    Attributes:
      model: a pytree that is called with float32 images in [0, 1] and returns logits.
      train_labels: the class that the run gives to each training image, or None.
      features: the representation that the run clustered, or None; the report draws its map.
      stopped_by: why no further label was bought: "target", "budget", ...
      summary: for result.json: numbers, such as the run's own estimate of its accuracy, and a
        "verdict" for the end of the run: what went wrong, and what to change.
      gives: what the logits are of: "classes", or "clusters" that no label has named; or
        "features", where the model gives no logits but a representation.
      clusters: the cluster of each training image, where the recipe makes them, or None.
    """

    model: Any
    train_labels: Int[np.ndarray, "n"] | None
    features: Float[np.ndarray, "n d"] | None
    stopped_by: str
    summary: Mapping[str, float | str]
    gives: str = "classes"
    clusters: Int[np.ndarray, "n"] | None = None


class Predictions(NamedTuple):
    """How a model sees all images: its features, and the probabilities that it gives."""

    features: Float[np.ndarray, "n d"]
    probabilities: Float[np.ndarray, "n classes"]


def predict_all(model: Any, images: UInt8[np.ndarray, "n h w c"], num_classes: int) -> Predictions:
    """The features and probabilities of all images, in one pass.

    Args:
      num_classes: how many logits the model gives.
    """
    both = apply_batched(_both, model, images)
    return Predictions(both[:, :-num_classes], both[:, -num_classes:])


class PoolPredictions(NamedTuple):
    """How a model sees some of the images, and which they are: their indices, in order."""

    rows: Int[np.ndarray, "m"]
    predictions: Predictions


def predict_pool(
    model: Any, images: UInt8[np.ndarray, "n h w c"], num_classes: int, size: int,
    labelled: Int[np.ndarray, "m"], key: Key[Array, ""],
) -> PoolPredictions:  # fmt: skip
    """A look at `size` images drawn at random, or at all, and at those that are paid for."""
    rows = np.arange(len(images))
    if size < len(images):
        drawn = jax.random.choice(key, len(images), (size,), replace=False)
        rows = np.union1d(drawn, labelled)
    return PoolPredictions(rows, predict_all(model, images[rows], num_classes))


def _both(model: Any, batch: Float[Array, "batch h w c"]) -> Float[Array, "batch both"]:
    return jnp.concatenate([model.features(batch), jax.nn.softmax(model(batch))], axis=-1)


def predict_probabilities(
    model: Any, images: UInt8[np.ndarray, "n h w c"]
) -> Float[np.ndarray, "n classes"]:
    """The softmax of the model's logits."""
    return apply_batched(_shares, model, images)


def _shares(model: Any, batch: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
    return jax.nn.softmax(model(batch))
