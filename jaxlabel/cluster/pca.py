"""Principal component analysis, and projection onto the components."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxlabel.errors import UsageError

# The time for the eigenvectors of a matrix grows with the cube of its side: 20 s for this one.
MAX_SIDE = 4096


class PCA(NamedTuple):
    """A principal component analysis fitted to points.

    Attributes:
      mean: the mean of the points.
      components: the leading principal components, one unit vector per row, by descending variance.
        The entry of largest magnitude of each vector is positive. If a few points of very many
        dimensions have fewer components than were asked for, the last rows are zero.
      variances: the variances of the points along all principal components, not only those in
        `components`, in descending order.
    """

    mean: Float[Array, "d"]
    components: Float[Array, "c d"]
    variances: Float[Array, "all"]


def fit_pca(points: Float[Array, "n d"], num_components: int) -> PCA:
    """Fit a principal component analysis (Pearson 1901) to points.

    The components are the eigenvectors of the covariance matrix. With more than 4,096 dimensions,
    they are computed from the inner products of the centred points instead, and from a random
    sample of 4,096 points if there are more; the sample is always the same.

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
    if points.shape[1] > MAX_SIDE:
        return _fit_to_few(points, num_components)
    mean, vectors, variances = _fit(points)
    return PCA(mean, vectors[:num_components], variances)


def _fit_to_few(points: Float[Array, "n d"], num_components: int) -> PCA:
    """Fit a PCA to at most `MAX_SIDE` of the points, from their inner products (Gram matrix)."""
    mean, chosen = jnp.mean(points, axis=0), points
    if len(points) > MAX_SIDE:
        rows = np.random.default_rng(0).choice(len(points), MAX_SIDE, replace=False)
        chosen = points[np.sort(rows)]
    centred = chosen - mean
    values, vectors = jnp.linalg.eigh(_product(centred, centred.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    # smaller values are rounding errors: n points vary along at most n - 1 directions
    real = values > 1e-6 * jnp.maximum(values[0], 1e-30)
    lengths = jnp.where(real, jnp.sqrt(jnp.maximum(values, 1e-30)), jnp.inf)
    count = min(num_components, len(chosen))
    components = _product((vectors / lengths)[:, :count].T, centred)
    components = jnp.pad(_make_peaks_positive(components), [(0, num_components - count), (0, 0)])
    return PCA(mean, components, jnp.where(real, values, 0.0) / len(chosen))


def project(pca: PCA, points: Float[Array, "n d"]) -> Float[Array, "n c"]:
    """Return the coordinates of points along the principal components of `pca`, a fitted PCA."""
    return _product(jnp.asarray(points, jnp.float32) - pca.mean, pca.components.T)


@jax.jit
def _fit(points: Array) -> tuple[Array, Array, Array]:
    mean = jnp.mean(points, axis=0)
    centred = points - mean
    values, vectors = jnp.linalg.eigh(_product(centred.T, centred) / len(points))
    return mean, _make_peaks_positive(vectors[:, ::-1].T), jnp.maximum(values[::-1], 0.0)


def _make_peaks_positive(vectors: Array) -> Array:
    """Return the vectors, one per row, with signs that make each one's largest entry positive."""
    peaks = jnp.take_along_axis(vectors, jnp.argmax(jnp.abs(vectors), axis=1)[:, None], axis=1)
    return vectors * jnp.sign(peaks)


@jax.jit
def _product(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)
