"""Query strategies that choose points far from each other: k-means++ draws and greedy k-center."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key

CHUNK = 256  # labelled points per call of a compiled function: a fixed shape, to compile it once
MIN_DRAWS = 256  # calls that draw at most this many points share one compiled function


def spread_out(
    key: Key[Array, ""],
    features: Float[Array, "n d"],
    count: int,
    asked: Int[np.ndarray, "m"],
) -> Int[np.ndarray, "count"]:
    """Choose up to `count` points to label that are far from labelled points and from each other.

    This is k-means++ (Arthur & Vassilvitskii 2007) with the labelled points as the first centres.
    Points are chosen at random, one at a time, with probabilities proportional to the squared
    distance to the nearest labelled or chosen point. Fewer than `count` are chosen if there are
    fewer distinct points.

    Args:
      features: one point per row.
      asked: the indices of the points that are labelled already; may be empty.

    Returns:
      The indices of the chosen points, in ascending order.
    """
    features = jnp.asarray(features)
    nearest = nearest_squared(features, asked)
    most = max(MIN_DRAWS, 1 << (count - 1).bit_length())  # a power of two
    return np.setdiff1d(np.asarray(_draw(key, features, nearest, count, most))[:count], asked)


def coreset(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Return the indices of `count` points to label that are far from labelled ones and each other.

    Each step chooses the point that is farthest from the nearest labelled or chosen point: greedy
    k-center (Sener & Savarese 2018, algorithm 1). The largest distance of any point to its nearest
    chosen or labelled point is then at most twice the smallest possible one. If no point is
    labelled, the first choice is random.
    """
    labelled = np.isin(np.arange(len(features)), asked)
    nearest = np.where(labelled, np.float32(-1), nearest_squared(features, asked))
    return np.asarray(_farthest(key, features, nearest, count))


def nearest_squared(
    features: Float[Array, "n d"], asked: Int[np.ndarray, "m"]
) -> Float[np.ndarray, "n"]:
    """Return the squared distance of each point to its nearest labelled point.

    The distances are infinite if no point is labelled.

    Args:
      features: one point per row.
      asked: the indices of the labelled points.
    """
    nearest: Any = np.full(len(features), np.inf, np.float32)
    asked = np.asarray(asked, int)
    for start in range(0, len(asked), CHUNK):
        chunk = asked[start : start + CHUNK]
        nearest = _update_nearest_chunk(features, nearest, np.resize(chunk, CHUNK))
    return np.where(np.isin(np.arange(len(features)), asked), np.float32(0), nearest)


def update_nearest(
    features: Float[Array, "n d"], nearest: Float[Array, "n"], index: Int[Array, ""]
) -> Float[Array, "n"]:
    """Return each point's squared distance to its nearest chosen point, after one more was chosen.

    Args:
      features: one point per row.
      nearest: for each point, the squared distance to the nearest of the points chosen before.
      index: the index of the newly chosen point.
    """
    return jnp.minimum(nearest, jnp.sum(jnp.square(features - features[index]), axis=1))


def draw_candidates(
    key: Key[Array, ""], num_points: int, count: int, asked: Int[np.ndarray, "m"], most: int
) -> Int[np.ndarray, "candidates"]:
    """Return the indices of all unlabelled points, or of a random sample if there are many.

    Args:
      num_points: the number of all points, labelled or not.
      count: the number of points that will be chosen from the result.
      asked: the indices of the labelled points.
      most: the size of the sample, unless 10 times `count` is more.
    """
    unlabelled = np.setdiff1d(np.arange(num_points), asked)
    size = max(most, 10 * count)
    if len(unlabelled) <= size:
        return unlabelled
    seed = np.asarray(jax.random.key_data(key))
    return np.random.default_rng(seed).choice(unlabelled, size, replace=False)


def draw_weighted(key: Key[Array, ""], weights: Float[Array, "n"]) -> Int[Array, ""]:
    """Return one random index, drawn with probabilities proportional to `weights`."""
    cumulative = jnp.cumsum(weights)
    # With side="right", a weight of 0 is drawn only if all are 0, apart from float32 rounding.
    index = jnp.searchsorted(cumulative, jax.random.uniform(key) * cumulative[-1], side="right")
    return jnp.minimum(index, len(weights) - 1)


@jax.jit
def _update_nearest_chunk(
    features: Float[Array, "n d"], nearest: Float[Array, "n"], chunk: Int[Array, "c"]
) -> Float[Array, "n"]:
    centred = features - jnp.mean(features, axis=0)
    norms = jnp.sum(jnp.square(centred), axis=1)
    products = jnp.matmul(centred[chunk], centred.T, precision=lax.Precision.HIGHEST)
    least = jnp.min(norms[chunk][:, None] - 2 * products, axis=0) + norms
    return jnp.minimum(nearest, jnp.maximum(least, 0.0))


@partial(jax.jit, static_argnames="most")
def _draw(
    key: Key[Array, ""], features: Float[Array, "n d"], nearest: Float[Array, "n"],
    count: Int[Array, ""], most: int,
) -> Int[Array, "most"]:  # fmt: skip
    """Draw `count` points, one at a time, into the first entries of an array of `most` entries."""
    keys = jax.random.split(key, most)

    def draw(number: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        nearest, drawn = state
        # While no point is labelled or drawn, all distances are infinite: draw uniformly.
        index = draw_weighted(keys[number], jnp.where(jnp.isinf(nearest), 1.0, nearest))
        return update_nearest(features, nearest, index), drawn.at[number].set(index)

    start = (nearest, jnp.zeros(most, jnp.int32))
    return lax.fori_loop(0, count, draw, start)[1]


@partial(jax.jit, static_argnames="count")
def _farthest(
    key: Key[Array, ""], features: Float[Array, "n d"], nearest: Float[Array, "n"], count: int
) -> Int[Array, "count"]:
    noise = jax.random.uniform(key, nearest.shape)

    def choose(nearest: Float[Array, "n"], _: None) -> tuple[Array, Array]:
        index = jnp.argmax(jnp.where(jnp.isinf(nearest), noise, nearest))
        # -1 is below any distance, so a chosen point is never chosen again in place of a duplicate.
        return update_nearest(features, nearest, index).at[index].set(-1.0), index

    return lax.scan(choose, nearest, None, length=count)[1]
