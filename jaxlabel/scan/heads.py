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
from jaxlabel.losses.scan import consistency, prior_divergence, scan_loss
from jaxlabel.nets import devices

BLOCK = 256  # images whose losses `best_head` computes at once


class Assigner(nnx.Module):
    """A network that assigns images to clusters: an encoder followed by one linear layer.

    Calling it on images returns the cluster logits. The linear layer (the cluster head) gets the
    encoder's features, standardised for each image to mean 0 and variance 1.
    """

    def __init__(self, encoder: Any, head: nnx.Linear):
        self.encoder, self.head = encoder, head

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return jax.nn.standardize(self.encoder.features(images), epsilon=1e-5)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch clusters"]:
        return self.head(self.features(images))


class Heads(nnx.Module):
    """An encoder with several linear layers (cluster heads), each with its own clustering.

    Calling it on images returns the cluster logits of all heads, an array (batch, heads, clusters).
    The heads get the encoder's features, standardised for each image to mean 0 and variance 1.
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
        """Return a network of the encoder and only the cluster head with index `number`."""
        return Assigner(self.encoder, self.heads[number])


def match_to_prior(
    clusters: Int[np.ndarray, "n"], prior: Float[np.ndarray, "clusters"] | None
) -> Int[np.ndarray, "n"]:
    """Renumber clusters so that larger ones get the numbers with larger expected sizes.

    The largest cluster gets the number that has the largest expected size, the second largest
    cluster the number with the second largest, and so on. For example, if `prior` is (0.2, 0.8),
    the larger cluster gets number 1. This is needed because k-means numbers clusters arbitrarily.

    Args:
      clusters: the number of each image's cluster.
      prior: the expected size for each cluster number, as a fraction of all images. If it is None,
        the numbers stay unchanged.

    Returns:
      The new number of each image's cluster.
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
    """Train cluster heads to predict given clusterings of the images, before SCAN trains them.

    Args:
      model: an encoder with several cluster heads (linear layers that return cluster logits).
      images: all training images, uint8.
      targets: for each image and each head, the index of the cluster to predict.
      view: the augmentation of the images, a function of (key, images).

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
    """Train an encoder with several cluster heads on SCAN's clustering loss, and return both.

    Van Gansbeke et al. 2020, eq. 2. Each head (a linear layer that returns cluster logits) is
    trained on its own loss, and the encoder on the mean of these losses.

    Args:
      model: the encoder with its heads.
      images: all training images, uint8.
      neighbours: the indices of each image's nearest neighbours.
      view: the augmentation of the images, a function of (key, images).
      entropy_weight: the weight of the loss term against empty clusters, the paper's lambda.
      prior: the expected size of each cluster, as a fraction of all images; None if all are equal.
    """
    optimizer = train.warmup_cosine(learning_rate, num_steps, weight_decay=1e-4)
    step = clustering_step(
        view, optimizer, entropy_weight=entropy_weight, prior=prior, batch_size=batch_size
    )
    state = train.State(model, jax.jit(optimizer.init)(model))
    return train.loop(
        step, state, (images, neighbours), key, log, name="clusters", num_steps=num_steps
    ).model


def clustering_step(
    view: augment.Transform,
    optimizer: optax.GradientTransformation,
    *,
    entropy_weight: float,
    prior: Float[np.ndarray, "clusters"] | None,
    batch_size: int,
) -> train.Step[train.State]:
    """Return a function for `train.loop` that does one training step on SCAN's clustering loss.

    The arguments are those of `fit_heads`. The data of the step are the images and the indices of
    each image's neighbours.
    """
    target_prior = None if prior is None else jnp.asarray(prior, jnp.float32)

    def loss(model: Heads, anchors: Array, positives: Array) -> Float[Array, ""]:
        first, second = jnp.split(model(jnp.concatenate([anchors, positives])), 2)
        return jnp.mean(_head_losses(first, second, entropy_weight, target_prior))

    def step(
        state: train.State, data: tuple[Array, Array], key: Key[Array, ""]
    ) -> tuple[train.State, train.Metrics]:
        row_key, partner_key, view_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (batch_size,), 0, len(data[0]))
        others = draw_neighbours(partner_key, data[1], rows)
        both = devices.shard(augment.as_float(data[0][jnp.concatenate([rows, others])]))
        anchors, positives = jnp.split(view(view_key, both), 2)
        value, gradient = jax.value_and_grad(loss)(state.model, anchors, positives)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.model)
        model = optax.apply_updates(state.model, updates)
        return train.State(model, optimizer_state), {"loss": value}

    return step


def draw_neighbours(
    key: Key[Array, ""], neighbours: Int[Array, "n k"], rows: Int[Array, "batch"]
) -> Int[Array, "batch"]:
    """Return the index of a random one of the neighbours of each image of a mini-batch.

    Args:
      neighbours: for each image of the data set, the indices of its neighbours.
      rows: the indices of the mini-batch's images.
    """
    column_key = jax.random.split(key)[0]  # half of the key, so that results stay as published
    columns = jax.random.randint(column_key, rows.shape, 0, neighbours.shape[1])
    return neighbours[rows, columns]


def best_head(
    model: Heads,
    images: UInt8[np.ndarray, "n h w c"],
    neighbours: Int[np.ndarray, "n k"],
    *,
    entropy_weight: float,
    prior: Float[np.ndarray, "clusters"] | None,
) -> tuple[int, Float[np.ndarray, "heads"]]:
    """Find the cluster head with the lowest mean SCAN loss over all training images.

    Args:
      model: an encoder with several cluster heads (linear layers that return cluster logits).
      images: all training images, uint8.
      neighbours: the indices of each image's nearest neighbours.
      entropy_weight: the weight of the loss term against empty clusters.
      prior: the expected size of each cluster, as a fraction of all images; None if all are equal.

    Returns:
      The index of the best head, and the mean loss of each head.
    """
    logits = train.apply_batched(lambda m, x: m(x), model, images)
    target_prior = None if prior is None else jnp.asarray(prior, jnp.float32)
    near = jnp.asarray(neighbours)
    mean_losses = np.array(
        [
            _mean_loss(logits[:, head], near, entropy_weight, target_prior)
            for head in range(logits.shape[1])
        ]
    )
    return int(np.argmin(mean_losses)), mean_losses


@jax.jit
def _mean_loss(
    logits: Float[Array, "n clusters"],
    neighbours: Int[Array, "n k"],
    entropy_weight: float,
    prior: Float[Array, "clusters"] | None,
) -> Float[Array, ""]:
    """Return one head's mean SCAN loss over all images and their neighbours.

    The consistency loss is computed for `BLOCK` images at a time, so that it takes little memory.
    """

    def of_image(row: Int[Array, ""]) -> Float[Array, ""]:
        return jnp.mean(consistency(logits[row], logits[neighbours[row]]))

    per_image = jax.lax.map(of_image, jnp.arange(len(logits)), batch_size=BLOCK)
    return jnp.mean(per_image) + entropy_weight * prior_divergence(logits, prior)


def _head_losses(
    first: Float[Array, "n heads clusters"],
    second: Float[Array, "n heads clusters"],
    entropy_weight: float,
    prior: Float[Array, "clusters"] | None,
) -> Float[Array, "heads n"]:
    def of_head(anchors: Array, positives: Array) -> Float[Array, "n"]:
        return scan_loss(anchors, positives, entropy_weight=entropy_weight, prior=prior)

    return jax.vmap(of_head, in_axes=1)(first, second)
