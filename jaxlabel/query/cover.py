"""Points that cover the others: within a radius (ProbCover), or by a kernel (MaxHerding).

Both are greedy maximisations of a monotone submodular function. Distances are found in blocks, and
never kept: no n x n matrix.

The radius and the bandwidth are chosen without labels and shrink as labels grow: the median over
the points of the distance to their (n / labels)-th neighbour. Each label then stands for a ball
that holds its share of the points. (ProbCover's own rule, the largest radius at which balls
are pure in k-means clusters, needs the number of classes.)
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxlabel.cluster.nearest import block_rows, blocks
from jaxlabel.query.seeding import CHUNK, nearest_squared

# chosen by the nearest label's accuracy at 10, 40 and 100 labels of 8,000 images of MNIST and
# Overhead-MNIST (64 principal components of pixels): of .6, .8, 1, 1.2 and .35, .5, .7, 1, 1.4, 2
BALL, KERNEL = 0.8, 1.4
MOST_CANDIDATES = 10_000
SAMPLE = 500  # points whose distances to all points measure how dense they lie
CANDIDATES = 128  # whose gains are looked at again at once


def probcover(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Indices of points in whose balls the most points lie that no ball holds yet.

    ProbCover (Yehuda et al. 2022, algorithm 1), with 0.8 times `ball_radius`. Fewer than
    `count` come where all points are covered.
    """
    features = features - jnp.mean(features, axis=0)
    squared_radius = (BALL * ball_radius(key, features, len(asked) + count)) ** 2
    uncovered = np.asarray(nearest_squared(features, asked)) > squared_radius
    degrees = _within(features, uncovered, squared_radius)
    known = np.isin(np.arange(len(features)), asked)
    chosen: list[int] = []
    while len(chosen) < count and uncovered.any():
        best = int(np.argmax(np.where(known, 0, degrees)))
        chosen.append(best)
        known[best] = True
        fresh = uncovered & (np.asarray(_to_one(features, best)) <= squared_radius)
        uncovered &= ~fresh
        # each point leaves the graph once: all steps together cost no more than the first count
        degrees -= _within(features, fresh, squared_radius)
    return np.array(chosen, np.int64)


