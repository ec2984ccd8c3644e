"""The loss of telling an image's own view from all others."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def nt_xent(
    first: Float[Array, "batch d"],
    second: Float[Array, "batch d"],
    temperature: float,
    shown: Int[Array, "two batch"] | None = None,
) -> Float[Array, "batch"]:
    """The normalised, temperature-scaled cross-entropy of each pair (Chen et al. 2020, eq. 1).

    Row i of `first` and row i of `second` are a positive pair; the other 2 batch - 2 rows are
    their negatives. A pair's loss is the mean over its two directions.

    Args:
      shown: the image that each row of `first` and of `second` is a view of. Further views of the
        two images of a pair are then no negatives of it; in the paper a batch has each image once.
    """
    rows = jnp.concatenate([first, second])
    rows = rows * jax.lax.rsqrt(jnp.sum(jnp.square(rows), axis=-1, keepdims=True) + 1e-12)
    logits = rows @ rows.T / temperature
    num_pairs = len(first)
    left_out = jnp.eye(2 * num_pairs, dtype=bool)
    if shown is not None:
        left_out |= _same(shown)
    logits = jnp.where(left_out, -jnp.inf, logits)
    positives = jnp.sum(rows[:num_pairs] * rows[num_pairs:], axis=-1) / temperature
    away = jax.nn.logsumexp(logits, axis=-1)
    return 0.5 * (away[:num_pairs] + away[num_pairs:]) - positives


def _same(shown: Int[Array, "two batch"]) -> Bool[Array, "rows rows"]:
    """Where a column shows an image of the row's pair, its positive left aside."""
    images, positives = shown.ravel(), shown[::-1].ravel()
    num_pairs = shown.shape[1]
    pair = jnp.roll(jnp.eye(2 * num_pairs, dtype=bool), num_pairs, axis=1)
    return ((images[:, None] == images) | (positives[:, None] == images)) & ~pair
