"""A scikit-learn classifier that learns from a few labels and many images without labels.

    from jaxlabel.sklearn import FewLabelClassifier

    y = np.full(len(X), -1)                 # -1: no label
    y[asked] = labels
    FewLabelClassifier(preset="cpu").fit(X, y).predict(X_new)

It trains on the labels that it is given. To have the images chosen whose labels are worth most, use
`jaxlabel.fit`, `jaxlabel.Session` or `jaxlabel.QueryStrategy`.
"""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Shaped, UInt8
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from jaxlabel.api.classifier_settings import check_for_vectors, checked_settings
from jaxlabel.api.images import checked
from jaxlabel.api.partly_labelled import train_network
from jaxlabel.api.recipes import configuration
from jaxlabel.api.targets import of_one_type, to_label_array, unlabelled
from jaxlabel.data.images import check_not_black, with_channels
from jaxlabel.errors import DataError
from jaxlabel.predictor import predict_probabilities
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import setup

__all__ = ["FewLabelClassifier"]

BATCH = 256  # images that are predicted at once: one shape, so that it is compiled once
FITTED = ("classes_", "n_iter_", "_model", "_config", "_shape")  # what `fit` sets at its end


class FewLabelClassifier(ClassifierMixin, BaseEstimator):
    """A semi-supervised classifier of images or feature vectors with scikit-learn's interface.

    `fit` trains a network on the labelled samples and, depending on `objective`, also on the
    unlabelled samples of `X`. The exponential moving average of its weights makes the predictions.
    In `y`, samples without a label have -1 if labels are numbers, and None, NaN or "" if labels are
    strings, as in `sklearn.semi_supervised`. The missing value of pandas, `pandas.NA`, marks them
    in both cases. Therefore no class can have the name -1, "-1", "-1.0", "nan" or "".

    Args:
      objective: how unlabelled samples are used: "supervised" (not at all), "pseudo_label",
        "mean_teacher", "vat", "mixmatch", "fixmatch", "flexmatch", "freematch", "softmatch",
        "graph" (labels propagated over a graph of nearest neighbours, by Euclidean distances of
        the scaled features if rows are feature vectors), or the user's function as
        `module:function`.
        "mixmatch" collapses in many trainings, because its paper's weight of 75 is too large here;
        use it for comparisons only.
      preset: the size of the network and of the training: "tiny" (for tests), "cpu" or "gpu".
      image_shape: the shape (height, width) or (height, width, channels) of an image if each row of
        `X` has the pixels of an image. None: rows are feature vectors. Each feature is scaled to
        [0, 1] by its smallest and largest training value and rounded to 256 levels, and samples are
        augmented by noise instead of shifts and rotations.
      kind: the kind of images, which decides how they may be transformed without a change of class:
        "digits", "clothes" (mirroring allowed), "overhead" (rotation allowed), "objects" (mirroring
        allowed), "unknown", or the user's function as `module:function`. Feature vectors take
        "unknown" only.
      alignment: the class distribution to which predictions are adjusted: "labelled" (that of the
        labels), "uniform" (equal shares), or "none" (no adjustment).
      network: the encoder, such as "conv", "dense" or "fine_gradient_conv". None: the encoder of
        the preset, or "dense" for feature vectors.
      width: the number of channels of the encoder's first layer. None: that of the preset.
      steps: the number of training steps. None: that of the preset, which is 1,500 for "cpu".
      batch_size: the number of labelled samples in a training step. None: that of the preset.
      learning_rate: the largest learning rate of AdamW. None: that of the preset.
      random_state: a seed, a `numpy.random.RandomState`, or None for a new seed in each fit.
      settings: a dict of other settings of the recipe "semisup", such as {"mu": 7}: "mu",
        "weight_decay", "graph_targets" and, for images, "contrast_steps". Settings that a fit does
        not use, such as those of data, labels, queries and devices, are refused.

    Attributes:
      classes_: the sorted classes, of shape (num_classes,).
      n_features_in_: the number of values of a sample; for images, pixels times channels.
      n_iter_: the number of training steps done.
    """

    def __init__(
        self,
        objective: str = "freematch",
        preset: str = "cpu",
        *,
        image_shape: Sequence[int] | None = None,
        kind: str = "unknown",
        alignment: str = "labelled",
        network: str | None = None,
        width: int | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        random_state: Any = None,
        settings: Mapping[str, Any] | None = None,
    ):
        self.objective = objective
        self.preset = preset
        self.image_shape = image_shape
        self.kind = kind
        self.alignment = alignment
        self.network = network
        self.width = width
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.settings = settings

    def fit(self, X: Any, y: Any) -> "FewLabelClassifier":
        """Train the classifier on samples of which only some have a label, and return itself.

        Args:
          X: the samples: images of shape (n, h, w) or (n, h, w, c), or of shape (n, pixels) if
            `image_shape` is set, as uint8 or as floats from 0 to 1. Or feature vectors of shape (n,
            features).
          y: the n labels, numbers or strings; -1, None, NaN, `pandas.NA` or "" for samples without
            a label.

        Raises:
          ValueError: the shapes of X and y do not match, X is not as described, y has no label, or
            y has the string "nan", "-1" or "-1.0".
          UsageError: a parameter of the classifier is not valid.
        """
        for name in FITTED:  # if this fit fails, nothing of an earlier one predicts
            self.__dict__.pop(name, None)
        images = self._to_images(X, fitting=True)
        config = self._configuration()
        labels = to_label_array(y)
        check_consistent_length(images, labels)
        known = np.flatnonzero(~unlabelled(labels))
        if not len(known):
            raise ValueError("y has no label: at least one sample needs a class")
        given = of_one_type(labels[known])
        check_classification_targets(given)
        classes, numbers = np.unique(given, return_inverse=True)
        model = None
        if len(classes) > 1:
            labelled = Labelled(known, numbers.astype(np.int32))
            model = train_network(config, images, labelled, len(classes), self._vectors)
        self._model, self._config, self._shape = model, config, images.shape[1:]
        self.n_iter_ = 0 if model is None else config.steps
        self.classes_ = classes
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n classes"]:
        """Return the probability of each class for each sample; columns are ordered as `classes_`.

        Raises:
          NotFittedError: `fit` was not called, or the last call did not finish.
          ValueError: the samples X do not have the shape of those that were passed to `fit`.
        """
        check_is_fitted(self, "classes_")
        images = self._to_images(X, fitting=False)
        if len(self.classes_) == 1:
            return np.ones((len(images), 1))
        padded = np.pad(images, ((0, -len(images) % BATCH), (0, 0), (0, 0), (0, 0)))
        parts = [
            predict_probabilities(self._model, padded[start : start + BATCH])
            for start in range(0, len(padded), BATCH)
        ]
        shares = np.concatenate(parts)[: len(images)].astype(np.float64)
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Shaped[np.ndarray, "n"]:
        """Return the most probable class of each sample.

        Raises:
          NotFittedError, ValueError: under the same conditions as for `predict_proba`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, as a fraction, on the samples of X that have a label in y.

        Raises:
          ValueError: no sample has a label, or X, y and the weights differ in length.
        """
        check_consistent_length(X, y, sample_weight)
        labels = to_label_array(y)
        known = ~unlabelled(labels)
        if not known.any():
            raise ValueError("y has no label: there is nothing to score")
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        predicted = self.predict(X)[known]
        return float(accuracy_score(of_one_type(labels[known]), predicted, sample_weight=weights))

    @property
    def _vectors(self) -> bool:
        return self._range is not None

    def _to_images(self, X: Any, *, fitting: bool) -> UInt8[np.ndarray, "n h w c"]:
        """Check the samples X and return them as uint8 images; a vector becomes a one-row image.

        If `fitting` is True, the shape and range of X are stored; otherwise X must match those of
        the training samples.
        """
        is_flat = issparse(X) or np.asarray(X).ndim < 3
        if is_flat:
            dtype = float if self.image_shape is None else None
            X = validate_data(self, X, reset=fitting, dtype=dtype)
        else:
            X = check_array(X, allow_nd=True, dtype=None, ensure_all_finite=False)
        if is_flat and self.image_shape is None:
            if fitting:
                self._range: Any = (X.min(axis=0), X.max(axis=0))  # None: X holds images
            return self._scaled(X)
        try:
            if is_flat:
                shape = _checked_shape(self.image_shape)
                if X.shape[1] != np.prod(shape):
                    raise DataError(f"X has {X.shape[1]} features, image_shape is "
                                    f"{shape}")  # fmt: skip
                X = X.reshape(len(X), *shape)
            images = checked(X)
            if fitting:
                check_not_black(images, "X")
        except DataError as error:
            raise ValueError(str(error)) from error
        if fitting:
            self._range, self.n_features_in_ = None, int(np.prod(X.shape[1:]))
            return images
        if images.shape[1:3] != self._shape[:2]:
            raise ValueError(f"X has images of shape {images.shape[1:]}, but FewLabelClassifier "
                             f"was fitted to images of shape {self._shape}")  # fmt: skip
        return with_channels(images, self._shape[2])

    def _scaled(self, X: Float[np.ndarray, "n d"]) -> UInt8[np.ndarray, "n 1 d 1"]:
        if self._range is None:
            raise ValueError("X has feature vectors, but FewLabelClassifier was fitted to images")
        low, high = self._range
        shares = np.clip((X - low) / np.where(high > low, high - low, 1), 0, 1)
        return np.round(255 * shares).astype(np.uint8)[:, None, :, None]

    def _configuration(self) -> Any:
        """Return the settings of the training method "semisup" for the classifier's parameters."""
        given = {
            "objective": self.objective, "kind": self.kind, "alignment": self.alignment,
            "network": self.network or ("dense" if self._vectors else None),
            "width": self.width, "steps": self.steps, "batch_size": self.batch_size,
            "learning_rate": self.learning_rate, "preset": self.preset, "image_size": 0,
            "seed": int(check_random_state(self.random_state).randint(2**31 - 1)),
        }  # fmt: skip
        given |= checked_settings(self.settings)
        config = configuration("semisup:folder", "digits", given)
        if self._vectors:
            check_for_vectors(config)
        return config

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, in which the model is a list of NumPy arrays."""
        state: dict[str, Any] = dict(super().__getstate__())
        if state.get("_model") is not None:
            state["_model"] = [np.asarray(leaf) for leaf in jax.tree.leaves(state["_model"])]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the classifier from the state that `__getstate__` returned."""
        super().__setstate__(state)
        leaves = state.get("_model")
        if leaves is not None:
            make = setup.make_network(self._config, self._shape, len(self.classes_))
            like = jax.eval_shape(
                lambda key: setup.average_mirrored(self._config, make(nnx.Rngs(key))),
                jax.random.key(0),
            )
            arrays = [jnp.asarray(leaf) for leaf in leaves]
            self._model = jax.tree.unflatten(jax.tree.structure(like), arrays)


def _checked_shape(shape: Any) -> tuple[int, ...]:
    """Return the parameter `image_shape` as a tuple; raise DataError if it is no image's shape."""
    sides = tuple(shape) if isinstance(shape, Sequence | np.ndarray) else ()
    if len(sides) not in (2, 3) or not all(
        isinstance(side, numbers.Integral) and int(side) > 0 for side in sides
    ):
        raise DataError(f"image_shape is {shape!r}: it takes (height, width) or "
                        "(height, width, channels)")  # fmt: skip
    return sides
