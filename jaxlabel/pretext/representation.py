"""Image features that join an encoder's learned features with fixed features of the image."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from jaxlabel import nets, train
from jaxlabel.cluster.pca import MAX_SIDE, PCA, fit_pca, project

COMPONENT_INPUTS = ("gradients", "pixels")  # the kinds of fixed (not learned) features of an image
FIT_ON = 100_000  # images from which means and principal components are computed, if there are more


class Representation(nnx.Module):
    """A network that joins an encoder's features with fixed, not learned, features of the image.

    The fixed features are principal components of the pixels or of HOG-like features. They depend
    on where in the image lines and edges are, while the encoder's features hardly change if the
    image is shifted. The two feature vectors are each centred, scaled to unit length, and weighted,
    and then concatenated.

    Args:
      encoder: the trained encoder.
      shape: height, width, and channels of an image.
      components: the number of principal components; 0 for none.
      share: the fraction, between 0 and 1, that the fixed features contribute to the squared length
        of the joined features.
      given: what the principal components are computed from: "pixels", or "gradients" for HOG-like
        features (`nets.oriented_gradients`).
    """

    def __init__(
        self, encoder: Any, shape: tuple[int, ...], components: int, share: float, given: str
    ):
        self.encoder, self.given = encoder, given
        self.share = share if components else 0.0
        numbers = num_fixed_features(shape, given)
        self.centre = nnx.Param(jnp.zeros(encoder.num_features))
        self.mean = nnx.Param(jnp.zeros(numbers))
        self.components = nnx.Param(jnp.zeros((min(components, numbers), numbers)))

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        learned = self.encoder.features(images) - self.centre[...]
        given = (fixed_features(images, self.given) - self.mean[...]) @ self.components[...].T
        return concatenate_weighted(learned, given, self.share)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return self.features(images)


def fit_representation(
    encoder: Any, images: UInt8[np.ndarray, "n h w c"], components: int, share: float, given: str
) -> Representation:
    """Return a network that joins an encoder's features with fixed features, fitted to images.

    The mean of the encoder's features and the principal components, which are the fixed features,
    are computed from the images, or from a random sample of 100,000 if there are more
    (`sample_to_fit`). Principal components of more than 4,096 dimensions are computed from a random
    sample of 4,096 (`num_to_fit`). No labels are needed.

    Args:
      encoder: the trained encoder.
      images: the images, uint8.
      components: the number of principal components; 0 for no fixed features.
      share: the fraction, between 0 and 1, that the fixed features contribute to the squared length
        of the joined features.
      given: what the principal components are computed from: "pixels", or "gradients" for HOG-like
        features (`nets.oriented_gradients`).
    """
    model = Representation(encoder, images.shape[1:], components, share, given)
    sample = sample_to_fit(images, FIT_ON)
    model.centre[...] = jnp.asarray(features_of(encoder, sample).mean(axis=0))
    if components:
        sample = sample_to_fit(images, num_to_fit(images.shape[1:], given))
        pca, _ = _fit_components(sample, len(model.components[...]), given)
        model.mean[...], model.components[...] = pca.mean, pca.components
    return model


def input_components(
    images: UInt8[np.ndarray, "n h w c"], components: int, given: str
) -> Float[Array, "n d"]:
    """Fit a PCA to the images, and return each image's coordinates along the leading components.

    The PCA of more than 100,000 images, or of more than 4,096 images with more than 4,096 fixed
    features each, is fitted to a random sample (`sample_to_fit`).

    Args:
      images: the images, uint8.
      components: the number of principal components. If the PCA has fewer dimensions, all of them
        are used.
      given: what the PCA is computed from: "pixels", or "gradients" for HOG-like features
        (`nets.oriented_gradients`).
    """
    sample = sample_to_fit(images, num_to_fit(images.shape[1:], given))
    pca, points = _fit_components(sample, components, given)
    if len(sample) == len(images):
        return project(pca, points)
    # The inputs of all images together would be too large: 2.9 GB for a million of 28x28 pixels.
    return jnp.asarray(
        train.apply_batched(lambda pca, x: project(pca, fixed_features(x, given)), pca, images)
    )


def sample_to_fit(
    images: UInt8[np.ndarray, "n h w c"], largest: int
) -> UInt8[np.ndarray, "m h w c"]:
    """Return the images from which means and principal components are computed.

    They are all images, or a random sample of `largest` if there are more. The sample is the same
    in every run, because runs of all seeds share features in the cache.

    Args:
      images: the images, uint8.
      largest: the largest number of images to return.
    """
    if len(images) <= largest:
        return images
    rows = np.random.default_rng(0).choice(len(images), largest, replace=False)
    return images[np.sort(rows)]


def num_to_fit(shape: tuple[int, ...], given: str) -> int:
    """Return the largest number of images whose fixed features a PCA is fitted to.

    It is 100,000, or 4,096 if there are more than 4,096 features per image: `fit_pca` uses no more
    points then, and the features of all images together can be larger than the images.

    Args:
      shape: height, width, and channels of an image.
      given: the kind of fixed features: "pixels" or "gradients".
    """
    return FIT_ON if num_fixed_features(shape, given) <= MAX_SIDE else MAX_SIDE


def num_fixed_features(shape: tuple[int, ...], given: str) -> int:
    """Return the number of `fixed_features` of an image with the given shape."""
    return nets.num_gradients(shape) if given == "gradients" else math.prod(shape)


def _fit_components(
    images: UInt8[np.ndarray, "n h w c"], components: int, given: str
) -> tuple[PCA, Float[Array, "n d"]]:
    """Fit a PCA to the fixed features of images, and return it and these features."""
    points = jnp.asarray(train.apply_batched(lambda _, x: fixed_features(x, given), None, images))
    return fit_pca(points, min(components, points.shape[1])), points


def fixed_features(images: Float[Array, "batch h w c"], given: str) -> Float[Array, "batch d"]:
    """Return features of each image that need no training: HOG-like features or the pixels.

    Args:
      images: the images, float32 in [0, 1].
      given: "gradients" for HOG-like features (`nets.oriented_gradients`), otherwise the flattened
        pixels.
    """
    if given == "gradients":
        return nets.oriented_gradients(images)
    return images.reshape(len(images), -1)


def features_of(model: Any, images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    """Return the features of each image, computed by `model.features` batch by batch.

    Args:
      model: a network with a method `features`, such as an encoder.
      images: the images, uint8.
    """
    return train.apply_batched(train.features_of, model, images)


def concatenate_weighted(
    learned: Float[Array, "n d"], given: Float[Array, "n e"], share: float
) -> Float[Array, "n both"]:
    """Concatenate two feature vectors of each image, each scaled to unit length and then weighted.

    Args:
      learned: the encoder's features.
      given: the fixed features.
      share: the fraction, between 0 and 1, that the fixed features contribute to the squared length
        of the result.
    """
    return jnp.concatenate(
        [(1 - share) ** 0.5 * unit_rows(learned), share**0.5 * unit_rows(given)], axis=-1
    )


def unit_rows(rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Scale each row to unit length; a row of zeros stays zero."""
    return rows * jax.lax.rsqrt(jnp.sum(jnp.square(rows), axis=-1, keepdims=True) + 1e-12)
