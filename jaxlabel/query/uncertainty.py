"""Query strategies by a model's uncertainty, alone or combined with diversity of the features."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxlabel import cluster
from jaxlabel.query.seeding import draw_weighted

PREFILTER = 10  # candidates per point that `diverse` chooses (Zhdanov 2019, section 4)


def margin(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int,
    asked: Int[np.ndarray, "m"], probabilities: Float[Array, "n classes"],
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Return the indices of the `count` unlabelled points with the smallest margins.

    A point's margin is the difference between the two largest of its predicted class probabilities
    (Scheffer et al. 2001). The point with the smallest margin comes first.
    """
    return _lowest_scores(key, _margins(probabilities), count, asked)


def entropy(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int,
    asked: Int[np.ndarray, "m"], probabilities: Float[Array, "n classes"],
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Return the indices of the `count` unlabelled points with the largest entropies.

    A point's entropy is that of its predicted class probabilities (Shannon 1948). The point with
    the largest entropy comes first.
    """
    logs = jnp.log(jnp.where(probabilities > 0, probabilities, 1.0))
    return _lowest_scores(key, jnp.sum(probabilities * logs, axis=1), count, asked)


def diverse(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int,
    asked: Int[np.ndarray, "m"], probabilities: Float[Array, "n classes"],
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Choose `count` points to label that are uncertain and differ from each other.

    Diverse mini-batches (Zhdanov 2019, algorithm 1, without weights). The candidates are the 10
    times `count` unlabelled points with the smallest margins between the two largest class
    probabilities. They are divided into `count` clusters by k-means on their features. The medoid
    of each cluster (its point nearest to the centroid) is chosen. So most chosen points lie where
    uncertain points are dense.

    Returns:
      The indices of the chosen points, that of the largest cluster first.
    """
    order_key, cluster_key = jax.random.split(key)
    candidates = _lowest_scores(order_key, _margins(probabilities), PREFILTER * count, asked)
    points = features[candidates]
    clustering = cluster.kmeans(cluster_key, points, count, num_iterations=30)
    medoids = cluster.medoids(points, clustering.centroids, clustering.assignments)
    sizes = np.asarray(clustering.sizes)
    largest = np.argsort(-sizes, kind="stable")
    return candidates[np.asarray(medoids)[largest[sizes[largest] > 0]]]


def badge(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int,
    asked: Int[np.ndarray, "m"], probabilities: Float[Array, "n classes"],
) -> Int[np.ndarray, "count"]:  # fmt: skip
    """Choose `count` points to label by k-means++ on the gradients of the loss (BADGE).

    Ash et al. 2020. A point's gradient is the gradient of its loss with respect to the weights of
    the last layer, as if its most probable class were its label. It is the outer product of the
    features and (probabilities - one-hot of that class) (eq. 1). The inner product of two gradients
    is a product of two short inner products, so the n x classes x d gradients are never computed.
    The first point is drawn with a probability proportional to the squared length of its gradient:
    a uniform draw would mostly give points with almost no gradient.

    Args:
      features: for each point, the inputs of the model's last layer.
      count: the number of points to choose.
      asked: the indices of the points that are labelled already, which are not chosen.
      probabilities: the model's class probabilities for each point.

    Returns:
      The indices of the chosen points, in the order in which they were chosen.
    """
    unlabelled = ~np.isin(np.arange(len(features)), asked)
    return np.asarray(_badge(key, features, probabilities, unlabelled, count))


@jax.jit
def _margins(probabilities: Float[Array, "n classes"]) -> Float[Array, "n"]:
    if probabilities.shape[1] < 2:
        return jnp.ones(len(probabilities))
    top = lax.top_k(probabilities, 2)[0]
    return top[:, 0] - top[:, 1]


def _lowest_scores(
    key: Key[Array, ""], scores: Float[Array, "n"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Return the indices of the `count` unlabelled points with the lowest scores, lowest first.

    Points with equal scores are in random order.

    Args:
      scores: the score of each point.
      asked: the indices of the labelled points.
    """
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
        index = draw_weighted(key, jnp.where(jnp.isinf(nearest), squared, nearest) * free)
        products = (residuals @ residuals[index]) * (features @ features[index])
        distances = jnp.maximum(squared + squared[index] - 2 * products, 0.0)
        return (jnp.minimum(nearest, distances), free.at[index].set(False)), index

    start = (jnp.full(len(features), jnp.inf), free)
    return lax.scan(draw, start, jax.random.split(key, count))[1]
