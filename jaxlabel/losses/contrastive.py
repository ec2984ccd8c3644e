"""The contrastive loss NT-Xent: two views of an image attract, views of different images repel."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def nt_xent(
    first: Float[Array, "batch d"],
    second: Float[Array, "batch d"],
    temperature: float,
    shown: Int[Array, "two batch"] | None = None,
) -> Float[Array, "batch"]:
    """Return the contrastive loss NT-Xent of each pair of views (SimCLR; Chen et al. 2020, eq. 1).

    NT-Xent is the normalised temperature-scaled cross-entropy. Row i of `first` and row i of
    `second` are the embeddings of two views (augmented images) that form a positive pair. All other
    rows of `first` and `second` are the pair's negatives. The loss of a pair is the mean over its
    two directions.

    Args:
      first: the embedding of the first view of each pair.
      second: the embedding of the second view of each pair.
      temperature: the similarities are divided by it.
      shown: for each row of `first` and of `second`, the index of the image of which it is a view.
        The pair's negatives then exclude all other views of the pair's images. None to exclude
        nothing, as in the paper, if no image occurs twice in the batch.
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
    """Return a mask of the negatives to exclude because they are views of an image of the pair.

    Args:
      shown: two rows: the index of the image of which each first view, and each second view, is an
        augmentation.

    Returns:
      A square boolean matrix over all views, first views before second views. Entry (i, j) is True
      if view j shows an image of the pair to which view i belongs, and j is not itself the other
      view of that pair.
    """
    images, positives = shown.ravel(), shown[::-1].ravel()
    num_pairs = shown.shape[1]
    pair = jnp.roll(jnp.eye(2 * num_pairs, dtype=bool), num_pairs, axis=1)
    return ((images[:, None] == images) | (positives[:, None] == images)) & ~pair
