"""Points of which a model is unsure, alone or spread over the features."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxlabel import cluster
from jaxlabel.query.seeding import draw_one

PREFILTER = 10  # candidates for each point that `diverse` chooses (Zhdanov 2019, section 4)


def margin(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int,
    asked: Int[np.ndarray, "m"], probabilities: Float[Array, "n classes"],
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Indices of the smallest margins between the two likeliest classes (Scheffer et al. 2001)."""
    return _least(key, _margins(probabilities), count, asked)


def entropy(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int,
    asked: Int[np.ndarray, "m"], probabilities: Float[Array, "n classes"],
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Indices of the largest entropies of the predicted classes (Shannon 1948)."""
    logs = jnp.log(jnp.where(probabilities > 0, probabilities, 1.0))
    return _least(key, jnp.sum(probabilities * logs, axis=1), count, asked)


def diverse(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int,
    asked: Int[np.ndarray, "m"], probabilities: Float[Array, "n classes"],
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Indices of the medoids of `count` clusters among the smallest margins.

    Diverse mini-batches (Zhdanov 2019, algorithm 1, without weights): k-means on the 10 `count`
    points of the smallest margins. Clusters lie where uncertain points lie dense; the largest
    cluster's medoid comes first.
    """
    order_key, cluster_key = jax.random.split(key)
    candidates = _least(order_key, _margins(probabilities), PREFILTER * count, asked)
    points = features[candidates]
    found = cluster.kmeans(cluster_key, points, count, num_iterations=30)
    nearest = np.asarray(cluster.medoids(points, found.centroids, found.assignments))
    sizes = np.asarray(found.sizes)
    largest = np.argsort(-sizes, kind="stable")
    return candidates[nearest[largest[sizes[largest] > 0]]]


def badge(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int,
    asked: Int[np.ndarray, "m"], probabilities: Float[Array, "n classes"],
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Indices drawn by k-means++ among the gradients of the last layer (Ash et al. 2020).

    A gradient is (probabilities - one-hot of the likeliest class) outer features (their eq. 1).
    Inner products of outer products are products of inner products, so that the n x classes x d
    gradients are never formed. The first is drawn in proportion to its squared length: a uniform
    draw would mostly find a point without a gradient. `features` are the last layer's inputs.
    """
    free = ~np.isin(np.arange(len(features)), asked)
    return np.asarray(_badge(key, features, probabilities, free, count))


@jax.jit
def _margins(probabilities: Float[Array, "n classes"]) -> Float[Array, "n"]:
    if probabilities.shape[1] < 2:
        return jnp.ones(len(probabilities))
    top = lax.top_k(probabilities, 2)[0]
    return top[:, 0] - top[:, 1]


def _least(
    key: Key[Array, ""], scores: Float[Array, "n"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """The indices of the smallest scores, the smallest first; equal ones in random order."""
    order = np.asarray(jax.random.permutation(key, len(scores)))
    order = order[~np.isin(order, asked)]
    return order[np.argsort(np.asarray(scores)[order], kind="stable")[:count]]


@partial(jax.jit, static_argnames="count")
def _badge(
    key: Key[Array, ""],
    features: Float[Array, "n d"],
    probabilities: Float[Array, "n classes"],
    free: Bool[Array, "n"],
    count: int,
) -> Int[Array, "count"]:
    likeliest = jnp.argmax(probabilities, axis=1)
    residuals = probabilities - jax.nn.one_hot(likeliest, probabilities.shape[1])
    squared = jnp.sum(residuals**2, axis=1) * jnp.sum(features**2, axis=1)

    def draw(state: tuple[Array, Array], key: Key[Array, ""]) -> tuple[tuple[Array, Array], Array]:
        nearest, free = state
        index = draw_one(key, jnp.where(jnp.isinf(nearest), squared, nearest) * free)
        products = (residuals @ residuals[index]) * (features @ features[index])
        away = jnp.maximum(squared + squared[index] - 2 * products, 0.0)
        return (jnp.minimum(nearest, away), free.at[index].set(False)), index

    start = (jnp.full(len(features), jnp.inf), free)
    return lax.scan(draw, start, jax.random.split(key, count))[1]
