"""Principal component analysis, and projection onto the components."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxlabel.errors import UsageError


class PCA(NamedTuple):
    """A principal component analysis fitted to points.

    Attributes:
      mean: the mean of the points.
      components: the leading principal components, one unit vector per row, by descending variance.
        The entry of largest magnitude of each vector is positive.
      variances: the variances of the points along all principal components, not only those in
        `components`, in descending order.
    """

    mean: Float[Array, "d"]
    components: Float[Array, "c d"]
    variances: Float[Array, "d"]


def fit_pca(points: Float[Array, "n d"], num_components: int) -> PCA:
    """Fit a principal component analysis (Pearson 1901) to points, from their covariance matrix.

    Args:
      points: one point per row.
      num_components: the number of leading components to keep.

    Raises:
      UsageError: `num_components` is not between 1 and the number of dimensions.
    """
    points = jnp.asarray(points, jnp.float32)
    if not 1 <= num_components <= points.shape[1]:
        raise UsageError(
            f"{num_components} components of {points.shape[1]} dimensions: "
            f"ask for 1 to {points.shape[1]}"
        )
    mean, vectors, variances = _fit(points)
    return PCA(mean, vectors[:num_components], variances)


def project(pca: PCA, points: Float[Array, "n d"]) -> Float[Array, "n c"]:
    """Return the coordinates of points along the principal components of `pca`, a fitted PCA."""
    return _product(jnp.asarray(points, jnp.float32) - pca.mean, pca.components.T)


@jax.jit
def _fit(points: Array) -> tuple[Array, Array, Array]:
    mean = jnp.mean(points, axis=0)
    centred = points - mean
    values, vectors = jnp.linalg.eigh(_product(centred.T, centred) / len(points))
    vectors = vectors[:, ::-1].T
    peaks = jnp.take_along_axis(vectors, jnp.argmax(jnp.abs(vectors), axis=1)[:, None], axis=1)
    return mean, vectors * jnp.sign(peaks), jnp.maximum(values[::-1], 0.0)


@jax.jit
def _product(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)
