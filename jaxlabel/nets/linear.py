"""Logistic regression that scikit-learn fits on the CPU, stored as an NNX network."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int

ABSENT_LOGIT = -30.0  # the logit of a class without labels: below the logits of all other classes


class LinearClassifier(nnx.Module):
    """A linear image classifier on pixels, or on the distances of the image to fixed points.

    Calling it on images returns the class logits. The method `features(images)` returns the inputs
    of the linear layer after their mean is subtracted. All parameters start at zero. The caller
    computes weights and biases with `fit_logistic` and stores them in the classifier.

    Args:
      num_centres: the number of fixed points in pixel space. The inputs of the linear layer are the
        image's Euclidean distances to these points. 0 to use the pixels as inputs.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, num_centres: int = 0):
        pixels = math.prod(shape)
        inputs = num_centres or pixels
        self.centres = nnx.Param(jnp.zeros((num_centres, pixels))) if num_centres else None
        self.mean = nnx.Param(jnp.zeros(inputs))
        self.weights = nnx.Param(jnp.zeros((inputs, num_classes)))
        self.biases = nnx.Param(jnp.zeros(num_classes))

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        inputs = images.reshape(images.shape[0], -1)
        if self.centres is not None:
            inputs = distances_to(inputs, self.centres[...])
        return inputs - self.mean[...]

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        return self.features(images) @ self.weights[...] + self.biases[...]


def distances_to(points: Float[Array, "n d"], centres: Float[Array, "k d"]) -> Float[Array, "n k"]:
    """Return the matrix of Euclidean distances of each row of `points` to each row of `centres`."""
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
    """Fit multinomial logistic regression (Bishop 2006, section 4.3.4) by L-BFGS.

    L-BFGS is the optimizer of Liu & Nocedal 1989. The function minimises `strength` times the
    summed cross-entropy plus half the sum of squared weights. A class without labels gets zero
    weights and a bias of -30, so that it is not predicted.

    Args:
      inputs: one row per labelled example. The caller must have subtracted the mean of the rows.
      strength: the inverse of the regularisation strength, scikit-learn's `C`.
      max_iterations: the largest number of L-BFGS iterations. On a whole data set, full convergence
        takes long and hardly improves the classifier.
      whiten: whether to replace the inputs, during the fit, by their principal components scaled to
        unit variance. Strongly correlated inputs, such as distances, do not converge without it.
        The returned weights apply to the original inputs in either case.

    Returns:
      The weights and the biases.
    """
    present = np.unique(labels)
    if whiten and len(present) > 1:
        turned = whitening_matrix(inputs)
        weights, biases = fit_logistic(
            inputs @ turned, labels, num_classes, strength=strength, max_iterations=max_iterations
        )
        return turned @ weights, biases
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    weights = np.zeros((inputs.shape[1], num_classes), np.float32)
    biases = np.full(num_classes, ABSENT_LOGIT, np.float32)
    biases[present] = 0.0
    if len(present) < 2:
        return weights, biases
    model = LogisticRegression(C=strength, max_iter=max_iterations)
    # The matrix products are small: a second thread mostly waits and takes 20 times the CPU time.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(inputs, labels)
    if len(present) == 2:  # scikit-learn fits one logit: the second class's
        present = present[1:]
    weights[:, present], biases[present] = model.coef_.T, model.intercept_
    return weights, biases


def whitening_matrix(inputs: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d d"]:
    """Return the matrix W for which `inputs @ W` has uncorrelated columns of variance 1.

    The mean of `inputs` must be zero. The method is whitening by principal components (Kessy et al.
    2018).
    """
    variances, vectors = np.linalg.eigh(inputs.T @ inputs / len(inputs))
    floor = max(1e-6 * variances.max(), 1e-12)  # positive, even if all inputs are equal
    return (vectors / np.sqrt(np.maximum(variances, floor))).astype(np.float32)


class Ensemble(nnx.Module):
    """An ensemble of classifiers, whose prediction is the mean of the members' class probabilities.

    Calling it on images returns the logarithm of the mean probabilities, which serves as logits.

    Args:
      members: the classifiers.
      mirror: whether each member also classifies the left-to-right mirror image of every image, so
        that the mean is over twice as many predictions.
    """

    def __init__(self, members: list[Any], mirror: bool = False):
        self.members = nnx.List(members)
        self.mirror = mirror

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        """Return the features of each image from all members, concatenated into one vector.

        The features are those of the original images; mirror images are not used.
        """
        return jnp.concatenate([member.features(images) for member in self.members], axis=-1)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        views = [images, jnp.flip(images, axis=2)] if self.mirror else [images]
        logs = [jax.nn.log_softmax(member(view)) for member in self.members for view in views]
        return jax.nn.logsumexp(jnp.stack(logs), axis=0) - math.log(len(logs))
