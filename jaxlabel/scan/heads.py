"""SCAN's clustering step: cluster heads that put an image and its neighbours in one cluster."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import augment, losses, train
from jaxlabel.log import Log
from jaxlabel.losses.scan import scan_loss
from jaxlabel.pretext import draw_partners


class Assigner(nnx.Module):
    """A network that assigns images to clusters: an encoder with one linear cluster head.

    Calling it on images returns the cluster logits. The encoder's features are standardised for
    each image, to mean 0 and variance 1.
    """

    def __init__(self, encoder: Any, head: nnx.Linear):
        self.encoder, self.head = encoder, head

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return jax.nn.standardize(self.encoder.features(images), epsilon=1e-5)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch clusters"]:
        return self.head(self.features(images))


class Heads(nnx.Module):
    """An encoder with several linear cluster heads, each of which makes its own clustering.

    Calling it on images returns the cluster logits of all heads, an array (batch, heads, clusters).
    The encoder's features are standardised for each image, to mean 0 and variance 1.
    """

    def __init__(self, encoder: Any, num_heads: int, num_clusters: int, rngs: nnx.Rngs):
        self.encoder = encoder
        self.heads = nnx.List(
            [nnx.Linear(encoder.num_features, num_clusters, rngs=rngs) for _ in range(num_heads)]
        )

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch heads clusters"]:
        features = jax.nn.standardize(self.encoder.features(images), epsilon=1e-5)
        return jnp.stack([head(features) for head in self.heads], axis=1)

    def only(self, number: int) -> Assigner:
        """Return a network with the encoder and the head of the given number alone."""
        return Assigner(self.encoder, self.heads[number])


def match_to_prior(
    clusters: Int[np.ndarray, "n"], prior: Float[np.ndarray, "clusters"] | None
) -> Int[np.ndarray, "n"]:
    """Renumber clusters so that the clusters' sizes have the same order as their expected sizes.

    The largest cluster gets the number with the largest expected size, and so on. This is needed
    because the expected size is given by cluster number, while k-means numbers clusters
    arbitrarily.

    Args:
      clusters: the cluster of each image.
      prior: the expected size of each cluster, as a fraction; if it is None, the numbers stay
        unchanged.
    """
    if prior is None:
        return clusters
    sizes = np.bincount(clusters, minlength=len(prior))
    numbers = np.empty(len(prior), int)
    numbers[np.argsort(-sizes, kind="stable")] = np.argsort(-prior, kind="stable")
    return numbers[clusters]


def pretrain_heads(
    model: Heads,
    images: UInt8[np.ndarray, "n h w c"],
    targets: Int[np.ndarray, "n heads"],
    view: augment.Transform,
    key: Key[Array, ""],
    log: Log,
    *,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
) -> Heads:
    """Train cluster heads to predict given clusterings of the images, as a start for SCAN.

    Args:
      model: the encoder with its heads.
      images: all training images, uint8.
      targets: for each image and each head, the cluster to predict.
      view: the augmentation of the images.

    Returns:
      The trained encoder and heads.
    """

    def loss(model: Heads, batch: tuple[Array, Array], key: Key[Array, ""]) -> Any:
        logits = model(view(key, augment.as_float(batch[0])))
        per_head = jax.vmap(losses.cross_entropy, in_axes=1)(logits, batch[1])
        return jnp.mean(per_head), {}

    return train.fit(
        loss, model, (images, targets), key, log, name="start", num_steps=num_steps,
        batch_size=batch_size, optimizer=train.warmup_cosine(learning_rate, num_steps),
    )  # fmt: skip


def fit_heads(
    model: Heads,
    images: UInt8[np.ndarray, "n h w c"],
    neighbours: Int[np.ndarray, "n k"],
    view: augment.Transform,
    key: Key[Array, ""],
    log: Log,
    *,
    entropy_weight: float,
    prior: Float[np.ndarray, "clusters"] | None,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
) -> Heads:
    """Train cluster heads and their encoder on SCAN's clustering loss, and return them.

    Van Gansbeke et al. 2020, eq. 2. Each head is trained on its own loss, and the encoder on the
    mean of these losses.

    Args:
      model: the encoder with its heads.
      images: all training images, uint8.
      neighbours: the indices of each image's nearest neighbours.
      view: the augmentation of the images.
      entropy_weight: the weight of the loss term against empty clusters, the paper's lambda.
      prior: the clusters' expected sizes as fractions; None for a uniform prior.
    """
    optimizer = train.warmup_cosine(learning_rate, num_steps, weight_decay=1e-4)
    target_prior = None if prior is None else jnp.asarray(prior, jnp.float32)

    def loss(model: Heads, anchors: Array, positives: Array) -> Float[Array, ""]:
        first, second = jnp.split(model(jnp.concatenate([anchors, positives])), 2)
        return jnp.mean(_head_losses(first, second, entropy_weight, target_prior))

    def step(
        state: train.State, data: tuple[Array, Array], key: Key[Array, ""]
    ) -> tuple[train.State, train.Metrics]:
        row_key, partner_key, view_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (batch_size,), 0, len(data[0]))
        others = draw_partners(partner_key, data[1], rows, 1.0)
        both = augment.as_float(data[0][jnp.concatenate([rows, others])])
        anchors, positives = jnp.split(view(view_key, both), 2)
        value, gradient = jax.value_and_grad(loss)(state.model, anchors, positives)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.model)
        model = optax.apply_updates(state.model, updates)
        return train.State(model, optimizer_state), {"loss": value}

    state = train.State(model, optimizer.init(model))
    return train.loop(
        step, state, (images, neighbours), key, log, name="clusters", num_steps=num_steps
    ).model


def best_head(
    model: Heads,
    images: UInt8[np.ndarray, "n h w c"],
    neighbours: Int[np.ndarray, "n k"],
    *,
    entropy_weight: float,
    prior: Float[np.ndarray, "clusters"] | None,
) -> tuple[int, Float[np.ndarray, "heads"]]:
    """Find the cluster head with the lowest SCAN loss on all training images.

    Args:
      model: the encoder with its heads.
      images: all training images, uint8.
      neighbours: the indices of each image's nearest neighbours.
      entropy_weight: the weight of the loss term against empty clusters.
      prior: the clusters' expected sizes as fractions; None for a uniform prior.

    Returns:
      The number of the best head, and the losses of all heads.
    """
    logits = jnp.asarray(train.apply_batched(lambda m, x: m(x), model, images))
    target_prior = None if prior is None else jnp.asarray(prior, jnp.float32)
    total = np.zeros(logits.shape[1])
    for column in np.asarray(neighbours).T:
        total += np.asarray(
            jnp.mean(_head_losses(logits, logits[column], entropy_weight, target_prior), axis=1)
        )
    mean_losses = total / np.shape(neighbours)[1]
    return int(np.argmin(mean_losses)), mean_losses


def _head_losses(
    first: Float[Array, "n heads clusters"],
    second: Float[Array, "n heads clusters"],
    entropy_weight: float,
    prior: Float[Array, "clusters"] | None,
) -> Float[Array, "heads n"]:
    def of_head(anchors: Array, positives: Array) -> Float[Array, "n"]:
        return scan_loss(anchors, positives, entropy_weight=entropy_weight, prior=prior)

    return jax.vmap(of_head, in_axes=1)(first, second)
