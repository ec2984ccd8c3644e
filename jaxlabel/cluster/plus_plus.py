"""The random start of k-means: greedy k-means++."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key


def plus_plus(
    key: Key[Array, ""], features: Float[Array, "n d"], num_clusters: int
) -> Float[Array, "k d"]:
    """Choose initial centroids for k-means by greedy k-means++ on a random subsample of the points.

    Each step draws a few candidate points, with probabilities proportional to their squared
    distance to the nearest of the centroids chosen before. The candidate that lowers the inertia
    most becomes a centroid. (The inertia is the sum of the squared distances of all points to their
    nearest centroid.) The subsample has 20 points per cluster, but at least 4,096 points. It need
    not have more, because k-means then improves the centroids on all points.
    """
    num_candidates = 2 + num_clusters.bit_length() // 2
    num_points = min(len(features), max(20 * num_clusters, 4096))
    sample_key, draw_key = jax.random.split(key)
    sample = features
    if num_points < len(features):
        sample = features[jax.random.randint(sample_key, (num_points,), 0, len(features))]
    half = 0.5 * jnp.sum(jnp.square(sample), axis=1)
    draws = jax.random.uniform(draw_key, (num_clusters, num_candidates))

    def to_points(indices: Array) -> Array:
        products = jnp.matmul(sample[indices], sample.T, precision=lax.Precision.HIGHEST)
        return jnp.maximum(half + half[indices][:, None] - products, 0.0)

    def choose(step: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, nearest = state
        cumulative = jnp.cumsum(nearest)
        # With "<=", no point of distance 0 is drawn while there are other points.
        passed = cumulative <= (draws[step] * cumulative[-1])[:, None]
        candidates = jnp.minimum(jnp.sum(passed, axis=1), num_points - 1)
        after = jnp.minimum(nearest, to_points(candidates))
        best = jnp.argmin(jnp.sum(after, axis=1))
        return chosen.at[step].set(candidates[best]), after[best]

    first = (draws[0, 0] * num_points).astype(jnp.int32)
    chosen = jnp.zeros(num_clusters, jnp.int32).at[0].set(first)
    chosen, _ = lax.fori_loop(1, num_clusters, choose, (chosen, to_points(first[None])[0]))
    return sample[chosen]