def maxherding(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Indices of points that add most to the generalised coverage sum_x max_s k(x, s).

    MaxHerding (Bae et al. 2024) with the kernel exp(-|x - s|^2 / r^2), r 1.4 times `ball_radius`.
    All points are to be covered; above 10,000, a random 10,000 of them are candidates.
    Lazy greedy (Minoux 1978): an old gain bounds the new one from above, so only candidates whose
    old gain exceeds the best new one are looked at again. The result is that of plain greedy.
    """
    features = features - jnp.mean(features, axis=0)
    scale = 1 / (KERNEL * ball_radius(key, features, len(asked) + count)) ** 2
    similarity = jnp.exp(-scale * nearest_squared(features, asked))
    free = np.setdiff1d(np.arange(len(features)), asked)
    most = min(len(free), max(MOST_CANDIDATES, 10 * count))
    pool = free
    if most < len(free):
        pool = np.random.default_rng(np.asarray(jax.random.key_data(key))).choice(
            free, most, replace=False
        )
    gains = np.array(_all_gains(features, similarity, features[pool], scale))
    chosen: list[int] = []
    for _ in range(count):
        place = _best(features, similarity, scale, pool, gains)
        gains[place] = -np.inf
        chosen.append(int(pool[place]))
        similarity = _closer(features, similarity, scale, chosen[-1])
    return np.array(chosen, np.int64)


def ball_radius(key: Key[Array, ""], features: Float[Array, "n d"], num_labels: int) -> float:
    """The median distance of a point to its (n / num_labels)-th nearest other."""
    num_points = len(features)
    sample = jax.random.choice(key, num_points, (min(SAMPLE, num_points),), replace=False)
    squared = np.array(_squared(features, features[sample]))
    rank = min(max(1, round(num_points / num_labels)), num_points - 1)
    ranked = np.partition(squared, rank, axis=1)[:, rank]  # the nearest of all is the point itself
    return float(np.sqrt(max(np.median(ranked), np.finfo(np.float32).tiny)))


@jax.jit
def _to_one(features: Float[Array, "n d"], index: Int[Array, ""]) -> Float[Array, "n"]:
    return jnp.sum(jnp.square(features - features[index]), axis=1)


@jax.jit
def _squared(features: Float[Array, "n d"], points: Float[Array, "m d"]) -> Float[Array, "m n"]:
    norms = jnp.sum(jnp.square(features), axis=1)
    products = jnp.matmul(points, features.T, precision=lax.Precision.HIGHEST)
    products = lax.optimization_barrier(products)  # else it is computed once for each use
    own = jnp.sum(jnp.square(points), axis=1)[:, None]
    return jnp.maximum(own + norms - 2 * products, 0.0)


def _within(
    features: Float[Array, "n d"], members: Bool[np.ndarray, "n"], squared_radius: float
) -> Int[np.ndarray, "n"]:
    """How many members lie in the ball of each point."""
    counts = np.zeros(len(features), np.int64)
    indices = np.flatnonzero(members)
    while len(indices):
        size = 8 * CHUNK if len(indices) > 4 * CHUNK else CHUNK
        chunk, indices = indices[:size], indices[size:]
        points = features[np.resize(chunk, size)]
        counts += np.asarray(_count(features, points, np.arange(size) < len(chunk), squared_radius))
    return counts


@jax.jit
def _count(
    features: Float[Array, "n d"],
    points: Float[Array, "c d"],
    there: Bool[Array, "c"],
    squared_radius: Float[Array, ""],
) -> Int[Array, "n"]:
    # sums over the first axis: over the last one, a CPU adds one number at a time
    def count(rows: Float[Array, "b d"]) -> Int[Array, "b"]:
        inside = (_squared(rows, points) <= squared_radius) & there[:, None]
        return jnp.sum(inside, axis=0, dtype=jnp.int32)

    rows = blocks(features, block_rows(len(features), len(points)))
    return lax.map(count, rows).reshape(-1)[: len(features)]


def _best(
    features: Float[Array, "n d"],
    similarity: Float[Array, "n"],
    scale: float,
    pool: Int[np.ndarray, "p"],
    gains: Float[np.ndarray, "p"],
) -> int:
    """The place in the pool of the largest gain; the bounds that were looked at are renewed."""
    best, best_gain = -1, -np.inf
    size = min(CANDIDATES, len(gains))
    order = np.argsort(-gains, kind="stable")
    for start in range(0, len(order), size):
        candidates = order[start : start + size]
        if gains[candidates[0]] <= best_gain or np.isneginf(gains[candidates[0]]):
            break
        rows = features[pool[np.resize(candidates, size)]]
        renewed = np.asarray(_gains(features, similarity, rows, scale))[: len(candidates)]
        renewed = np.where(np.isneginf(gains[candidates]), -np.inf, renewed)
        gains[candidates] = renewed
        if renewed.max() > best_gain:
            best, best_gain = int(candidates[np.argmax(renewed)]), float(renewed.max())
    return best


@jax.jit
def _gains(
    features: Float[Array, "n d"],
    similarity: Float[Array, "n"],
    candidates: Float[Array, "c d"],
    scale: Float[Array, ""],
) -> Float[Array, "c"]:
    size = block_rows(len(features), len(candidates))
    # a padded row is already as near as can be: nothing is gained there
    held = jnp.pad(similarity, (0, -len(similarity) % size), constant_values=1.0)

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        rows, held = block
        kernel = jnp.exp(-scale * _squared(candidates, rows))
        return total + jnp.sum(jnp.maximum(kernel - held[:, None], 0.0), axis=0), None

    rows = blocks(features, size)
    return lax.scan(add, jnp.zeros(len(candidates)), (rows, held.reshape(-1, size)))[0]


@jax.jit
def _all_gains(
    features: Float[Array, "n d"],
    similarity: Float[Array, "n"],
    points: Float[Array, "p d"],
    scale: Float[Array, ""],
) -> Float[Array, "p"]:
    candidates = blocks(points, min(4 * CANDIDATES, len(points)))
    gains = lax.map(lambda rows: _gains(features, similarity, rows, scale), candidates)
    return gains.reshape(-1)[: len(points)]


@jax.jit
def _closer(
    features: Float[Array, "n d"],
    similarity: Float[Array, "n"],
    scale: Float[Array, ""],
    index: Int[Array, ""],
) -> Float[Array, "n"]:
    return jnp.maximum(similarity, jnp.exp(-scale * _to_one(features, index)))
