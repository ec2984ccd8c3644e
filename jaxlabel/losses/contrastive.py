"""The contrastive loss NT-Xent, which tells a view of an image from the views of other images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def nt_xent(
    first: Float[Array, "batch d"],
    second: Float[Array, "batch d"],
    temperature: float,
    shown: Int[Array, "two batch"] | None = None,
) -> Float[Array, "batch"]:
    """Return NT-Xent, the normalised temperature-scaled cross-entropy, of each pair.

    Chen et al. 2020, eq. 1. Row i of `first` and row i of `second` are a positive pair; the other 2
    batch - 2 rows are its negatives. A pair's loss is the mean over its two directions.

    Args:
      shown: the image that each row of `first` and of `second` shows. Rows that show either image
        of a pair are then left out of the pair's negatives. None if, as in the paper, a batch has
        each image once.
    """
    rows = jnp.concatenate([first, second])
    rows = rows * jax.lax.rsqrt(jnp.sum(jnp.square(rows), axis=-1, keepdims=True) + 1e-12)
    logits = rows @ rows.T / temperature
    num_pairs = len(first)
    is_excluded = jnp.eye(2 * num_pairs, dtype=bool)
    if shown is not None:
        is_excluded |= _false_negatives(shown)
    logits = jnp.where(is_excluded, -jnp.inf, logits)
    positives = jnp.sum(rows[:num_pairs] * rows[num_pairs:], axis=-1) / temperature
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    return 0.5 * (normaliser[:num_pairs] + normaliser[num_pairs:]) - positives


def _false_negatives(shown: Int[Array, "two batch"]) -> Bool[Array, "rows rows"]:
    """Return True where a column shows either image of the row's pair but is not its positive."""
    images, positives = shown.ravel(), shown[::-1].ravel()
    num_pairs = shown.shape[1]
    pair = jnp.roll(jnp.eye(2 * num_pairs, dtype=bool), num_pairs, axis=1)
    return ((images[:, None] == images) | (positives[:, None] == images)) & ~pair
