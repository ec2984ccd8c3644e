"""Which images to ask about: indices of the training images, from features and a key."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlabel.oracle import Oracle


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
    nearest = jnp.full(len(features), jnp.inf)
    for index in np.asarray(asked, int).tolist():
        nearest = _nearer(features, nearest, index)
    return np.unique(np.asarray(_draw(key, features, nearest, count)))


def affordable(oracle: Oracle, indices: Int[np.ndarray, "m"]) -> Int[np.ndarray, "q"]:
    """The leading ones of `indices` that can be bought together with what is left."""
    return indices[np.cumsum(oracle.cost(indices)) <= oracle.remaining + 1e-9]


@jax.jit
def _nearer(
    features: Float[Array, "n d"], nearest: Float[Array, "n"], index: Int[Array, ""]
) -> Float[Array, "n"]:
    return jnp.minimum(nearest, jnp.sum(jnp.square(features - features[index]), axis=1))


@partial(jax.jit, static_argnames="count")
def _draw(
    key: Key[Array, ""], features: Float[Array, "n d"], nearest: Float[Array, "n"], count: int
) -> Int[Array, "count"]:
    def draw(nearest: Float[Array, "n"], key: Key[Array, ""]) -> tuple[Array, Array]:
        # before anything is asked every distance is infinite: all points are alike
        weights = jnp.where(jnp.isinf(nearest), 1.0, nearest)
        cumulative = jnp.cumsum(weights)
        index = jnp.searchsorted(cumulative, jax.random.uniform(key) * cumulative[-1], side="right")
        index = jnp.minimum(index, len(features) - 1)
        return _nearer(features, nearest, index), index

    return jax.lax.scan(draw, nearest, jax.random.split(key, count))[1]
