"""Points far from each other: drawn in proportion to the squared distance, or the farthest."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key

CHUNK = 256  # points whose distances to all are found at once: one shape for any number of them


def spread_out(
    key: Key[Array, ""],
    features: Float[Array, "n d"],
    count: int,
    asked: Int[np.ndarray, "m"],
) -> Int[np.ndarray, "count"]:
    """Indices of `count` further points, far from those asked and from each other.

    Each is drawn with a probability in proportion to its squared distance to the nearest point
    that was asked or drawn before: k-means++ (Arthur & Vassilvitskii 2007) that goes on from what
    is there. Fewer come back where fewer distinct points are left.

    Args:
      asked: indices of the points that are there already; may be empty.
    """
    features = jnp.asarray(features)
    nearest = nearest_squared(features, asked)
    return np.setdiff1d(np.asarray(_draw(key, features, nearest, count)), asked)


def coreset(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Indices of `count` further points, each the farthest from all that were asked or chosen.

    Greedy k-center (Sener & Savarese 2018, algorithm 1): at most twice the least radius that
    covers all points. With nothing asked, the first is random.
    """
    known = np.isin(np.arange(len(features)), asked)
    nearest = jnp.where(known, -1.0, nearest_squared(features, asked))
    return np.asarray(_farthest(key, features, nearest, count))


def nearest_squared(
    features: Float[Array, "n d"], asked: Int[np.ndarray, "m"]
) -> Float[Array, "n"]:
    """Each point's squared distance to the nearest one asked; infinite where nothing was."""
    nearest = jnp.full(len(features), jnp.inf)
    asked = np.asarray(asked, int)
    for start in range(0, len(asked), CHUNK):
        chunk = asked[start : start + CHUNK]
        nearest = _nearer_chunk(features, nearest, np.resize(chunk, CHUNK))
    return jnp.where(np.isin(np.arange(len(features)), asked), 0.0, nearest)


def nearer(
    features: Float[Array, "n d"], nearest: Float[Array, "n"], index: Int[Array, ""]
) -> Float[Array, "n"]:
    """`nearest`, with the point at `index` added to those that may be the nearest."""
    return jnp.minimum(nearest, jnp.sum(jnp.square(features - features[index]), axis=1))


def draw_one(key: Key[Array, ""], weights: Float[Array, "n"]) -> Int[Array, ""]:
    """An index drawn with a probability in proportion to its weight."""
    cumulative = jnp.cumsum(weights)
    # "right" draws no weight of 0 while another is left, but for where float32 sums round down
    index = jnp.searchsorted(cumulative, jax.random.uniform(key) * cumulative[-1], side="right")
    return jnp.minimum(index, len(weights) - 1)


@jax.jit
def _nearer_chunk(
    features: Float[Array, "n d"], nearest: Float[Array, "n"], chunk: Int[Array, "c"]
) -> Float[Array, "n"]:
    centred = features - jnp.mean(features, axis=0)
    norms = jnp.sum(jnp.square(centred), axis=1)
    products = jnp.matmul(centred[chunk], centred.T, precision=lax.Precision.HIGHEST)
    least = jnp.min(norms[chunk][:, None] - 2 * products, axis=0) + norms
    return jnp.minimum(nearest, jnp.maximum(least, 0.0))


@partial(jax.jit, static_argnames="count")
def _draw(
    key: Key[Array, ""], features: Float[Array, "n d"], nearest: Float[Array, "n"], count: int
) -> Int[Array, "count"]:
    def draw(nearest: Float[Array, "n"], key: Key[Array, ""]) -> tuple[Array, Array]:
        # before anything is asked every distance is infinite: all points are alike
        index = draw_one(key, jnp.where(jnp.isinf(nearest), 1.0, nearest))
        return nearer(features, nearest, index), index

    return lax.scan(draw, nearest, jax.random.split(key, count))[1]


@partial(jax.jit, static_argnames="count")
def _farthest(
    key: Key[Array, ""], features: Float[Array, "n d"], nearest: Float[Array, "n"], count: int
) -> Int[Array, "count"]:
    noise = jax.random.uniform(key, nearest.shape)

    def choose(nearest: Float[Array, "n"], _: None) -> tuple[Array, Array]:
        index = jnp.argmax(jnp.where(jnp.isinf(nearest), noise, nearest))
        # below any distance, so that no copy of a point takes its place
        return nearer(features, nearest, index).at[index].set(-1.0), index

    return lax.scan(choose, nearest, None, length=count)[1]
