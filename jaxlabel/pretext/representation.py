"""What an image is told apart by: an encoder's features beside those of the image itself."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from jaxlabel import nets, train
from jaxlabel.cluster.pca import fit_pca, project

GIVEN = ("gradients", "pixels")  # what an image gives by itself, before anything is learned


class Representation(nnx.Module):
    """An encoder's features, centred and of unit length, beside those of the image itself.

    The principal components keep where an image has what, the encoder what moved images share.

    Args:
      components: principal components of what `given` says; 0: none of them.
      share: of the squared length, what is theirs.
      given: "pixels", or "gradients": oriented and pooled (`nets.oriented_gradients`).
    """

    def __init__(
        self, encoder: Any, shape: tuple[int, ...], components: int, share: float, given: str
    ):
        self.encoder, self.given = encoder, given
        self.share = share if components else 0.0
        numbers = nets.num_gradients(shape) if given == "gradients" else math.prod(shape)
        self.centre = nnx.Param(jnp.zeros(encoder.num_features))
        self.mean = nnx.Param(jnp.zeros(numbers))
        self.components = nnx.Param(jnp.zeros((min(components, numbers), numbers)))

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        learned = self.encoder.features(images) - self.centre[...]
        given = (inputs_of(images, self.given) - self.mean[...]) @ self.components[...].T
        return beside(learned, given, self.share)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return self.features(images)


def represent(
    encoder: Any, images: UInt8[np.ndarray, "n h w c"], components: int, share: float, given: str
) -> Representation:
    """The representation whose centre and principal components are those of the images."""
    model = Representation(encoder, images.shape[1:], components, share, given)
    model.centre[...] = jnp.asarray(features_of(encoder, images).mean(axis=0))
    if components:
        inputs = train.apply_batched(lambda _, x: inputs_of(x, given), None, images)
        pca = fit_pca(jnp.asarray(inputs), len(model.components[...]))
        model.mean[...], model.components[...] = pca.mean, pca.components
    return model


def given_points(
    images: UInt8[np.ndarray, "n h w c"], components: int, given: str
) -> Float[Array, "n d"]:
    """The images along the principal components of what they give by themselves."""
    inputs = train.apply_batched(lambda _, x: inputs_of(x, given), None, images)
    points = jnp.asarray(inputs)
    return project(fit_pca(points, min(components, points.shape[1])), points)


def inputs_of(images: Float[Array, "batch h w c"], given: str) -> Float[Array, "batch d"]:
    """What the principal components are of."""
    if given == "gradients":
        return nets.oriented_gradients(images)
    return images.reshape(len(images), -1)


def features_of(model: Any, images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    """The features of the images by an encoder or a representation."""
    return train.apply_batched(train.features_of, model, images)


def beside(
    learned: Float[Array, "n d"], given: Float[Array, "n e"], share: float
) -> Float[Array, "n both"]:
    """Both at length 1, beside each other, `share` of the squared length being the given ones'."""
    return jnp.concatenate([(1 - share) ** 0.5 * unit(learned), share**0.5 * unit(given)], axis=-1)


def unit(rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The rows at length 1; one of zeros stays what it is."""
    return rows * jax.lax.rsqrt(jnp.sum(jnp.square(rows), axis=-1, keepdims=True) + 1e-12)
