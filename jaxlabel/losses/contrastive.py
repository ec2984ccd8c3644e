"""The loss of telling an image's own view from all others."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def nt_xent(
    first: Float[Array, "batch d"], second: Float[Array, "batch d"], temperature: float
) -> Float[Array, "batch"]:
    """The normalised, temperature-scaled cross-entropy of each pair (Chen et al. 2020, eq. 1).

    Row i of `first` and row i of `second` are a positive pair; the other 2 batch - 2 rows are
    their negatives. A pair's loss is the mean over its two directions.
    """
    rows = jnp.concatenate([first, second])
    rows = rows * jax.lax.rsqrt(jnp.sum(jnp.square(rows), axis=-1, keepdims=True) + 1e-12)
    logits = rows @ rows.T / temperature
    num_pairs = len(first)
    own = jnp.eye(2 * num_pairs, dtype=bool)
    logits = jnp.where(own, -jnp.inf, logits)
    positives = jnp.sum(rows[:num_pairs] * rows[num_pairs:], axis=-1) / temperature
    away = jax.nn.logsumexp(logits, axis=-1)
    return 0.5 * (away[:num_pairs] + away[num_pairs:]) - positives
