"""Logistic regression: fitted on the host by scikit-learn, then a network like any other."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int

ABSENT = -30.0  # the logit of a class that no label named, below those that some did


class LinearClassifier(nnx.Module):
    """Logits linear in the pixels, or in the distances to `num_centres` points in pixel space.

    `features` are those, centred.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, num_centres: int = 0):
        pixels = math.prod(shape)
        inputs = num_centres or pixels
        self.centres = nnx.Param(jnp.zeros((num_centres, pixels))) if num_centres else None
        self.mean = nnx.Param(jnp.zeros(inputs))
        self.weights = nnx.Param(jnp.zeros((inputs, num_classes)))
        self.biases = nnx.Param(jnp.zeros(num_classes))

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        inputs = images.reshape(len(images), -1)
        if self.centres is not None:
            inputs = distances_to(inputs, self.centres[...])
        return inputs - self.mean[...]

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        return self.features(images) @ self.weights[...] + self.biases[...]


def distances_to(points: Float[Array, "n d"], centres: Float[Array, "k d"]) -> Float[Array, "n k"]:
    """The Euclidean distance of each point to each centre."""
    products = jnp.matmul(points, centres.T, precision=lax.Precision.HIGHEST)
    squared = jnp.sum(points**2, axis=1)[:, None] + jnp.sum(centres**2, axis=1) - 2 * products
    return jnp.sqrt(jnp.maximum(squared, 0.0))


def fit_logistic(
    inputs: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    num_classes: int,
    *,
    strength: float,
    max_iterations: int,
    whiten: bool = False,
) -> tuple[Float[np.ndarray, "d classes"], Float[np.ndarray, "classes"]]:
    """Weights and biases of multinomial logistic regression (Bishop 2006, section 4.3.4).

    They minimise `strength` times the summed cross-entropy plus half the squared weights, by
    L-BFGS (Liu & Nocedal 1989), which stops after `max_iterations` at the latest: on all the
    images of a data set the last digits are not worth their time.

    Args:
      whiten: solve along the inputs' principal components, each scaled to unit variance: where
        inputs say nearly the same, as distances do, the solver gets nowhere without it.
    """
    if whiten:
        turned = whitening(inputs)
        weights, biases = fit_logistic(
            inputs @ turned, labels, num_classes, strength=strength, max_iterations=max_iterations
        )
        return turned @ weights, biases
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    weights = np.zeros((inputs.shape[1], num_classes), np.float32)
    biases = np.full(num_classes, ABSENT, np.float32)
    known = np.unique(labels)
    biases[known] = 0.0
    if len(known) < 2:
        return weights, biases
    model = LogisticRegression(C=strength, max_iter=max_iterations)
    # these products are narrow: a second thread mostly waits, and takes 20 times the CPU time
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(inputs, labels)
    if len(known) == 2:  # one logit, that of the second class over the first
        known = known[1:]
    weights[:, known], biases[known] = model.coef_.T, model.intercept_
    return weights, biases


def whitening(inputs: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d d"]:
    """The matrix that makes centred inputs uncorrelated and of variance 1 (Kessy et al. 2018)."""
    variances, vectors = np.linalg.eigh(inputs.T @ inputs / len(inputs))
    return (vectors / np.sqrt(np.maximum(variances, 1e-6 * variances.max()))).astype(np.float32)


class Ensemble(nnx.Module):
    """The mean of several classifiers' probabilities, as logits.

    Args:
      mirror: each also sees the image mirrored left to right.
    """

    def __init__(self, members: list[Any], mirror: bool = False):
        self.members = nnx.List(members)
        self.mirror = mirror

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        """The members' features side by side, of the image as it is."""
        return jnp.concatenate([member.features(images) for member in self.members], axis=-1)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        views = [images, images[:, :, ::-1]] if self.mirror else [images]
        logs = [jax.nn.log_softmax(member(view)) for member in self.members for view in views]
        return jax.nn.logsumexp(jnp.stack(logs), axis=0) - math.log(len(logs))
